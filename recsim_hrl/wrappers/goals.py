"""The arithmetic of goals: which one is active, what following it pays, and what each one earned.

A *period* is ``c`` low-level steps under one set of ``M`` goals, cut into sub-periods of ``c // M`` steps, one per
goal. Where ``M`` does not divide ``c``, the last ``c % M`` steps of the period stay under the last goal, both for
the internal reward and for the reward assignment; MaHRL (Zhao et al., SIGIR 2020) leaves them undefined.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_period(c: int, M: int) -> None:
    """Refuse a period that cannot be cut into one or more steps for each goal.

    Raises:
        ValueError: unless 1 <= ``M`` <= ``c``.
    """
    if not 1 <= M <= c:
        raise ValueError(
            f"goals M: got M={M} with period c={c}, allowed 1 <= M <= c; give every goal at least one step"
        )


def active_goal(step: ArrayLike, c: int, M: int) -> NDArray[np.int64]:
    """Index of the goal that guides a low-level step (MaHRL Eq. 11).

    The paper counts steps and goals from 1: goal i guides the steps t with
    ``c // M * (i - 1) < t <= c // M * i``. Counted from 0, as here, step s is under goal ``s // (c // M)``.

    Args:
        step: (...) low-level steps since the session began, from 0; only ``step % c`` matters.
        c: Steps in a period.
        M: Goals in a period.

    Returns:
        (...) int64 goal indices in [0, M).
    """
    check_period(c, M)
    return np.minimum(np.asarray(step) % c // (c // M), M - 1)


def internal_reward(goal: ArrayLike, action_embedding: ArrayLike) -> NDArray[np.floating]:
    """Cosine similarity of an action and its goal (MaHRL Eq. 11); 0 where either is the zero vector.

    Args:
        goal: (..., D) goals.
        action_embedding: (..., D) actions, broadcast against the goals.

    Returns:
        (...) float64 in [-1, 1].
    """
    goal, action = np.asarray(goal, np.float64), np.asarray(action_embedding, np.float64)
    dot = (goal * action).sum(-1)  # (...)
    norms = np.linalg.norm(goal, axis=-1) * np.linalg.norm(action, axis=-1)  # (...)
    return np.clip(np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0), -1.0, 1.0)


def assign_rewards(
    rewards: ArrayLike,
    M: int,
    beta: float,
    steps: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Divide the external rewards of a period among its goals (MaHRL Eq. 12-13).

    Goal i earns ``sum_{k <= i} beta ** (i - k) * phi_k``, where ``phi_k`` sums the rewards of sub-period k. A goal
    whose sub-period never began, because the session ended before, earned nothing: it gets 0 and is flagged, not
    the discounted rewards of the goals before it.

    Args:
        rewards: (..., c) external rewards of the low-level steps of one period.
        M: Goals in the period.
        beta: High-level reward discount: 0 keeps each sub-period to itself, 1 counts all earlier ones in full.
        steps: (...) how many steps of the period took place, all ``c`` by default; later rewards are not read.

    Returns:
        Rewards of the goals (..., M), and whether the sub-period of each goal began (..., M).

    Raises:
        ValueError: if ``M``, ``beta`` or ``steps`` is out of range.
    """
    rewards = np.asarray(rewards, np.float64)
    c = rewards.shape[-1]
    check_period(c, M)
    check_beta(beta)
    steps = np.broadcast_to(c if steps is None else np.asarray(steps), rewards.shape[:-1])  # (...)
    if (steps < 0).any() or (steps > c).any():
        raise ValueError(f"assign_rewards steps: got {steps.tolist()}, allowed 0 to {c}, the length of the period")
    places, goals = np.arange(c), np.arange(M)
    happened = np.where(places < steps[..., None], rewards, 0.0)  # (..., c)
    sub_period = active_goal(places, c, M)[:, None] == goals  # (c, M)
    lag = goals - goals[:, None]  # (M, M): from the earner k (row) to the goal i (column)
    discount = np.where(lag >= 0, float(beta) ** np.maximum(lag, 0), 0.0)  # (M, M)
    started = goals * (c // M) < steps[..., None]  # (..., M)
    return np.where(started, happened @ sub_period @ discount, 0.0), started


def check_beta(beta: float) -> None:
    """Refuse a reward discount outside [0, 1]."""
    if not 0.0 <= beta <= 1.0:
        raise ValueError(f"beta: got {beta}, allowed 0 to 1; 0 keeps each goal to its own sub-period (MaHRL Eq. 13)")


def check_goals(goals: ArrayLike, shape: tuple[int, ...], bound: float) -> NDArray[np.float32]:
    """Goals as float32 of ``shape``, within [-bound, bound] (rounding errors are clipped).

    Raises:
        ValueError: if they have another shape, are not finite or leave the bounds.
    """
    goals = np.asarray(goals, np.float32)
    if goals.shape != shape:
        raise ValueError(f"goals: got shape {goals.shape}, expected {shape} (the last two are goals M, embedding D)")
    if not np.isfinite(goals).all():
        raise ValueError("goals: got NaN or infinity, allowed finite numbers; check the network that made them")
    largest = float(np.abs(goals).max(initial=0.0))
    if largest > bound * (1 + 1e-5):
        raise ValueError(f"goals: got an entry of size {largest:.6g}, allowed up to {bound:.6g}; use np.clip")
    return np.clip(goals, -bound, bound)
