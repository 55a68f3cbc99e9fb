"""Measures of semantic ids, by hand."""

import math

import numpy as np
import pytest

from recsim_hrl.semantic_ids import IdMetrics, SemanticIdError, SemanticIds, fit_semantic_ids, measure_ids, tokens

BOOKS = np.array([[[0], [10]], [[-1], [1]]], np.float32)


def test_by_hand():
    """0.9, 0.8 and 0.7 all have the nearest code (0, 1), which is 1; they have (1, 0), (0, 1) and (0, 0): 9, 1, -1."""
    numbers = np.array([0.9, 0.8, 0.7], np.float32)[:, None]
    metrics = measure_ids(SemanticIds(BOOKS, np.array([[1, 0], [0, 1], [0, 0]], np.int32)), numbers)
    expected = IdMetrics(
        items=3,
        possible=4,
        variance=0.02 / 3,
        nearest_error=((0.81 + 0.64 + 0.49) / 3, (0.01 + 0.04 + 0.09) / 3),
        unique_error=((9.1**2 + 0.64 + 0.49) / 3, (8.1**2 + 0.04 + 1.7**2) / 3),
        kept=(2 / 3, 1 / 3),
        usage=(1.0, 1.0),
        perplexity=(math.exp(math.log(3) - 2 / 3 * math.log(2)),) * 2,
        collision_rate=2 / 3,
    )
    for name, value in vars(expected).items():
        assert getattr(metrics, name) == pytest.approx(value, rel=1e-5), name
    assert metrics.moved == pytest.approx(2 / 3)
    assert metrics.unexplained((0.02, 0.04)) == pytest.approx((3.0, 6.0), rel=1e-5)


def test_a_token_counts_as_kept_with_all_before_it():
    """The nearest code of 0.9 is (0, 1)."""
    assert measure_ids(SemanticIds(BOOKS, np.array([[1, 1]], np.int32)), np.array([[0.9]])).kept == (0.0, 0.0)


def test_items_that_were_taken_away_do_not_count():
    numbers = np.array([0.9, 0.8, 11.0], np.float32)[:, None]
    ids = SemanticIds(BOOKS, np.array([[0, 0], [0, 1], [1, 1]], np.int32)).without_items(np.array([1]))
    metrics = measure_ids(ids, numbers)
    assert (metrics.items, metrics.collision_rate, metrics.usage, metrics.perplexity[0]) == (2, 0.0, (1, 1), 2.0)
    assert metrics.unique_error[-1] == pytest.approx(1.9**2 / 2) and metrics.variance == pytest.approx(5.05**2)


def test_blocks_change_nothing(monkeypatch):
    points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    ids = fit_semantic_ids(points)
    whole = measure_ids(ids, points)
    monkeypatch.setattr(tokens, "_CELLS", 64)
    for name, value in vars(measure_ids(ids, points)).items():
        assert value == pytest.approx(getattr(whole, name)), name


def test_lines_tell_the_numbers():
    metrics = IdMetrics(1234, 4096, 2.0, (1.0, 0.5), (1.2, 0.6), (0.9, 0.7), (1.0, 0.25), (30.0, 7.5), 0.125)
    lines = metrics.lines()
    assert lines[0] == "1,234 items, 4,096 codes; variance of the embeddings 2"
    assert [line.split()[-2:] for line in lines[2:7]] == [
        ["100.0%", "25.0%"],
        ["30.0", "7.5"],
        ["50.0%", "25.0%"],
        ["60.0%", "30.0%"],
        ["90.0%", "70.0%"],
    ]
    assert lines[-1] == "nearest codes collide for 12.5% of the items; 30.0% were moved"


def test_a_market_of_equal_items_has_nothing_to_explain():
    assert measure_ids(SemanticIds(BOOKS, np.array([[0, 0]], np.int32)), np.ones((1, 1))).unexplained((1.0,)) == (0.0,)


def test_embeddings_of_another_catalogue_are_refused():
    ids = SemanticIds(BOOKS, np.array([[0, 0]], np.int32))
    for wrong in (np.zeros((2, 1)), np.zeros((1, 2))):
        with pytest.raises(SemanticIdError, match=r"embeddings: got shape .* allowed \(1, 1\) and one or more; pass"):
            measure_ids(ids, wrong)
    with pytest.raises(SemanticIdError, match="and 0 items with a code"):
        measure_ids(ids.without_items(np.array([0])), np.zeros((1, 1)))
