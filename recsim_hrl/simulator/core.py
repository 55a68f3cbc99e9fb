"""The core of RecSession: batched functions on tensors of ``B`` users, the one place where its behaviour is written.

Every function but ``transition`` (and ``step``, which ends with it) leaves the state as it is; ``transition`` writes
into it, as a copy of all users at every step would cost more than the step. A user's session depends on
(seed, episode) and on the actions, never on who else is in the batch. Floating-point sums, however, do depend on the
batch: a matrix product of one row and of a thousand rows round differently, near 1e-6. Where such a difference could
change an integer (which item is nearest, which response is drawn, which step of a grid a probability is rounded to),
the call is made again in float64, where the X
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from recsim_hrl import random
from recsim_hrl.simulator.recurrence import Memory, Read, Recurrence
from recsim_hrl.simulator.response import PROBABILITY_GRID, on_grid
from recsim_hrl.simulator.store import Simulator
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
    """``B`` users in the middle of their sessions. ``transition`` and ``put`` write into its tensors."""

    seed: Tensor  # (B,) int64
    episode: Tensor  # (B,) int64, sessions played before under this seed
    step: Tensor  # (B,) int64, items shown so far
    user: Tensor  # (B,) int64, index into the simulator's pool
    whole: Tensor  # (B, W) float32; this and the next two: what the response model keeps of the user (its Memory)
    kinds: Tensor  # (B, K, W) float32
    written: Tensor  # (B, K) int64
    shown: Tensor  # (B, C) bool, candidates shown in this session
    rings: Tensor  # (B, 3, N + 1) int64, histories: catalogue indices plus one, 0 where empty, as ring buffers
    ends: Tensor  # (B, 3) int64, the place of each ring that is written next, after its most recent item
    responses: Tensor  # (B, R) int64, how often each was given in this session
    draws: Tensor  # (B, T) float32, uniform numbers that select the responses
    noise: Tensor  # (B, T, R) float32, noise on the logits; (B, 0, R) without noise

    @property
    def memory(self) -> Memory:
        """The response model's part."""
        return Memory(self.whole, self.kinds, self.written)

    @property
    def histories(self) -> Tensor:
        """(B, 3, N) browsed, clicked and ordered items: catalogue indices plus one, most recent last, 0 where empty."""
        length = self.rings.shape[-1]
        places = torch.arange(1, length, device=self.rings.device) + self.ends.unsqueeze(-1)  # (B, 3, N)
        return self.rings.gather(-1, places.sub_((places >= length) * length))

    def take(self, rows: Tensor) -> "SessionState":
        """A copy of the users at ``rows`` (b,)."""
        return SessionState(*(value[rows] for value in vars(self).values()))

    def put(self, rows: Tensor, other: "SessionState") -> None:
        """Replace the users at ``rows`` (b,) by those of ``other``."""
        for name, value in vars(self).items():
            value.index_copy_(0, rows, getattr(other, name))


@dataclass(frozen=True)
class Forecast:
    """What the response model reads and foretells of the candidate that is shown to each user."""

    read: Read
    logits: Tensor  # (R, B) without noise
    probs: Tensor  # (R, B) without noise
    expected: Tensor  # (R, B) the same on the grid that surprises are taken from, equal in every batch


@dataclass(frozen=True)
class Outcome:
    """What one step brought to each user."""

    item: Tensor  # (B,) int64 catalogue index of the item shown
    response: Tensor  # (B,) int64
    reward: Tensor  # (B,) float64


