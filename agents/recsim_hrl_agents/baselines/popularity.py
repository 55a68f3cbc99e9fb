"""The most rewarding items of the log first, the same order for everybody."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.baselines.shown import ShownItems
from recsim_hrl_agents.logged import LoggedSessions
from recsim_hrl_agents.market import Market


@dataclass(frozen=True)
class PopularityConfig:
    """Settings of the popularity ranker."""

    prior_impressions: float = 50.0
    """Impressions of average reward added to each item, so that a lucky rare item does not lead."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """What a skip, a click and an order count."""

    def __post_init__(self) -> None:
        if self.prior_impressions <= 0:
            raise ValueError(f"PopularityConfig prior_impressions: got {self.prior_impressions}, allowed above 0")


class Popularity(Agent):
    """Ranks candidates by their smoothed reward per impression in the log."""

    name = "popularity"
    config_class = PopularityConfig
    learns_from = "log"

    def __init__(self, market: Market, config: PopularityConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or PopularityConfig(), seed)
        self._shown = ShownItems(len(market.candidates))
        self.reward_rates: np.ndarray | None = None  # (I,)

    def fit(self, log: LoggedSessions) -> dict[str, float]:
        """Count rewards and impressions per item; see :meth:`Agent.fit`."""
        log = LoggedSessions.of(log)
        size = len(self.market.item_embeddings)
        if log.item_index.max() >= size:
            raise ValueError(
                f"log: got item index {log.item_index.max()}, allowed 0 to {size - 1}; pass a log of the market's items"
            )
        rewards = np.asarray(self.config.rewards)[log.response]  # (n,)
        impressions = np.bincount(log.item_index, minlength=size)  # (I,)
        sums = np.bincount(log.item_index, weights=rewards, minlength=size)  # (I,)
        prior = self.config.prior_impressions
        self.reward_rates = (sums + prior * rewards.mean()) / (impressions + prior)  # (I,)
        return {"mean_reward": float(rewards.mean()), "best_item_reward": float(self.reward_rates.max())}

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`."""
        self._shown.begin(starting)

    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        rates = self._fitted_rates()
        self._shown.fit_batch(len(observations["browsed"]))
        return self.market.item_actions(self._shown.best(rates[self.market.candidates]))

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The smoothed rewards per impression; items that the log never shows have the mean of all."""
        return torch.from_numpy(self._fitted_rates())[items]  # (B, n)

    def _fitted_rates(self) -> np.ndarray:
        """(I,) ``reward_rates``, which only a log can tell."""
        if self.reward_rates is None:
            raise ValueError("agent popularity: got no log yet, allowed after fit(log); call fit or load a saved agent")
        return self.reward_rates

    def tensors(self) -> dict[str, Tensor]:
        """``reward_rates`` (I,)."""
        return {} if self.reward_rates is None else {"reward_rates": torch.from_numpy(self.reward_rates)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        if "reward_rates" not in tensors:
            self.reward_rates = None
            return
        rates = tensors["reward_rates"]
        if len(rates) != len(self.market.item_embeddings):
            raise RuntimeError(
                f"it was fitted on {len(rates)} items, this market has {len(self.market.item_embeddings)}"
            )
        self.reward_rates = rates.numpy()
