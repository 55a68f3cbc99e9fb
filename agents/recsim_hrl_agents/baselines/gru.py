"""A recurrent ranker: one-layer GRUs read the user's behaviour as sequences (after Hidasi et al., ICLR 2016)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.types import R
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.factors import FactorNetwork, joined
from recsim_hrl_agents.baselines.ranker import Ranker, RankerConfig
from recsim_hrl_agents.market import HISTORIES
from recsim_hrl_agents.networks import ItemTable, StateEncoder


@dataclass(frozen=True)
class GRUConfig(RankerConfig):
    """Settings of the recurrent ranker."""

    hidden: int = 32
    """Width of each GRU and of the state."""
    passes: int = 2
    """Most times that an impression is learned from; with more, the identities of rare items are learned by heart."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("hidden")


class RecurrentRanker(FactorNetwork):
    """Logit of r for item i with embedding e: (w_r s + b_r) + b_ir + <W_r s + c_r, e>, s the state of the GRUs."""

    def __init__(self, items: int, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        self.encoder = StateEncoder(HISTORIES, embedding_dim, hidden)
        self.rates = nn.Linear(hidden, R)
        self.queries = nn.Linear(hidden, R * embedding_dim)
        self.item_rates = nn.Embedding(items, R)
        with torch.no_grad():
            self.item_rates.weight.zero_()

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """See :meth:`FactorNetwork`."""
        state = self.encoder(items(windows, HISTORIES))  # (B, hidden)
        return joined(self.rates(state), self.queries(state).unflatten(-1, (R, -1)))

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """See :meth:`FactorNetwork`."""
        return self.item_rates(torch.as_tensor(index)), items.items(index)

    def constant(self) -> nn.Parameter:
        """See :meth:`RankingNetwork.constant`."""
        return self.rates.bias


class GRU(Ranker):
    """The supervised ranker that reads histories as sequences."""

    name = "gru"
    config_class = GRUConfig

    def _make_network(self) -> RecurrentRanker:
        return RecurrentRanker(len(self.market.item_embeddings), self.market.embedding_dim, self.config.hidden)
