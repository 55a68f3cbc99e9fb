"""One face for the true world and for a learned simulator, and the loop that runs a policy on either.

Policies see what a recommender sees: the candidates, what was shown and how the user answered. A policy that plans
with a model carries its own state of that model (a *tracker*), fed with the real answers; so a policy that is greedy
on the simulator can be run in the true world.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recsim_hrl import random
from recsim_hrl.data.world import World
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.tables import Memory
from recsim_hrl.types import CLICK, DEFAULT_REWARDS, ORDER, Catalogue, Visits

_CACHE_USERS = 4


class Market(Protocol):
    """Users who answer to items: the true world or a simulator of it."""

    catalogue: Catalogue

    def initial(self, users: Tensor) -> Any:
        """State of the pool's users at positions ``users`` (B,), at the start of a session."""

    def probs(self, state: Any, items: Tensor) -> Tensor:
        """(B, C, R) response probabilities of ``items``, (C,) for all users alike or (B, C)."""

    def update(self, state: Any, items: Tensor, responses: Tensor) -> Any:
        """State after one impression of ``items`` (B,) answered with ``responses`` (B,); the old one is used up."""


class WorldMarket:
    """The true users behind a pool of visits."""

    def __init__(self, world: World, visits: Visits) -> None:
        self.world, self.visits, self.catalogue = world, visits, world.catalogue

    def initial(self, users: Tensor) -> Any:
        return self.world.initial(self.world.users(self.visits.user_ids[users]))

    def probs(self, state: Any, items: Tensor) -> Tensor:
        return self.world.probs(state, items)

    def update(self, state: Any, items: Tensor, responses: Tensor) -> Any:
        return self.world.update(state, items, responses)


class SimulatorMarket:
    """The learned users of a simulator."""

    def __init__(self, simulator: Simulator, steps: int) -> None:
        self.catalogue, self.start = simulator.catalogue, simulator.data.memories
        self.model = Recurrence(simulator.data.weights, steps)
        self.items = self.model.items(simulator.data.codes)

    def initial(self, users: Tensor) -> "Users":
        return Users(self.start.take(users.numpy()))

    def probs(self, state: "Users", items: Tensor) -> Tensor:
        # A thousand candidates for a few users stay in the processor's cache: twice as fast as all users at once.
        size = _CACHE_USERS if items.ndim == 1 else len(items)
        steps = np.broadcast_to(state.step, len(state.memory.whole))  # (B,)
        logits = [
            self.model.all_logits(part, steps[place * size : (place + 1) * size], self.items, items.numpy())
            for place, part in enumerate(state.memory.split(size))
        ]
        return torch.from_numpy(np.concatenate(logits)).softmax(-1)

    def update(self, state: "Users", items: Tensor, responses: Tensor) -> "Users":
        self.model.update(state.memory, state.step, self.items, items.numpy(), responses.numpy())
        return Users(state.memory, state.step + 1)


@dataclass
class Users:
    """Learned users in their sessions."""

    memory: Memory
    step: int | np.ndarray = 0  # of all alike, or (B,)


@dataclass
class View:
    """What a policy sees of ``B`` users at one step."""

    catalogue: Catalogue
    candidates: Tensor  # (C,) catalogue indices
    shown: Tensor  # (B, C) bool
    step: int
    session_key: Tensor  # (B,) random keys of the session, for policies that draw
    key: Tensor  # (B,) random keys of this step
    clicks: Tensor  # (B, K) clicks in this session, by category
    last_category: Tensor  # (B,) of the last item shown, -1 at the start
    run: Tensor  # (B,) impressions of that category in a row
    tracked: Any  # the state of the policy's own model, None without one


@dataclass(frozen=True)
class Policy:
    """A named way to score candidates; ``tracker`` is the model it plans with, if any."""

    name: str
    score: Callable[[View], Tensor]
    """(B, C) scores; the highest among the candidates not shown yet is shown."""
    tracker: Market | None = None


@dataclass(frozen=True)
class Values:
    """What each user of a rollout was shown and brought."""

    items: np.ndarray  # (B, T)
    responses: np.ndarray  # (B, T)
    total: np.ndarray  # (B,) reward

    @property
    def clicks(self) -> np.ndarray:
        """(B,) clicks without an order."""
        return (self.responses == CLICK).sum(1)

    @property
    def orders(self) -> np.ndarray:
        """(B,) orders."""
        return (self.responses == ORDER).sum(1)

    @property
    def mean(self) -> float:
        return float(self.total.mean())

    @property
    def standard_error(self) -> float:
        return float(self.total.std(ddof=1) / np.sqrt(len(self.total)))


@torch.no_grad()
def run_policy(
    market: Market,
    policy: Policy,
    users: Tensor,
    candidates: Tensor,
    steps: int,
    seed: int = 0,
    rewards: tuple[float, float, float] = DEFAULT_REWARDS,
    batch: int = 250,
) -> Values:
    """Run ``policy`` for one session of ``steps`` items with each of the pool's ``users`` (B,).

    A user's luck depends on (seed, place in ``users``, step) alone, so policies and markets share it.
    """
    parts = [
        _run_batch(market, policy, users[first : first + batch], first, candidates, steps, seed)
        for first in range(0, len(users), batch)
    ]
    items, responses = (torch.cat(column).numpy() for column in zip(*parts, strict=True))  # (B, T) each
    return Values(items, responses, np.asarray(rewards)[responses].sum(1))


def _run_batch(
    market: Market, policy: Policy, users: Tensor, first: int, candidates: Tensor, steps: int, seed: int
) -> tuple[Tensor, Tensor]:
    size, categories = len(users), int(market.catalogue.categories.max()) + 1
    state = market.initial(users)
    key = random.mix(random.mix(torch.tensor(seed), 21), torch.arange(first, first + size))  # (B,)
    rows = torch.arange(size)
    view = View(
        market.catalogue,
        candidates,
        shown=torch.zeros(size, len(candidates), dtype=torch.bool),
        step=0,
        session_key=random.mix(key, 1 << 20),
        key=key,
        clicks=torch.zeros(size, categories),
        last_category=torch.full((size,), -1),
        run=torch.zeros(size, dtype=torch.int64),
        tracked=policy.tracker.initial(users) if policy.tracker else None,
    )
    items, responses = [], []
    for step in range(steps):
        step_key = random.mix(key, step)
        view.step, view.key = step, random.mix(step_key, 1)
        place = policy.score(view).masked_fill(view.shown, -torch.inf).argmax(1)  # (B,)
        item = candidates[place]
        probs = market.probs(state, item.unsqueeze(1))[:, 0]  # (B, R)
        response = random.sample(probs, random.uniform(random.mix(step_key, 2)))
        state = market.update(state, item, response)
        if policy.tracker:
            view.tracked = policy.tracker.update(view.tracked, item, response)
        items.append(item)
        responses.append(response)
        category = market.catalogue.categories[item]
        view.shown[rows, place] = True
        view.clicks[rows, category] += (response >= CLICK).float()
        view.run = torch.where(category == view.last_category, view.run + 1, 1)
        view.last_category = category
    return torch.stack(items, 1), torch.stack(responses, 1)
