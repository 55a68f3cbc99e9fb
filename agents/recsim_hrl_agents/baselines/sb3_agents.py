"""DQN, PPO, TD3 and SAC of stable-baselines3, unmodified, through their public API, as agents of this package."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import DQN, PPO, SAC, TD3, dqn, ppo, sac, td3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.baselines.sb3 import NativeVecEnv
from recsim_hrl_agents.baselines.sb3_training import CurveCallback, global_generators_kept
from recsim_hrl_agents.baselines.two_towers import TwoTowerDQNPolicy, TwoTowers
from recsim_hrl_agents.draws import SessionDraws
from recsim_hrl_agents.loop import Curve
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import DecayedMeans, ItemTable

HALF_LIVES = (2.0, 8.0)
"""Of the means that the networks read, in items."""


@dataclass(frozen=True)
class DQNConfig:
    """Settings of SB3's DQN (item actions); names are SB3's."""

    learning_rate: float = 1e-3
    """Adam step size."""
    falling_rate: bool = True
    """Whether the step size falls linearly to 0 over the training, so that the last policy is not a chance one."""
    gamma: float = 0.95
    """Discount of one step."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    batch_size: int = 256
    """Transitions per gradient update."""
    learning_starts: int = 2_000
    """Environment steps before learning starts."""
    train_freq: int = 1
    """Steps of all sub-environments between gradient updates."""
    gradient_steps: int = 1
    """Gradient updates each time."""
    target_update_interval: int = 5_000
    """Environment steps between copies of the network to the target network."""
    exploration_fraction: float = 0.3
    """Share of the training over which epsilon falls from 1 to ``exploration_final_eps``."""
    exploration_final_eps: float = 0.05
    """Share of random items afterwards."""
    evaluation_eps: float = 0.05
    """Share of random items when the agent is judged, as where DQN was introduced (Mnih et al., 2015). Histories are
    short: without chance a policy comes back to the same state, and stays with items that have tired the user."""
    net_arch: tuple[int, ...] = (128, 128)
    """Hidden layers."""
    item_tower: bool = True
    """Whether Q values are products of a user's and an item's features, so that what is learned of an item tells of
    those like it, or outputs of one network, a column per candidate, as SB3 makes them."""


@dataclass(frozen=True)
class PPOConfig:
    """Settings of SB3's PPO (embedding or item actions); names are SB3's."""

    learning_rate: float = 2e-4
    """Adam step size."""
    falling_rate: bool = True
    """Whether the step size falls linearly to 0 over the training, so that the last policy is not a chance one."""
    gamma: float = 0.98
    """Discount of one step."""
    n_steps: int = 50
    """Steps of each sub-environment per rollout."""
    batch_size: int = 1600
    """Transitions per gradient update."""
    n_epochs: int = 5
    """Passes over each rollout."""
    gae_lambda: float = 0.95
    """Weight of longer returns in the advantage."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    log_std_init: float = -2.0
    """Logarithm of the initial standard deviation of embedding actions (with ``use_sde``, of its weights)."""
    use_sde: bool = True
    """Whether embedding actions explore by gSDE, noise that is a function of the state, in place of fresh noise."""
    sde_sample_freq: int = 10
    """Steps for which gSDE keeps its function. Orders need several like items in a row to be found."""
    net_arch: tuple[int, ...] = (128, 128)
    """Hidden layers."""


@dataclass(frozen=True)
class ContinuousConfig:
    """Settings that TD3 and SAC share (embedding actions); names are SB3's."""

    learning_rate: float = 3e-4
    """Adam step size."""
    falling_rate: bool = True
    """Whether the step size falls linearly to 0 over the training, so that the last policy is not a chance one."""
    gamma: float = 0.95
    """Discount of one step."""
    tau: float = 0.01
    """Share of the networks that the target networks take over at each update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    batch_size: int = 256
    """Transitions per gradient update."""
    learning_starts: int = 2_000
    """Environment steps of uniformly random actions before learning starts."""
    train_freq: int = 1
    """Steps of all sub-environments between gradient updates."""
    gradient_steps: int = 2
    """Gradient updates each time."""
    net_arch: tuple[int, ...] = (128, 128)
    """Hidden layers."""


@dataclass(frozen=True)
class TD3Config(ContinuousConfig):
    """Settings of SB3's TD3 (embedding actions)."""

    action_noise: float = 0.2
    """Standard deviation of the noise on actions scaled to [-1, 1]."""
    noise_theta: float = 0.15
    """How fast the Ornstein-Uhlenbeck noise forgets, per step; 1 draws each step anew. Orders need several like items
    in a row to be found."""


@dataclass(frozen=True)
class SACConfig(ContinuousConfig):
    """Settings of SB3's SAC (embedding actions)."""

    ent_coef: str = "auto_0.01"
    """Weight of the entropy bonus: "auto_0.01" learns it, from 0.01 on, "0.01" keeps it. SB3's own beginning, 1, is
    worth far more than the rewards here, and a training of some thousand updates would not get away from it."""
    use_sde: bool = True
    """Whether actions explore by gSDE, noise that is a function of the state, in place of fresh noise."""
    sde_sample_freq: int = 10
    """Steps for which gSDE keeps its function. Orders need several like items in a row to be found."""


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


