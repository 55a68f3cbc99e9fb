"""Bootstrap intervals over users: values by hand, and how often they hold the truth."""

import numpy as np
import pytest

from recsim_hrl.simulator.validity.intervals import Interval, UserBootstrap


def test_the_value_is_the_ratio_of_sums():
    (found,) = UserBootstrap(np.array([0, 0, 1])).ratios(
        np.array([[1.0], [2.0], [6.0]]), np.array([[1.0], [1.0], [2.0]])
    )
    assert found.value == 9.0 / 4.0
    # Both users drawn alike, or one of them twice: 3 / 2 and 6 / 2.
    assert (found.low, found.high) == (1.5, 3.0)


def test_users_are_drawn_and_not_rows():
    """A hundred equal rows of each of four users are worth no more than one row of each."""
    once = UserBootstrap(np.arange(4)).mean(np.array([0.0, 0.0, 1.0, 1.0]))
    often = UserBootstrap(np.repeat(np.arange(4), 100)).mean(np.repeat([0.0, 0.0, 1.0, 1.0], 100))
    assert once == often and once.high - once.low > 0.5


def test_nothing_below_is_not_a_number():
    found = UserBootstrap(np.array([0, 1])).ratios(np.ones((2, 1)), np.zeros((2, 1)))[0]
    assert np.isnan([found.value, found.low, found.high]).all()


def test_users_of_whom_nothing_is_below_do_not_count():
    tops, bottoms = np.array([[0.0], [3.0]]), np.array([[0.0], [1.0]])
    assert UserBootstrap(np.array([0, 1])).ratios(tops, bottoms)[0] == Interval(3.0, 3.0, 3.0)


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator, held = np.random.default_rng(0), 0
    for trial in range(200):
        taste = generator.normal(0.0, 1.0, 40).repeat(5)  # five rows of each user share her taste
        found = UserBootstrap(np.arange(40).repeat(5), trial, draws=200).mean(taste + generator.normal(0.0, 1.0, 200))
        held += found.low <= 0.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


@pytest.mark.parametrize(("low", "high", "excess"), [(-0.1, 0.2, 0.0), (0.05, 0.2, 0.05), (-0.3, -0.1, 0.1)])
def test_the_excess_is_the_distance_from_zero(low, high, excess):
    assert Interval((low + high) / 2, low, high).excess == excess
