"""What agents of hyper-actions share: one vector Z answers a request, and the items whose features fit it best are the
slate (Liu et al., "Exploration and Regularization of the Latent Action Space in Recommendation", WWW 2023).

An actor emits Z, a *kernel* turns item embeddings into features of Z's width, and the score of an item is the product
of both, of which only the direction of Z matters. A critic values pairs of a state and a vector.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsim_hrl_agents.actor_critic import ActorCritic
from recsim_hrl_agents.base import Observations, Transitions
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.base import SlateAgent
from recsim_hrl_agents.slates.replay import Requests, SlateReplay
from recsim_hrl_agents.slates.state import Encoder, SlateState
from recsim_hrl_agents.slates.targets import td_target

Windows = dict[str, np.ndarray] | dict[str, Tensor]


@dataclass(frozen=True)
class HyperConfig:
    """Settings that agents of hyper-actions share."""

    encoder: Encoder = "means"
    """How histories are read: "means", or "attention" as in SASRec, which takes twenty times as long."""
    width: int = 32
    """Of the state."""
    kernel: int = 32
    """Width E of hyper-actions and of the items' features."""
    hidden: int = 128
    """Width of the hidden layers of actor and critic."""
    gamma: float = 0.9
    """Discount of one request."""
    tau: float = 0.01
    """Share of the networks that the target networks take over at each update."""
    actor_learning_rate: float = 1e-3
    """Adam step size of the actor and the kernel."""
    critic_learning_rate: float = 1e-3
    """Adam step size of the critic."""
    batch_size: int = 128
    """Requests per gradient update."""
    buffer_size: int = 100_000
    """Requests kept for replay."""
    warmup_steps: int = 2_000
    """Requests answered with random hyper-actions before learning starts."""
    steps_per_update: int = 64
    """Requests per gradient update: with 64 parallel users one update follows each step of them all."""
    noise: float = 0.5
    """Length of the Gaussian exploration noise relative to the hyper-action."""
    temperature: float = 0.0
    """While exploring, slates are drawn with chances in proportion to exp(score / temperature), one item after the
    other; 0: the best items are shown."""
    inverted_mask: bool = False
    """Make the mistake of the published code in the critic's target, to measure it; see
    :func:`recsim_hrl_agents.slates.targets.td_target`."""
    max_gradient_norm: float = 10.0
    """Gradients of each network are clipped to this norm."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("width", "kernel", "hidden", "batch_size", "buffer_size", "steps_per_update"):
            if getattr(self, name) < 1:
                raise ValueError(f"{kind} {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("actor_learning_rate", "critic_learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{kind} {name}: got {getattr(self, name)}, allowed numbers above 0")
        for name in ("gamma", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{kind} {name}: got {getattr(self, name)}, allowed 0 to 1")
        for name in ("noise", "temperature", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{kind} {name}: got {getattr(self, name)}, allowed 0 or more")


class HyperActor(nn.Module):
    """Hyper-actions (B, E) of users, and features of items of the same width."""

    def __init__(self, market: Market, config: HyperConfig) -> None:
        super().__init__()
        self.state = SlateState(market, config.encoder, config.width)
        self.head = two_layers(config.width, config.hidden, config.kernel)
        self.kernel = nn.Linear(market.embedding_dim, config.kernel)

    def forward(self, observations: Windows) -> Tensor:
        """Hyper-actions (B, E) of length 1."""
        return normalize(self.head(self.state(observations)), dim=-1)

    def features(self, items: Tensor) -> Tensor:
        """(..., E) of the items at catalogue indices (...), of length 1."""
        return self.of_embeddings(self.state.items.items(items))

    def of_embeddings(self, embeddings: Tensor) -> Tensor:
        """(..., E) features of items with ``embeddings`` (..., D)."""
        return normalize(self.kernel(embeddings), dim=-1)

    def scores(self, hyper_actions: Tensor, stock: Tensor) -> Tensor:
        """(B, P) scores of items with embeddings ``stock`` (P, D) under ``hyper_actions`` (B, E)."""
        return hyper_actions @ self.of_embeddings(stock).T


class HyperCritic(nn.Module):
    """Values of a vector in a state."""

    def __init__(self, market: Market, config: HyperConfig) -> None:
        super().__init__()
        self.state = SlateState(market, config.encoder, config.width)
        self.head = two_layers(config.width + config.kernel, config.hidden, 1)

    def forward(self, observations: Windows, vectors: Tensor) -> Tensor:
        """q (B,) of ``vectors`` (B, E)."""
        return self.head(torch.cat([self.state(observations), vectors], -1)).squeeze(-1)


def two_layers(width: int, hidden: int, out: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


class HyperAgent(ActorCritic, SlateAgent):
    """An actor of hyper-actions and a critic; subclasses say what the critic values and what else the actor learns."""

    def __init__(self, market: Market, config: HyperConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or self.config_class(), seed)
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor, critic = self._make_actor(), HyperCritic(market, config)
        self._learn_with(actor, critic, config.actor_learning_rate, config.critic_learning_rate)
        self._replay = SlateReplay(config.buffer_size)
        self._emitted = torch.zeros(0, config.kernel)  # (B, E) the latest hyper-actions

    def _make_actor(self) -> HyperActor:
        return HyperActor(self.market, self.config)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`; exploring adds noise to the hyper-action, and may draw items by their scores."""
        hyper = self.actor(observations)  # (B, E)
        if explore:
            hyper = self._emitted = self._try_out(hyper)
        scores = self.actor.scores(hyper, self.stock)  # (B, P)
        if explore and self.config.temperature:
            return self.drawn_slate(scores, self.config.temperature, observations)
        return self.best_slate(scores, observations)

    def _try_out(self, hyper: Tensor) -> Tensor:
        """(B, E) what is emitted in place of ``hyper`` (B, E) to explore."""
        normal = torch.randn(hyper.shape, generator=self._draws)  # (B, E)
        if self.is_warming_up:
            return normalize(normal, dim=-1)
        return normalize(hyper + self.config.noise * normal / hyper.shape[-1] ** 0.5, dim=-1)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """Products of the hyper-action and the items' features."""
        return torch.einsum("be,bne->bn", self.actor(observations), self.actor.features(items))

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Store one step and make the gradient updates that are due; metrics are those of the last one."""
        self._replay.add(replace(transitions, actions=self._emitted))
        return self._learn_when_due(len(transitions.rewards))

    def _learn(self) -> dict[str, Tensor]:
        batch = self._replay.sample(self.config.batch_size, self._draws)
        target = self._target(batch)  # (S,)
        q = self.critic(batch.observations, self._valued(batch))  # (S,)
        critic_loss = (q - target).square().mean()
        self._descend(self._critic_optimizer, self.critic, critic_loss)

        hyper = self.actor(batch.observations)  # (S, E)
        actor_q = self.critic(batch.observations, hyper)  # (S,)
        also, metrics = self._also_learned(batch, hyper)
        self._descend(self._actor_optimizer, self.actor, also - actor_q.mean())
        self._follow()
        learned = {"critic_loss": critic_loss, "q": q.mean(), "actor_q": actor_q.mean(), "target": target.mean()}
        return {name: value.detach() for name, value in (learned | metrics).items()}

    @torch.no_grad()
    def _target(self, batch: Requests) -> Tensor:
        """(S,) what the critic is to learn, with the target networks' hyper-actions and values."""
        following = batch.next_observations
        values = self.target_critic(following, self.target_actor(following))  # (S,)
        return td_target(batch.rewards, values, batch.terminated, self.config.gamma, self.config.inverted_mask)

    @abstractmethod
    def _valued(self, batch: Requests) -> Tensor:
        """(S, E) the vectors whose values the critic learns from what the requests brought."""

    @abstractmethod
    def _also_learned(self, batch: Requests, hyper: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the actor minimises beside -Q of its hyper-actions ``hyper`` (S, E), and metrics."""
