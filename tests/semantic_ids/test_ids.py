"""Semantic ids: from embeddings to codes, from codes to items, and items that come and go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.semantic_ids import SemanticIdError, SemanticIds
from recsim_hrl.types import NO_ITEM
from tests.semantic_ids import reference

BOOKS = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 2)).flatmap(
    lambda shape: st.lists(st.integers(-9, 9), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda values: np.array(values, np.float32).reshape(shape)
    )
)
"""Codebooks (L, V, D) of whole numbers, whose sums and squares are exact."""


def points(draw, width, least, most):
    row = st.lists(st.integers(-20, 20), min_size=width, max_size=width)
    return np.array(draw(st.lists(row, min_size=least, max_size=most)), np.float32).reshape(-1, width)


def empty(books):
    return SemanticIds(books, np.empty((0, len(books)), np.int32))


def test_nearest_by_hand(ternary):
    """5 is 9 - 3 - 1, -2 is 0 - 3 + 1, and 30 has nothing nearer than 9 + 3 + 1."""
    assert ternary.nearest(np.array([[5], [-2], [30]])).tolist() == [[2, 0, 0], [1, 0, 2], [2, 2, 2]]
    assert ternary.nearest(np.array([[[4.4]]])).tolist() == [[[1, 2, 2]]]  # 0 is nearer than 9


def test_vectors_by_hand(ternary):
    codes = np.array([[2, 0, 0], [1, 0, 2]])
    assert ternary.vectors(codes).tolist() == [[[9], [-3], [-1]], [[0], [-3], [1]]]
    assert ternary.embedding(codes).tolist() == [[5], [-2]]
    assert ternary.embedding(codes[:, :2]).tolist() == [[6], [-3]]
    assert ternary.embedding(codes[:, :0]).tolist() == [[0], [0]]
    assert ternary.embedding(codes).dtype == np.float32


def test_every_code_names_its_item_and_nothing_else(ternary):
    few = ternary.without_items(np.array([0, 5]))
    assert few.items(ternary.codes).tolist() == [NO_ITEM, 1, 2, 3, 4, NO_ITEM, *range(6, 27)]
    assert few.items(np.zeros((2, 2, 3), int)).tolist() == [[NO_ITEM] * 2] * 2
    assert few.items(few.codes).tolist()[0] == NO_ITEM, "an item that was taken away has no code"


@pytest.mark.parametrize("code", [[0, 0, 3], [0, -1, 5], [-1, 3, 0], [3, 0, 0], [2**40, 0, 0]])
def test_tokens_that_are_none_name_nothing(ternary, code):
    """As digits of a number, the first three would be the codes (0, 1, 0), (0, 0, 2) and (0, 0, 0)."""
    assert ternary.items(np.array([code])).tolist() == [NO_ITEM]


def test_next_tokens_by_hand(ternary):
    few = ternary.without_items(np.arange(4, 27))  # (0, 0, 0), (0, 0, 1), (0, 0, 2) and (0, 1, 0) are left
    assert few.next_tokens(np.empty(0, int)).tolist() == [True, False, False]
    assert few.next_tokens(np.array([[0], [1]])).tolist() == [[True, True, False], [False, False, False]]
    assert few.next_tokens(np.array([[0, 0], [0, 1]])).tolist() == [[True, True, True], [True, False, False]]


def test_items_that_come_and_go_by_hand(ternary):
    few = ternary.without_items(np.array([13, 26]))  # 0, whose code is (1, 1, 1), and 13, (2, 2, 2)
    more = few.with_items(np.array([[0.2], [0.1]]))
    assert more.codes[27:].tolist() == [[2, 2, 2], [1, 1, 1]], "0.1 fits better"
    assert more.items(np.array([[1, 1, 1], [2, 2, 2]])).tolist() == [28, 27]
    assert len(more) == 29 and more.present.sum() == 27 and not more.present[[13, 26]].any()
    assert few.with_items(np.array([12.0])).codes[-1].tolist() == [2, 2, 2], "one item may be a single row"
    with pytest.raises(SemanticIdError, match="got 28 items, allowed up to 27, as 3 levels of 3 tokens .* raise"):
        few.with_items(np.zeros((3, 1)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nearest_is_that_of_all_codes_listed(data):
    books = data.draw(BOOKS)
    asked = points(data.draw, books.shape[2], 1, 6)
    ids = empty(books)
    codes = ids.nearest(asked)
    for point, code in zip(asked.tolist(), codes.tolist(), strict=True):
        assert tuple(code) == reference.nearest_code(point, books.tolist())
        best = min(reference.squared(reference.left_of(point, one, books)) for one in reference.all_codes(books))
        found = np.square(point - ids.embedding(np.array(code))).sum()
        assert found >= best and (len(books) > 1 or found == best)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_comes_and_goes_codes_stay_and_are_unique(data):
    books = data.draw(BOOKS)
    levels, size, width = books.shape
    ids = empty(books).with_items(points(data.draw, width, 0, min(size**levels, 20)))
    for _ in range(3):
        gone = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=8)) if len(ids) else [], int)
        kept = np.setdiff1d(np.flatnonzero(ids.present), gone)
        less = ids.without_items(gone)
        assert np.array_equal(less.codes[kept], ids.codes[kept])
        assert (less.items(ids.codes[gone]) == NO_ITEM).all()
        more = less.with_items(points(data.draw, width, 0, min(size**levels - len(kept), 20)))
        assert np.array_equal(more.codes[: len(less)], less.codes)
        present = np.flatnonzero(more.present)
        assert len(set(map(tuple, more.codes[present].tolist()))) == len(present)
        assert np.array_equal(more.items(more.codes[present]), present)
        everything = more.items(np.array(reference.all_codes(books)))
        assert sorted(everything[everything != NO_ITEM].tolist()) == present.tolist()
        prefixes = np.array(reference.all_codes(books[:-1])) if levels > 1 else np.empty((1, 0), int)
        expected = [[tuple((*p, v)) in set(map(tuple, more.codes.tolist())) for v in range(size)] for p in prefixes]
        assert more.next_tokens(prefixes).tolist() == expected
        ids = more


def test_what_cannot_be_ids_is_refused(ternary):
    codes = ternary.codes.copy()
    codes[7] = codes[3]
    with pytest.raises(
        SemanticIdError, match=r"got \[0, 1, 0\] for the items 3 and 7, allowed one item for a code; make"
    ):
        SemanticIds(ternary.codebooks, codes)
    for wrong in (np.int32(3), np.int32(-2)):
        codes = ternary.codes.copy()
        codes[7, 1] = wrong
        with pytest.raises(SemanticIdError, match="codes: got tokens outside 0 to 2"):
            SemanticIds(ternary.codebooks, codes)
    half = ternary.codes.copy()
    half[0, 0] = NO_ITEM
    with pytest.raises(SemanticIdError, match="tokens outside"):
        SemanticIds(ternary.codebooks, half)
    with pytest.raises(SemanticIdError, match=r"codes: got int64 of shape \(27, 3\), allowed int32 of shape \(I, 3\)"):
        SemanticIds(ternary.codebooks, ternary.codes.astype(np.int64))
    for books in (ternary.codebooks.astype(np.float64), ternary.codebooks[0], ternary.codebooks * np.float32(np.nan)):
        with pytest.raises(SemanticIdError, match="codebooks: got .* allowed finite float32"):
            SemanticIds(books, ternary.codes)
    with pytest.raises(SemanticIdError, match=r"got 2\*\*63 codes, allowed at most 2\*\*62"):
        SemanticIds(np.zeros((63, 2, 1), np.float32), np.zeros((1, 63), np.int32))


def test_what_cannot_be_asked_is_refused(ternary):
    with pytest.raises(SemanticIdError, match=r"codes: got shape \(4, 2\), allowed \(..., 3\)"):
        ternary.items(np.zeros((4, 2), int))
    with pytest.raises(SemanticIdError, match="codes: got float64, allowed whole numbers"):
        ternary.items(np.zeros((4, 3)))
    with pytest.raises(SemanticIdError, match="prefixes: got 3 tokens, allowed 0 to 2"):
        ternary.next_tokens(np.zeros((4, 3), int))
    with pytest.raises(SemanticIdError, match=r"codes: got shape \(4, 4\), allowed \(..., up to 3\)"):
        ternary.embedding(np.zeros((4, 4), int))
    with pytest.raises(SemanticIdError, match="codes: got token -1, allowed 0 to 2; leave out items without a code"):
        ternary.embedding(np.array([0, -1]))
    with pytest.raises(SemanticIdError, match="codes: got token 3"):
        ternary.next_tokens(np.array([3]))
    for wrong in (np.zeros((4, 2)), np.array([[np.inf]]), np.float64(3)):
        with pytest.raises(SemanticIdError, match="embeddings: got shape .* allowed finite ones of width 1"):
            ternary.nearest(wrong)
    for index in (-1, 27):
        with pytest.raises(SemanticIdError, match=f"take away: got index {index}, allowed 0 to 26"):
            ternary.without_items(np.array([3, index]))
    with pytest.raises(SemanticIdError, match="take away: got bool, allowed whole numbers"):
        ternary.without_items(np.ones(27, bool))
