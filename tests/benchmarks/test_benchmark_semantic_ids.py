"""The benchmark of semantic ids: every code is looked up, a wrong lookup is found, and what is measured is kept."""

import csv

import numpy as np
import pytest

from benchmarks import semantic_ids, semantic_ids_meaning
from benchmarks.semantic_ids import SemanticIdsConfig, check
from benchmarks.semantic_ids_meaning import fullest, largest_category
from recsim_hrl.semantic_ids import SemanticIds, fit_semantic_ids, save_semantic_ids
from recsim_hrl.simulator.store import random_simulator

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    return save_semantic_ids(fit_semantic_ids(POINTS), tmp_path / "ids")


@pytest.mark.parametrize("block", [1 << 16, 700])
def test_every_code_is_looked_up(saved, monkeypatch, block):
    monkeypatch.setattr(semantic_ids, "BLOCK", block)
    assert check(saved) == (32**3, 50)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda items: np.where(items == -1, 0, items), "a code names an item that has another"),
        (lambda items: np.where(items == 7, -1, items), "1 items were not found exactly once"),
    ],
)
def test_a_wrong_lookup_is_found(saved, monkeypatch, wrong, message):
    right = SemanticIds.items
    monkeypatch.setattr(SemanticIds, "items", lambda self, codes: wrong(right(self, codes)))
    with pytest.raises(ValueError, match=message):
        check(saved)


def test_largest_category_by_hand():
    """Items that begin with 0 are of the categories 5, 5, 6, those with 1 of 6, 7: two and one of five are counted."""
    prefixes, categories = np.array([[0], [1], [0], [1], [0]]), np.array([5, 6, 5, 7, 6])
    assert largest_category(prefixes, categories)[0] == 3 / 5
    assert largest_category(np.arange(5)[:, None], categories) == (1.0, 1.0)
    many = np.repeat([3, 4], 5000)
    found, chance = largest_category(np.repeat([0, 1], 5000)[:, None], many)
    assert found == 1.0 and chance == pytest.approx(0.5, abs=0.02)
    assert fullest(np.array([4, 1, 1, 4, 2, 4])).tolist() == [4, 1, 2]


def test_the_table_of_tokens_by_hand():
    catalogue = random_simulator(items=4).catalogue.numpy()
    object.__setattr__(catalogue, "categories", np.array([2, 2, 3, 2]))
    object.__setattr__(catalogue, "prices", np.array([10.0, 30.0, 7.0, 20.0]))
    ids = SemanticIds(np.zeros((2, 3, 8), np.float32), np.array([[1, 0], [1, 1], [1, 2], [0, 0]], np.int32))
    assert semantic_ids_meaning.to_text(ids, catalogue).splitlines()[2:] == [
        "| all | 4 | 2 (75%), 3 (25%) | 9 / 15 / 22 |",
        "| 1 | 3 | 2 (67%), 3 (33%) | 8 / 10 / 20 |",
        "| 0 | 1 | 2 (100%) | 20 / 20 / 20 |",
    ]


def test_a_small_catalogue_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(semantic_ids, "write_meaning", lambda out: "what tokens mean")
    config = SemanticIdsConfig(tmp_path / "out", tmp_path / "scratch", items=300, shapes=((3, 8),))
    semantic_ids.main(config)
    (row,) = csv.DictReader((config.out / "semantic_ids.csv").open())
    levels = list(csv.DictReader((config.out / "semantic_ids_levels.csv").open()))
    assert (row["items"], row["looked_up"], row["found"]) == ("300", "512", "300") and float(row["rss_mib"]) > 50
    assert [one["level"] for one in levels] == ["1", "2", "3"]
    assert 1 - float(row["moved"]) == pytest.approx(float(levels[-1]["kept"]), abs=1e-5)
    assert (
        float(levels[-1]["largest_category"]) == 1.0 and levels[-1]["unique_unexplained"] == row["unique_unexplained"]
    )
    assert "| 300 | 3 x 8 |" in capsys.readouterr().out
    monkeypatch.setattr(semantic_ids, "measure", None)
    semantic_ids.main(config)
    assert list(csv.DictReader((config.out / "semantic_ids.csv").open())) == [row]


def test_the_figure_is_drawn_from_the_default_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr(semantic_ids_meaning, "load_data", lambda: random_simulator(items=300).data)
    text = semantic_ids_meaning.write_meaning(tmp_path)
    assert (tmp_path / "codes.md").read_text().startswith(text) and text.count("\n") == 1 + 1 + 6
    assert (tmp_path / "codes.png").read_bytes()[:4] == b"\x89PNG"


def test_shapes_that_are_too_small():
    with pytest.raises(
        ValueError, match=r"shapes: got \(\(2, 32\),\), allowed one or more with 10,000 codes or more each"
    ):
        SemanticIdsConfig(shapes=((2, 32),))
