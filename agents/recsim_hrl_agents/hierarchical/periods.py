"""What agents share whose decisions hold for c steps: where users stand in their periods, and when new ones are due."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from recsim_hrl_agents.base import Observations, Transitions


class Periods(ABC):
    """Periods of ``config.c`` steps, which end with their session."""

    config: Any
    _position: np.ndarray
    """(B,) items shown in the present periods; c: new decisions are due."""
    _last: Transitions | None
    """The latest step that was learned from."""

    @abstractmethod
    def _allocate(self, size: int) -> None:
        """Make room for the present periods of ``size`` users."""

    @abstractmethod
    def _close(self, rows: np.ndarray, transitions: Transitions) -> None:
        """Keep the periods of ``rows`` (B,), which end with these transitions."""

    def _fit_batch(self, size: int) -> None:
        if len(self._position) == size:
            return
        self._position, self._last = np.full(size, self.config.c), None
        self._allocate(size)

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`recsim_hrl_agents.base.Agent.begin`; a period ends with its session, and what was decided in it
        does not go on into the next."""
        self._fit_batch(len(starting))
        cut_short = starting & (self._position > 0) & (self._position < self.config.c)
        if cut_short.any() and self._last is not None:
            self._close(cut_short, self._last)
        self._position[starting] = self.config.c

    def _due(self, observations: Observations, explore: bool) -> np.ndarray:
        """(n,) users whose next step needs a new decision; nobody learns from steps that do not ``explore``."""
        self._fit_batch(len(next(iter(observations.values()))))
        if not explore:
            self._last = None
        return np.flatnonzero(self._position == self.config.c)
