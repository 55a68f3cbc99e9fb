"""Supervised ranking for slates: skip, click and order are predicted item by item, and a slate is the items that
promise to pay most at once. Offline it learns from a log, online from the slates that it shows itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.types import DEFAULT_REWARDS, R
from recsim_hrl_agents.actor_critic import adam, descend
from recsim_hrl_agents.base import Observations, Transitions
from recsim_hrl_agents.baselines.factors import FactorNetwork, joined
from recsim_hrl_agents.baselines.ranker import Ranker, RankerConfig
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import ItemTable
from recsim_hrl_agents.slates.base import SlateAgent
from recsim_hrl_agents.slates.replay import SlateReplay
from recsim_hrl_agents.slates.state import REQUEST, Encoder, SlateState


class SlateRankingNetwork(FactorNetwork):
    """Logit of r for an item with embedding e: (w_r s + b_r) + c_r e + <W_r s, e>, of the user's state s.

    Args:
        market: Items.
        encoder: Of the state, "attention" as in SASRec or "means".
        width: Of the state.
        sees_request: Whether the state tells which request it is, which a log does not.
    """

    def __init__(self, market: Market, encoder: Encoder, width: int, sees_request: bool) -> None:
        super().__init__()
        self.state, self.sees_request = SlateState(market, encoder, width), sees_request
        self.rates = nn.Linear(width, R)
        self.queries = nn.Linear(width, R * market.embedding_dim)
        self.item_rates = nn.Linear(market.embedding_dim, R, bias=False)
        nn.init.zeros_(self.queries.weight)  # users are alike until they are known to differ

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """See :meth:`FactorNetwork`."""
        request = windows[REQUEST] if self.sees_request else torch.zeros(len(windows[HISTORIES[0]]), 1)  # (B, 1)
        state = self.state({key: windows[key] for key in HISTORIES} | {REQUEST: request})  # (B, width)
        return joined(self.rates(state), self.queries(state).unflatten(-1, (R, -1)))

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """See :meth:`FactorNetwork`; the items' own logits come from their embeddings, so new items have them, too."""
        embeddings = items.items(index)  # (C, D)
        return self.item_rates(embeddings), embeddings

    def constant(self) -> nn.Parameter:
        """See :meth:`RankingNetwork.constant`."""
        return self.rates.bias


@dataclass(frozen=True)
class SlateSupervisedConfig(RankerConfig):
    """Settings of offline supervised ranking."""

    encoder: Encoder = "means"
    """How histories are read: "means", or "attention" as in SASRec, which takes twenty times as long."""
    width: int = 32
    """Of the state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("width")


class SlateSupervised(SlateAgent, Ranker):
    """A ranker of the log whose best items are the slate."""

    name = "slate-supervised"
    config_class = SlateSupervisedConfig
    learns_from = "log"

    def _make_network(self) -> SlateRankingNetwork:
        return SlateRankingNetwork(self.market, self.config.encoder, self.config.width, sees_request=False)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        return self.best_slate(self._promised(observations), observations)


@dataclass(frozen=True)
class SlateSupervisedOnlineConfig:
    """Settings of online supervised ranking."""

    encoder: Encoder = "means"
    """How histories are read: "means", or "attention" as in SASRec, which takes twenty times as long."""
    width: int = 32
    """Of the state."""
    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 128
    """Requests per gradient update."""
    buffer_size: int = 100_000
    """Requests kept for replay."""
    warmup_steps: int = 2_000
    """Requests answered with random slates before learning starts."""
    steps_per_update: int = 64
    """Requests per gradient update."""
    temperature: float = 0.05
    """While learning, items are drawn one after the other with chances in proportion to exp(reward / temperature) of
    the reward that they promise."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """What a skip, a click and an order count."""
    max_gradient_norm: float = 10.0
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("width", "batch_size", "buffer_size", "steps_per_update"):
            if getattr(self, name) < 1:
                raise ValueError(f"SlateSupervisedOnlineConfig {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("learning_rate", "temperature", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"SlateSupervisedOnlineConfig {name}: got {getattr(self, name)}, allowed numbers above 0"
                )
        if self.warmup_steps < 0:
            raise ValueError(f"SlateSupervisedOnlineConfig warmup_steps: got {self.warmup_steps}, allowed 0 or more")


class SlateSupervisedOnline(SlateAgent):
    """The same predictions, learned from what the agent's own slates brought."""

    name = "slate-supervised-online"
    config_class = SlateSupervisedOnlineConfig

    def __init__(self, market: Market, config: Any = None, seed: int = 0) -> None:
        super().__init__(market, config or self.config_class(), seed)
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SlateRankingNetwork(market, config.encoder, config.width, sees_request=True)
        self._items = ItemTable(market.item_embeddings, market.observation)
        self._optimizer = adam(self.network, config.learning_rate)
        self._replay = SlateReplay(config.buffer_size)
        self._rewards = torch.tensor(config.rewards)  # (R,)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`; exploring draws items by what they promise."""
        if explore and self.is_warming_up:
            return self.random_slate(observations)
        reads = self.network.read(self._items, observations)  # (B, reads)
        items = self.network.encode(self._items, self.market.candidates)  # each (P, ...)
        scores = self.network.expected_rewards_of_all(reads, items, self._rewards)  # (B, P)
        if explore:
            return self.drawn_slate(scores, self.config.temperature, observations)
        return self.best_slate(scores, observations)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The expected immediate rewards."""
        reads = self.network.read(self._items, observations)  # (B, reads)
        return self.network.expected_rewards(reads, self.network.encode(self._items, items), self._rewards)

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Store one step and make the gradient updates that are due; metrics are those of the last one."""
        self._replay.add(transitions)
        return self._learn_when_due(len(transitions.rewards))

    def _learn(self) -> dict[str, Tensor]:
        config = self.config
        batch = self._replay.sample(config.batch_size, self._draws)
        reads = self.network.read(self._items, batch.observations).unsqueeze(1)  # (S, 1, reads)
        logits = self.network(reads, self.network.encode(self._items, batch.items))  # (S, K, R)
        seen = batch.is_seen  # (S, K) where users did not look there is no answer
        loss = nn.functional.cross_entropy(logits[seen], batch.responses[seen])
        descend(self._optimizer, self.network, loss, config.max_gradient_norm)
        return {"log_loss": loss.detach()}

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the network."""
        return dict(self.network.state_dict())

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        self.network.load_state_dict(tensors)
