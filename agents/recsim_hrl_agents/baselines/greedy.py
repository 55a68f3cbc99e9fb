"""A supervised ranker of the library's own: an item's features meet decayed means of the user's histories."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.types import R
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.ranker import Ranker, RankerConfig, RankingNetwork
from recsim_hrl_agents.market import HISTORIES
from recsim_hrl_agents.networks import DecayedMeans, ItemTable


@dataclass(frozen=True)
class GreedyConfig(RankerConfig):
    """Settings of the greedy ranker."""

    hidden: int = 64
    """Width of the network."""
    half_lives: tuple[float, ...] = (2.0, 8.0)
    """Each history is read as means that weigh an item half as much every so many places back."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("hidden")
        self._check_half_lives(self.half_lives)


class ResponseRanker(RankingNetwork):
    """Response logits of items given history windows: an item's features meet the user's by sum and by product."""

    def __init__(self, embedding_dim: int, history: int, half_lives: tuple[float, ...], hidden: int) -> None:
        super().__init__()
        self.means = DecayedMeans(HISTORIES, embedding_dim, history, half_lives)
        self.user_sum = nn.Linear(self.means.width, hidden)
        self.user_product = nn.Linear(self.means.width, hidden)
        self.item_sum = nn.Linear(embedding_dim, hidden)
        self.item_product = nn.Linear(embedding_dim, hidden)
        self.head = nn.Linear(hidden, R)

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """Decayed means (B, reads) of the windows."""
        return self.means(items, windows)

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Item features (C, hidden) that are added to the user's, and that multiply them."""
        embeddings = items.items(index)  # (C, D)
        return self.item_sum(embeddings), self.item_product(embeddings)

    def forward(self, reads: Tensor, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """See :meth:`RankingNetwork.forward`."""
        added = self.user_sum(reads) + encoded[0]  # (..., hidden)
        hidden = torch.addcmul(added, self.user_product(reads), encoded[1])  # (..., hidden)
        return self.head(torch.relu(hidden))


class Greedy(Ranker):
    """The supervised ranker that reads items by their embeddings alone."""

    name = "greedy"
    config_class = GreedyConfig

    def _make_network(self) -> ResponseRanker:
        market, config = self.market, self.config
        return ResponseRanker(market.embedding_dim, market.history, config.half_lives, config.hidden)
