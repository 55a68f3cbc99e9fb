"""The published rules of slate sessions: the reward of a request and the temper that a user loses.

They are those of the public code of HAC and HSRL. A user clicks each item of a slate or not; a request pays the mean
over the slots of 1 for a click and -0.1 for none. Temper starts at 20, every request costs (1 - reward) K + 1 of it,
and the user leaves when less than 1 is left. The RL4RS variant pays one less the distance of that mean from 0.9.

All of these are whole numbers of tenths, and are counted as such: a temper of exactly 1 is not less than 1.
"""

from __future__ import annotations

import numpy as np

from recsim_hrl.types import SKIP

FULL_TEMPER = 200
"""Tenths of temper at the start of a session."""
LEAST_TEMPER = 10
"""With fewer tenths of it, a user leaves."""


def published_reward(responses: np.ndarray, rl4rs: bool = False) -> np.ndarray:
    """(B,) what requests answered with ``responses`` (B, K) pay; an order counts as a click."""
    return _tenths(responses, rl4rs) / (10 * responses.shape[1])


def temper_cost(responses: np.ndarray, rl4rs: bool = False) -> np.ndarray:
    """(B,) int64 tenths of temper that requests answered with ``responses`` (B, K) cost."""
    return 10 * responses.shape[1] - _tenths(responses, rl4rs) + 10


def _tenths(responses: np.ndarray, rl4rs: bool) -> np.ndarray:
    """(B,) int64, ten times the reward of all slots together."""
    slots, clicks = responses.shape[1], (responses != SKIP).sum(1)
    tenths = 10 * clicks - (slots - clicks)
    return 10 * slots - np.abs(tenths - 9 * slots) if rl4rs else tenths
