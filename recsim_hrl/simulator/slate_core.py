"""The core of RecSlate: slates of items over the core of RecSession, users who leave, and a catalogue that changes.

A slate is read from the first slot to the last: the user answers each item as the response model says of one more
impression, so a slot's answer depends on the slots above it. The learned leave model says after each whether the user
goes on; what stands below is then not seen. Functions take arrays of ``B`` users, as those of
:mod:`recsim_hrl.simulator.core` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_hrl import random
from recsim_hrl.compiled import shared
from recsim_hrl.simulator import slate_choice
from recsim_hrl.simulator.core import NO_PROBS, USERS_OF_A_THREAD, session_totals
from recsim_hrl.simulator.ensemble import core_of
from recsim_hrl.simulator.folder import SimulatorData, SimulatorError
from recsim_hrl.simulator.slate_config import SlateConfig
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.simulator.temper import FULL_TEMPER, LEAST_TEMPER, published_reward, temper_cost
from recsim_hrl.types import SKIP

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds

LEAVE_STREAM = 5
"""Random stream of leaving, beside those of :mod:`recsim_hrl.simulator.kernels`."""
_CHOICES = {
    "items": slate_choice.choose_by_index,
    "embeddings": slate_choice.choose_by_embeddings,
    "query": slate_choice.choose_by_query,
    "tokens": slate_choice.choose_by_tokens,
}


class SlateState(NamedTuple):
    """``B`` users in the middle of their sessions."""

    session: SessionState
    request: np.ndarray  # (B,) int64, slates shown so far
    left: np.ndarray  # (B,) bool, whether the user has left
    temper: np.ndarray  # (B,) int64, tenths that are left of it
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
        data: Catalogue, weights of the response model, pool of users and, for learned leaving, the leave model; or
            several of them, of which each session is played by one.
        config: The task's arguments.
        ids: Semantic ids of the whole catalogue; needed where actions are tokens.
        threads: As for :class:`recsim_hrl.simulator.core.SessionCore`.

    Raises:
        ValueError: If a session shows more items than are on offer, as none is shown twice; or if more are to be
            replaced than stand by.
        SimulatorError: If a simulator has no leave model and one is asked for.
    """

    def __init__(
        self,
        data: SimulatorData | Sequence[SimulatorData],
        config: SlateConfig,
        ids: SemanticIds | None = None,
        threads: int | None = None,
    ) -> None:
        self.config, self._made_of = config, (data, config, ids, threads)
        members = [data] if isinstance(data, SimulatorData) else data
        for member in members:
            config.check_offer(len(member.catalogue))
            if config.leave == "learned" and member.leaving is None:
                raise SimulatorError(
                    f"leave: got 'learned' with the simulator {member.name!r}, which has no leave model, allowed one "
                    "that has; add it with `recsim-hrl leaving FOLDER --log LOG`, or pass leave='temper' or 'never'"
                )
        self.session = core_of(data, config.session, threads)
        self.simulators, self.data = self.session.simulators, self.session.data
        self.catalogue, self.bound, self.rewards = self.session.catalogue, self.session.bound, self.session.rewards
        self.candidates = self.session.candidates  # (P,) catalogue indices of the stock
        self.offered = config.offered(len(self.catalogue))
        self.token_shape = None if ids is None else ids.codebooks.shape[:2]  # (L, V)
        self.table = self._codes(ids) if config.action == "tokens" else self._directions()  # (..., P)

    def _directions(self) -> np.ndarray:
        """(D, P) float64, embeddings of the stock at length 1."""
        embeddings = self.catalogue.embeddings[self.candidates].astype(np.float64)
        embeddings /= np.maximum(np.sqrt(np.square(embeddings).sum(1, keepdims=True)), 1e-300)
        return np.ascontiguousarray(embeddings.T)

    def _codes(self, ids: SemanticIds | None) -> np.ndarray:
        """(L, P) int64, tokens of the stock."""
        size = len(self.catalogue)
        if ids is None or len(ids.codes) != size or (ids.codes[self.candidates] < 0).any():
            got = "none" if ids is None else f"those of {int((ids.codes[:, 0] >= 0).sum())} items"
            raise ValueError(
                f"semantic_ids: got {got}, allowed ids of all {size} items of the catalogue where action='tokens'; "
                "make them with recsim_hrl.semantic_ids.fit_semantic_ids"
            )
        return np.ascontiguousarray(ids.codes[self.candidates].T, np.int64)

    def __deepcopy__(self, memo: dict) -> SlateCore:
        return self  # immutable, so copies of an environment share it

    def __reduce__(self) -> tuple:
        return SlateCore, self._made_of

    @property
    def users(self) -> int:
        """Size of the pool of users."""
        return self.session.users

    def whose(self, state: SlateState) -> dict[str, np.ndarray]:
        """Whose sessions these are, (B,) each; see :meth:`recsim_hrl.simulator.core.SessionCore.whose`."""
        return self.session.whose(state.session)

    def initial(self, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None = None) -> SlateState:
        """Users at the start of a session; see :meth:`recsim_hrl.simulator.core.SessionCore.initial`."""
        size = len(seeds)
        return SlateState(
            session=self.session.initial(seeds, episodes, users),
            request=np.zeros(size, np.int64),
            left=np.zeros(size, np.bool_),
            temper=np.full(size, FULL_TEMPER, np.int64),
            total=np.zeros(size),
        )

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
        state.request[rows], state.left[rows], state.temper[rows], state.total[rows] = 0, False, FULL_TEMPER, 0.0

    def first_on_offer(self, episodes: np.ndarray) -> np.ndarray:
        """(B,) int64, place in the stock of the oldest item on offer in session ``episodes`` (B,) of any seed.

        The stock is a ring, and what is on offer a stretch of it, which moves on from session to session.
        """
        moved = (self.config.catalog_start + episodes) * (self.config.catalog_turnover * self.offered)
        return np.floor(moved + 1e-9).astype(np.int64) % len(self.candidates)

    def is_open(self, state: SlateState) -> np.ndarray:
        """(B, P) bool, which items of the stock are on offer to each user and were not shown in the session."""
        session, is_open = state.session, np.empty((len(state.request), len(self.candidates)), np.bool_)
        first = self.first_on_offer(session.episode)
        self._share(slate_choice.mark_open, (session.shown, session.step, first, self.offered, is_open), len(is_open))
        return is_open

    def _share(self, function, arguments: tuple, size: int) -> None:
        shared(function, arguments, size, min(self.session.most_threads, size // USERS_OF_A_THREAD))

    def observe(self, state: SlateState) -> dict[str, np.ndarray]:
        """What an agent sees: the histories, what can be shown, and how much of the session is over."""
        request = (state.request / self.config.max_requests).astype(np.float32)[:, None]
        available = self.is_open(state).view(np.int8)
        return self.session.observe(state.session) | {"available": available, "request": request}

    def choose(self, state: SlateState, action: np.ndarray) -> np.ndarray:
        """(B, K) places in the stock of the items that an action shows, each open and none twice.

        Args:
            state: The users.
            action: As the config says: (B, K) int64 places, or float32 (B, K, D) or (B, D) vectors or (B, L, V) logits;
                valid ones.
        """
        chosen = np.empty((len(action), self.config.slate_size), np.int64)
        first = self.first_on_offer(state.session.episode)
        arguments = (self.table, first, self.offered, self.is_open(state), action, chosen)
        self._share(_CHOICES[self.config.action], arguments, len(action))
        return chosen

    def step(self, state: SlateState, action: np.ndarray) -> SlateOutcome:
        """Show the slate that ``action`` asks for; its answers move the users on, who may leave."""
        config, slate = self.config, self.choose(state, action)  # (B, K)
        response, is_seen = self._read(state, slate)
        if config.leave == "temper":
            state.temper[:] -= temper_cost(response, config.reward == "rl4rs")
            state.left[:] = state.temper < LEAST_TEMPER
        reward = self.reward(response, is_seen)  # (B,)
        state.request[:] += 1
        state.total[:] += reward
        return SlateOutcome(self.candidates[slate], response, is_seen, reward)

    def reward(self, response: np.ndarray, is_seen: np.ndarray) -> np.ndarray:
        """(B,) what requests pay whose slots were answered with ``response`` (B, K), where they were seen (B, K)."""
        if self.config.reward == "responses":
            return (self.rewards[response] * is_seen).sum(1)
        return published_reward(response, self.config.reward == "rl4rs")

    def _read(self, state: SlateState, slate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let the users read a ``slate`` (B, K) of places; their responses (B, K), and what of it was seen (B, K).

        Who has left goes on reading, as that is quicker than to part the users, and is then put back to where it left.
        """
        session, columns = state.session, np.ascontiguousarray(slate.T)  # (K, B)
        response, is_seen = np.zeros(slate.shape, np.int64), np.zeros(slate.shape, np.bool_)
        stays, chances = ~state.left, self._chances(session)  # (B,), (K, B)
        member = self.whose(state).get("simulator_index")
        gone: list[tuple[np.ndarray, SessionState]] = []
        for slot, items in enumerate(columns):
            answers = np.full(len(items), -1)  # (B,)
            self.session.play(session, items, answers, NO_PROBS, moves=True)
            is_seen[:, slot] = stays
            response[:, slot] = np.where(stays, answers, SKIP)
            if self.config.leave != "learned":
                continue
            leaves = stays & (chances[slot] < self._hazards(session, member))  # (B,)
            rows = np.flatnonzero(leaves)
            if not len(rows):
                continue
            stays &= ~leaves
            if not stays.any():
                break
            gone.append((rows, session.take(rows)))
        for rows, part in gone:
            session.put(rows, part)
        state.left[:] = ~stays
        return response, is_seen

    def _chances(self, session: SessionState) -> np.ndarray:
        """(K, B) float32, the numbers that decide after each slot of the next slate whether a user leaves."""
        impressions = session.step + np.arange(1, self.config.slate_size + 1)[:, None]  # (K, B)
        key = random.mix(random.mix(session.seed, LEAVE_STREAM), session.episode)  # (B,)
        return random.uniform(random.mix(key, impressions))

    def _hazards(self, session: SessionState, member: np.ndarray | None) -> np.ndarray:
        """(B,) chances of leaving now, each of the leave model of the ``member`` (B,) that plays the session."""
        whole, step = session.memory.whole, session.step
        if member is None:
            return self.data.leaving.hazards(whole, step)
        hazards = np.empty(len(step))
        for place, data in enumerate(self.simulators):
            rows = np.flatnonzero(member == place)
            hazards[rows] = data.leaving.hazards(whole[rows], step[rows])
        return hazards

    def terminal(self, state: SlateState) -> np.ndarray:
        """(B,) whether the session is over: the user has left, or made all requests."""
        return state.left | (state.request >= self.config.max_requests)


def slate_totals(state: SlateState, rewards: np.ndarray) -> dict[str, np.ndarray]:
    """What sessions brought so far, (B,) each; see the environment's page."""
    totals = session_totals(state.session.responses.copy(), rewards, state.session.step.copy())
    return totals | {"total_reward": state.total.copy(), "depth": state.request.copy()}
