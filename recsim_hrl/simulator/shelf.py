"""The items that actions choose from, with what stepping needs of them; items come and go without a rebuild.

A shelf never changes: adding and removing give a new one. The new one shares the memory of the old, as arrays are kept
with room behind their end, so adding costs what the added items cost, and removing a copy of one byte per item.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from recsim_hrl.simulator.nearest import Candidates
from recsim_hrl.simulator.tables import Items
from recsim_hrl.simulator.weights import ResponseWeights
from recsim_hrl.types import Catalogue

_BLOCK = 1 << 16
"""Items looked at together."""


class Rows:
    """An array (n, ...) with room behind its end, which the first who adds to it takes."""

    def __init__(self, values: np.ndarray, room: np.ndarray | None = None) -> None:
        self.values, self._room = values, values if room is None else room
        self._taken = [len(values)]

    def __reduce__(self) -> tuple:
        return Rows, (self.values,)  # without the room

    def added(self, more: np.ndarray) -> Rows:
        """These rows and ``more`` (m, ...)."""
        size, end = len(self.values), len(self.values) + len(more)
        if self._taken[0] != size or end > len(self._room):  # someone else has added here, or there is no room left
            room = np.empty((max(end, size + size // 2), *self.values.shape[1:]), self.values.dtype)
            room[:size] = self.values
            rows = Rows(room[:end], room)
        else:
            rows = Rows(self._room[:end], self._room)
            rows._taken = self._taken
        rows._taken[0] = end
        rows.values[size:] = more
        return rows


@dataclass(frozen=True)
class Shelf:
    """Candidates, and the catalogue that they stand in."""

    item_ids: Rows  # (I,) this and the next three: the catalogue
    embeddings: Rows  # (I, D)
    categories: Rows  # (I,)
    prices: Rows  # (I,)
    items: Rows  # (C,) int64, catalogue index of each candidate, in the order in which ties are decided
    directions: Rows  # (C, D) float32, embeddings of length 1
    kinds: Rows  # (C,) int64
    values: Rows  # (C, 1 + V) float32
    features: Rows  # (C, F) float32
    open: np.ndarray  # (C,) bool, whether a candidate can be shown

    @staticmethod
    def of(catalogue: Catalogue, items: np.ndarray, weights: ResponseWeights) -> Shelf:
        """A shelf of ``items`` (C,) of the ``catalogue``."""
        size, config = len(items), weights.config
        directions = np.empty((size, catalogue.embeddings.shape[1]), np.float32)
        kinds, features = np.empty(size, np.int64), np.empty((size, config.item_features), np.float32)
        values = np.empty((size, 1 + config.values), np.float32)
        for start in range(0, size, _BLOCK):
            part = slice(start, start + _BLOCK)
            embeddings = catalogue.embeddings[items[part]].astype(np.float64)
            lengths = np.sqrt(np.square(embeddings).sum(1, keepdims=True))
            directions[part] = embeddings / np.maximum(lengths, 1e-300)
            codes = weights.encode(embeddings)
            kinds[part], values[part], features[part] = codes.kinds, codes.values, codes.features
        columns = (getattr(catalogue, field.name) for field in fields(catalogue))
        return Shelf(*map(Rows, (*columns, items, directions, kinds, values, features)), np.ones(size, np.bool_))

    @property
    def catalogue(self) -> Catalogue:
        """All items, those that were added behind those that were there."""
        return Catalogue(self.item_ids.values, self.embeddings.values, self.categories.values, self.prices.values)

    @property
    def candidates(self) -> Candidates:
        """What the search for the nearest candidate reads."""
        return Candidates(self.embeddings.values, self.items.values, self.directions.values, self.open)

    @property
    def codes(self) -> Items:
        """What the response model reads."""
        return Items(self.kinds.values, self.values.values, self.features.values)

    def add(self, more: Catalogue, weights: ResponseWeights) -> Shelf:
        """This shelf with ``more`` items behind the last candidate.

        Raises:
            ValueError: if an item is there already, or an embedding is of another width or not finite.
        """
        width = self.embeddings.values.shape[1]
        if more.embeddings.ndim != 2 or more.embeddings.shape[1] != width or not np.isfinite(more.embeddings).all():
            raise ValueError(
                f"items to add: got embeddings of shape {more.embeddings.shape}, allowed finite ones of width {width}; "
                "embed new items as those of the catalogue were"
            )
        known = np.isin(more.item_ids, self.item_ids.values)
        if known.any() or len(np.unique(more.item_ids)) < len(more):
            twice = more.item_ids[known] if known.any() else more.item_ids
            raise ValueError(
                f"items to add: got item_id {twice[0]}, which is there already or comes twice, allowed new ones; "
                "leave it out"
            )
        fresh = Shelf.of(more, np.arange(len(more)), weights)
        names = [field.name for field in fields(self) if field.name not in ("items", "open")]
        rows = {name: getattr(self, name).added(getattr(fresh, name).values) for name in names}
        items = self.items.added(np.arange(len(more)) + len(self.item_ids.values))
        return Shelf(items=items, open=np.concatenate([self.open, fresh.open]), **rows)

    def remove(self, candidates: np.ndarray) -> Shelf:
        """This shelf without ``candidates`` (n,), whose indices stay empty.

        Raises:
            ValueError: if one of them is no candidate.
        """
        wrong = candidates[(candidates < 0) | (candidates >= len(self.open))]
        if len(wrong):
            raise ValueError(
                f"items to remove: got candidate {wrong[0]}, allowed 0 to {len(self.open) - 1}; "
                "pass indices of candidates"
            )
        left = self.open.copy()
        left[candidates] = False
        return replace(self, open=left)
