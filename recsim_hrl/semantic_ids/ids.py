"""Semantic ids of a catalogue: vectors of the tokens, a code for each item, and the way back from codes to items."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from recsim_hrl.semantic_ids.placing import place_items
from recsim_hrl.semantic_ids.tokens import blocks, count_below, keys_of, nearest_token
from recsim_hrl.types import NO_ITEM

MOST_CODES = 1 << 62
"""A code is kept as one whole number of 64 bits."""


class SemanticIdError(ValueError):
    """Semantic ids that cannot be made, read or used; the message says why and what to do."""


@dataclass(frozen=True)
class SemanticIds:
    """Codes of ``L`` tokens, each one of ``V``, that name one of ``I`` items each.

    They do not change: items that come or go make new ones.

    Raises:
        SemanticIdError: if two items share a code, or the arrays do not fit together.
    """

    codebooks: np.ndarray  # (L, V, D) float32, the vectors of the tokens
    codes: np.ndarray  # (I, L) int32, the code of each item of the catalogue, NO_ITEM where it was taken away
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the codebooks were made; JSON can hold it."""

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise SemanticIdError(
                f"semantic ids: {problem}; make them by fit_semantic_ids or `recsim-hrl semantic-ids`"
            )

    def __len__(self) -> int:
        """Items, those that were taken away included."""
        return len(self.codes)

    @property
    def levels(self) -> int:
        """Tokens of a code, L."""
        return self.codebooks.shape[0]

    @property
    def codes_per_level(self) -> int:
        """Tokens to choose from at each level, V."""
        return self.codebooks.shape[1]

    @property
    def present(self) -> np.ndarray:
        """(I,) bool, which items have a code."""
        return self.codes[:, 0] != NO_ITEM

    def items(self, codes: np.ndarray) -> np.ndarray:
        """The catalogue index (...) int64 of the item with each of ``codes`` (..., L); NO_ITEM where none has it."""
        codes = self._checked(codes, exactly=True)
        possible = ((codes >= 0) & (codes < self.codes_per_level)).all(-1)  # (...)
        keys = keys_of(np.where(possible[..., None], codes, 0), self.codes_per_level)
        known, items = self._lookup
        place = np.searchsorted(known, keys)
        return np.where(possible & (known[place] == keys), items[place], NO_ITEM)

    def next_tokens(self, prefixes: np.ndarray) -> np.ndarray:
        """Which tokens (..., V) bool may follow ``prefixes`` (..., l), l < L: those that some item's code has there."""
        prefixes = self._checked(prefixes, exactly=False)
        below = self.levels - prefixes.shape[-1] - 1
        if below < 0:
            raise SemanticIdError(
                f"prefixes: got {prefixes.shape[-1]} tokens, allowed 0 to {self.levels - 1}; leave the last out"
            )
        self._check_tokens(prefixes)
        keys = keys_of(prefixes, self.codes_per_level)
        return count_below(self._lookup[0][:-1], keys, self.codes_per_level, below) > 0

    def nearest(self, embeddings: np.ndarray) -> np.ndarray:
        """Codes (..., L) int32 of ``embeddings`` (..., D): at each level the nearest token, whoever has the code."""
        embeddings = self._checked_embeddings(embeddings)
        rows = embeddings.reshape(-1, embeddings.shape[-1])  # (n, D)
        codes = np.empty((len(rows), self.levels), np.int32)
        for part in blocks(len(rows), rows.shape[1]):
            left = rows[part].astype(np.float64)  # (b, D)
            for level, codebook in enumerate(self.codebooks):
                codes[part, level] = nearest_token(left, codebook)[0]
                left -= codebook[codes[part, level]]
        return codes.reshape(*embeddings.shape[:-1], self.levels)

    def vectors(self, codes: np.ndarray) -> np.ndarray:
        """The vectors (..., l, D) float32 of the tokens of ``codes``, or of prefixes, (..., l)."""
        codes = self._checked(codes, exactly=False)
        self._check_tokens(codes)
        return self.codebooks[np.arange(codes.shape[-1]), codes]

    def embedding(self, codes: np.ndarray) -> np.ndarray:
        """What ``codes``, or prefixes, (..., l) stand for: (..., D) float32, the sum of their tokens' vectors."""
        return self.vectors(codes).sum(-2)

    def with_items(self, embeddings: np.ndarray) -> Self:
        """These ids and free codes for new items, behind the last; nothing is fitted and no code changes.

        Args:
            embeddings: (n, D) of the new items, or (D,) of one.

        Raises:
            SemanticIdError: if there are not enough free codes, or the embeddings are of another width or not finite.
        """
        embeddings = self._checked_embeddings(embeddings)
        embeddings = embeddings.reshape(-1, embeddings.shape[-1])  # (n, D)
        known = self._lookup[0][:-1]
        check_capacity(len(known) + len(embeddings), self.levels, self.codes_per_level)
        return replace(self, codes=np.concatenate([self.codes, place_items(embeddings, self.codebooks, known)]))

    def without_items(self, indices: np.ndarray) -> Self:
        """These ids with the codes of the items ``indices`` (n,) free; the other items keep index and code.

        Raises:
            SemanticIdError: if one of them is no item.
        """
        indices = _whole("items to take away", np.asarray(indices))
        wrong = indices[(indices < 0) | (indices >= len(self))]
        if wrong.size:
            raise SemanticIdError(
                f"items to take away: got index {wrong.flat[0]}, allowed 0 to {len(self) - 1}; pass catalogue indices"
            )
        codes = self.codes.copy()
        codes[indices] = NO_ITEM
        return replace(self, codes=codes)

    @cached_property
    def _lookup(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys of all codes in rising order, and their items; the last is above every key and no item's."""
        items = np.flatnonzero(self.present)
        keys = keys_of(self.codes[items], self.codes_per_level)
        order = np.argsort(keys, kind="stable")
        return np.append(keys[order], np.iinfo(np.int64).max), np.append(items[order], NO_ITEM)

    def _problem(self) -> str | None:
        books, codes = self.codebooks, self.codes
        if books.ndim != 3 or books.dtype != np.float32 or not books.size or not np.isfinite(books).all():
            return f"codebooks: got {books.dtype} of shape {books.shape}, allowed finite float32 of shape (L, V, D)"
        if codes.ndim != 2 or codes.dtype != np.int32 or codes.shape[1] != self.levels:
            return f"codes: got {codes.dtype} of shape {codes.shape}, allowed int32 of shape (I, {self.levels})"
        if self.codes_per_level**self.levels > MOST_CODES:
            return f"got {self.codes_per_level}**{self.levels} codes, allowed at most 2**62"
        used = codes[self.present]
        if (used < 0).any() or (used >= self.codes_per_level).any() or (codes[~self.present] != NO_ITEM).any():
            return f"codes: got tokens outside 0 to {self.codes_per_level - 1}"
        keys, items = self._lookup
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if len(twice):
            first, second = items[twice[0] : twice[0] + 2]
            return f"codes: got {codes[first].tolist()} for the items {first} and {second}, allowed one item for a code"
        return None

    def _checked(self, codes: np.ndarray, exactly: bool) -> np.ndarray:
        """Codes, or prefixes, as an array of whole numbers."""
        codes = np.asarray(codes)
        allowed = range(self.levels if exactly else 0, self.levels + 1)
        if not codes.ndim or codes.shape[-1] not in allowed:
            raise SemanticIdError(
                f"codes: got shape {codes.shape}, allowed (..., {'' if exactly else 'up to '}{self.levels}); "
                "put the tokens of a code in the last dimension"
            )
        return _whole("codes", codes)

    def _check_tokens(self, codes: np.ndarray) -> None:
        wrong = codes[(codes < 0) | (codes >= self.codes_per_level)]
        if wrong.size:
            raise SemanticIdError(
                f"codes: got token {wrong.flat[0]}, allowed 0 to {self.codes_per_level - 1}; "
                "leave out items without a code"
            )

    def _checked_embeddings(self, embeddings: np.ndarray) -> np.ndarray:
        embeddings = np.asarray(embeddings, np.float32)
        width = self.codebooks.shape[2]
        if not embeddings.ndim or embeddings.shape[-1] != width or not np.isfinite(embeddings).all():
            raise SemanticIdError(
                f"embeddings: got shape {embeddings.shape}, allowed finite ones of width {width}; "
                "embed new items as those of the catalogue were"
            )
        return embeddings


def _whole(name: str, numbers: np.ndarray) -> np.ndarray:
    """``numbers`` as int64; a mask of booleans would be taken for the indices 0 and 1."""
    if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
        raise SemanticIdError(f"{name}: got {numbers.dtype}, allowed whole numbers; convert them")
    return numbers.astype(np.int64)


def check_capacity(items: int, levels: int, codes_per_level: int) -> None:
    """Raise SemanticIdError where there are more items than codes."""
    if items > codes_per_level**levels:
        raise SemanticIdError(
            f"semantic ids: got {items:,} items, allowed up to {codes_per_level**levels:,}, as {levels} levels of "
            f"{codes_per_level} tokens have no more codes; raise levels or codes"
        )
