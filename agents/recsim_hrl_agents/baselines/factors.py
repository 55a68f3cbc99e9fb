"""Rankers in which a user meets an item by an inner product alone, so that all pairs are one matrix product."""

import torch
from torch import Tensor

from recsim_hrl.types import R
from recsim_hrl_agents.baselines.ranker import RankingNetwork


class FactorNetwork(RankingNetwork):
    """Logits of response r: the user's own + the item's own + <the user's query for r, the item's factors>.

    ``read`` gives the user's part :func:`joined`, ``encode`` the item's own (C, R) and its factors (C, E).
    """

    def forward(self, reads: Tensor, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """See :meth:`RankingNetwork.forward`."""
        item_own, factors = encoded  # (..., R), (..., E)
        user_own, queries = reads[..., :R], reads[..., R:].unflatten(-1, (R, -1))  # (..., R), (..., R, E)
        return torch.einsum("...re,...e->...r", queries, factors) + user_own + item_own


def joined(own: Tensor, queries: Tensor) -> Tensor:
    """(B, R + R E) of a user's own logits (B, R) and queries (B, R, E)."""
    return torch.cat([own, queries.flatten(1)], -1)
