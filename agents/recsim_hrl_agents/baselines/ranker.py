"""What the supervised rankers share: fitted to the log by maximum likelihood of skip, click and order, they show what
they predict to pay most at once. They differ by their networks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.types import DEFAULT_REWARDS, R
from recsim_hrl_agents.base import Agent, Observations
from recsim_hrl_agents.baselines.item_ids import ItemIds
from recsim_hrl_agents.baselines.shown import ShownItems
from recsim_hrl_agents.logged import LoggedSessions, Windows
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import ItemTable

USERS_PER_BLOCK = 8
"""Users scored at once: more, and the (users, candidates, hidden) products fall out of the processor's cache."""


@dataclass(frozen=True)
class RankerConfig:
    """Settings that every supervised ranker has."""

    learning_rate: float = 5e-3
    """Adam step size at the start; falls to zero along a cosine."""
    weight_decay: float = 1e-4
    """AdamW weight decay."""
    batch_size: int = 1024
    """Impressions per gradient update."""
    impressions: int = 1_000_000
    """Impressions to learn from in total: larger logs are read in part, smaller ones at most ``passes`` times."""
    passes: int = 4
    """Most times that an impression is learned from."""
    held_out: float = 0.05
    """Share of the sessions kept aside to report the log-loss on."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """What a skip, a click and an order count."""

    def __post_init__(self) -> None:
        self._check_at_least_one("batch_size", "impressions", "passes")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"{type(self).__name__}: got learning_rate {self.learning_rate} and weight_decay {self.weight_decay}, "
                "allowed above 0 and from 0"
            )
        if not 0 <= self.held_out < 1:
            raise ValueError(f"{type(self).__name__} held_out: got {self.held_out}, allowed 0 to below 1")

    def _check_at_least_one(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{type(self).__name__} {name}: got {getattr(self, name)}, allowed 1 or more")

    def _check_half_lives(self, half_lives: tuple[float, ...]) -> None:
        if not half_lives or min(half_lives) <= 0:
            raise ValueError(
                f"{type(self).__name__} half_lives: got {half_lives}, allowed one or more positive numbers"
            )


class RankingNetwork(nn.Module, ABC):
    """Response logits of items given history windows, in three parts, so that users and items are read once each."""

    @abstractmethod
    def read(self, items: ItemTable, windows: Observations) -> Tensor:
        """Features (B, reads) of users with history ``windows``."""

    @abstractmethod
    def encode(self, items: ItemTable, index: np.ndarray) -> tuple[Tensor, ...]:
        """Features, each (C, ...), of the items at the catalogue ``index`` (C,)."""

    @abstractmethod
    def forward(self, reads: Tensor, encoded: tuple[Tensor, ...]) -> Tensor:
        """Logits (..., R) of ``encoded`` items for users whose ``reads`` (..., reads) broadcast against them."""

    def expected_rewards(self, reads: Tensor, encoded: tuple[Tensor, ...], rewards: Tensor) -> Tensor:
        """(B, C) what items promise to pay users with ``reads`` (B, reads), if responses pay ``rewards`` (R,): the same
        ``encoded`` items for all users, each (C, ...), or their own, each (B, C, ...)."""
        return torch.softmax(self(reads.unsqueeze(1), encoded), -1) @ rewards  # (B, C, R) @ (R,)

    def expected_rewards_of_all(self, reads: Tensor, encoded: tuple[Tensor, ...], rewards: Tensor) -> Tensor:
        """The same (B, C), for many ``encoded`` items that are the same for all users."""
        return torch.cat([self.expected_rewards(block, encoded, rewards) for block in reads.split(USERS_PER_BLOCK)])

    def constant(self) -> nn.Parameter | None:
        """The constant (R,) of the logits, if the first fit is to start it at the logarithms of the response rates.

        It does not decay: what is known of no user and no item is those rates, and not nothing.
        """
        return None


class Ranker(Agent, ABC):
    """Shows the candidate, not shown yet, with the highest predicted immediate reward; subclasses bring the network."""

    config_class: ClassVar[type[RankerConfig]]
    learns_from = "log"
    reads_ids: ClassVar[bool] = False
    """Whether the network knows items by identity, and wants item ids even where observations hold embeddings."""

    def __init__(self, market: Market, config: RankerConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or self.config_class(), seed)
        self._shown = ShownItems(len(market.candidates))
        self._ids = ItemIds(market, self.name) if self.reads_ids else None
        self._items = ItemTable(market.item_embeddings, "item_ids" if self.reads_ids else market.observation)
        self._rewards = torch.tensor(self.config.rewards)  # (R,)
        self._fitted = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self._make_network()

    @abstractmethod
    def _make_network(self) -> RankingNetwork:
        """A network for this market and config, its weights drawn from torch's generator."""

    def fit(self, log: LoggedSessions) -> dict[str, float]:
        """Maximise the likelihood of the logged responses; see :meth:`Agent.fit`.

        Returns:
            ``log_loss`` and ``base_log_loss`` (of the mean response rates) on the sessions kept aside.
        """
        log = LoggedSessions.of(log).by_user()
        if log.item_index.max() >= len(self.market.item_embeddings):
            raise ValueError(
                f"log: got item index {log.item_index.max()}, allowed 0 to {len(self.market.item_embeddings) - 1}; "
                "pass a log of the market's items"
            )
        config = self.config
        windows = Windows(log, self.market.history)
        table = ItemTable(self.market.item_embeddings, "item_ids")
        rng = np.random.default_rng(self.seed)
        session = np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets))  # (n,)
        aside = (rng.random(len(log.offsets) - 1) < config.held_out)[session]  # (n,)
        learned, kept = np.flatnonzero(~aside), np.flatnonzero(aside)
        rates = (np.bincount(log.response[learned], minlength=R) + 1) / (len(learned) + R)  # (R,)
        total = min(config.impressions, config.passes * len(learned))
        optimizer = self._optimizer(rates)
        updates = max(1, total // config.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        order = np.concatenate([rng.permutation(learned) for _ in range(config.passes)])[:total]
        for rows in np.array_split(order, updates):
            loss = self._log_loss(table, windows, log, rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self._fitted = True
        return self._report(table, windows, log, kept if len(kept) else learned, rates)

    def _optimizer(self, rates: np.ndarray) -> torch.optim.Optimizer:
        """AdamW for the network, its constant put at the response ``rates`` (R,) if nothing was learned yet."""
        constant = self.network.constant()
        groups = [{"params": [weights for weights in self.network.parameters() if weights is not constant]}]
        if constant is not None:
            groups.append({"params": [constant], "weight_decay": 0.0})
            if not self._fitted:
                constant.data.copy_(torch.from_numpy(np.log(rates)))
        config = self.config
        return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, foreach=True)

    def _log_loss(self, table: ItemTable, windows: Windows, log: LoggedSessions, rows: np.ndarray) -> Tensor:
        reads = self.network.read(table, windows.take(rows))  # (S, reads)
        items = self.network.encode(table, log.item_index[rows].astype(np.int64))  # each (S, ...)
        logits = self.network(reads, items)  # (S, R)
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(log.response[rows].astype(np.int64)))

    @torch.no_grad()
    def _report(
        self, table: ItemTable, windows: Windows, log: LoggedSessions, kept: np.ndarray, rates: np.ndarray
    ) -> dict[str, float]:
        kept = kept[:100_000]  # enough for a log-loss to the third digit
        blocks = np.array_split(kept, max(1, len(kept) // 8192))
        loss = sum(float(self._log_loss(table, windows, log, rows)) * len(rows) for rows in blocks) / len(kept)
        return {"log_loss": loss, "base_log_loss": float(-np.log(rates[log.response[kept]]).mean())}

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`."""
        self._shown.begin(starting)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`."""
        scores = self._promised(observations)  # (B, C)
        self._shown.fit_batch(len(scores))
        return self.market.item_actions(self._shown.best(scores.numpy()))

    def _promised(self, observations: Observations) -> Tensor:
        """(B, C) expected immediate rewards of all candidates."""
        reads = self._reads(observations)  # (B, reads)
        items = self.network.encode(self._items, self.market.candidates)  # each (C, ...)
        return self.network.expected_rewards_of_all(reads, items, self._rewards)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The expected immediate rewards."""
        encoded = self.network.encode(self._items, items.flatten().numpy())  # each (B n, ...)
        own = tuple(one.unflatten(0, items.shape) for one in encoded)  # each (B, n, ...)
        return self.network.expected_rewards(self._reads(observations), own, self._rewards)

    def _reads(self, observations: Observations) -> Tensor:
        """(B, reads) of users with these observations."""
        if not self._fitted:
            raise ValueError(
                f"agent {self.name}: got no log yet, allowed after fit(log); call fit or load a saved agent"
            )
        return self.network.read(self._items, observations if self._ids is None else self._ids(observations))

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the network."""
        return dict(self.network.state_dict()) if self._fitted else {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        if tensors:
            self.network.load_state_dict(tensors)
        self._fitted = bool(tensors)
