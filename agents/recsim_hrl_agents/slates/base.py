"""What agents of slates share: the stock, what of it can be shown, and slates of the best items."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.actor_critic import Paced
from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.draws import SessionDraws, with_gumbel_noise
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.replay import AVAILABLE


class SlateAgent(Paced, Agent):
    """An agent whose action is a slate of places in the stock.

    Args:
        market: Of an environment of slates that takes items and gives item ids.
        config: As for every agent.
        seed: As for every agent.
    """

    learns_from = "environment"

    def __init__(self, market: Market, config: Any, seed: int = 0) -> None:
        super().__init__(market, config, seed)
        if market.slate_size is None or market.action != "items" or market.observation != "item_ids":
            raise ValueError(
                f"agent {self.name}: got a market with slates of {market.slate_size}, actions {market.action!r} and "
                f"observations {market.observation!r}, allowed are slates, 'items' and 'item_ids'; make "
                "RecSlate-v0 with action='items' and observation='item_ids'"
            )
        self.slate_size = market.slate_size
        self.stock = torch.from_numpy(market.candidate_embeddings)  # (P, D)
        self._draws = torch.Generator().manual_seed(seed)
        self.chance = SessionDraws(seed)
        self._steps = self._steps_without_update = 0

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`; what is drawn to act (``chance``) is a session's own in evaluation."""
        self.chance.begin(starting, seeds)

    def places(self, items: Tensor) -> Tensor:
        """Places in the stock of catalogue indices, of any shape."""
        return torch.from_numpy(self.market.places(items.numpy()))

    def best_slate(self, scores: Tensor, observations: Observations) -> np.ndarray:
        """(B, K) places of the items of the highest ``scores`` (B, P) that can be shown, the best first."""
        return best_available(scores, available(observations), self.slate_size).numpy()

    def drawn_slate(self, scores: Tensor, temperature: float, observations: Observations) -> np.ndarray:
        """(B, K) places of items that can be shown, drawn one after the other without replacement, with chances in
        proportion to exp(score / ``temperature``) of ``scores`` (B, P): Plackett-Luce."""
        uniform = torch.from_numpy(self.chance.uniform(*scores.shape))  # (B, P)
        return self.best_slate(with_gumbel_noise(scores, temperature, uniform), observations)

    def random_slate(self, observations: Observations) -> np.ndarray:
        """(B, K) places of items that can be shown, all equally likely."""
        scores = self.chance.uniform(len(observations[AVAILABLE]), len(self.stock))  # (B, P)
        return self.best_slate(torch.from_numpy(scores), observations)


def available(observations: Observations) -> Tensor:
    """(B, P) bool, what can be shown."""
    return torch.as_tensor(observations[AVAILABLE]).bool()


def best_available(scores: Tensor, can_be_shown: Tensor, size: int) -> Tensor:
    """(B, size) places of the highest ``scores`` (B, P) among those that ``can_be_shown`` (B, P), the best first."""
    return scores.masked_fill(~can_be_shown, -torch.inf).topk(size, 1).indices


def nearest_slate(vectors: Tensor, directions: Tensor, observations: Observations, size: int) -> Tensor:
    """(B, size) places of the items most similar to each of ``vectors`` (B, D) among those that can be shown.

    What an environment does with a query, for markets that take items; ``directions`` (P, D) are those of the stock.
    """
    can_be_shown = available(observations).to(vectors.device)  # (B, P)
    return best_available(vectors @ directions.T, can_be_shown, size)
