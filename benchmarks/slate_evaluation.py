"""What evaluation sessions of RecSlate tell: rewards and depth of each, and how varied all that was shown is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.loop import evaluate

from recsim_hrl.wrappers.infos import step_values

SESSION_MEASURES = ("total_reward", "click_reward", "order_reward", "depth", "length")
"""Of each session: rewards, requests, and items seen."""
RUN_MEASURES = ("coverage", "gini", "diversity")
"""Of all sessions together."""


@dataclass(frozen=True)
class SlateEvaluation:
    """What sessions brought; entry j of two evaluations with one seed is the same user with the same luck."""

    total_reward: np.ndarray  # (S,)
    click_reward: np.ndarray  # (S,)
    order_reward: np.ndarray  # (S,)
    depth: np.ndarray  # (S,) requests
    length: np.ndarray  # (S,) items seen
    coverage: float
    """Share of the items on offer that somebody saw."""
    gini: float
    """How unevenly the items on offer were seen: 0 if all alike, near 1 if few took all."""
    diversity: float
    """Mean over all slates of 1 - the mean cosine of their pairs of items."""

    def fields(self) -> dict[str, Any]:
        """As fields of a record of a run."""
        sessions = {name: tuple(getattr(self, name).tolist()) for name in SESSION_MEASURES}
        rewards = {f"{part}_rewards": sessions.pop(f"{part}_reward") for part in ("click", "order")}
        measures = tuple((name, getattr(self, name)) for name in RUN_MEASURES)
        return rewards | {"sessions": tuple(sessions.items()), "measures": measures}


def evaluate_slates(agent: Agent, env: VectorEnv, sessions: int, seed: int) -> SlateEvaluation:
    """Play sessions without exploring and without learning; see :func:`recsim_hrl_agents.loop.evaluate`.

    Args:
        agent: Anything that answers ``begin`` and ``act`` as an agent does.
        env: RecSlate-v0, as a vector environment under SAME_STEP autoreset.
        sessions: How many.
        seed: Seed of session 0.
    """
    watched = Watched(env)
    outcome = evaluate(agent, watched, sessions, seed)
    items, is_seen = watched.slates(sessions)  # (S, Q, K) each
    seen = np.bincount(items[is_seen], minlength=len(env.unwrapped.item_embeddings))[watched.on_offer]  # (O,)
    shown = items[(items >= 0).all(2)]  # (n, K)
    return SlateEvaluation(
        outcome.total_reward,
        outcome.click_reward,
        outcome.order_reward,
        depth=outcome.length,
        length=is_seen.sum((1, 2)).astype(float),
        coverage=float((seen > 0).mean()),
        gini=gini(seen),
        diversity=diversity(env.unwrapped.item_embeddings, shown),
    )


class Watched(VectorWrapper):
    """Keeps the slates of the first session of every sub-environment after each reset."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self.on_offer = np.zeros(0, np.int64)  # (O,) catalogue indices at the start of a session
        self._batches: list[list[tuple[np.ndarray, np.ndarray]]] = []  # of each reset, of each request (B, K) twice
        self._running = np.zeros(self.num_envs, bool)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """See :meth:`VectorEnv.reset`."""
        observations, infos = self.env.reset(**arguments)
        available = observations["available"].astype(bool)  # (B, P)
        # Session 0 of every seed sees the same catalogue.
        self.on_offer = self.env.unwrapped.candidate_items[available[0]]
        self._batches.append([])
        self._running[:] = True
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, ...]:
        """See :meth:`VectorEnv.step`."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended, running = terminated | truncated, self._running[:, None]
        items = np.where(running, step_values(infos, "item", ended), -1)  # (B, K)
        self._batches[-1].append((items, step_values(infos, "is_seen", ended).astype(bool) & running))
        self._running = self._running & ~ended
        return observations, rewards, terminated, truncated, infos

    def slates(self, sessions: int) -> tuple[np.ndarray, np.ndarray]:
        """Catalogue indices (S, Q, K) of the slates of the first ``sessions``, -1 where there was no request, and which
        items were seen."""
        longest = max(map(len, self._batches))
        filled = []
        for batch in self._batches:
            items, is_seen = (np.stack(column, 1) for column in zip(*batch, strict=True))  # (B, q, K) each
            missing = ((0, 0), (0, longest - len(batch)), (0, 0))
            filled.append((np.pad(items, missing, constant_values=-1), np.pad(is_seen, missing)))
        items, is_seen = (np.concatenate(column)[:sessions] for column in zip(*filled, strict=True))
        return items, is_seen


def diversity(embeddings: np.ndarray, slates: np.ndarray) -> float:
    """Intra-list diversity: the mean over slates of 1 - the mean cosine of all pairs of their items.

    Args:
        embeddings: (I, D) of the catalogue.
        slates: (n, K) catalogue indices.

    Returns:
        0 where slates have one item or all alike, 1 for items at right angles, more where they point apart.
    """
    size = slates.shape[1]
    if size < 2:
        return 0.0
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    directions = embeddings / np.maximum(lengths, 1e-300)  # (I, D)
    squares = np.square(directions).sum(1)  # (I,) 1, or 0 without a direction
    # The square of a sum holds every pair twice, and each item with itself.
    sums = np.stack([directions[slate].sum(0) for slate in slates])  # (n, D)
    pairs = np.square(sums).sum(1) - squares[slates].sum(1)  # (n,)
    return float((1.0 - pairs / (size * (size - 1))).mean())


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of non-negative ``counts`` (n,), not all zero."""
    ranked, size = np.sort(np.asarray(counts, np.float64)), len(counts)
    return float((2.0 * np.arange(1, size + 1) - size - 1.0) @ ranked / (size * ranked.sum()))
