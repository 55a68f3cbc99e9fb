"""DQN, PPO, TD3 and SAC of stable-baselines3, unmodified, through their public API, as agents of this package."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import DQN, PPO, SAC, TD3, dqn, ppo, sac, td3
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from torch import Tensor

from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.sb3_base import SB3Agent
from recsim_hrl_agents.baselines.two_towers import TwoTowerDQNPolicy, TwoTowers
from recsim_hrl_agents.draws import SessionDraws
from recsim_hrl_agents.market import Market


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
