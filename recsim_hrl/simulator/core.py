"""The core of RecSession: batched functions on arrays of ``B`` users, the one place where its behaviour is written.

Every function but ``transition`` (and ``step``, which ends with it) leaves the state as it is; ``transition`` writes
into it, as a copy of all users at every step would cost more than the step. A user's session depends on
(seed, episode) and on the actions, never on who else is in the batch. Floating-point sums, however, do depend on the
batch: a matrix product of one row and of a thousand rows round differently, near 1e-6. Where such a difference could
change an integer (which item is nearest, which response is drawn, which step of a grid a probability is rounded to),
the call is made again in float64, where the difference is near 1e-15.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from recsim_hrl import random
from recsim_hrl.simulator.backend import NumPy
from recsim_hrl.simulator.folder import SimulatorData
from recsim_hrl.simulator.recurrence import Memory, Read, Recurrence
from recsim_hrl.simulator.weights import PROBABILITY_GRID, on_grid
from recsim_hrl.types import CLICK, DEFAULT_REWARDS, NO_ITEM, ORDER, RESPONSES, SKIP, R

Action = Literal["embedding", "item"]
Observation = Literal["embeddings", "item_ids"]
HISTORIES = ("browsed", "clicked", "ordered")
"""Names of the histories of a user, in the order in which they are kept."""

USER_STREAM, RESPONSE_STREAM, NOISE_STREAM = 1, 2, 3
CLOSE_DRAW = 1e-5  # a draw this near to the edge between two responses is decided in float64
CLOSE_EDGE = 0.01  # so is a probability this near to the edge between two steps of the grid, in steps
CLOSE_COSINE = 2e-5  # so are candidates this near to the best cosine
ROUNDING = 1e-5  # an action this far outside its space is taken for a rounding error of whoever scaled it
COSINE_GRID = 2.0**40  # float64 cosines are compared on this grid: equal embeddings tie, and the first one wins


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
    history: int = 10
    """Length of each history."""
    response_noise: float = 0.0
    """Standard deviation of Gaussian noise on the response logits of each step."""
    rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """External reward of a skip, a click and an order."""
    flat: bool = False
    """Whether an observation is one flat vector (browsed, clicked, ordered) in place of a dictionary."""

    def __post_init__(self) -> None:
        for name in ("session_length", "history") + (() if self.candidates is None else ("candidates",)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: got {value!r}, allowed are whole numbers from 1; pass e.g. {name}=10")
        for name, kind in (("action", Action), ("observation", Observation)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed {get_args(kind)}; pass one of them")
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
class SessionState:
    """``B`` users in the middle of their sessions. ``transition`` and ``put`` write into its arrays."""

    seed: np.ndarray  # (B,) int64
    episode: np.ndarray  # (B,) int64, sessions played before under this seed
    step: np.ndarray  # (B,) int64, items shown so far
    user: np.ndarray  # (B,) int64, index into the simulator's pool
    whole: np.ndarray  # (B, W) float32; this and the next two: what the response model keeps of the user (its Memory)
    kinds: np.ndarray  # (B, K, W) float32
    written: np.ndarray  # (B, K) int64
    shown: np.ndarray  # (B, C) bool, candidates shown in this session
    rings: np.ndarray  # (B, 3, N + 1) int64, histories: catalogue indices plus one, 0 where empty, as ring buffers
    ends: np.ndarray  # (B, 3) int64, the place of each ring that is written next, after its most recent item
    responses: np.ndarray  # (B, R) int64, how often each was given in this session
    draws: np.ndarray  # (B, T) float32, uniform numbers that select the responses
    noise: np.ndarray  # (B, T, R) float32, noise on the logits; (B, 0, R) without noise

    @property
    def memory(self) -> Memory:
        """The response model's part."""
        return Memory(self.whole, self.kinds, self.written)

    @property
    def histories(self) -> np.ndarray:
        """(B, 3, N) browsed, clicked and ordered items: catalogue indices plus one, most recent last, 0 where empty."""
        length = self.rings.shape[-1]
        places = np.arange(1, length) + self.ends[:, :, None]  # (B, 3, N)
        places -= (places >= length) * length
        return np.take_along_axis(self.rings, places, 2)

    def take(self, rows: np.ndarray) -> SessionState:
        """A copy of the users at ``rows`` (b,)."""
        return SessionState(*(value[rows] for value in vars(self).values()))

    def put(self, rows: np.ndarray, other: SessionState) -> None:
        """Replace the users at ``rows`` (b,) by those of ``other``."""
        for name, value in vars(self).items():
            value[rows] = getattr(other, name)


