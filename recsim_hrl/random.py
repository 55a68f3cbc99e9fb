"""Counter-based randomness: a draw is a pure function of (seed, stream, user, step), so nothing else can change it.

A run then does not depend on how many users run beside it, a user can be replayed alone, and two agents can be
compared on the same users with the same luck. The mixing function is the finaliser of SplitMix64
(Steele, Lea and Flood, OOPSLA 2014), applied once per key word. Every function takes NumPy arrays or torch tensors and
gives the same of them: int64 arithmetic wraps in both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recsim_hrl.types import Array

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift_right(x: Array, bits: int) -> Array:
    """Logical right shift of int64 (its own is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(number: int) -> int:
    """A whole number as int64 holds it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def stir(key: Array, scaled: Array | int) -> Array:
    """``mix`` of a word that is already multiplied by the golden ratio; also compiled for single numbers."""
    x = (key ^ scaled) + GOLDEN
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MIX_2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def mix(key: Array, word: Array | int) -> Array:
    """Fold one more ``word`` into ``key``; both int64, broadcast against each other."""
    return stir(key, _wrap(word * GOLDEN) if isinstance(word, int) else word * GOLDEN)


def uniform(key: Array) -> Array:
    """Numbers in [0, 1) with 24 random bits, one per key; float32 of the key's shape."""
    bits = _shift_right(mix(key, 0), 40)
    return (bits.astype(np.float32) if isinstance(bits, np.ndarray) else bits.float()) * 2.0**-24


def integers(key: Array, high: int) -> Array:
    """Integers in [0, high), one per key; the bias is below ``high`` / 2**63."""
    return _shift_right(mix(key, 0), 1) % high


def normal(key: Array) -> Array:
    """Standard normal numbers, one per key (Box-Muller)."""
    first, second = uniform(mix(key, 1)), uniform(mix(key, 2)) * (2.0 * math.pi)
    if isinstance(first, np.ndarray):
        return np.sqrt(-2.0 * np.log1p(-first)) * np.cos(second)
    return (-2.0 * (-first).log1p()).sqrt() * second.cos()


def sample(probs: Array, draw: Array) -> Array:
    """The outcome in the last dimension of ``probs`` (..., R) that a uniform ``draw`` (...) selects, as int64."""
    edges = probs.cumsum(-1)[..., :-1]  # (..., R - 1)
    return (draw[..., None] >= edges).sum(-1)
