"""Which items a slate shows, by hand on a ring of six places, and against plain NumPy."""

import numpy as np
import pytest

from recsim_hrl.simulator import slate_choice

# Places 0 to 5 at angles of 0, 60, ..., 300 degrees.
ANGLES = np.arange(6) * np.pi / 3
RING = np.ascontiguousarray(np.stack([np.cos(ANGLES), np.sin(ANGLES)]))  # (2, 6)


def choose(function, table, actions, slots, first=0, offered=6, closed=(), dtype=np.float32):
    """Places that one user's ``actions`` show; ``closed`` were shown before."""
    shown = np.array([[*closed, 0]], np.int32)
    is_open = np.empty((1, table.shape[1]), np.bool_)
    start, size = np.array([first]), np.array([len(closed)])
    slate_choice.mark_open(shown, size, start, offered, is_open, 0, 1)
    chosen = np.empty((1, slots), np.int64)
    function(table, start, offered, is_open, np.asarray([actions], dtype), chosen, 0, 1)
    return chosen[0].tolist()


@pytest.mark.parametrize(
    ("first", "offered", "ranges"),
    [(0, 6, (0, 0, 0, 6)), (2, 3, (0, 0, 2, 5)), (4, 2, (0, 0, 4, 6)), (4, 3, (0, 1, 4, 6)), (5, 5, (0, 4, 5, 6))],
)
def test_stretches_of_the_ring(first, offered, ranges):
    assert slate_choice.stretches(first, offered, 6) == ranges


def test_what_is_on_offer_and_was_not_shown_is_open():
    shown = np.array([[5, 0, 3], [1, 2, 0], [4, 4, 4]], np.int32)
    is_open = np.ones((3, 6), np.bool_)
    slate_choice.mark_open(shown, np.array([2, 1, 0]), np.array([4, 0, 3]), 4, is_open, 0, 3)
    assert is_open.astype(int).tolist() == [
        [0, 1, 0, 0, 1, 0],  # 4, 5, 0 and 1 are on offer; 5 and 0 were shown
        [1, 0, 1, 1, 0, 0],
        [1, 0, 0, 1, 1, 1],  # nothing was shown yet
    ]


def test_one_query_shows_the_nearest_first():
    query = [np.cos(0.1), np.sin(0.1)]  # nearest: 0, then 1 at 60 degrees, then 5 at -60
    assert choose(slate_choice.choose_by_query, RING, query, 4) == [0, 1, 5, 2]
    assert choose(slate_choice.choose_by_query, RING, query, 3, closed=[0, 5]) == [1, 2, 4]
    assert choose(slate_choice.choose_by_query, RING, query, 2, first=1, offered=3) == [1, 2]
    assert choose(slate_choice.choose_by_query, RING, query, 3, first=5, offered=3) == [0, 1, 5]


def test_ties_and_the_zero_query_go_to_the_first_place():
    assert choose(slate_choice.choose_by_query, RING, [0.0, 0.0], 3) == [0, 1, 2]
    assert choose(slate_choice.choose_by_query, RING, [0.0, 0.0], 3, first=4, offered=3) == [0, 4, 5]
    lengths = np.array([[0.3, 7.0, 1.1, 2.9, 0.7, 5.3]])
    alike = np.ones((3, 6)) * lengths  # one direction at many lengths
    alike = np.ascontiguousarray(alike / np.sqrt(np.square(alike).sum(0)))
    alike[:, 1::2] += 1e-15  # as rounding may leave it
    assert choose(slate_choice.choose_by_query, alike, [0.2, 0.3, 0.1], 6) == [0, 1, 2, 3, 4, 5]


def test_a_vector_for_each_slot():
    to_zero = RING[:, 0]
    vectors = [to_zero, 0.01 * to_zero, -to_zero]  # the second slot has the nearest that the first left
    assert choose(slate_choice.choose_by_embeddings, RING, vectors, 3) == [0, 1, 3]
    assert choose(slate_choice.choose_by_embeddings, RING, vectors, 3, closed=[3]) == [0, 1, 2]


def test_an_index_that_cannot_be_shown_stands_for_the_nearest_that_can():
    indices = dict(dtype=np.int64)
    assert choose(slate_choice.choose_by_index, RING, [4, 0, 2], 3, **indices) == [4, 0, 2]
    # 4 a second time: 3 and 5 are as near, and 3 comes first; then 4 once more
    assert choose(slate_choice.choose_by_index, RING, [4, 4, 4], 3, **indices) == [4, 3, 5]
    assert choose(slate_choice.choose_by_index, RING, [0, 1, 2], 3, first=2, offered=3, **indices) == [2, 3, 4]
    # 0 is not on offer; of those that are, 4 and 2 are as near
    assert choose(slate_choice.choose_by_index, RING, [3, 0, 4], 3, first=2, offered=3, **indices) == [3, 2, 4]


def test_tokens_by_hand():
    codes = np.array([[0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 1, 1]])  # (2, 6)
    logits = [[1.0, 2.0], [0.5, -4.0]]
    # places 0 to 5 score 1.5, -3, 2.5, -2, -3, -2
    assert choose(slate_choice.choose_by_tokens, codes, logits, 6) == [2, 0, 3, 5, 1, 4]
    assert choose(slate_choice.choose_by_tokens, codes, logits, 3, closed=[2], first=5, offered=4) == [0, 5, 1]


@pytest.mark.parametrize("width", [1, 4, 7])
def test_scores_are_cosines(width):
    rng = np.random.default_rng(width)
    table = rng.normal(size=(width, 40))
    table /= np.sqrt(np.square(table).sum(0))
    action, vector, scores = rng.normal(size=width).astype(np.float32), np.empty(width), np.full(40, np.nan)
    slate_choice.aim(action, vector)
    slate_choice.measure(np.ascontiguousarray(table), vector, 5, 33, scores)
    expected = action @ table / np.linalg.norm(action)
    np.testing.assert_allclose(scores[5:33] / slate_choice.GRID, expected[5:33], atol=2e-7)
    assert np.isnan(scores[:5]).all() and np.isnan(scores[33:]).all()
    assert (scores[5:33] == np.rint(scores[5:33])).all()
