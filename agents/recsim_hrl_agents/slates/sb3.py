"""A2C, DDPG and TD3 of stable-baselines3, unmodified, as agents of slates: their action is one embedding, and the
environment shows the K items nearest to it (``action="query"``).
"""

from dataclasses import dataclass
from typing import Any

from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, a2c
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.sb3_agents import TD3Agent, TD3Config
from recsim_hrl_agents.baselines.sb3_base import SB3Agent
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.slates.state import Encoder, SlateState


@dataclass(frozen=True)
class SlateA2CConfig:
    """Settings of SB3's A2C; names are SB3's but for the first two."""

    encoder: Encoder = "means"
    """How histories are read: "means", or "attention" as in SASRec, which takes twenty times as long."""
    width: int = 32
    """Of the state."""
    learning_rate: float = 1e-3
    """Step size."""
    falling_rate: bool = True
    """Whether the step size falls linearly to 0 over the training, so that the last policy is not a chance one."""
    gamma: float = 0.9
    """Discount of one request."""
    n_steps: int = 5
    """Requests of each sub-environment per update."""
    gae_lambda: float = 0.95
    """Weight of longer returns in the advantage."""
    normalize_advantage: bool = True
    """Whether advantages are brought to deviation 1 in each update."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    log_std_init: float = -1.0
    """Logarithm of the initial standard deviation of the actions."""
    net_arch: tuple[int, ...] = (128,)
    """Hidden layers."""


@dataclass(frozen=True)
class SlateTD3Config(TD3Config):
    """Settings of SB3's DDPG and TD3 on slates; names are SB3's but for the first two."""

    encoder: Encoder = "means"
    """How histories are read: "means", or "attention" as in SASRec, which takes twenty times as long."""
    width: int = 32
    """Of the state."""
    gamma: float = 0.9
    """Discount of one request."""
    net_arch: tuple[int, ...] = (128,)
    """Hidden layers."""


class StateFeatures(BaseFeaturesExtractor):
    """The state that all agents of slates have, for SB3's networks."""

    def __init__(self, observation_space: spaces.Dict, market: Market, encoder: Encoder, width: int) -> None:
        super().__init__(observation_space, width)
        self._state = SlateState(market, encoder, width)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, width) of observations whose item ids SB3 has turned into floats."""
        if not self._state.items.reads_ids:
            return self._state(observations)
        return self._state(observations | {key: observations[key].long() for key in HISTORIES})


class SlateSB3(SB3Agent):
    """An algorithm of stable-baselines3 over queries."""

    action = "query"

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["encoder"], settings["width"]
        return settings

    def _policy(self) -> dict[str, Any]:
        config = self.config
        features = {"market": self.market, "encoder": config.encoder, "width": config.width}
        return super()._policy() | {"features_extractor_class": StateFeatures, "features_extractor_kwargs": features}


class SlateA2C(SlateSB3):
    """SB3's A2C: a Gaussian around a query."""

    name = "slate-a2c"
    config_class = SlateA2CConfig
    algorithm = A2C
    policy_class = a2c.MultiInputPolicy

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """How similar the query is to each embedding, the rule by which the environment picks."""
        return self._similarity(observations, items)

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["log_std_init"]
        return settings

    def _policy(self) -> dict[str, Any]:
        return super()._policy() | {"log_std_init": self.config.log_std_init}


class SlateTD3(SlateSB3, TD3Agent):
    """SB3's TD3 on queries."""

    name = "slate-td3"
    config_class = SlateTD3Config


class SlateDDPG(SlateTD3):
    """SB3's DDPG, which is its TD3 with one critic, no noise on targets and no delay of the actor."""

    name = "slate-ddpg"
    algorithm = DDPG

    def _policy(self) -> dict[str, Any]:
        return super()._policy() | {"n_critics": 1}
