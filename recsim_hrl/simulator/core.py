"""The core of RecSession: functions on arrays of ``B`` users, over what :mod:`recsim_hrl.simulator.kernels` compiles.

Every function but ``transition`` (and ``step``, which ends with it) and ``begin`` leaves the state as it is; these
write into it, as a copy of all users at every step would cost more than the step. A user's session depends on (seed,
episode) and on the actions, never on who else is in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from recsim_hrl import random
from recsim_hrl.compiled import cores, shared
from recsim_hrl.simulator import kernels, nearest
from recsim_hrl.simulator.folder import SimulatorData
from recsim_hrl.simulator.kernels import USER_STREAM
from recsim_hrl.simulator.nearest import ROUNDING
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.shelf import Shelf
from recsim_hrl.simulator.tables import Memory, SessionState, plain
from recsim_hrl.types import CLICK, DEFAULT_REWARDS, NO_ITEM, ORDER, RESPONSES, SKIP, Catalogue, R

Action = Literal["embedding", "item"]
Observation = Literal["embeddings", "item_ids"]
Search = Literal["exact", "approximate"]
HISTORIES = ("browsed", "clicked", "ordered")
"""Names of the histories of a user, in the order in which they are kept."""

USERS_OF_A_THREAD = 512
"""Fewer are stepped sooner than another thread is woken."""


@dataclass(frozen=True)
class SessionConfig:
    """Arguments of the RecSession task."""

    session_length: int = 50
    """Items shown in a session; the session is truncated after them."""
    action: Action = "embedding"
    """"embedding": a vector that is mapped to the most similar candidate; "item": an index into the candidates."""
    observation: Observation = "embeddings"
    """What a history holds: the items' embeddings, or (faster) the items' catalogue indices plus one."""
    candidates: int | None = 1000
    """At most this many candidates, the first of the simulator's recall order; None: the whole catalogue."""
    recall: int | None = None
    """Candidates that each user has of its own, of those above, chosen when a session starts (MaHRL 3.1, item recall):
    one half is most similar to what the user clicked of late, the rest is first in recall order. None: all."""
    search: Search = "exact"
    """How the candidate nearest to an embedding action is found: "exact", or "approximate", by an index of faiss."""
    history: int = 10
    """Length of each history."""
    response_noise: float = 0.0
    """Standard deviation of Gaussian noise on the response logits of each step."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """External reward of a skip, a click and an order."""
    flat: bool = False
    """Whether an observation is one flat vector (browsed, clicked, ordered) in place of a dictionary."""

    def __post_init__(self) -> None:
        optional = tuple(name for name in ("candidates", "recall") if getattr(self, name) is not None)
        for name in ("session_length", "history", *optional):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: got {value!r}, allowed are whole numbers from 1; pass e.g. {name}=10")
        for name, kind in (("action", Action), ("observation", Observation), ("search", Search)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed {get_args(kind)}; pass one of them")
        if self.recall is not None and self.action == "item":
            raise ValueError(
                'recall: got a number with action="item", allowed None, as an index would mean another item for '
                'every user; pass action="embedding" or leave recall out'
            )
        if self.search == "approximate" and (self.recall is not None or self.action == "item"):
            raise ValueError(
                f'search: got "approximate" with recall={self.recall} and action={self.action!r}, allowed "exact" '
                "there; an index serves embedding actions over all candidates"
            )
        if not _is_number(self.response_noise) or self.response_noise < 0:
            raise ValueError(
                f"response_noise: got {self.response_noise!r}, allowed are finite numbers from 0; "
                "pass 0.0 for users without noise"
            )
        if not isinstance(self.flat, bool):
            raise ValueError(f"flat: got {self.flat!r}, allowed True or False; pass a bool")
        rewards = self.rewards
        if not isinstance(rewards, (tuple, list)) or len(rewards) != R or not all(map(_is_number, rewards)):
            raise ValueError(
                f"rewards: got {rewards!r}, allowed are {R} finite numbers, for {', '.join(RESPONSES)}; "
                f"pass e.g. rewards={DEFAULT_REWARDS}"
            )
        object.__setattr__(self, "rewards", tuple(float(reward) for reward in rewards))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Outcome:
    """What one step brought to each user."""

    item: np.ndarray  # (B,) int64 catalogue index of the item shown
    response: np.ndarray  # (B,) int64
    reward: np.ndarray  # (B,) float64


class SessionCore:
    """Tables and functions of the task; nothing in it changes after construction.

    Args:
        data: Catalogue, weights of the response model, and pool of users.
        config: The task's arguments.
        threads: Threads that share a batch of users; None: as many as there are cores, for batches that are worth it.

    Raises:
        ValueError: if the session is longer than there are candidates: no item is shown twice in a session.
    """

    def __init__(self, data: SimulatorData, config: SessionConfig, threads: int | None = None) -> None:
        catalogue = data.catalogue
        size = len(catalogue) if config.candidates is None else min(config.candidates, len(catalogue))
        offered = size if config.recall is None else min(config.recall, size)
        if config.session_length > offered:
            raise ValueError(
                f"session_length: got {config.session_length}, allowed at most the {offered} candidates, as no item is "
                "shown twice in a session; shorten the session or pass more candidates (None: the whole catalogue)"
            )
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise ValueError(f"threads: got {threads!r}, allowed None or whole numbers from 1; pass e.g. threads=1")
        self.data, self.config, self.threads = data, config, threads
        self.simulators = (data,)
        self.most_threads = threads or cores()
        self.bound = catalogue.embedding_bound
        self.model = Recurrence(data.weights, config.session_length).model
        self.shelf = self._first_shelf = Shelf.of(catalogue, data.recall_order[:size], data.weights)
        self._lay_out()
        self.start = data.memories  # (U, ...)
        self.rewards = np.array(config.rewards)  # (R,)
        self.histories = self._initial_histories()  # (U, 3, N)

    def _lay_out(self) -> None:
        """Take over the shelf."""
        self.catalogue, self.codes, self.vectors = self.shelf.catalogue, self.shelf.codes, self.shelf.candidates
        self.candidates = self.vectors.item  # (C,) catalogue indices
        self._plain_vectors, self._plain_model = plain(self.vectors), plain((self.model, self.codes))
        if self.config.search == "approximate":
            from recsim_hrl.simulator.approximate import ApproximateSearch

            self._index = ApproximateSearch(self.vectors)

    def __deepcopy__(self, memo: dict) -> SessionCore:
        return self  # immutable, so copies of an environment share it

    def __reduce__(self) -> tuple:
        if self.shelf is self._first_shelf:  # made from the data again
            return SessionCore, (self.data, self.config, self.threads)
        return _restocked, (self.data, self.config, self.threads, self.shelf, self.bound)

    def with_items(self, more: Catalogue) -> SessionCore:
        """This core with ``more`` items behind the last candidate; running sessions go on with it."""
        more = more.numpy()
        return self._with(self.shelf.add(more, self.data.weights), max(self.bound, more.embedding_bound))

    def without_items(self, candidates: np.ndarray) -> SessionCore:
        """This core without ``candidates`` (n,), whose indices stay empty; running sessions go on with it.

        Raises:
            ValueError: if too few are left for a session.
        """
        shelf = self.shelf.remove(np.asarray(candidates, np.int64))
        if (left := int(shelf.open.sum())) < self.config.session_length:
            raise ValueError(
                f"items to remove: got {len(candidates)}, which leaves {left}, allowed as many as leave the "
                f"{self.config.session_length} of a session; remove fewer"
            )
        return self._with(shelf, self.bound)

    def _with(self, shelf: Shelf, bound: float) -> SessionCore:
        core = object.__new__(SessionCore)  # copy.copy would make all tables again
        vars(core).update(vars(self) | {"shelf": shelf, "bound": bound})
        core._lay_out()
        return core

    @property
    def users(self) -> int:
        """Size of the pool of users."""
        return len(self.start.whole)

    def whose(self, state: SessionState) -> dict[str, np.ndarray]:
        """Whose sessions these are, (B,) each: ``user``, the index into the pool."""
        return {"user": state.user.copy()}

    def _initial_histories(self) -> np.ndarray:
        """Histories of every user of the pool, from the visit before: (U, 3, N)."""
        visits, length = self.data.visits, self.config.history
        enters = (
            visits.items != NO_ITEM,
            (visits.items != NO_ITEM) & (visits.responses != SKIP),
            (visits.items != NO_ITEM) & (visits.responses == ORDER),
        )
        histories = []
        for inside in enters:
            order = inside.argsort(axis=1, kind="stable")  # (U, P) those that enter last, in their order
            items = np.take_along_axis(np.where(inside, visits.items + 1, 0), order, 1)  # (U, P)
            empty = np.zeros((len(items), length), np.int64)
            histories.append(np.concatenate([empty, items], 1)[:, -length:])
        return np.stack(histories, 1)

    def initial(self, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None = None) -> SessionState:
        """Users at the start of a session.

        Args:
            seeds: (B,) int64.
            episodes: (B,) int64, the how-manieth session under that seed.
            users: (B,) int64 pool indices; -1 (or None for all) draws the user from seed and episode.
        """
        size = len(seeds)
        state = SessionState(
            seed=np.empty(size, np.int64),
            episode=np.empty(size, np.int64),
            step=np.empty(size, np.int64),
            user=np.empty(size, np.int64),
            shown=np.zeros((size, self.config.session_length), np.int32),
            histories=np.empty((size, *self.histories.shape[1:]), np.int64),
            recalled=np.empty((size, min(self.config.recall or 0, len(self.candidates))), np.int32),
            responses=np.empty((size, R), np.int64),
            memory=Memory(*(np.empty((size, *part.shape[1:]), part.dtype) for part in self.start)),
        )
        self.begin(state, np.arange(size), seeds, episodes, users)
        return state

    def begin(
        self,
        state: SessionState,
        rows: np.ndarray,
        seeds: np.ndarray,
        episodes: np.ndarray,
        users: np.ndarray | None = None,
    ) -> None:
        """Put the users at ``rows`` (b,) at the start of a session; see :meth:`initial`."""
        drawn = random.integers(random.mix(random.mix(seeds, USER_STREAM), episodes), self.users)  # (b,)
        user = drawn if users is None else np.where(users < 0, drawn, users)  # (b,)
        state.seed[rows], state.episode[rows], state.user[rows] = seeds, episodes, user
        state.step[rows] = state.responses[rows] = 0
        everyone = len(rows) == len(state.step)
        for part, start in zip((state.histories, *state.memory), (self.histories, *self.start), strict=True):
            if everyone:
                np.take(start, user, 0, out=part, mode="clip")
            else:
                part[rows] = start[user]

        if self.config.recall is not None:
            state.recalled[rows] = self._recall(state.histories[rows, 1], state.recalled.shape[1])

    def _recall(self, clicked: np.ndarray, wanted: int) -> np.ndarray:
        """(b, Q) ``wanted`` candidates each for users who ``clicked`` (b, N) items before."""
        size, recalled = len(self.candidates), np.empty((len(clicked), wanted), np.int32)
        # In recall order; those that are gone, which nobody is shown, come last.
        first = np.concatenate([np.flatnonzero(self.vectors.open == still) for still in (True, False)])[:wanted]
        table = self.catalogue.embeddings
        for row, items in enumerate(clicked):
            items, near = items[items > 0] - 1, np.zeros(0, np.int64)
            if len(items) and wanted > 1:
                vectors = table[items].astype(np.float64)
                vectors /= np.maximum(np.sqrt(np.square(vectors).sum(1, keepdims=True)), 1e-300)
                cosines = self.vectors.directions @ vectors.mean(0).astype(np.float32)  # (C,)
                cosines[~self.vectors.open] = -np.inf
                near = np.argpartition(cosines, size - wanted // 2)[size - wanted // 2 :]
            rest = first[~np.isin(first, near)][: wanted - len(near)]
            recalled[row] = np.sort(np.concatenate([near, rest]))
        return recalled

    def observe(self, state: SessionState) -> dict[str, np.ndarray] | np.ndarray:
        """What an agent sees: histories (B, N, D) or item ids (B, N) by name, or all of them flat in one (B, ...)."""
        if self.config.observation == "embeddings":
            table = self.catalogue.embeddings
            seen = np.empty((*state.histories.shape, table.shape[1]), np.float32)  # (B, 3, N, D)
            self._share(nearest.embed, (state.histories, table, seen), len(seen))
        else:
            seen = state.histories.copy()  # (B, 3, N)
        if self.config.flat:
            return seen.reshape(len(seen), -1)
        return {name: seen[:, place] for place, name in enumerate(HISTORIES)}

    def _share(self, function, arguments: tuple, size: int) -> list:
        return shared(function, arguments, size, min(self.most_threads, size // USERS_OF_A_THREAD))

    def choose(self, state: SessionState, action: np.ndarray) -> np.ndarray:
        """The candidate (B,) that an action shows (MaHRL Eq. 9); never one that was shown in this session.

        Args:
            state: The users.
            action: (B, D) embeddings, or (B,) candidate indices when ``config.action`` is "item". A candidate that
                was shown stands for the most similar one that was not. A zero embedding has no direction: all
                candidates are equally similar, and the first wins, as in every tie.

        Raises:
            ValueError: if an action is NaN or outside the action space.
        """
        chosen = np.empty(len(action), np.int64)
        fixed = (self._plain_vectors, state.shown, state.step)
        if self.config.action == "item":
            wrong = self._share(nearest.choose_items, (*fixed, action, chosen), len(action))
        else:
            action = action.astype(np.float32, copy=False)
            if self.config.search == "approximate" and (np.abs(action) <= self.bound + ROUNDING).all():
                return self._found(state, action)
            if self.config.recall is None:
                wrong = self._share(nearest.choose_vectors, (*fixed, action, self.bound, chosen), len(action))
            else:
                arguments = (*fixed, action, self.bound, state.recalled, chosen)
                wrong = self._share(nearest.choose_recalled, arguments, len(action))
        if max(wrong) >= 0:
            raise ValueError(self._complaint(action[min(user for user in wrong if user >= 0)]))
        return chosen

    def _found(self, state: SessionState, action: np.ndarray) -> np.ndarray:
        """What the index finds; where it finds nothing, the nearest."""
        chosen = self._index.find(action, state.shown, state.step)  # (B,)
        rows = np.flatnonzero(chosen < 0)  # (b,)
        if len(rows):
            nearest.find(self.vectors, state.shown, state.step, action[rows], rows, chosen)
        return chosen

    def _complaint(self, action: np.ndarray) -> str:
        """What is wrong with one user's ``action``."""
        size = len(self.candidates)
        if self.config.action == "item":
            return f"item action: got {action}, allowed 0 to {size - 1}; pass an index into the candidates"
        wrong = action[~(np.abs(action) <= self.bound + ROUNDING)]
        fix = "check the policy for NaN" if np.isnan(wrong).any() else "clip it to the action space"
        return f"embedding action: got an entry {wrong[0]:.7g}, allowed -{self.bound:g} to {self.bound:g}; {fix}"

    def respond(self, state: SessionState, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (B, R) of the responses to the ``chosen`` candidates (B,), and the responses drawn (B,).

        The state must not be terminal.
        """
        probs, responses = np.empty((len(chosen), R), np.float32), np.full(len(chosen), -1)
        self.play(state, chosen, responses, probs, moves=False)
        return probs, responses

    def transition(self, state: SessionState, chosen: np.ndarray, responses: np.ndarray) -> None:
        """Let the users have seen the ``chosen`` candidates (B,) and given ``responses`` (B,)."""
        self.play(state, chosen, responses, NO_PROBS, moves=True)

    def play(
        self, state: SessionState, chosen: np.ndarray, responses: np.ndarray, probs: np.ndarray, moves: bool
    ) -> None:
        """Show ``chosen`` candidates (B,): fill ``responses`` (B,) where negative and ``probs``, (B, R) or empty; users
        go on if it ``moves``."""
        deviation = float(self.config.response_noise)
        parts = (*state[:-1], tuple(state.memory))  # as plain() gives them, in a tenth of its time
        fixed = (*self._plain_model, self.candidates, parts, deviation)
        self._share(kernels.play, (*fixed, chosen, responses, probs, moves), len(chosen))

    def terminal(self, state: SessionState) -> np.ndarray:
        """(B,) whether the session has reached its length."""
        return state.step >= self.config.session_length

    def step(self, state: SessionState, action: np.ndarray) -> Outcome:
        """Show what ``action`` asks for, draw the response, move on: ``choose``, ``respond``, ``transition``."""
        chosen = self.choose(state, action)  # (B,)
        response = np.full(len(chosen), -1)  # (B,)
        self.play(state, chosen, response, NO_PROBS, moves=True)
        return Outcome(self.candidates[chosen], response, self.rewards[response])


def session_totals(counts: Any, rewards: Any, length: Any) -> dict[str, Any]:
    """What sessions brought so far, (B,) each, as arrays or as tensors.

    Args:
        counts: (B, R) responses.
        rewards: (R,) of each response.
        length: (B,) items shown.
    """
    paid = counts * rewards  # (B, R)
    return {
        "total_reward": paid.sum(-1),
        "click_reward": paid[:, CLICK],
        "order_reward": paid[:, ORDER],
        "clicks": counts[:, CLICK],
        "orders": counts[:, ORDER],
        "length": length,
    }


def _restocked(
    data: SimulatorData, config: SessionConfig, threads: int | None, shelf: Shelf, bound: float
) -> SessionCore:
    """A core whose items have come and gone since it was made."""
    return SessionCore(data, config, threads)._with(shelf, bound)


NO_PROBS = np.empty((0, R), np.float32)