@dataclass(frozen=True)
class Forecast:
    """What the response model reads and foretells of the candidate that is shown to each user."""

    read: Read
    logits: np.ndarray  # (R, B) without noise
    probs: np.ndarray  # (R, B) without noise
    expected: np.ndarray  # (R, B) the same on the grid that surprises are taken from, equal in every batch


@dataclass(frozen=True)
class Outcome:
    """What one step brought to each user."""

    item: np.ndarray  # (B,) int64 catalogue index of the item shown
    response: np.ndarray  # (B,) int64
    reward: np.ndarray  # (B,) float64


class SessionCore:
    """Tables and pure functions of the task; nothing in it changes after construction.

    Args:
        data: Catalogue, weights of the response model, and pool of users.
        config: The task's arguments.

    Raises:
        ValueError: if the session is longer than there are candidates: no item is shown twice in a session.
    """

    def __init__(self, data: SimulatorData, config: SessionConfig) -> None:
        catalogue = data.catalogue
        size = len(catalogue) if config.candidates is None else min(config.candidates, len(catalogue))
        if config.session_length > size:
            raise ValueError(
                f"session_length: got {config.session_length}, allowed at most the {size} candidates, as no item is "
                "shown twice in a session; shorten the session or pass more candidates (None: the whole catalogue)"
            )
        self.data, self.config = data, config
        self.bound = catalogue.embedding_bound
        self.candidates = data.recall_order[:size].copy()  # (C,)
        codes = data.codes[self.candidates]
        self.model = Recurrence(data.weights, config.session_length)
        self._exact_model = Recurrence(data.weights, config.session_length, "float64")
        self._items = self.model.items(codes)  # (C, ...)
        self._exact_hidden = self._exact_model.hidden_share(codes)  # (C, hidden)
        self._start = data.memories  # (U, ...)
        self._exact_directions = _directions(catalogue.embeddings[self.candidates])  # (C, D)
        self._directions = self._exact_directions.astype(np.float32)  # (C, D)
        self._padded = np.concatenate([np.zeros_like(catalogue.embeddings[:1]), catalogue.embeddings])  # (1 + I, D)
        # A row per response, a column per history: does the item enter the history?
        self._enters = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])  # (R, 3)
        self._rewards = np.array(config.rewards)  # (R,)
        self._histories = self._initial_histories()  # (U, 3, N + 1)

    def __deepcopy__(self, memo: dict) -> SessionCore:
        return self  # immutable, so copies of an environment share it

    def __reduce__(self) -> tuple:
        return SessionCore, (self.data, self.config)

    @property
    def users(self) -> int:
        """Size of the pool of users."""
        return len(self._start.whole)

    def _initial_histories(self) -> np.ndarray:
        """Rings of every user of the pool, from the visit before: (U, 3, N + 1), the place written next is the last."""
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
            histories.append(np.concatenate([empty, items, empty[:, :1]], 1)[:, -length - 1 :])
        return np.stack(histories, 1)

    def initial(self, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None = None) -> SessionState:
        """Users at the start of a session.

        Args:
            seeds: (B,) int64.
            episodes: (B,) int64, the how-manieth session under that seed.
            users: (B,) int64 pool indices; -1 (or None for all) draws the user from seed and episode.
        """
        size, length = len(seeds), self.config.session_length
        drawn = random.integers(random.mix(random.mix(seeds, USER_STREAM), episodes), self.users)  # (B,)
        user = drawn if users is None else np.where(users < 0, drawn, users)  # (B,)
        steps = np.arange(length)  # (T,)
        key = random.mix(random.mix(seeds, RESPONSE_STREAM), episodes)  # (B,)
        draws = random.uniform(random.mix(key[:, None], steps))  # (B, T)
        noise = np.zeros((size, 0, R), np.float32)  # (B, 0, R)
        if self.config.response_noise > 0:
            key = random.mix(random.mix(seeds, NOISE_STREAM), episodes)  # (B,)
            key = random.mix(key[:, None], steps)[:, :, None]  # (B, T, 1)
            noise = random.normal(random.mix(key, np.arange(R))) * self.config.response_noise  # (B, T, R)
        return SessionState(
            seed=seeds.copy(),
            episode=episodes.copy(),
            step=np.zeros(size, np.int64),
            user=user,
            **vars(self._start.take(user)),
            shown=np.zeros((size, len(self.candidates)), np.bool_),
            rings=self._histories[user],
            ends=np.full((size, len(HISTORIES)), self.config.history),
            responses=np.zeros((size, R), np.int64),
            draws=draws,
            noise=noise,
        )

    def observe(self, state: SessionState) -> dict[str, np.ndarray] | np.ndarray:
        """What an agent sees: histories (B, N, D) or item ids (B, N) by name, or all of them flat in one (B, ...)."""
        seen = state.histories  # (B, 3, N)
        if self.config.observation == "embeddings":
            seen = self._padded.take(seen, 0)  # (B, 3, N, D)
        if self.config.flat:
            return seen.reshape(len(seen), -1)
        return {name: seen[:, place] for place, name in enumerate(HISTORIES)}

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
        if self.config.action == "embedding":
            if not (np.abs(action) <= self.bound + ROUNDING).all():
                raise ValueError(self._complaint(action))
            return self._nearest(action, state.shown)
        if action.min() < 0 or action.max() >= len(self.candidates):
            raise ValueError(self._complaint(action))
        repeated = state.shown[np.arange(len(action)), action]  # (B,)
        if not repeated.any():
            return action
        rows = repeated.nonzero()[0]  # (b,)
        chosen = action.copy()
        chosen[rows] = self._nearest(self._exact_directions[action[rows]], state.shown[rows])
        return chosen

    def _complaint(self, action: np.ndarray) -> str:
        size = len(self.candidates)
        if self.config.action == "item":
            wrong = action[(action < 0) | (action >= size)]
            return f"item action: got {wrong[0]}, allowed 0 to {size - 1}; pass an index into the candidates"
        wrong = action[~(np.abs(action) <= self.bound + ROUNDING)]
        fix = "check the policy for NaN" if np.isnan(wrong).any() else "clip it to the action space"
        return f"embedding action: got an entry {wrong[0]:.7g}, allowed -{self.bound:g} to {self.bound:g}; {fix}"

    def _nearest(self, vectors: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """The candidate (B,) of the largest cosine with ``vectors`` (B, D) among those not ``shown`` (B, C)."""
        exact = _directions(vectors)  # (B, D)
        cosines = exact.astype(np.float32) @ self._directions.T  # (B, C)
        cosines[shown] = -np.inf
        nearest = cosines.argmax(1)  # (B,)
        best = cosines[np.arange(len(nearest)), nearest]  # (B,)
        contenders = np.count_nonzero(cosines >= (best - CLOSE_COSINE)[:, None], axis=1)  # (B,)
        rows = (contenders > 1).nonzero()[0]  # (b,)
        if len(rows) == 0:
            return nearest
        cosines = ((exact[rows] @ self._exact_directions.T) * COSINE_GRID).round()  # (b, C)
        cosines[shown[rows]] = -np.inf
        nearest[rows] = cosines.argmax(1)
        return nearest

    def foretell(self, state: SessionState, chosen: np.ndarray) -> Forecast:
        """What the response model says of the ``chosen`` candidates (B,). The state must not be terminal."""
        read = self.model.read(state.memory, self._items.kind.take(chosen), state.step)
        logits = self.model.logits(read.seen, self._items.hidden.take(chosen, 0))  # (R, B)
        probs = NumPy.softmax(logits)  # (R, B)
        expected = on_grid(probs)  # (R, B)
        close = (np.abs(probs - expected) > (0.5 - CLOSE_EDGE) / PROBABILITY_GRID).any(0)  # (B,)
        if close.any():
            rows = close.nonzero()[0]  # (b,)
            expected[:, rows] = on_grid(NumPy.softmax(self._exact_logits(read, chosen, rows)))
        return Forecast(read, logits, probs, expected)

    def _exact_logits(self, read: Read, chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(R, b) in float64, of the users at ``rows`` (b,)."""
        return self._exact_model.logits(read.seen[rows].astype(np.float64), self._exact_hidden[chosen[rows]])

    def respond(
        self, state: SessionState, chosen: np.ndarray, forecast: Forecast | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (R, B) of the responses to the ``chosen`` candidates (B,), and the responses drawn (B,).

        The state must not be terminal. ``forecast`` saves foretelling again what was foretold before.
        """
        forecast = forecast or self.foretell(state, chosen)
        draw = state.draws[np.arange(len(chosen)), state.step]  # (B,)
        noise = self._noise(state)
        probs = forecast.probs if noise is None else NumPy.softmax(forecast.logits + noise)  # (R, B)
        skips, clicks = probs[SKIP] - draw, probs[ORDER] + (draw - np.float32(1.0))  # (B,) from the draw to the edges
        response = (skips <= 0).astype(np.int64) + (clicks > 0)
        close = np.minimum(np.abs(skips), np.abs(clicks)) < CLOSE_DRAW  # (B,)
        if close.any():
            rows = close.nonzero()[0]  # (b,)
            logits = self._exact_logits(forecast.read, chosen, rows)
            exact = NumPy.softmax(logits if noise is None else logits + noise[:, rows])  # (R, b)
            response[rows] = random.sample(exact.T, draw[rows].astype(np.float64))
        return probs, response

    def _noise(self, state: SessionState) -> np.ndarray | None:
        """(R, B) noise on the logits of this step, if there is any."""
        if state.noise.shape[1] == 0:
            return None
        return state.noise[np.arange(len(state.step)), state.step].T

    def transition(
        self, state: SessionState, chosen: np.ndarray, responses: np.ndarray, forecast: Forecast | None = None
    ) -> None:
        """Let the users have seen the ``chosen`` candidates (B,) and given ``responses`` (B,).

        ``forecast`` is what was foretold of them, if it was; it is used up.
        """
        forecast = forecast or self.foretell(state, chosen)
        marks = self.model.marks_of(self._items, chosen, responses)
        self.model.write(state.memory, forecast.read, marks, responses, forecast.expected, state.step)
        users = np.arange(len(chosen))
        state.shown[users, chosen] = True
        # The item goes to the next place of every ring; where it does not enter, that place stays the next one.
        number = self.candidates.take(chosen) + 1  # (B,)
        for place in range(len(HISTORIES)):
            state.rings[users, place, state.ends[:, place]] = number
        ends = state.ends
        ends += self._enters.take(responses, 0)
        ends[ends == state.rings.shape[-1]] = 0
        state.responses[users, responses] += 1
        steps = state.step
        steps += 1

    def terminal(self, state: SessionState) -> np.ndarray:
        """(B,) whether the session has reached its length."""
        return state.step >= self.config.session_length

    def step(self, state: SessionState, action: np.ndarray) -> Outcome:
        """Show what ``action`` asks for, draw the response, move on: ``choose``, ``respond``, ``transition``."""
        chosen = self.choose(state, action)  # (B,)
        forecast = self.foretell(state, chosen)
        _, response = self.respond(state, chosen, forecast)  # (B,)
        self.transition(state, chosen, response, forecast)
        return Outcome(self.candidates.take(chosen), response, self._rewards.take(response))

    def reward_parts(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Rewards (B,) that ``counts`` (B, R) of responses add up to: in total, from clicks and from orders."""
        paid = counts * self._rewards  # (B, R)
        return {"total_reward": paid.sum(-1), "click_reward": paid[:, CLICK], "order_reward": paid[:, ORDER]}


def _directions(vectors: np.ndarray) -> np.ndarray:
    """(..., D) float64 of length 1; zero vectors stay as they are."""
    exact = vectors.astype(np.float64)
    length = np.sqrt((exact * exact).sum(-1, keepdims=True))
    return exact / np.maximum(length, 1e-300)
