"""What nobody can exceed under the published leave rule, worked out from the rule itself.

A request costs temper by its reward alone, less the better it pays (:mod:`recsim_hrl.simulator.temper`). A session in
which every request pays the most therefore has both the most reward a request and the most requests: no other can be
above it, whatever the users and the items are.
"""

import numpy as np

from recsim_hrl.simulator.temper import FULL_TEMPER, LEAST_TEMPER, published_reward, temper_cost
from recsim_hrl.types import CLICK, SKIP


def session_of(clicks: int, slate_size: int, max_requests: int, rl4rs: bool = False) -> tuple[float, int]:
    """Total reward and depth of a session whose every request has as many ``clicks``.

    Args:
        clicks: Of a slate.
        slate_size: Items of a slate.
        max_requests: Requests of a session, at the most.
        rl4rs: Whether requests pay the RL4RS variant of the reward.
    """
    slate = np.array([[CLICK] * clicks + [SKIP] * (slate_size - clicks)])  # (1, K)
    reward = published_reward(slate, rl4rs)  # (1,)
    cost, temper, depth = int(temper_cost(slate, rl4rs)[0]), FULL_TEMPER, 0
    while depth < max_requests and temper >= LEAST_TEMPER:
        temper -= cost
        depth += 1
    return depth * float(reward[0]), depth


def temper_ceiling(slate_size: int, max_requests: int, rl4rs: bool = False) -> tuple[float, int]:
    """Total reward and depth that no session exceeds where users leave by the temper rule; arguments as above."""
    sessions = (session_of(clicks, slate_size, max_requests, rl4rs) for clicks in range(slate_size + 1))
    return max(sessions, key=lambda found: found[0])
