"""Counter-based randomness: a draw is a pure function of (seed, stream, user, step), so nothing else can change it.

A run then does not depend on how many users run beside it, a user can be replayed alone, and two agents can be
compared on the same users with the same luck. The mixing function is the finaliser of SplitMix64
(Steele, Lea and Flood, OOPSLA 2014), applied once per key word; int64 arithmetic wraps in torch on every device.
"""

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(key: Tensor, word: Tensor | int) -> Tensor:
    """Fold one more ``word`` into ``key``; both int64, broadcast against each other."""
    x = (key ^ (word * _GOLDEN if isinstance(word, Tensor) else torch.tensor(word) * _GOLDEN)) + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def uniform(key: Tensor) -> Tensor:
    """Numbers in [0, 1) with 24 random bits, one per key; float32 of the key's shape."""
    return _shift_right(mix(key, 0), 40).to(torch.float32) * 2.0**-24


def integers(key: Tensor, high: int) -> Tensor:
    """Integers in [0, high), one per key; the bias is below ``high`` / 2**63."""
    return _shift_right(mix(key, 0), 1) % high


def normal(key: Tensor) -> Tensor:
    """Standard normal numbers, one per key (Box-Muller)."""
    radius = torch.sqrt(-2.0 * torch.log1p(-uniform(mix(key, 1))))
    return radius * torch.cos(2.0 * torch.pi * uniform(mix(key, 2)))


def sample(probs: Tensor, draw: Tensor) -> Tensor:
    """The outcome in the last dimension of ``probs`` (..., R) that a uniform ``draw`` (...) selects, as int64."""
    edges = probs.cumsum(-1)[..., :-1]  # (..., R - 1)
    return (draw.unsqueeze(-1) >= edges).sum(-1)