class SessionCore:
    """Tables and pure functions of the task; nothing in it changes after construction.

    Args:
        simulator: Catalogue, response model and pool of users.
        config: The task's arguments.
        device: Where the tables lie; states and actions must lie there as well.

    Raises:
        ValueError: if the session is longer than there are candidates: no item is shown twice in a session.
    """

    def __init__(self, simulator: Simulator, config: SessionConfig, device: str | torch.device = "cpu") -> None:
        catalogue = simulator.catalogue
        size = len(catalogue) if config.candidates is None else min(config.candidates, len(catalogue))
        if config.session_length > size:
            raise ValueError(
                f"session_length: got {config.session_length}, allowed at most the {size} candidates, as no item is "
                "shown twice in a session; shorten the session or pass more candidates (None: the whole catalogue)"
            )
        self.simulator, self.config, self.device = simulator, config, torch.device(device)
        self.bound = catalogue.embedding_bound
        self.candidates = simulator.recall_order[:size].to(device)  # (C,)
        codes = simulator.codes[simulator.recall_order[:size]]
        self.model = Recurrence(simulator.model, config.session_length, torch.float32, device)
        self._exact_model = Recurrence(simulator.model, config.session_length, torch.float64, device)
        self._items = self.model.items(codes)  # (C, ...)
        self._exact_hidden = self._exact_model.hidden_share(codes)  # (C, hidden)
        start = simulator.memories
        self._start = Memory(*(part.to(device) for part in (start.whole, start.kinds, start.written)))  # (U, ...)
        embeddings = catalogue.embeddings.to(device)
        directions = nn.functional.normalize(embeddings[self.candidates].double(), dim=-1, eps=1e-300)
        self._exact_directions = directions  # (C, D)
        self._directions = directions.float()  # (C, D)
        self._padded = torch.cat([torch.zeros_like(embeddings[:1]), embeddings])  # (1 + I, D)
        # A row per response, a column per history: does the item enter the history?
        self._enters = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]], device=device)  # (R, 3)
        self._responses = torch.arange(R, device=device)
        self._rewards = torch.tensor(config.rewards, dtype=torch.float64, device=device)  # (R,)
        self._histories = self._initial_histories().to(device)  # (U, 3, N + 1)

    def __deepcopy__(self, memo: dict) -> "SessionCore":
        return self  # immutable, so copies of an environment share it

    def __reduce__(self) -> tuple:
        return SessionCore, (self.simulator, self.config, self.device)

    @property
    def users(self) -> int:
        """Size of the pool of users."""
        return len(self._start.whole)

    def _initial_histories(self) -> Tensor:
        """Rings of every user of the pool, from the visit before: (U, 3, N + 1), the place written next is the last."""
        visits, length = self.simulator.visits, self.config.history
        enters = (
            visits.items != NO_ITEM,
            (visits.items != NO_ITEM) & (visits.responses != SKIP),
            (visits.items != NO_ITEM) & (visits.responses == ORDER),
        )
        histories = []
        for inside in enters:
            order = inside.int().argsort(dim=1, stable=True)  # (U, P) those that enter last, in their order
            items = torch.where(inside, visits.items + 1, 0).gather(1, order)  # (U, P)
            empty = items.new_zeros((len(items), length))
            histories.append(torch.cat([empty, items, empty[:, :1]], 1)[:, -length - 1 :])
        return torch.stack(histories, 1)

    def initial(self, seeds: Tensor, episodes: Tensor, users: Tensor | None = None) -> SessionState:
        """Users at the start of a session.

        Args:
            seeds: (B,) int64.
            episodes: (B,) int64, the how-manieth session under that seed.
            users: (B,) int64 pool indices; -1 (or None for all) draws the user from seed and episode.
        """
        size, length = len(seeds), self.config.session_length
        drawn = random.integers(random.mix(random.mix(seeds, USER_STREAM), episodes), self.users)  # (B,)
        user = drawn if users is None else torch.where(users < 0, drawn, users)  # (B,)
        steps = torch.arange(length, device=self.device)  # (T,)
        key = random.mix(random.mix(seeds, RESPONSE_STREAM), episodes)  # (B,)
        draws = random.uniform(random.mix(key.unsqueeze(1), steps))  # (B, T)
        noise = torch.zeros((size, 0, R), device=self.device)  # (B, 0, R)
        if self.config.response_noise > 0:
            key = random.mix(random.mix(seeds, NOISE_STREAM), episodes)  # (B,)
            key = random.mix(key.unsqueeze(1), steps).unsqueeze(2)  # (B, T, 1)
            key = random.mix(key, torch.arange(R, device=self.device))  # (B, T, R)
            noise = random.normal(key) * self.config.response_noise  # (B, T, R)
        return SessionState(
            seed=seeds,
            episode=episodes,
            step=torch.zeros_like(seeds),
            user=user,
            **vars(self._start.take(user)),
            shown=torch.zeros((size, len(self.candidates)), dtype=torch.bool, device=self.device),
            rings=self._histories[user],
            ends=torch.full((size, len(HISTORIES)), self.config.history, device=self.device),
            responses=torch.zeros((size, R), dtype=torch.int64, device=self.device),
            draws=draws,
            noise=noise,
        )

    def observe(self, state: SessionState) -> dict[str, Tensor] | Tensor:
        """What an agent sees: histories (B, N, D) or item ids (B, N) by name, or all of them flat in one (B, ...)."""
        seen = state.histories  # (B, 3, N)
        if self.config.observation == "embeddings":
            seen = nn.functional.embedding(seen, self._padded)  # (B, 3, N, D)
        if self.config.flat:
            return seen.flatten(1)
        return dict(zip(HISTORIES, seen.unbind(1), strict=True))

    def choose(self, state: SessionState, action: Tensor) -> Tensor:
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
            if not bool((action.abs() <= self.bound + ROUNDING).all()):
                raise ValueError(self._complaint(action))
            return self._nearest(action, state.shown)
        low, high = action.aminmax()
        if low < 0 or high >= len(self.candidates):
            raise ValueError(self._complaint(action))
        repeated = state.shown.gather(1, action.unsqueeze(1)).squeeze(1)  # (B,)
        if not bool(repeated.any()):
            return action
        rows = repeated.nonzero().squeeze(1)  # (b,)
        nearest = self._nearest(self._exact_directions[action[rows]], state.shown[rows])  # (b,)
        return action.index_copy(0, rows, nearest)

    def _complaint(self, action: Tensor) -> str:
        size = len(self.candidates)
        if self.config.action == "item":
            wrong = action[(action < 0) | (action >= size)]
            return f"item action: got {wrong[0].item()}, allowed 0 to {size - 1}; pass an index into the candidates"
        wrong = action[~(action.abs() <= self.bound + ROUNDING)]
        fix = "check the policy for NaN" if bool(wrong.isnan().any()) else "clip it to the action space"
        return f"embedding action: got an entry {wrong[0].item():.7g}, allowed -{self.bound:g} to {self.bound:g}; {fix}"

    def _nearest(self, vectors: Tensor, shown: Tensor) -> Tensor:
        """The candidate (B,) of the largest cosine with ``vectors`` (B, D) among those not ``shown`` (B, C)."""
        exact = nn.functional.normalize(vectors.double(), dim=-1, eps=1e-300)  # (B, D)
        cosines = (exact.float() @ self._directions.T).masked_fill_(shown, -torch.inf)  # (B, C)
        best, nearest = cosines.max(1)  # (B,), (B,)
        contenders = (cosines >= (best - CLOSE_COSINE).unsqueeze(1)).sum(1)  # (B,)
        rows = (contenders > 1).nonzero().squeeze(1)  # (b,)
        if len(rows) == 0:
            return nearest
        cosines = ((exact[rows] @ self._exact_directions.T) * COSINE_GRID).round()  # (b, C)
        return nearest.index_copy(0, rows, cosines.masked_fill_(shown[rows], -torch.inf).argmax(1))

    def foretell(self, state: SessionState, chosen: Tensor) -> Forecast:
        """What the response model says of the ``chosen`` candidates (B,). The state must not be terminal."""
        read = self.model.read(state.memory, self._items.kind.index_select(0, chosen), state.step)
        logits = self.model.logits(read.seen, self._items.hidden.index_select(0, chosen))  # (R, B)
        probs = logits.softmax(0)  # (R, B)
        expected = on_grid(probs)  # (R, B)
        close = ((probs - expected).abs_() > (0.5 - CLOSE_EDGE) / PROBABILITY_GRID).any(0)  # (B,)
        if bool(close.any()):
            rows = close.nonzero().squeeze(1)  # (b,)
            exact = self._exact_logits(read, chosen, rows).softmax(0)  # (R, b)
            expected.index_copy_(1, rows, on_grid(exact).to(expected))
        return Forecast(read, logits, probs, expected)

    def _exact_logits(self, read: Read, chosen: Tensor, rows: Tensor) -> Tensor:
        """(R, b) in float64, of the users at ``rows`` (b,)."""
        seen, hidden = read.seen.index_select(0, rows), self._exact_hidden.index_select(0, chosen[rows])
        return self._exact_model.logits(seen.double(), hidden)

    def respond(self, state: SessionState, chosen: Tensor, forecast: Forecast | None = None) -> tuple[Tensor, Tensor]:
        """Probabilities (R, B) of the responses to the ``chosen`` candidates (B,), and the responses drawn (B,).

        The state must not be terminal. ``forecast`` saves foretelling again what was foretold before.
        """
        forecast = forecast or self.foretell(state, chosen)
        draw = state.draws.gather(1, state.step.unsqueeze(1)).squeeze(1)  # (B,)
        noise = self._noise(state)
        probs = forecast.probs if noise is None else (forecast.logits + noise).softmax(0)  # (R, B)
        skips, clicks = probs[SKIP] - draw, probs[ORDER] + (draw - 1.0)  # (B,) from the draw to the edges
        response = (skips <= 0).long() + (clicks > 0)
        distance = torch.minimum(skips.abs(), clicks.abs())
        if bool(distance.min() < CLOSE_DRAW):
            rows = (distance < CLOSE_DRAW).nonzero().squeeze(1)  # (b,)
            logits = self._exact_logits(forecast.read, chosen, rows)
            exact = (logits if noise is None else logits + noise[:, rows]).softmax(0)  # (R, b)
            response.index_copy_(0, rows, random.sample(exact.T, draw[rows].double()))
        return probs, response

    def _noise(self, state: SessionState) -> Tensor | None:
        """(R, B) noise on the logits of this step, if there is any."""
        if state.noise.shape[1] == 0:
            return None
        return state.noise.gather(1, state.step.view(-1, 1, 1).expand(-1, 1, R)).squeeze(1).T

    def transition(
        self, state: SessionState, chosen: Tensor, responses: Tensor, forecast: Forecast | None = None
    ) -> None:
        """Let the users have seen the ``chosen`` candidates (B,) and given ``responses`` (B,).

        ``forecast`` is what was foretold of them, if it was; it is used up.
        """
        forecast = forecast or self.foretell(state, chosen)
        marks = self._items.marks_of(chosen, responses)
        self.model.write(state.memory, forecast.read, marks, responses, forecast.expected.T, state.step)
        state.shown.scatter_(1, chosen.unsqueeze(1), True)
        # The item goes to the next place of every ring; where it does not enter, that place stays the next one.
        number = (self.candidates.index_select(0, chosen) + 1).view(-1, 1, 1).expand(-1, len(HISTORIES), 1)
        state.rings.scatter_(2, state.ends.unsqueeze(-1), number)
        state.ends.add_(self._enters.index_select(0, responses))
        state.ends.masked_fill_(state.ends == state.rings.shape[-1], 0)
        state.responses.add_(responses.unsqueeze(1) == self._responses)
        state.step.add_(1)

    def terminal(self, state: SessionState) -> Tensor:
        """(B,) whether the session has reached its length."""
        return state.step >= self.config.session_length

    def step(self, state: SessionState, action: Tensor) -> Outcome:
        """Show what ``action`` asks for, draw the response, move on: ``choose``, ``respond``, ``transition``."""
        chosen = self.choose(state, action)  # (B,)
        forecast = self.foretell(state, chosen)
        _, response = self.respond(state, chosen, forecast)  # (B,)
        self.transition(state, chosen, response, forecast)
        return Outcome(self.candidates.index_select(0, chosen), response, self._rewards.index_select(0, response))

    def reward_parts(self, counts: Tensor) -> dict[str, Tensor]:
        """Rewards (B,) that ``counts`` (B, R) of responses add up to: in total, from clicks and from orders."""
        paid = counts * self._rewards  # (B, R)
        return {"total_reward": paid.sum(-1), "click_reward": paid[:, CLICK], "order_reward": paid[:, ORDER]}
