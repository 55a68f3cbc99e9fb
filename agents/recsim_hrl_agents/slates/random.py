"""Slates of random items: what nobody should fall below."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.slates.base import SlateAgent


@dataclass(frozen=True)
class RandomSlatesConfig:
    """Random slates have no settings."""


class RandomSlates(SlateAgent):
    """Shows items that can be shown, all equally likely."""

    name = "slate-random"
    config_class = RandomSlatesConfig
    learns_from = "nothing"

    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        return self.random_slate(observations)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing is learned."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Nothing is learned."""
