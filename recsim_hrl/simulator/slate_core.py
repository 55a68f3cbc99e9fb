"""The core of RecSlate: slates of items over the core of RecSession, users who leave, and a catalogue that changes.

A slate is read from the first slot to the last: the user answers each item as the response model says of one more
impression, so a slot's answer depends on the slots above it. The learned leave model says after each whether the user
goes on; what stands below is then not seen. Functions take arrays of ``B`` users, as those of
:mod:`recsim_hrl.simulator.core` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from recsim_hrl import random
from recsim_hrl.compiled import shared
from recsim_hrl.simulator import slate_choice
from recsim_hrl.simulator.core import (
    NO_PROBS,
    USERS_OF_A_THREAD,
    Observation,
    SessionConfig,
    SessionCore,
    session_totals,
)
from recsim_hrl.simulator.folder import SimulatorData, SimulatorError
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.simulator.temper import FULL_TEMPER, LEAST_TEMPER, published_reward, temper_cost
from recsim_hrl.types import DEFAULT_REWARDS

SlateAction = Literal["items", "embeddings", "query", "tokens"]
Leave = Literal["learned", "temper", "never"]
RewardRule = Literal["responses", "clicks", "rl4rs"]
LEAVE_STREAM = 5
"""Random stream of leaving, beside those of :mod:`recsim_hrl.simulator.kernels`."""
TOKEN_BOUND = 10.0
"""Logits of tokens lie between this and its negative."""


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
        if turnover > 0 and self.candidates is None:
            raise ValueError(
                "catalog_turnover: got a share to replace with candidates=None, allowed only with fewer candidates "
                "than the catalogue has items; pass e.g. candidates=1000"
            )
        object.__setattr__(self, "rewards", self.session.rewards)  # the other fields are checked there

    @property
    def session_length(self) -> int:
        """Items shown in a session, at the most."""
        return self.slate_size * self.max_requests

    @property
    def session(self) -> SessionConfig:
        """The task of showing the same items one by one."""
        stock = self.stock if self.stock is not None or self.catalog_turnover > 0 else self.candidates
        return SessionConfig(
            session_length=self.session_length,
            observation=self.observation,
            candidates=stock,
            history=self.history,
            response_noise=self.response_noise,
            rewards=self.rewards,
        )


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: got {value!r}, allowed are whole numbers from {least}; pass e.g. {name}={least + 9}")


class SlateState(NamedTuple):
    """``B`` users in the middle of their sessions."""

    session: SessionState
    request: np.ndarray  # (B,) int64, slates shown so far
    left: np.ndarray  # (B,) bool, whether the user has left
    temper: np.ndarray  # (B,) float64, what is left of it
    first: np.ndarray  # (B,) int64, place in the stock of the oldest item on offer
    total: np.ndarray  # (B,) float64, reward so far


@dataclass(frozen=True)
class SlateOutcome:
    """What one request brought to each user."""

    item: np.ndarray  # (B, K) int64 catalogue indices of the slate
    response: np.ndarray  # (B, K) int64, a skip where the user did not look
    is_seen: np.ndarray  # (B, K) bool, whether the user looked
    reward: np.ndarray  # (B,) float64


class SlateCore:
    """Tables and functions of the task; nothing in it changes after construction.

    Args:
        data: Catalogue, weights of the response model, pool of users and, for learned leaving, the leave model.
        config: The task's arguments.
        codes: (I, L) tokens of every item of the catalogue; needed where actions are tokens.
        threads: As for :class:`SessionCore`.

    Raises:
        ValueError: If a session shows more items than are on offer, as none is shown twice.
        SimulatorError: If the simulator has no leave model and one is asked for.
    """

    def __init__(
        self,
        data: SimulatorData,
        config: SlateConfig,
        codes: np.ndarray | None = None,
        threads: int | None = None,
    ) -> None:
        self.data, self.config, self.threads = data, config, threads
        self.session = SessionCore(data, config.session, threads)
        self.catalogue, self.bound, self.rewards = data.catalogue, self.session.bound, self.session.rewards
        self.stock = self.session.candidates  # (P,) catalogue indices
        self.offered = min(config.candidates or len(self.stock), len(self.stock))
        if config.session_length > self.offered:
            raise ValueError(
                f"slate_size and max_requests: got {config.slate_size} times {config.max_requests} items, allowed at "
                f"most the {self.offered} on offer, as no item is shown twice in a session; make fewer or smaller "
                "requests or pass more candidates"
            )
        if config.leave == "learned" and data.leaving is None:
            raise SimulatorError(
                f"leave: got 'learned' with the simulator {data.name!r}, which has no leave model, allowed one that "
                "has; add it with `recsim-hrl leaving FOLDER LOG`, or pass leave='temper' or leave='never'"
            )
        self._directions = np.ascontiguousarray(self.session.vectors.directions.T)  # (D, P)
        self.codes = self._codes(codes) if config.action == "tokens" else None  # (P, L)

    def _codes(self, codes: np.ndarray | None) -> np.ndarray:
        size = len(self.catalogue)
        if codes is None or codes.ndim != 2 or len(codes) != size:
            got = "none" if codes is None else f"those of shape {codes.shape}"
            raise ValueError(
                f"semantic_ids: got {got}, allowed ids of all {size} items of the catalogue where action='tokens'; "
                "make them with recsim_hrl.semantic_ids.fit_semantic_ids"
            )
        return np.ascontiguousarray(codes[self.stock], np.int64)

    def __deepcopy__(self, memo: dict) -> SlateCore:
        return self  # immutable, so copies of an environment share it

    @property
    def users(self) -> int:
        """Size of the pool of users."""
        return self.session.users

    def whose(self, state: SlateState) -> dict[str, np.ndarray]:
        """Whose sessions these are, (B,) each: ``user``, the index into the pool."""
        return self.session.whose(state.session)

    def initial(self, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None = None) -> SlateState:
        """Users at the start of a session; see :meth:`SessionCore.initial`."""
        size = len(seeds)
        state = SlateState(
            session=self.session.initial(seeds, episodes, users),
            request=np.zeros(size, np.int64),
            left=np.zeros(size, np.bool_),
            temper=np.full(size, FULL_TEMPER),
            first=np.zeros(size, np.int64),
            total=np.zeros(size),
        )
        state.first[:] = self._first_on_offer(episodes)
        return state

    def begin(
        self,
        state: SlateState,
        rows: np.ndarray,
        seeds: np.ndarray,
        episodes: np.ndarray,
        users: np.ndarray | None = None,
    ) -> None:
        """Put the users at ``rows`` (b,) at the start of a session; see :meth:`initial`."""
        self.session.begin(state.session, rows, seeds, episodes, users)
        state.request[rows], state.left[rows], state.total[rows] = 0, False, 0.0
        state.temper[rows], state.first[rows] = FULL_TEMPER, self._first_on_offer(episodes)

    def _first_on_offer(self, episodes: np.ndarray) -> np.ndarray:
        """(b,) place in the stock of the oldest item on offer in session ``episodes`` (b,) of a seed.

        The stock is a ring, and what is on offer a stretch of it, which moves on from session to session.
        """
        moved = (self.config.catalog_start + episodes) * (self.config.catalog_turnover * self.offered)
        return np.floor(moved + 1e-9).astype(np.int64) % len(self.stock)

    def is_open(self, state: SlateState) -> np.ndarray:
        """(B, P) bool, which items of the stock are on offer to each user and were not shown in the session."""
        place, first = np.arange(len(self.stock)), state.first[:, None]  # (P,), (B, 1)
        last = first + self.offered  # (B, 1) beyond the end of the stock, the stretch goes on at its start
        is_open = ((place >= first) & (place < last)) | (place < last - len(self.stock))
        shown, step = state.session.shown, state.session.step
        users, slots = np.nonzero(np.arange(shown.shape[1]) < step[:, None])
        is_open[users, shown[users, slots]] = False
        return is_open

    def observe(self, state: SlateState) -> dict[str, np.ndarray]:
        """What an agent sees: the histories, what can be shown, and how much of the session is over."""
        request = (state.request / self.config.max_requests).astype(np.float32)[:, None]
        return self.session.observe(state.session) | {
            "available": self.is_open(state).astype(np.int8),
            "request": request,
        }

    def choose(self, state: SlateState, action: np.ndarray) -> np.ndarray:
        """(B, K) places in the stock of the items that an action shows, each open and none twice.

        Args:
            state: The users.
            action: As the config says: (B, K) places, (B, K, D) or (B, D) vectors, or (B, L, V) logits; valid ones.
        """
        chosen = np.empty((len(action), self.config.slate_size), np.int64)
        choose = {
            "items": slate_choice.choose_by_index,
            "embeddings": slate_choice.choose_by_embeddings,
            "query": slate_choice.choose_by_query,
            "tokens": slate_choice.choose_by_tokens,
        }[self.config.action]
        table = self.codes if self.config.action == "tokens" else self._directions
        threads = min(self.session.most_threads, len(action) // USERS_OF_A_THREAD)
        shared(choose, (table, state.first, self.offered, self.is_open(state), action, chosen), len(action), threads)
        return chosen

    def step(self, state: SlateState, action: np.ndarray) -> SlateOutcome:
        """Show the slate that ``action`` asks for; its answers move the users on, who may leave."""
        slate = self.choose(state, action)  # (B, K)
        response, is_seen = np.zeros(slate.shape, np.int64), np.zeros(slate.shape, np.bool_)
        looking = np.arange(len(slate))
        for slot in range(slate.shape[1]):
            if not len(looking):
                break
            response[looking, slot] = self._show(state.session, looking, slate[looking, slot])
            is_seen[looking, slot] = True
            if self.config.leave == "learned":
                leaves = self._leaves(state.session, looking)  # (b,)
                state.left[looking[leaves]] = True
                looking = looking[~leaves]
        published = published_reward(response, rl4rs=self.config.reward == "rl4rs")  # (B,)
        if self.config.leave == "temper":
            state.temper[:] -= temper_cost(published, slate.shape[1])
            state.left[:] = state.temper < LEAST_TEMPER
        paid = (self.rewards[response] * is_seen).sum(1) if self.config.reward == "responses" else published  # (B,)
        state.request[:] += 1
        state.total[:] += paid
        return SlateOutcome(self.stock[slate], response, is_seen, paid)

    def _show(self, session: SessionState, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Show one of the ``items`` (b,) to each of the ``users`` (b,), who move on; their responses (b,)."""
        responses = np.full(len(users), -1)
        if len(users) == len(session.step):
            self.session.play(session, items, responses, NO_PROBS, moves=True)
        else:
            part = session.take(users)
            self.session.play(part, items, responses, NO_PROBS, moves=True)
            session.put(users, part)
        return responses

    def _leaves(self, session: SessionState, users: np.ndarray) -> np.ndarray:
        """(b,) bool, whether the ``users`` (b,) leave after what they saw last."""
        seed, episode, step = session.seed[users], session.episode[users], session.step[users]
        hazards = self.data.leaving.hazards(session.memory.whole[users], step)  # (b,)
        key = random.mix(random.mix(random.mix(seed, LEAVE_STREAM), episode), step)
        return random.uniform(key) < hazards

    def terminal(self, state: SlateState) -> np.ndarray:
        """(B,) whether the session is over: the user has left, or made all requests."""
        return state.left | (state.request >= self.config.max_requests)


def slate_totals(state: SlateState, rewards: np.ndarray) -> dict[str, np.ndarray]:
    """What sessions brought so far, (B,) each; see the environment's page."""
    totals = session_totals(state.session.responses.copy(), rewards, state.session.step.copy())
    return totals | {"total_reward": state.total.copy(), "depth": state.request.copy()}
