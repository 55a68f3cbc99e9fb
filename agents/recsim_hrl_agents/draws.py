"""Random numbers of agents that act by chance: in evaluation each session has its own."""

import numpy as np


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
        if self._session_rngs is None:
            return self._rng.random((size, width), np.float32)
        return np.stack([rng.random(width, np.float32) for rng in self._session_rngs])
