"""Uniformly random candidates: the lower bound that every other agent is held against."""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.baselines.shown import ShownItems
from recsim_hrl_agents.draws import SessionDraws
from recsim_hrl_agents.market import Market


@dataclass(frozen=True)
class RandomConfig:
    """The random agent has no settings."""


class RandomAgent(Agent):
    """Shows a candidate drawn uniformly from those not shown in the session yet."""

    name = "random"
    config_class = RandomConfig
    learns_from = "nothing"

    def __init__(self, market: Market, config: RandomConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or RandomConfig(), seed)
        self._shown = ShownItems(len(market.candidates))
        self._draws = SessionDraws(seed)

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`; with ``seeds`` each session draws from a generator of its own."""
        self._shown.begin(starting)
        self._draws.begin(starting, seeds)

    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        size = len(observations["browsed"])
        self._shown.fit_batch(size)
        scores = self._draws.uniform(size, len(self.market.candidates))  # (B, C)
        return self.market.item_actions(self._shown.best(scores))

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """Numbers drawn anew for each batch, from its items and the agent's seed, so that no other draw changes."""
        rng = np.random.default_rng((self.seed, zlib.crc32(items.numpy().tobytes())))
        return torch.from_numpy(rng.random(tuple(items.shape)))  # (B, n)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing is learned."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Nothing is learned."""
