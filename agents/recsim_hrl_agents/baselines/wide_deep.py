"""Wide & Deep learning (Cheng et al., DLRS 2016): a linear model that memorises beside a network that generalises."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from recsim_hrl.types import R
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.baselines.item_ids import stacked
from recsim_hrl_agents.baselines.ranker import Ranker, RankerConfig, RankingNetwork
from recsim_hrl_agents.market import HISTORIES
from recsim_hrl_agents.networks import DecayedMeans, ItemTable

INITIAL_SCALE = 0.1
"""Standard deviation of learned identities at the start."""


@dataclass(frozen=True)
class WideDeepConfig(RankerConfig):
    """Settings of Wide & Deep."""

    kinds: int = 32
    """Kinds of items, found from their embeddings, that the wide part crosses."""
    factors: int = 8
    """Learned numbers per item that the deep part reads beside its embedding."""
    hidden: tuple[int, ...] = (64, 32)
    """Widths of the deep part's layers."""
    half_lives: tuple[float, ...] = (2.0, 8.0)
    """The deep part reads each history as means that weigh an item half as much every so many places back."""
    learning_rate: float = 2e-3
    """Adam step size at the start; falls to zero along a cosine."""
    passes: int = 2
    """Most times that an impression is learned from; with more, the identities of rare items are learned by heart."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("kinds", "factors")
        self._check_half_lives(self.half_lives)
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"WideDeepConfig hidden: got {self.hidden}, allowed one or more widths of 1 or more")


class WideDeepNetwork(RankingNetwork):
    """Logits: those of a linear model of identities and crosses of kinds, plus those of a multilayer perceptron.

    Args:
        embeddings: (I, D) of the catalogue; its kinds are found from them.
        history: Length N of a window.
        config: Widths.
    """

    def __init__(self, embeddings: Tensor, history: int, config: WideDeepConfig) -> None:
        super().__init__()
        items, width = embeddings.shape
        kinds = min(config.kinds, items)
        indicators = nn.functional.one_hot(kinds_of(embeddings, kinds), kinds).float()  # (I, K)
        self.register_buffer("indicators", nn.functional.pad(indicators, (0, 0, 1, 0)))  # (I + 1, K), row 0 is empty
        self.item_weights = nn.Embedding(items, R)
        self.crosses = nn.Linear(len(HISTORIES) * kinds, R * kinds, bias=False)
        self.identities = nn.Embedding(items + 1, config.factors, padding_idx=0)
        self.means = DecayedMeans(HISTORIES, width, history, config.half_lives)
        first, *others = config.hidden
        self.from_user = nn.Linear(self.means.width + len(HISTORIES) * config.factors, first)
        self.from_item = nn.Linear(width + config.factors, first, bias=False)
        widths = zip(config.hidden, others, strict=False)
        self.layers = nn.Sequential(nn.ReLU(), *(part for a, b in widths for part in (nn.Linear(a, b), nn.ReLU())))
        self.head = nn.Linear(config.hidden[-1], R)
        with torch.no_grad():
            self.item_weights.weight.zero_()
            self.crosses.weight.zero_()
            self.identities.weight.mul_(INITIAL_SCALE)

    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """(B, R K + F): weights of the kinds of candidates in the wide part, and the deep part's first layer."""
        ids = stacked(windows)  # (B, H, N)
        shares = _bags(ids, self.indicators) / ids.shape[-1]  # (B, H, K) of the places of each window
        counts = (ids > 0).sum(-1, keepdim=True).clamp(min=1)  # (B, H, 1)
        identities = _bags(ids, self.identities.weight) / counts  # (B, H, E)
        deep = self.from_user(torch.cat([self.means(items, windows), identities.flatten(1)], -1))  # (B, F)
        return torch.cat([self.crosses(shares.flatten(1)), deep], -1)

    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Item weights (C, R), which kind each is of (C, K), and the deep part's first layer (C, F)."""
        rows = torch.as_tensor(index)  # (C,)
        features = torch.cat([items.items(index), self.identities(rows + 1)], -1)  # (C, D + E)
        return self.item_weights(rows), self.indicators[rows + 1], self.from_item(features)

    def forward(self, reads: Tensor, encoded: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """See :meth:`RankingNetwork.forward`."""
        item_weights, kinds, from_item = encoded
        crosses, from_user = reads.split([self.crosses.out_features, from_item.shape[-1]], -1)
        wide = item_weights + torch.einsum("...rk,...k->...r", crosses.unflatten(-1, (R, -1)), kinds)  # (..., R)
        return wide + self.head(self.layers(from_user + from_item))

    def constant(self) -> nn.Parameter:
        """See :meth:`RankingNetwork.constant`."""
        return self.head.bias


def _bags(ids: Tensor, table: Tensor) -> Tensor:
    """(B, H, E) sums of the rows of ``table`` (I + 1, E) at ``ids`` (B, H, N); its row 0 counts nothing."""
    return nn.functional.embedding_bag(ids.flatten(0, 1), table, mode="sum", padding_idx=0).unflatten(0, ids.shape[:2])


def kinds_of(embeddings: Tensor, kinds: int) -> Tensor:
    """(I,) the cluster of each of ``embeddings`` (I, D), of ``kinds`` in all, found by k-means."""
    seed = int(torch.randint(2**31, ()))
    _, nearest = kmeans2(embeddings.numpy(), kinds, iter=20, minit="++", rng=seed)
    return torch.from_numpy(nearest).long()


class WideDeep(Ranker):
    """The supervised ranker that memorises and generalises side by side."""

    name = "wide-deep"
    config_class = WideDeepConfig
    reads_ids = True

    def _make_network(self) -> WideDeepNetwork:
        return WideDeepNetwork(torch.from_numpy(self.market.item_embeddings), self.market.history, self.config)
