"""Random numbers of agents that act by chance: in evaluation each session has its own."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class SessionDraws:
    """Uniform numbers for the users in progress, one generator for all of them or one per session.

    Args:
        seed: The agent's.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._session_rngs: list[np.random.Generator] | None = None

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`recsim_hrl_agents.base.Agent.begin`; with ``seeds`` each session draws from a generator of its
        own."""
        if seeds is not None:
            self._session_rngs = [np.random.default_rng((self._seed, seed)) for seed in seeds.tolist()]
        elif starting.all():
            self._session_rngs = None

    def uniform(self, size: int, width: int) -> np.ndarray:
        """(B, width) float32 numbers in [0, 1) for ``size`` = B users."""
        return self.uniform_of(range(size), width)

    def uniform_of(self, users: Sequence[int], width: int) -> np.ndarray:
        """(n, width) float32 numbers in [0, 1) for n of the ``users``; the others' next numbers stay the same."""
        if self._session_rngs is None:
            return self._rng.random((len(users), width), np.float32)
        return np.stack([self._session_rngs[user].random(width, np.float32) for user in users])


def by_chance(values: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """(...) which of the ``values`` (..., K) is drawn, with chances in proportion to exp(value / ``temperature``).

    ``uniform`` (..., K) are numbers in [0, 1).
    """
    return with_gumbel_noise(values, temperature, uniform).argmax(-1)


def with_gumbel_noise(values: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """(...) ``values`` of which the largest is one with a chance in proportion to exp(value / ``temperature``), the
    next largest one of the rest with such a chance, and so on (Plackett-Luce); ``uniform`` (...) are in [0, 1)."""
    return values - temperature * torch.log(-torch.log(uniform))
