"""What agents share whose decisions hold for c steps: where users stand in their periods, and when new ones are due."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Observations, Transitions
from recsim_hrl_agents.draws import SessionDraws, by_chance


class Periods(ABC):
    """Periods of ``config.c`` steps, which end with their session."""

    config: Any
    device: torch.device
    _draws: torch.Generator
    """Of choices while exploring."""
    _session_draws: SessionDraws
    """Of choices otherwise."""
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
        self._session_draws.begin(starting, seeds)

    def _due(self, observations: Observations, explore: bool) -> np.ndarray:
        """(n,) users whose next step needs a new decision; nobody learns from steps that do not ``explore``."""
        self._fit_batch(len(next(iter(observations.values()))))
        if not explore:
            self._last = None
        return np.flatnonzero(self._position == self.config.c)

    def _choose(self, values: Tensor, rows: np.ndarray, explore: bool) -> Tensor:
        """(n, ...) what users at ``rows`` (n,) are given, by its values (n, ..., K): the best, or drawn by chance."""
        if not self.config.temperature:
            return values.argmax(-1)
        if explore:
            uniform = torch.rand(values.shape, generator=self._draws, device=self.device)
        else:
            numbers = self._session_draws.uniform_of(rows.tolist(), values[0].numel())
            uniform = torch.from_numpy(numbers).view(values.shape).to(self.device)
        return by_chance(values, self.config.temperature, uniform)
