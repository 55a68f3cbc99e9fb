"""The published rules of slate sessions: the reward of a request and the temper that a user loses.

They are those of the public code of HAC and HSRL. A user clicks each item of a slate or not; a request pays the mean
over the slots of 1 for a click and -0.1 for none. Temper starts at 20, every request costs (1 - reward) K + 1 of it,
and the user leaves when less than 1 is left. The RL4RS variant pays one less the distance of that mean from 0.9.
"""

from __future__ import annotations

import numpy as np

from recsim_hrl.types import SKIP

FULL_TEMPER = 20.0
LEAST_TEMPER = 1.0
"""With less, a user leaves."""
_NO_CLICK = -0.1
_BEST_MEAN = 0.9  # in the RL4RS variant


def published_reward(responses: np.ndarray, rl4rs: bool = False) -> np.ndarray:
    """(B,) what requests answered with ``responses`` (B, K) pay; an order counts as a click."""
    mean = np.where(responses == SKIP, _NO_CLICK, 1.0).mean(1)
    return 1.0 - np.abs(mean - _BEST_MEAN) if rl4rs else mean


def temper_cost(reward: np.ndarray, slate_size: int) -> np.ndarray:
    """(B,) temper that requests of published ``reward`` (B,) cost."""
    return (1.0 - reward) * slate_size + 1.0
