"""The glossary: the words and array shapes that every module uses.

Sizes: ``B`` parallel users, ``T`` session length in items, ``N`` history window, ``I`` catalogue items,
``C`` candidates, ``D`` item embedding width, ``M`` goals, ``c`` goal period in low-level steps, ``R`` responses.
An *impression* is one item shown to one user; a *session* is one visit of one user.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:  # environments run without torch, which takes longer to import than a session to play
    from torch import Tensor

    Array = np.ndarray | Tensor

SKIP, CLICK, ORDER = 0, 1, 2
RESPONSES = ("skip", "click", "order")
R = len(RESPONSES)
NO_ITEM = -1
"""Item index that fills an empty place in a history."""

DEFAULT_REWARDS = (0.0, 1.0, 5.0)
"""External reward of a skip, a click and an order (MaHRL section 4.1.3)."""


@dataclass(frozen=True)
class _Columns:
    """Arrays of equal length: tensors where models are fitted and judged, NumPy arrays where environments run."""

    def numpy(self) -> Self:
        """The same with NumPy arrays, which share the memory of tensors."""
        return type(self)(*(np.asarray(getattr(self, field.name)) for field in fields(self)))

    def tensors(self) -> Self:
        """The same with tensors, which share the memory of NumPy arrays."""
        import torch

        return type(self)(*(torch.as_tensor(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class Catalogue(_Columns):
    """The items of a market, in index order; ``item_ids`` are the names that the log uses for them."""

    item_ids: Array  # (I,) int64
    embeddings: Array  # (I, D) float32
    categories: Array  # (I,) int64
    prices: Array  # (I,) float32

    def __post_init__(self) -> None:
        size = len(self.item_ids)
        for name in ("embeddings", "categories", "prices"):
            if len(getattr(self, name)) != size:
                raise ValueError(
                    f"catalogue {name}: got {len(getattr(self, name))} rows, expected {size}, one per item id; "
                    "build all columns from the same item table"
                )

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def embedding_bound(self) -> float:
        """The largest absolute embedding entry: the bound ``B`` of actions and goals (MaHRL section 4.1.3)."""
        return float(abs(self.embeddings).max())


@dataclass(frozen=True)
class Visits(_Columns):
    """What is known of each user when a session starts: the last impressions of the visit before, oldest first."""

    user_ids: Array  # (U,) int64
    items: Array  # (U, P) int64 item indices, NO_ITEM where there was no impression, right-aligned
    responses: Array  # (U, P) int64

    def __len__(self) -> int:
        return len(self.user_ids)

    def take(self, index: Array) -> Visits:
        """The visits of the users at ``index`` (B,)."""
        return Visits(self.user_ids[index], self.items[index], self.responses[index])

    @staticmethod
    def blank(size: int, width: int) -> Visits:
        """``size`` new users of whom nothing is known, as tensors."""
        absent = np.full((size, width), NO_ITEM)
        return Visits(np.arange(size), absent, np.zeros_like(absent)).tensors()
