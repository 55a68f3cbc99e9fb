"""The published rules by hand, and the best that they allow."""

from functools import cache

import numpy as np
import pytest

from recsim_hrl.simulator.temper import FULL_TEMPER, LEAST_TEMPER, published_reward, temper_cost
from recsim_hrl.types import CLICK, ORDER, SKIP

BY_HAND = np.array([[SKIP, CLICK, ORDER, SKIP, SKIP], [SKIP] * 5, [ORDER] * 5])


def test_rewards_by_hand():
    # (1 + 1 - 0.3) / 5, -0.5 / 5, 5 / 5; and one less the distances 0.56, 1.0 and 0.1 from 0.9
    assert published_reward(BY_HAND).tolist() == [0.34, -0.1, 1.0]
    assert published_reward(BY_HAND, rl4rs=True).tolist() == [0.44, 0.0, 0.9]


def test_costs_by_hand():
    # (1 - reward) 5 + 1, in tenths
    assert temper_cost(BY_HAND).tolist() == [43, 65, 10]
    assert temper_cost(BY_HAND, rl4rs=True).tolist() == [38, 60, 15]


@pytest.mark.parametrize("rl4rs", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 9, 10])
def test_they_are_the_published_formulas(slots, rl4rs):
    responses = (np.arange(slots) < np.arange(slots + 1)[:, None]).astype(int)  # 0 to all of the slots clicked
    means = np.array([(clicks - 0.1 * (slots - clicks)) / slots for clicks in range(slots + 1)])
    expected = 1 - np.abs(means - 0.9) if rl4rs else means
    np.testing.assert_allclose(published_reward(responses, rl4rs), expected, atol=1e-12)
    np.testing.assert_allclose(temper_cost(responses, rl4rs) / 10, (1 - expected) * slots + 1, atol=1e-12)


def test_a_temper_of_exactly_one_is_enough_to_stay():
    """Eight requests with ten misses in all cost 8 + 10 (1 + 0.1) = 19; in sums of floats a little more."""
    misses = [3, 3, 2, 1, 1, 0, 0, 0]
    costs = [int(temper_cost((np.arange(9) >= n)[None].astype(int))[0]) for n in misses]
    assert FULL_TEMPER - sum(costs) == LEAST_TEMPER
    temper = 20.0
    for n in misses:
        temper -= (1 - np.where(np.arange(9) >= n, 1.0, -0.1).mean()) * 9 + 1
    assert temper != 1.0  # which is why tenths are counted


@pytest.mark.parametrize(("rl4rs", "total", "depth"), [(False, 20.0, 20), (True, 15.64, 16)])
def test_the_best_that_nine_slots_allow(rl4rs, total, depth):
    """Over every sequence of numbers of clicks, however long: (reward, requests) of the best."""
    responses = (np.arange(9) < np.arange(10)[:, None]).astype(int)
    rewards, costs = published_reward(responses, rl4rs), temper_cost(responses, rl4rs)

    @cache
    def best(temper: int) -> tuple[float, int]:
        if temper < LEAST_TEMPER:
            return 0.0, 0
        later = [best(temper - int(cost)) for cost in costs]
        return max((reward + after, 1 + deep) for reward, (after, deep) in zip(rewards, later, strict=True))

    found, deep = best(FULL_TEMPER)
    assert round(found, 2) == total and deep == depth
