"""Return computations, apart from any agent so that they can be checked by hand."""

import numpy as np


def n_step_returns(
    rewards: np.ndarray, ended: np.ndarray, terminated: np.ndarray, gamma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discounted rewards of up to ``n`` consecutive steps, and where and how to bootstrap after them.

    Summing stops with the first step that ended its session. A truncated session bootstraps from its own final
    observation; a terminated one does not bootstrap.

    Args:
        rewards: (n, B) rewards of the steps, in time order.
        ended: (n, B) bool, the next row belongs to another session (or has not happened yet).
        terminated: (n, B) bool, the user left.
        gamma: Discount of one step.

    Returns:
        ``returns`` (B,): sum over the k steps used of gamma ** i * rewards[i];
        ``discounts`` (B,): gamma ** k, or 0 where the session terminated: the factor of the bootstrapped value;
        ``last`` (B,): k - 1, the step whose next observation the value is taken of.
    """
    steps, size = rewards.shape
    returns = np.zeros(size, np.float32)  # (B,)
    last = np.zeros(size, np.int64)  # (B,)
    running = np.ones(size, bool)  # (B,)
    for step in range(steps):
        returns += np.where(running, gamma**step * rewards[step], 0.0).astype(np.float32)
        last[running] = step
        running &= ~ended[step]
    stopped_by_leaving = terminated[last, np.arange(size)]  # (B,)
    discounts = np.where(stopped_by_leaving, 0.0, gamma ** (last + 1.0)).astype(np.float32)  # (B,)
    return returns, discounts, last