class DQNAgent(SB3Agent):
    """SB3's DQN: one output per candidate."""

    name = "sb3-dqn"
    config_class = DQNConfig
    algorithm = DQN
    action = "item"

    def __init__(self, market: Market, config: DQNConfig | None = None, seed: int = 0) -> None:
        config = config or DQNConfig()
        if config.item_tower and not config.net_arch:
            raise ValueError(
                f"agent {self.name}: got net_arch=() with item_tower=True, allowed at least one hidden layer, whose "
                "width the item's features take; name one (net_arch=(128,)) or set item_tower=False"
            )
        self.policy_class = TwoTowerDQNPolicy if config.item_tower else dqn.MultiInputPolicy
        super().__init__(market, config, seed)
        self._draws = SessionDraws(seed)

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`."""
        self._draws.begin(starting, seeds)

    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`; of every ``1 / evaluation_eps`` items one is drawn uniformly."""
        best = super().act(observations, explore=explore)  # (B,)
        chance, which = self._draws.uniform(len(best), 2).T  # (B,) each
        drawn = (which.astype(np.float64) * len(self.market.candidates)).astype(best.dtype)  # (B,)
        return np.where(chance < self.config.evaluation_eps, drawn, best)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The Q values; without an item tower there are some for candidates alone."""
        state = self._state(observations)
        network = self.policy.q_net
        if not isinstance(network.q_net, TwoTowers):
            return self._of_candidates(network(state), items)
        features = network.extract_features(state, network.features_extractor)  # (B, features)
        return network.q_net.values(features, self._embeddings(items))  # (B, n)

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["item_tower"], settings["evaluation_eps"]
        return settings


class PPOAgent(SB3Agent):
    """SB3's PPO: a Gaussian around an embedding, or a distribution over the candidates."""

    name = "sb3-ppo"
    config_class = PPOConfig
    algorithm = PPO
    policy_class = ppo.MultiInputPolicy
    passed_on = ("use_sde",)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """By what the policy does, as PPO has no values of items: how similar its action is to each embedding, the rule
        by which the environment picks (MaHRL Eq. 9); with item actions the log-probabilities, of candidates alone."""
        if self.market.action == "item":
            return self._of_candidates(
                self.policy.get_distribution(self._state(observations)).distribution.logits, items
            )
        return self._similarity(observations, items)

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["log_std_init"]
        return settings | {"use_sde": self.config.use_sde and self.market.action == "embedding"}

    def _policy(self) -> dict[str, Any]:
        return super()._policy() | {"log_std_init": self.config.log_std_init}


class ContinuousAgent(SB3Agent):
    """TD3 and SAC: two critics of embeddings."""

    action = "embedding"

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The lesser of the two critics' values, as in their targets, of the embeddings as actions in [-1, 1]."""
        state = self._state(observations)
        critic = self.policy.critic
        features = critic.extract_features(state, critic.features_extractor).unsqueeze(1)  # (B, 1, features)
        actions = torch.from_numpy(self.policy.scale_action(self._embeddings(items).numpy()))  # (B, n, D)
        pairs = torch.cat([features.expand(*items.shape, -1), actions], -1)  # (B, n, features + D)
        return torch.stack([network(pairs).squeeze(-1) for network in critic.q_networks]).amin(0)  # (B, n)


class TD3Agent(ContinuousAgent):
    """SB3's TD3 on embeddings."""

    name = "sb3-td3"
    config_class = TD3Config
    algorithm = TD3
    policy_class = td3.MultiInputPolicy

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        deviation, theta = settings.pop("action_noise"), settings.pop("noise_theta")
        # SB3's sigma is that of a step; the noise it adds up to should have the deviation that was asked for.
        sigma = deviation * (1.0 - (1.0 - theta) ** 2) ** 0.5
        width = self.market.embedding_dim
        noise = OrnsteinUhlenbeckActionNoise(np.zeros(width), np.full(width, sigma), theta, dt=1.0)
        return settings | {"action_noise": noise}


class SACAgent(ContinuousAgent):
    """SB3's SAC on embeddings."""

    name = "sb3-sac"
    config_class = SACConfig
    algorithm = SAC
    policy_class = sac.MultiInputPolicy
    passed_on = ("use_sde",)


def train_sb3(algorithm: str, env: VectorEnv, steps: int, seed: int = 0, **overrides: Any) -> SB3Agent:
    """Train an SB3 algorithm on a native vector environment.

    Args:
        algorithm: "dqn", "ppo", "td3" or "sac".
        env: Vector environment under SAME_STEP autoreset.
        steps: Environment steps, over all sub-environments.
        seed: Seeds agent and environment.
        overrides: Fields of the algorithm's config.

    Returns:
        The trained agent.
    """
    from recsim_hrl_agents.loop import train
    from recsim_hrl_agents.registry import make_agent

    agent = make_agent(f"sb3-{algorithm}", env, seed, **overrides)
    train(agent, env, steps, seed)
    return agent
