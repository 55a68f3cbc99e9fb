"""Item vectors against a dense decomposition, and what they must not depend on."""

import numpy as np
import pytest

from recsim_hrl.data import item_vectors as module
from recsim_hrl.data.item_vectors import item_vectors


def groups(items=60, sessions=400, seed=0):
    """Sessions that each show six items of one of three groups."""
    rng = np.random.default_rng(seed)
    size = min(6, items // 4)
    shown = [rng.choice(items // 3, size, replace=False) * 3 + rng.integers(3) for _ in range(sessions)]
    return np.repeat(np.arange(sessions), size), np.concatenate(shown)


def test_two_sessions_by_hand():
    """One session shows items 0 and 1, another 2 and 3: the difference to chance is 1/2 with a sign everywhere, so its
    one direction is (1, 1, -1, -1), which has a mean square norm of 1. A session of one item tells nothing."""
    found = item_vectors(np.array([9, 9, 9, 5, 5, 7]), np.array([0, 1, 1, 2, 3, 1]), 4, 2, 0)
    np.testing.assert_allclose(found * np.sign(found[0, 0]), [[1, 0], [1, 0], [-1, 0], [-1, 0]], atol=1e-6)


def test_against_a_dense_decomposition():
    """Entry by entry, as the docstring says it."""
    sessions, items = groups(items=12, sessions=30)
    shows = np.zeros((30, 12))
    shows[sessions, items] = 1.0
    by_session, by_item = shows.sum(axis=1, keepdims=True), shows.sum(axis=0)
    difference = (shows - by_session * by_item / shows.sum()) / np.sqrt(by_session + 5) / np.sqrt(by_item + 5)
    _, sizes, directions = np.linalg.svd(difference)
    expected = directions[:3].T * sizes[:3]
    expected /= np.sqrt((expected**2).sum(axis=1).mean())
    found = item_vectors(sessions, items, 12, 3, 0)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_items_of_one_group_are_near_each_other():
    found = item_vectors(*groups(), 60, 2, 0).astype(np.float64)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    similar = unit @ unit.T
    same = np.arange(60)[:, None] % 3 == np.arange(60) % 3
    assert similar[same].min() > 0.8 and similar[~same].max() < 0.0
    assert (found**2).sum(axis=1).mean() == pytest.approx(1.0)


def test_the_iteration_finds_what_the_whole_decomposition_does(monkeypatch):
    whole = item_vectors(*groups(), 60, 8, 0)
    monkeypatch.setattr(module, "_WHOLE", 0)
    for seed in (0, 1):
        np.testing.assert_allclose(item_vectors(*groups(), 60, 8, seed), whole, atol=1e-5)


def test_names_and_order_of_sessions_and_repeats_do_not_matter():
    sessions, items = groups()
    again = np.random.default_rng(1).permutation(len(items))
    other = item_vectors(1000 - 7 * sessions[again], items[again], 60, 8, 0)
    np.testing.assert_allclose(other, item_vectors(sessions, items, 60, 8, 0), atol=1e-5)
    twice = item_vectors(np.repeat(sessions, 2), np.repeat(items, 2), 60, 8, 0)
    np.testing.assert_array_equal(twice, item_vectors(sessions, items, 60, 8, 0))


def test_what_sessions_cannot_tell_is_zero():
    assert not item_vectors(np.zeros(0, int), np.zeros(0, int), 3, 4, 0).any()
    assert not item_vectors(np.zeros(2, int), np.arange(2), 3, 4, 0).any()
    found = item_vectors(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]), 5, 8, 0)
    assert found.shape == (5, 8) and found.dtype == np.float32 and not found[3:].any() and not found[:, 3:].any()
