"""Arguments of the RecSlate task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from recsim_hrl.simulator.core import Observation, SessionConfig
from recsim_hrl.types import DEFAULT_REWARDS

SlateAction = Literal["items", "embeddings", "query", "tokens"]
Leave = Literal["learned", "temper", "never"]
RewardRule = Literal["responses", "clicks", "rl4rs"]


@dataclass(frozen=True)
class SlateConfig:
    """Arguments of the RecSlate task."""

    slate_size: int = 9
    """Items of a slate."""
    max_requests: int = 20
    """Slates of a session at the most; it is truncated after them."""
    action: SlateAction = "items"
    """"items": K indices into the stock; "embeddings": K vectors; "query": one vector, whose K nearest items are shown;
    "tokens": logits of the tokens of semantic ids, by which the K best items are shown."""
    observation: Observation = "embeddings"
    """What a history holds: the items' embeddings, or (faster) the items' catalogue indices plus one."""
    candidates: int | None = 1000
    """Items on offer at a time; None: the whole catalogue."""
    stock: int | None = None
    """Items that are ever on offer, the first of the simulator's recall order; None: ``candidates``, and with turnover
    the whole catalogue."""
    catalog_turnover: float = 0.0
    """Share of the items on offer that is replaced from one session to the next, the oldest first."""
    catalog_start: int = 0
    """Sessions for which the catalogue has changed before the first one."""
    leave: Leave = "learned"
    """When users leave: as the model fitted to the log says, by the published temper rule, or never."""
    reward: RewardRule = "responses"
    """What a request pays: ``rewards`` of its responses, or the published reward of clicks, or its RL4RS variant."""
    history: int = 20
    """Length of each history."""
    response_noise: float = 0.0
    """Standard deviation of Gaussian noise on the response logits."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """External reward of a skip, a click and an order."""

    def __post_init__(self) -> None:
        optional = tuple(name for name in ("candidates", "stock") if getattr(self, name) is not None)
        for name in ("slate_size", "max_requests", *optional):
            _check_whole(name, getattr(self, name), 1)
        _check_whole("catalog_start", self.catalog_start, 0)
        for name, kind in (("action", SlateAction), ("leave", Leave), ("reward", RewardRule)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed {get_args(kind)}; pass one of them")
        turnover = self.catalog_turnover
        if isinstance(turnover, bool) or not isinstance(turnover, (int, float)) or not 0.0 <= turnover <= 1.0:
            raise ValueError(
                f"catalog_turnover: got {turnover!r}, allowed numbers from 0 to 1; pass e.g. 0.05, and a twentieth of "
                "the items is replaced from session to session"
            )
        object.__setattr__(self, "rewards", self.session.rewards)  # the other fields are checked there

    @property
    def session_length(self) -> int:
        """Items shown in a session, at the most."""
        return self.slate_size * self.max_requests

    @property
    def session(self) -> SessionConfig:
        """The task of showing the same items one by one."""
        return SessionConfig(
            session_length=self.session_length,
            observation=self.observation,
            candidates=self.stock if self.stock is not None or self.catalog_turnover > 0 else self.candidates,
            history=self.history,
            response_noise=self.response_noise,
            rewards=self.rewards,
        )

    def offered(self, items: int) -> int:
        """How many are on offer at a time of a catalogue of so many ``items``."""
        stock = min(self.session.candidates or items, items)
        return min(self.candidates or stock, stock)

    def check_offer(self, items: int) -> None:
        """Refuse a catalogue of so many ``items``, if it has too few.

        Raises:
            ValueError: If a session shows more than are on offer; or if more are to be replaced than stand by.
        """
        offered, stock = self.offered(items), min(self.session.candidates or items, items)
        if self.session_length > offered:
            raise ValueError(
                f"slate_size and max_requests: got {self.slate_size} times {self.max_requests} items, allowed at most "
                f"the {offered} on offer, as no item is shown twice in a session; make fewer or smaller requests or "
                "pass more candidates"
            )
        if math.ceil(self.catalog_turnover * offered - 1e-9) > stock - offered:
            raise ValueError(
                f"catalog_turnover: got {self.catalog_turnover:g} of the {offered} items on offer, allowed at most the "
                f"{stock - offered} that the stock has beside them, as all that come are to be new; pass fewer "
                f"candidates than {stock}, or a larger stock or catalogue"
            )


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: got {value!r}, allowed are whole numbers from {least}; pass e.g. {name}={least + 9}")
