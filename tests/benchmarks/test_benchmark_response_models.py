"""The comparison of response models: its table by hand, and the whole of it in small."""

import csv
import dataclasses

import numpy as np
import pytest

from benchmarks import response_models
from benchmarks.response_models import FIDELITY, Judged, ResponseModelsConfig, compare, write_comparison
from recsim_hrl.simulator.fit import FitConfig, load_sequences
from recsim_hrl.simulator.validity.fidelity import Fidelity, PolicyValue


def value(policy: str, world: float, simulator: float) -> PolicyValue:
    return PolicyValue(policy, 50, world, 0.1, simulator, 0.2, 1.0, 1.5)


def test_the_table_by_hand(tmp_path):
    config = ResponseModelsConfig(out=tmp_path, tuning=10, fit=FitConfig(passes=2, patience=2, batch=5000, kinds=24))
    near = Fidelity((value("b", 20.0, 19.0), value("a", 10.0, 11.0)))
    far = Fidelity((value("b", 20.0, 10.0), value("a", 10.0, 15.0)))
    rows = [
        ("recurrent", 13_027, 61.4, 4e-3, Judged(0.31, 0.35, 0.002, 0.001), near),
        ("attention", 18_804, 99.0, 8e-3, Judged(0.33, 0.35, 0.004, 0.003), far),
    ]
    text = write_comparison(rows, Judged(0.30, 0.35), config)
    lines = [" ".join(line.split()) for line in text.splitlines()[4:]]
    assert lines == [
        "recurrent 13,027 61 0.31000 80.0% 0.0020 0.0010 7.5% 10.0% 1.00",
        "attention 18,804 99 0.33000 40.0% 0.0040 0.0030 50.0% 50.0% -1.00",
        "per-item rate 0.35000 0.0%",
        "exact Bayes 0.30000 100.0%",
    ]
    page = (tmp_path / "response_models.md").read_text()
    assert page.endswith("Made by `python -m benchmarks.response_models --tuning 10 --fit.passes 2`.\n")
    assert "| recurrent | 13,027 | 61 | 0.31000 | 80.0% |" in page and "400 users each, 400 candidates" in page
    with (tmp_path / "values.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["policy"], float(row["relative_error"])) for row in rows[:2]] == [
        ("recurrent", "a", pytest.approx(0.1)),
        ("recurrent", "b", pytest.approx(-0.05)),
    ]


def test_the_whole_comparison_in_small(tmp_path, monkeypatch, capsys):
    few = {name: response_models.POLICIES[name] for name in ("random", "simulator_reward_greedy")}
    monkeypatch.setattr(response_models, "POLICIES", few)
    monkeypatch.setattr(response_models, "RATES", (4e-3, 8e-3))
    config = ResponseModelsConfig(
        out=tmp_path / "models",
        impressions=6000,
        held_out=1500,
        tuning=2000,
        fit=FitConfig(passes=1, pool=30, kinds=24),
        policies=dataclasses.replace(FIDELITY, lengths=(4,), impressions=120, candidates=20),
        workers=1,
    )
    text = compare(config)
    with (tmp_path / "models" / "response_models.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["recurrent", "attention", "factorisation", "per-item rate", "exact Bayes"]
    losses = {name: float(row["log_loss"]) for name, row in rows.items()}
    assert losses["exact Bayes"] < min(losses[name] for name in ("recurrent", "attention", "factorisation"))
    assert all(row["learning_rate"] in ("0.004", "0.008", "") for row in rows.values())
    with (tmp_path / "models" / "values.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    assert len(values) == 6 and all(float(row["world"]) > 0 for row in values)
    # Random choice is the same in the true world, whatever model it is compared with.
    assert len({row["world"] for row in values if row["policy"] == "random"}) == 1
    assert not (tmp_path / "models.parts").exists() and "factorisation" in text


def test_a_part_of_a_log_is_its_first_sessions(tmp_path):
    path = response_models.default_log(tmp_path / "log", 3000, 0)
    opened, part = response_models._sequences(path, 1000)
    whole = load_sequences(opened)
    size = len(part)
    assert 1000 <= part.offsets[-1] < 1000 + part.lengths[-1]
    np.testing.assert_array_equal(part.items, whole.items[: part.offsets[-1]])
    np.testing.assert_array_equal(part.previous, whole.previous[:size])


def test_impossible_sizes():
    with pytest.raises(ValueError, match="tuning=5, allowed 1 or more, and no more for tuning than there are"):
        ResponseModelsConfig(impressions=4, tuning=5)
