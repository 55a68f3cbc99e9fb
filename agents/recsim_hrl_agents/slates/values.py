"""What agents share that show the items of the highest values: network, slow copy, memory, and how they explore."""

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.actor_critic import SlowCopies, adam, descend
from recsim_hrl_agents.base import Observations, Transitions
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import soft_update
from recsim_hrl_agents.slates.base import SlateAgent, available, best_available
from recsim_hrl_agents.slates.replay import Requests, SlateReplay
from recsim_hrl_agents.slates.state import Encoder


@dataclass(frozen=True)
class SlateValuesConfig:
    """Settings of agents that learn values of items in slates."""

    encoder: Encoder = "means"
    """How histories are read, see :class:`recsim_hrl_agents.slates.state.SlateState`."""
    width: int = 64
    """Of the state."""
    hidden: tuple[int, ...] = (128, 64)
    """Hidden layers of a user's tower; the last is as wide as the item's tower and its features."""
    gamma: float = 0.9
    """Discount of one request."""
    tau: float = 0.02
    """Share of the network that the target network takes over at each update."""
    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 128
    """Requests per gradient update."""
    buffer_size: int = 100_000
    """Requests kept for replay."""
    warmup_steps: int = 2_000
    """Requests answered with random slates before learning starts."""
    steps_per_update: int = 64
    """Requests per gradient update: with 64 parallel users one update follows each request of them all."""
    epsilon: float = 0.1
    """Share of the slots of exploring slates that hold a random item."""
    max_gradient_norm: float = 10.0
    """The gradient is clipped to this norm."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.encoder not in get_args(Encoder):
            raise ValueError(f"{name} encoder: got {self.encoder!r}, allowed {get_args(Encoder)}; pass one of them")
        for field in ("width", "batch_size", "buffer_size", "steps_per_update"):
            if getattr(self, field) < 1:
                raise ValueError(f"{name} {field}: got {getattr(self, field)}, allowed 1 or more; raise it")
        for field in ("gamma", "tau", "epsilon"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{name} {field}: got {getattr(self, field)}, allowed 0 to 1; it is a share")
        for field in ("learning_rate", "max_gradient_norm"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{name} {field}: got {getattr(self, field)}, allowed numbers above 0; raise it")
        if self.warmup_steps < 0:
            raise ValueError(f"{name} warmup_steps: got {self.warmup_steps}, allowed 0 or more; raise it")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(
                f"{name} hidden: got {self.hidden}, allowed one or more widths from 1; pass e.g. (128, 64)"
            )


class SlateValues(SlowCopies, SlateAgent):
    """Shows the items of the highest merit, for a class that says what merit is and how it is learned."""

    config: SlateValuesConfig

    def __init__(self, market: Market, config: SlateValuesConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or self.config_class(), seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self._build()
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self._optimizer = adam(self.network, self.config.learning_rate)
        self.memory = SlateReplay(self.config.buffer_size, keeps_available=True)

    @abstractmethod
    def _build(self) -> nn.Module:
        """The network."""

    @abstractmethod
    def _merits(self, observations: Observations) -> Tensor:
        """(B, P) by which the items of a slate are chosen from the stock, the highest first."""

    @abstractmethod
    def _loss(self, requests: Requests) -> tuple[Tensor, dict[str, Tensor]]:
        """What the network is to lower, and metrics."""

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`; exploring puts random items in a share epsilon of the slots."""
        if explore and self.is_warming_up:
            return self.random_slate(observations)
        merits = self._merits(observations)  # (B, P)
        if not explore:
            return self.best_slate(merits, observations)
        where = {"generator": self._draws}
        random_merits = torch.rand(merits.shape, **where)  # (B, P)
        is_random = torch.rand((len(merits), self.slate_size), **where) < self.config.epsilon  # (B, K)
        return with_random_slots(merits, random_merits, is_random, available(observations)).numpy()

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Store one request of all users and make the updates that are due; metrics are those of the last one."""
        self.memory.add(transitions)
        return self._learn_when_due(len(transitions.rewards))

    def _learn(self) -> dict[str, Tensor]:
        config = self.config
        loss, metrics = self._loss(self.memory.sample(config.batch_size, self._draws))
        descend(self._optimizer, self.network, loss, config.max_gradient_norm)
        soft_update(self.target, self.network, config.tau)
        return {"loss": loss.detach()} | metrics


def with_random_slots(merits: Tensor, random_merits: Tensor, is_random: Tensor, can_be_shown: Tensor) -> Tensor:
    """Slates of the best items in which some slots hold others, each item once.

    Args:
        merits: (B, P) by which the best are chosen, in their order.
        random_merits: (B, P) by which the others are.
        is_random: (B, K) which slots hold others.
        can_be_shown: (B, P) bool.

    Returns:
        (B, K) places.
    """
    size = is_random.shape[1]
    others = best_available(random_merits, can_be_shown, size)  # (B, K)
    taken = torch.zeros_like(can_be_shown).scatter(1, others, is_random)  # (B, P)
    best = best_available(merits, can_be_shown & ~taken, size)  # (B, K)
    rank = ((~is_random).cumsum(1) - 1).clamp_min(0)  # (B, K) how many better ones the slate has already
    return torch.where(is_random, others, best.gather(1, rank))
