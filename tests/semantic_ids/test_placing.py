"""A free code for each item: by hand, and as the slow way finds them."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.semantic_ids import SemanticIds, placing, tokens
from recsim_hrl.semantic_ids.placing import place_items, seat
from recsim_hrl.semantic_ids.tokens import count_below, keys_of
from tests.semantic_ids import reference
from tests.semantic_ids.conftest import TERNARY
from tests.semantic_ids.test_ids import BOOKS, points

NOTHING = np.empty(0, np.int64)


def test_three_items_for_two_codes_by_hand():
    """Below 0 there are two codes. 0.9 fits worst and goes to 10; of the others 0.8 is nearer to 1, so 0.7 gets -1."""
    books = np.array([[[0], [10]], [[-1], [1]]], np.float32)
    codes = place_items(np.array([[0.9], [0.8], [0.7]], np.float32), books, NOTHING)
    assert codes.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert codes.dtype == np.int32


def test_codes_that_are_taken_are_left_alone():
    books = np.array([[[0], [10]], [[-1], [1]]], np.float32)
    codes = place_items(np.array([[0.9], [0.8], [0.7]], np.float32), books, np.array([1]))  # (0, 1)
    assert codes.tolist() == [[1, 0], [1, 1], [0, 0]], "0.7 fits 0 best; of the others 0.9 is nearer to 10 - 1"


def test_seats_by_hand():
    """Tokens at 0, 1, 5 for 1, 2, 0 items. 0.4 asks 0, which prefers 0.1; then 1, with 1.1 and 0.9 before it."""
    seats = seat(np.array([[0.1], [0.4], [1.1], [0.9]]), np.array([[0], [1], [5]]), np.array([1, 3, 0]))
    assert seats.tolist() == [0, 1, 1, 1]
    seats = seat(np.array([[0.1], [0.4], [1.1], [0.9]]), np.array([[0], [1], [5]]), np.array([1, 2, 1]))
    assert seats.tolist() == [0, 2, 1, 1]


def test_a_full_house_has_its_nearest_codes(ternary):
    numbers = np.arange(-13, 14, dtype=np.float32)[:, None]
    assert np.array_equal(place_items(numbers, TERNARY, NOTHING), ternary.codes)
    shuffled = np.random.default_rng(0).permutation(27)
    assert np.array_equal(place_items(numbers[shuffled], TERNARY, NOTHING), ternary.codes[shuffled])


def test_equal_items_fill_every_code():
    codes = place_items(np.zeros((27, 1), np.float32), TERNARY, NOTHING)
    assert sorted(map(tuple, codes.tolist())) == reference.all_codes(TERNARY)
    assert codes[0].tolist() == [1, 1, 1], "the first of equal items has the nearest code"


def test_equal_items_do_not_ask_token_after_token(monkeypatch):
    """There may be a hundred thousand of them, and a token has no room for so many."""
    monkeypatch.setattr(placing, "nearest_token", None)
    codes = place_items(np.full((25, 1), 5, np.float32), TERNARY, np.array([0, 26]))
    assert codes[:3].tolist() == [[2, 0, 0], [2, 0, 1], [2, 0, 2]], "9 - 3 - 1, 9 - 3 and 9 - 3 + 1"
    assert sorted(map(tuple, codes.tolist())) == reference.all_codes(TERNARY)[1:-1]


def test_memory_is_bounded():
    """All distances of 60,000 items to 300 tokens would take 137 MiB."""
    items = np.random.default_rng(0).normal(size=(60_000, 8)).astype(np.float32)
    books = np.random.default_rng(1).normal(size=(2, 300, 8)).astype(np.float32)
    tracemalloc.start()
    codes = place_items(items, books, NOTHING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20
    ids = SemanticIds(books, codes)
    assert np.array_equal(ids.items(codes), np.arange(60_000))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_codes_are_those_of_the_slow_way(data):
    books = data.draw(BOOKS)
    size, levels = books.shape[1], len(books)
    every = reference.all_codes(books)
    taken = [code for code in every if data.draw(st.booleans())] if len(every) <= 16 else []
    items = points(data.draw, books.shape[2], 0, min(len(every) - len(taken), 20))
    keys = np.sort(keys_of(np.array(taken, int).reshape(-1, levels), size))
    codes = place_items(items, books, keys)
    assert list(map(tuple, codes.tolist())) == reference.placed(items.tolist(), books.tolist(), taken)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    items, books = rng.integers(-30, 30, (300, 2)).astype(np.float32), rng.integers(-20, 20, (2, 20, 2))
    books = books.astype(np.float32)
    whole = place_items(items, books, NOTHING)
    monkeypatch.setattr(tokens, "_CELLS", 50)
    assert [(part.start, part.stop) for part in tokens.blocks(5, 22)] == [(0, 2), (2, 4), (4, 5)]
    assert np.array_equal(place_items(items, books, NOTHING), whole)


def test_keys_and_counts_by_hand():
    codes = np.array([[0, 0, 2], [0, 1, 0], [2, 1, 1]])
    keys = keys_of(codes, 3)
    assert keys.tolist() == [2, 3, 22] and keys_of(codes[:, :0], 3).tolist() == [0, 0, 0]
    assert count_below(keys, np.int64(0), 3, 2).tolist() == [2, 0, 1]
    assert count_below(keys, np.array([0, 2]), 3, 1).tolist() == [[1, 1, 0], [0, 1, 0]]
    assert count_below(keys, np.array(7), 3, 0).tolist() == [0, 1, 0]
