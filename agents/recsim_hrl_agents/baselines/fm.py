"""A factorization machine (Rendle, ICDM 2010): every two features of user and item interact through factors."""

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
from recsim_hrl_agents.networks import DecayedMeans, ItemTable

INITIAL_SCALE = 0.05
"""Standard deviation of factors that nothing was learned for yet."""


@dataclass(frozen=True)
class FMConfig(RankerConfig):
    """Settings of the factorization machine."""

    factors: int = 16
    """Learned numbers per feature; the paper's k."""
    half_lives: tuple[float, ...] = (2.0, 8.0)
    """Contents of each history are read as means that weigh an item half as much every so many places back."""
    learning_rate: float = 2e-3
    """Adam step size at the start; falls to zero along a cosine."""
    passes: int = 2
    """Most times that an impression is learned from; with more, the identities of rare items are learned by heart."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("factors")
        self._check_half_lives(self.half_lives)


class Fields(nn.Module):
    """One side's features x: some of many ids, each with a value (twice the same is two features), and a dense vector.

    Args:
        ids: How many ids there are.
        dense: Width X of the dense vector.
        factors: Factors E per feature.
    """

    def __init__(self, ids: int, dense: int, factors: int) -> None:
        super().__init__()
        self.id_weights = nn.Embedding(ids, R)
        self.id_factors = nn.Embedding(ids, factors)
        self.dense_weights = nn.Parameter(torch.zeros(dense, R))
        self.dense_factors = nn.Parameter(INITIAL_SCALE * torch.randn(dense, factors))
        with torch.no_grad():
            self.id_weights.weight.zero_()
            self.id_factors.weight.mul_(INITIAL_SCALE)

    def forward(self, ids: Tensor, values: Tensor, dense: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of w x (B, R), of v x (B, E) and of v^2 x^2 (B, E), of ids and values (B, F) and dense ones (B, X)."""
        weighted = self.id_factors(ids) * values.unsqueeze(-1)  # (B, F, E)
        linear = (self.id_weights(ids) * values.unsqueeze(-1)).sum(1) + dense @ self.dense_weights  # (B, R)
        sums = weighted.sum(1) + dense @ self.dense_factors  # (B, E)
        squares = weighted.square().sum(1) + dense.square() @ self.dense_factors.square()  # (B, E)
        return linear, sums, squares


class FactorizationMachine(FactorNetwork):
    """Logit of r: w_0r + sum of w_kr x_k + sum over pairs k < l of x_k x_l sum over e of a_re v_ke v_le (Eq. 1).

    The responses share the factors v and weigh them by a. Pairs take linear time (Lemma 3.1): the sum over k < l of
    v_k v_l x_k x_l is half of (sum of v x)^2 - sum of v^2 x^2. Between a user's features u and an item's i it falls
    apart into the user's own pairs, the item's own, and the product of the two sums.
    """

    def __init__(
        self, items: int, embedding_dim: int, history: int, half_lives: tuple[float, ...], factors: int
    ) -> None:
        super().__init__()
        self.means = DecayedMeans(HISTORIES, embedding_dim, history, half_lives)
        self.places = items + 1  # an item is a feature of its own in each history; the first of each is empty
        self.user = Fields(len(HISTORIES) * self.places, self.means.width, factors)
        self.item = Fields(items, embedding_dim, factors)
        self.rates = nn.Parameter(torch.zeros(R))  # w_0
        self.weights = nn.Parameter(torch.randn(R, factors))  # a

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """See :meth:`FactorNetwork`."""
        ids = stacked(windows)  # (B, H, N)
        present = (ids > 0).float()  # (B, H, N)
        values = present / present.sum(-1, keepdim=True).clamp(min=1)  # (B, H, N) a bag of n items holds 1 / n of each
        rows = ids + self.places * torch.arange(len(HISTORIES)).unsqueeze(-1)  # (B, H, N)
        linear, sums, squares = self.user(rows.flatten(1), values.flatten(1), self.means(items, windows))
        return joined(self.rates + linear + self._pairs(sums, squares), sums.unsqueeze(1) * self.weights)

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """See :meth:`FactorNetwork`."""
        rows = torch.as_tensor(index).unsqueeze(-1)  # (C, 1)
        linear, sums, squares = self.item(rows, torch.ones(rows.shape), items.items(index))
        return linear + self._pairs(sums, squares), sums

    def constant(self) -> nn.Parameter:
        """See :meth:`RankingNetwork.constant`."""
        return self.rates

    def _pairs(self, sums: Tensor, squares: Tensor) -> Tensor:
        """(B, R) interactions of one side's features with each other."""
        return 0.5 * (sums.square() - squares) @ self.weights.T


class FM(Ranker):
    """The supervised ranker in which every two features interact."""

    name = "fm"
    config_class = FMConfig
    reads_ids = True

    def _make_network(self) -> FactorizationMachine:
        market, config = self.market, self.config
        items = len(market.item_embeddings)
        return FactorizationMachine(items, market.embedding_dim, market.history, config.half_lives, config.factors)
