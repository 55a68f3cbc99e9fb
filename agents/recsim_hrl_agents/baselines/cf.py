"""Collaborative filtering over items: who had these items in the histories responded like this to that item.

A factored item similarity model (FISM: Kabbur, Ning and Karypis, KDD 2013): a user is what is in the histories, so that
users whom the log never saw can be served, and an item is its identity; embeddings are not read.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.types import R
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.factors import FactorNetwork, joined
from recsim_hrl_agents.baselines.item_ids import stacked
from recsim_hrl_agents.baselines.ranker import Ranker, RankerConfig
from recsim_hrl_agents.market import HISTORIES
from recsim_hrl_agents.networks import ItemTable

INITIAL_SCALE = 0.1
"""Standard deviation of factors that nothing was learned for yet."""


@dataclass(frozen=True)
class CFConfig(RankerConfig):
    """Settings of collaborative filtering."""

    factors: int = 16
    """Learned numbers per item and role (in a history, as a candidate)."""
    agreement: float = 0.5
    """FISM's alpha: factors of the n items of a history are summed and divided by n to this power; 1 is their mean."""
    weight_decay: float = 0.3
    """AdamW weight decay: few impressions tell of one item, so that what they seem to tell is mostly chance."""
    passes: int = 2
    """Most times that an impression is learned from; with more, the identities of rare items are learned by heart."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("factors")
        if not 0 <= self.agreement <= 1:
            raise ValueError(f"CFConfig agreement: got {self.agreement}, allowed 0 to 1")


class FactoredSimilarity(FactorNetwork):
    """Logit of r for item i: b_r + b_ir + sum over histories h of <w_hr * u_h, q_i>, u_h = n_h^-alpha sum of p_j.

    FISM's estimate for each history, with weights w that say what the history tells about each response.
    """

    def __init__(self, items: int, factors: int, agreement: float) -> None:
        super().__init__()
        self.agreement = agreement
        self.remembered = nn.Embedding(items + 1, factors, padding_idx=0)  # p, by id
        self.offered = nn.Embedding(items, factors)  # q, by catalogue index
        self.item_rates = nn.Embedding(items, R)  # b_ir
        self.rates = nn.Linear(len(HISTORIES), R)  # b_r, and how it moves with how full the histories are
        self.weights = nn.Parameter(torch.randn(len(HISTORIES), R, factors))  # w
        with torch.no_grad():
            self.remembered.weight.mul_(INITIAL_SCALE)
            self.offered.weight.mul_(INITIAL_SCALE)
            self.item_rates.weight.zero_()

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """See :meth:`FactorNetwork`."""
        ids = stacked(windows)  # (B, H, N)
        counts = (ids > 0).sum(-1)  # (B, H)
        users = self.remembered(ids).sum(2) / counts.clamp(min=1).unsqueeze(-1) ** self.agreement  # (B, H, E)
        return joined(self.rates(counts / ids.shape[-1]), torch.einsum("bhe,hre->bre", users, self.weights))

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """See :meth:`FactorNetwork`."""
        rows = torch.as_tensor(index)  # (C,)
        return self.item_rates(rows), self.offered(rows)

    def constant(self) -> nn.Parameter:
        """See :meth:`RankingNetwork.constant`."""
        return self.rates.bias


class CF(Ranker):
    """The supervised ranker that knows items by identity alone."""

    name = "cf"
    config_class = CFConfig
    reads_ids = True

    def _make_network(self) -> FactoredSimilarity:
        return FactoredSimilarity(len(self.market.item_embeddings), self.config.factors, self.config.agreement)
