"""A learner of stable-baselines3, unmodified, through its public API, as an agent of this package."""

from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.baselines.sb3 import NativeVecEnv
from recsim_hrl_agents.baselines.sb3_training import CurveCallback, global_generators_kept
from recsim_hrl_agents.loop import Curve
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import DecayedMeans, ItemTable

HALF_LIVES = (2.0, 8.0)
"""Of the means that the networks read, in items."""


class HistoryMeans(BaseFeaturesExtractor):
    """Decayed means of the three histories: a fifth of the width of SB3's own flattening."""

    def __init__(self, observation_space: spaces.Dict, market: Market) -> None:
        means = DecayedMeans(HISTORIES, market.embedding_dim, market.history, HALF_LIVES)
        super().__init__(observation_space, means.width)
        self._items = ItemTable(market.item_embeddings, market.observation)
        self._means = means
        self.market = market

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features) of item ids (B, N), which SB3 has turned into floats, or of embeddings (B, N, D)."""
        return self._means(self._items, observations)


class SB3Agent(Agent):
    """One algorithm of stable-baselines3; subclasses name it.

    Exploration happens inside SB3's own training loop. Each training starts from the current weights, with a new
    optimiser and an empty replay memory.
    """

    algorithm: ClassVar[type[BaseAlgorithm]]
    policy_class: type[BasePolicy]
    action: ClassVar[str | None] = None
    """The form of action that the algorithm needs, if it cannot do both."""
    passed_on: ClassVar[tuple[str, ...]] = ()
    """Settings of the algorithm that it passes on to its policy."""
    learns_from = "environment"

    def __init__(self, market: Market, config: Any = None, seed: int = 0) -> None:
        super().__init__(market, config or self.config_class(), seed)
        if self.action is not None and market.action != self.action:
            raise ValueError(
                f"agent {self.name}: got an environment with {market.action} actions, allowed {self.action} actions; "
                f"make it with action={self.action!r}"
            )
        with global_generators_kept():
            torch.manual_seed(seed)
            self.policy = self.policy_class(
                market.observation_space,
                market.action_space,
                lambda _: self.config.learning_rate,
                **self._policy_alone(),
            )

    def _settings(self) -> dict[str, Any]:
        """Arguments of the algorithm."""
        settings = asdict(self.config)
        del settings["net_arch"]
        if settings.pop("falling_rate"):
            settings["learning_rate"] = partial(_falling, self.config.learning_rate)
        return settings

    def _policy(self) -> dict[str, Any]:
        """Arguments of the policy."""
        return {
            "net_arch": list(self.config.net_arch),
            "features_extractor_class": HistoryMeans,
            "features_extractor_kwargs": {"market": self.market},
        }

    def _policy_alone(self) -> dict[str, Any]:
        """Arguments of the policy, those included that the algorithm passes on to it by itself."""
        settings = self._settings()
        return self._policy() | {name: settings[name] for name in self.passed_on}

    def learn(self, env: VectorEnv, steps: int, seed: int, curve: Curve) -> None:
        """SB3's own training loop; see :func:`recsim_hrl_agents.loop.train`."""
        vec_env = NativeVecEnv(env, self.market.observation_space)
        with global_generators_kept():
            model = self.algorithm(
                self.policy_class,
                vec_env,
                policy_kwargs=self._policy(),
                seed=self.seed,
                device="cpu",
                **self._settings(),
            )
            model.policy.load_state_dict(self.policy.state_dict())
            self.policy = model.policy  # so that whoever watches the training sees the weights of the moment
            model.set_logger(Logger(None, []))  # otherwise every training leaves a folder where temporary files go
            vec_env.seed(seed)
            model.learn(steps, callback=CurveCallback(curve))

    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        actions, _ = self.policy.predict(self._seen(observations), deterministic=not explore)
        return actions

    def _seen(self, observations: Observations) -> Observations:
        """Those of the ``observations`` that the policy knows: slates come with what can be shown beside them."""
        return {key: observations[key] for key in self.policy.observation_space.spaces}

    def _state(self, observations: Observations) -> dict[str, Tensor]:
        """The ``observations`` as SB3's networks take them."""
        return self.policy.obs_to_tensor(self._seen(observations))[0]

    def _embeddings(self, items: Tensor) -> Tensor:
        """(B, n, D) of catalogue indices (B, n)."""
        return torch.from_numpy(self.market.item_embeddings)[items]

    def _of_candidates(self, values: Tensor, items: Tensor) -> Tensor:
        """(B, n) those of all candidates' ``values`` (B, C) that are of ``items`` (B, n), which must be candidates."""
        return values.gather(1, torch.from_numpy(self.market.places(items.numpy())))

    def _similarity(self, observations: Observations, items: Tensor) -> Tensor:
        """(B, n) how similar the policy's action is to the embedding of each of ``items`` (B, n)."""
        action = torch.from_numpy(self.act(observations)).unsqueeze(1)  # (B, 1, D)
        return torch.nn.functional.cosine_similarity(action, self._embeddings(items), dim=-1)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of SB3's policy."""
        return dict(self.policy.state_dict())

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        self.policy.load_state_dict(tensors)


def _falling(rate: float, left: float) -> float:
    """SB3's schedule of step sizes, told what share of the training is ``left``."""
    return rate * left
