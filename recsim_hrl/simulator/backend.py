"""The few array functions that NumPy and torch spell differently, for code that runs on either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from recsim_hrl.types import Array


class Backend(Protocol):
    """What both offer; arrays are changed only where it is said."""

    @staticmethod
    def place(values: np.ndarray) -> Array:
        """A NumPy array as the backend's own."""

    @staticmethod
    def take(values: Array, index: Array) -> Array:
        """A copy of the rows of ``values`` (n, ...) at ``index`` (B,)."""

    @staticmethod
    def join(parts: Sequence[Array]) -> Array:
        """(B, ...) parts side by side."""

    @staticmethod
    def silu(values: Array) -> Array:
        """``values`` / (1 + exp(-``values``)), in their place."""

    @staticmethod
    def softmax(logits: Array) -> Array:
        """Probabilities over the first dimension."""


class NumPy:
    """Arrays."""

    @staticmethod
    def place(values: np.ndarray) -> np.ndarray:
        return values

    @staticmethod
    def take(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        return values.take(index, 0)

    @staticmethod
    def join(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts, 1)

    @staticmethod
    def silu(values: np.ndarray) -> np.ndarray:
        below = np.negative(values)
        np.minimum(below, 80.0, out=below)  # whose exponential is still a number; what it divides is 0 by then
        np.exp(below, out=below)
        below += 1.0
        return np.divide(values, below, out=values)

    @staticmethod
    def softmax(logits: np.ndarray) -> np.ndarray:
        shares = np.exp(logits - logits.max(0))
        shares /= shares.sum(0)
        return shares
