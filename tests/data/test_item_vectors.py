"""Item vectors against an exact decomposition, and what they must not know."""

import numpy as np
import pytest

from recsim_hrl.data.blocks import part
from recsim_hrl.data.item_vectors import item_vectors


def market(sessions=300, items=24, seed=3):
    """Sessions of 1 to 6 distinct items, most of them of one half of the catalogue."""
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(sessions):
        half = rng.integers(2) * items // 2
        near = half + rng.permutation(items // 2)[: rng.integers(1, 6)]
        lists.append(np.unique(np.append(near, rng.integers(items))) if rng.random() < 0.2 else near)
    lengths = [len(one) for one in lists]
    return {"session": np.repeat(np.arange(sessions), lengths), "item_index": np.concatenate(lists)}


def passes(rows, sessions_per_block=50):
    def begin():
        for first in range(0, 300, sessions_per_block):
            at = np.searchsorted(rows["session"], [first, first + sessions_per_block])
            if at[1] > at[0]:
                yield part(rows, *at)

    return begin


def test_factors_by_an_exact_decomposition():
    rows, width = market(), 13  # 24 directions are followed, which is all there are
    found = item_vectors(passes(rows), np.arange(24), width + 1).astype(np.float64)
    counts = np.bincount(rows["item_index"], minlength=24)
    shows = np.zeros((300, 24))
    shows[rows["session"], rows["item_index"]] = 1.0
    shows = shows[shows.sum(axis=1) > 1]
    by_session, by_item = shows.sum(axis=1, keepdims=True), shows.sum(axis=0)
    difference = (shows - by_session * by_item / shows.sum()) / np.sqrt(by_session + 5.0) / np.sqrt(by_item + 5.0)
    _, sizes, directions = np.linalg.svd(difference)
    factors = directions[:width].T * sizes[:width]
    factors *= np.sign(np.take_along_axis(factors, np.abs(factors).argmax(0, keepdims=True), axis=0))
    factors /= np.sqrt((factors**2).sum(axis=1, keepdims=True))
    # A category of its own for each item: its mean is the item.
    np.testing.assert_allclose(found[:, :width], factors, atol=2e-3)
    seen = np.log1p(counts)
    np.testing.assert_allclose(found[:, width], (seen - seen.mean()) / seen.std(), atol=1e-5)


def test_few_factors_find_who_is_seen_with_whom():
    """One factor is enough for two halves of a catalogue."""
    factors = item_vectors(passes(market()), np.arange(24), 2)[:, :1]
    nearness = factors @ factors.T
    assert nearness[:12, :12].min() > 0 > nearness[:12, 12:].max()


def test_two_sessions_by_hand():
    """One session shows items 0 and 1, another 2 and 3: the difference to chance is 1/2 with a sign everywhere, so its
    one direction is (1, 1, -1, -1). A session of one item tells nothing."""
    rows = {"session": np.array([5, 7, 7, 9, 9]), "item_index": np.array([1, 0, 1, 2, 3])}
    found = item_vectors(lambda: [rows], np.arange(4), 3)[:, :2]
    np.testing.assert_allclose(found * np.sign(found[0, 0]), [[1, 0], [1, 0], [-1, 0], [-1, 0]], atol=1e-5)


def test_reproducible_whatever_the_blocks():
    rows = market()
    found = item_vectors(passes(rows), np.zeros(24), 14)
    np.testing.assert_array_equal(found, item_vectors(passes(rows), np.zeros(24), 14))
    np.testing.assert_allclose(found, item_vectors(passes(rows, 7), np.zeros(24), 14), atol=1e-3)
    np.testing.assert_allclose(found, item_vectors(passes(rows), np.zeros(24), 14, seed=1), atol=1e-3)
    for block in (found[:, :13], found[:, 13:]):
        assert (block.astype(np.float64) ** 2).sum(axis=1).mean() == pytest.approx(1.0, abs=1e-5)


def test_unseen_items_get_the_mean_of_their_category():
    rows = market()
    categories = np.concatenate([np.repeat([4, 9], 12), [4, 9, 7]])  # the last three items are in no session
    found = item_vectors(passes(rows), categories, 8).astype(np.float64)
    counts = np.bincount(rows["item_index"], minlength=27)
    shares = counts / (counts + 5.0)
    for unseen, members in ((24, np.arange(12)), (25, np.arange(12, 24))):
        # An item's vector is share * own + (1 - share) * mean, so the mean of the own ones can be told from outside.
        mean = found[unseen, :7]
        own = (found[members, :7] - (1 - shares[members, None]) * mean) / shares[members, None]
        np.testing.assert_allclose(np.average(own, axis=0, weights=counts[members]), mean, atol=1e-5)
    assert not found[26, :7].any()
    assert found[24, 7] == found[26, 7] == found[:, 7].min()


@pytest.mark.parametrize("items", [1, 2, 3])
def test_fewer_items_than_factors(items):
    rows = {"session": np.repeat(np.arange(5), items), "item_index": np.tile(np.arange(items), 5)}
    found = item_vectors(lambda: [rows], np.zeros(items), 50)
    assert found.shape == (items, 50) and np.isfinite(found).all()


def test_what_chance_would_show_tells_nothing():
    rows = {"session": np.repeat(np.arange(9), 3), "item_index": np.tile(np.arange(3), 9)}
    assert not item_vectors(lambda: [rows], np.arange(3), 4).any()


def test_no_training_sessions():
    assert not item_vectors(lambda: [], np.zeros(4), 5).any()
