"""Return computations, apart from any agent so that they can be checked by hand."""

import torch
from torch import Tensor


def n_step_returns(rewards: Tensor, ended: Tensor, terminated: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
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
    used = ended.cumsum(0) == ended  # (n, B) no step before ended the session
    powers = gamma ** torch.arange(len(rewards), device=rewards.device)  # (n,)
    returns = (rewards * powers[:, None] * used).sum(0)  # (B,)
    last = used.sum(0) - 1  # (B,)
    left = terminated.gather(0, last[None])[0]  # (B,)
    discounts = torch.where(left, 0.0, gamma * powers[last])  # (B,)
    return returns, discounts, last
