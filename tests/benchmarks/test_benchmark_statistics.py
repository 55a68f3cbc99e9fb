"""Intervals against numbers worked out by hand and a slow bootstrap that copies rows and columns."""

import numpy as np
import pytest

from benchmarks.statistics import (
    Bootstrap,
    Interval,
    crossed_bootstrap,
    interquartile_mean,
    paired_difference,
    stratified_bootstrap,
)


def test_interquartile_mean_by_hand():
    # A quarter of 8 values is 2: the two smallest and the two largest go, (3 + 4 + 5 + 6) / 4 stays.
    assert interquartile_mean(np.array([100.0, 1, 6, 2, 5, 3, 4, -50])) == pytest.approx(3.5)
    # A quarter of 5 rounds down to 1: (2 + 3 + 9) / 3.
    assert interquartile_mean(np.array([9.0, 2, 1, 50, 3])) == pytest.approx(14 / 3)
    assert interquartile_mean(np.array([7.0])) == 7.0


def test_interquartile_mean_with_counts_is_that_of_repeated_values():
    generator = np.random.default_rng(3)
    values = generator.normal(size=12).round(1)
    counts = generator.multinomial(12, np.full(12, 1 / 12), size=20)
    for row, got in zip(counts, interquartile_mean(values, counts), strict=True):
        repeated = np.sort(np.repeat(values, row))
        assert got == pytest.approx(repeated[3:-3].mean())


def slow_crossed(values, statistic, resamples, seed):
    """Each replicate copies the drawn rows and columns of the matrix, one after the other."""
    generator = np.random.default_rng(seed)
    replicates = []
    for _ in range(resamples):
        rows = generator.integers(values.shape[0], size=values.shape[0])
        columns = generator.integers(values.shape[1], size=values.shape[1])
        drawn = np.sort(values[rows][:, columns].ravel())
        cut = len(drawn) // 4
        replicates.append(drawn.mean() if statistic == "mean" else drawn[cut : len(drawn) - cut].mean())
    return np.quantile(replicates, [0.025, 0.975])


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_crossed_bootstrap_agrees_with_a_slow_one(statistic):
    generator = np.random.default_rng(1)
    values = generator.normal(size=(4, 1)) + generator.normal(size=(1, 30)) + generator.normal(size=(4, 30))
    fast = crossed_bootstrap(values, statistic, Bootstrap(resamples=8_000))
    low, high = slow_crossed(values, statistic, 8_000, seed=8)
    # Of the interval's width of 1.9, the draws of the two bootstraps account for 0.02 at each end.
    assert (fast.low, fast.high) == (pytest.approx(low, abs=0.06), pytest.approx(high, abs=0.06))
    flat = np.sort(values.ravel())
    assert fast.estimate == pytest.approx(values.mean() if statistic == "mean" else flat[30:90].mean())


def test_crossed_bootstrap_by_hand():
    # One seed, two users with rewards 0 and 4: a replicate is 0, 2 or 4 with probability 1/4, 1/2, 1/4.
    interval = crossed_bootstrap(np.array([[0.0, 4.0]]), "mean", Bootstrap(level=0.6))
    assert interval == Interval(2.0, 0.0, 4.0)
    assert crossed_bootstrap(np.array([[0.0, 4.0]]), "mean", Bootstrap(level=0.4)) == Interval(2.0, 2.0, 2.0)


def test_users_are_common_to_seeds():
    # Seeds agree on every user, so three seeds know no more of the users than one does.
    users = np.random.default_rng(2).normal(size=(1, 50))
    one = crossed_bootstrap(users, "mean", Bootstrap(resamples=10_000))
    three = crossed_bootstrap(np.repeat(users, 3, axis=0), "mean", Bootstrap(resamples=10_000))
    assert three.high - three.low == pytest.approx(one.high - one.low, rel=0.05)


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(5)
    how = Bootstrap(resamples=400)
    intervals = [crossed_bootstrap(generator.normal(size=(1, 60)), "mean", how) for _ in range(400)]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.91 <= covered <= 0.98


def test_paired_difference_cancels_what_users_share():
    users = np.random.default_rng(4).normal(scale=100, size=(1, 40))
    first = users + np.array([[3.0], [5.0]])
    interval = paired_difference(first, users)
    # Seeds are drawn from {3, 5} twice: their mean is 3, 4 or 5; the users' spread of 100 plays no part.
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((4.0, 3.0, 5.0))
    swapped = paired_difference(users, first)
    assert (swapped.estimate, swapped.low, swapped.high) == pytest.approx((-4.0, -5.0, -3.0))


def test_paired_difference_needs_the_same_users():
    with pytest.raises(ValueError, match="got 3 and 4 users, allowed the same users"):
        paired_difference(np.zeros((2, 3)), np.zeros((2, 4)))


def slow_stratified(strata, statistic, resamples, seed):
    generator = np.random.default_rng(seed)
    replicates = []
    for _ in range(resamples):
        runs = []
        for matrix in strata:
            rows = generator.integers(len(matrix), size=len(matrix))
            columns = generator.integers(matrix.shape[1], size=matrix.shape[1])
            runs += [matrix[row, columns].mean() for row in rows]
        runs, cut = np.sort(runs), len(runs) // 4
        replicates.append(np.mean(runs) if statistic == "mean" else np.mean(runs[cut : len(runs) - cut]))
    return np.quantile(replicates, [0.025, 0.975])


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_stratified_bootstrap_agrees_with_a_slow_one(statistic):
    generator = np.random.default_rng(6)
    strata = [generator.normal(size=(5, 20)), 2 + generator.normal(size=(5, 10))]
    fast = stratified_bootstrap(strata, statistic, Bootstrap(resamples=8_000))
    low, high = slow_stratified(strata, statistic, 8_000, seed=9)
    assert (fast.low, fast.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    runs = np.sort(np.concatenate([matrix.mean(axis=1) for matrix in strata]))
    assert fast.estimate == pytest.approx(runs.mean() if statistic == "mean" else runs[2:8].mean())


def test_scaled_interval_by_hand():
    scaled = Interval(6.0, 5.0, 8.0).scaled(zero=4.0, one=12.0)
    assert (scaled.estimate, scaled.low, scaled.high) == (0.25, 0.125, 0.5)
    with pytest.raises(ValueError, match="got lower bound 3 and upper bound 3"):
        Interval(1, 1, 1).scaled(3, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"got shape \(3,\)"),
        (np.zeros((0, 3)), r"got shape \(0, 3\)"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
    ],
)
def test_bad_rewards_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        crossed_bootstrap(values)


def test_same_seed_same_interval():
    values = np.random.default_rng(0).normal(size=(3, 40))
    assert crossed_bootstrap(values) == crossed_bootstrap(values)
    assert crossed_bootstrap(values) != crossed_bootstrap(values, how=Bootstrap(seed=1))


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_bootstrap_settings_are_checked(settings):
    with pytest.raises(ValueError, match="bootstrap"):
        Bootstrap(**settings)


def test_a_relative_difference_is_a_share_of_what_the_second_earns():
    second = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    # Half as much again on every user; seeds are drawn for each agent on its own, so that one seed leaves no width.
    share = paired_difference(1.5 * second, second, relative=True)
    assert share.estimate == pytest.approx(0.5) and share.low < 0.5 < share.high
    share = paired_difference(1.5 * second[:1], second[:1], relative=True)
    assert (share.estimate, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
