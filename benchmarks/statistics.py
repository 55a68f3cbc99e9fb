"""Intervals for results that are crossed: every training seed of an agent is judged on the same users.

Rewards arrive as a matrix (S, U): one row for each training seed, one column for each evaluation user. A replicate
draws seeds with replacement and, independently, users with replacement, and applies both draws to the whole matrix
(the pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007). Drawing users afresh within each seed would
average their luck over the seeds and give intervals that are too narrow, because the users are the same ones.

Interquartile means follow Agarwal et al. (NeurIPS 2021): a quarter of the values, rounded down, is cut on each side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Statistic = Literal["mean", "iqm"]
_CHUNK = 256
"""Replicates held in memory at once; 256 x 5,000 sessions are 10 MB."""


@dataclass(frozen=True)
class Interval:
    """An estimate between the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def scaled(self, zero: float, one: float) -> "Interval":
        """The interval on a scale where ``zero`` becomes 0 and ``one`` becomes 1, both taken as known exactly.

        Raises:
            ValueError: If the two anchors do not differ in the right direction.
        """
        if not one > zero:
            raise ValueError(
                f"normalised score: got lower bound {zero:g} and upper bound {one:g}, allowed lower < upper; "
                "measure the bounds again with more sessions"
            )
        return Interval(*((value - zero) / (one - zero) for value in (self.estimate, self.low, self.high)))


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed."""

    resamples: int = 2000
    """Bootstrap replicates."""
    level: float = 0.95
    """Coverage of the percentile interval."""
    seed: int = 0
    """Seed of the replicates; the same seed gives the same interval."""

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"bootstrap resamples: got {self.resamples}, allowed 1 or more")
        if not 0 < self.level < 1:
            raise ValueError(f"bootstrap level: got {self.level}, allowed above 0 and below 1, for example 0.95")


def interquartile_mean(values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Mean of the middle half of ``values``.

    Args:
        values: (V,) numbers.
        counts: (..., V) non-negative whole numbers: how often each value occurs; once each by default. All rows
            must have the same sum.

    Returns:
        (...) interquartile means, one for each row of counts.
    """
    values = np.asarray(values, dtype=np.float64)
    counts = np.ones(values.shape) if counts is None else np.asarray(counts, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    total = counts.reshape(-1, len(values))[0].sum()
    cut = np.floor(0.25 * total)
    ends = counts[..., order].cumsum(-1)  # (..., V)
    starts = ends - counts[..., order]
    kept = np.clip(ends, cut, total - cut) - np.clip(starts, cut, total - cut)
    return kept @ values[order] / (total - 2 * cut)


def crossed_bootstrap(values: np.ndarray, statistic: Statistic = "mean", how: Bootstrap | None = None) -> Interval:
    """Interval of the mean, or interquartile mean, of session rewards over seeds and common users.

    Args:
        values: (S, U) reward of each evaluation user under the agent of each training seed.
        statistic: "mean" of all sessions, or "iqm", the interquartile mean of all sessions.
        how: Replicates, coverage and seed.

    Raises:
        ValueError: If ``values`` is not a finite, non-empty matrix.
    """
    how = how or Bootstrap()
    values = _matrix("values", values)
    seeds, users = values.shape
    generator = np.random.default_rng(how.seed)
    replicates = []
    for size in _chunks(how.resamples):
        seed_counts = _draw(generator, seeds, size)  # (size, S)
        user_counts = _draw(generator, users, size)  # (size, U)
        if statistic == "mean":
            replicates.append(_weighted_mean(values, seed_counts, user_counts))
        else:
            counts = (seed_counts[:, :, None] * user_counts[:, None, :]).reshape(size, -1)  # (size, S * U)
            replicates.append(interquartile_mean(values.ravel(), counts))
    estimate = values.mean() if statistic == "mean" else interquartile_mean(values.ravel())
    return _interval(float(estimate), np.concatenate(replicates), how)


def paired_difference(
    first: np.ndarray, second: np.ndarray, how: Bootstrap | None = None, relative: bool = False
) -> Interval:
    """Interval of how much more the first agent earns than the second on the same users.

    A replicate draws the users once for both agents, and the seeds of each agent on their own.

    Args:
        first: (S1, U) rewards of the first agent.
        second: (S2, U) rewards of the second agent on the same users in the same order.
        how: Replicates, coverage and seed.
        relative: Whether the difference is taken as a share of what the second earns.

    Raises:
        ValueError: If the two were not judged on the same number of users.
    """
    how = how or Bootstrap()
    first, second = _matrix("first", first), _matrix("second", second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"paired difference: got {first.shape[1]} and {second.shape[1]} users, allowed the same users for both; "
            "evaluate both agents on one task with one evaluation seed"
        )
    generator = np.random.default_rng(how.seed)
    replicates = []
    for size in _chunks(how.resamples):
        user_counts = _draw(generator, first.shape[1], size)
        mean_first = _weighted_mean(first, _draw(generator, len(first), size), user_counts)
        mean_second = _weighted_mean(second, _draw(generator, len(second), size), user_counts)
        replicates.append((mean_first - mean_second) / (mean_second if relative else 1.0))
    difference = (first.mean() - second.mean()) / (second.mean() if relative else 1.0)
    return _interval(float(difference), np.concatenate(replicates), how)


def stratified_bootstrap(
    strata: Sequence[np.ndarray], statistic: Statistic = "iqm", how: Bootstrap | None = None
) -> Interval:
    """Interval of one score over several tasks, each task resampled on its own.

    The score of a run is its mean over users; the statistic is taken over all runs of all tasks together.

    Args:
        strata: For each task (S, U) scores on a scale that the tasks share, such as normalised scores.
        statistic: "mean" or "iqm" of the run scores.
        how: Replicates, coverage and seed.

    Raises:
        ValueError: If there is no task, or one is not a finite, non-empty matrix.
    """
    how = how or Bootstrap()
    if not strata:
        raise ValueError("stratified bootstrap: got no tasks, allowed one or more; pass one matrix for each task")
    matrices = [_matrix(f"strata[{place}]", stratum) for place, stratum in enumerate(strata)]
    generator = np.random.default_rng(how.seed)
    replicates = []
    for size in _chunks(how.resamples):
        runs = []
        for matrix in matrices:
            users = _draw(generator, matrix.shape[1], size) / matrix.shape[1]  # (size, U)
            scores = users @ matrix.T  # (size, S)
            picked = generator.integers(len(matrix), size=(size, len(matrix)))
            runs.append(np.take_along_axis(scores, picked, axis=1))
        replicates.append(_over_runs(np.concatenate(runs, axis=1), statistic))
    runs = np.concatenate([matrix.mean(axis=1) for matrix in matrices])
    return _interval(float(_over_runs(runs[None], statistic)[0]), np.concatenate(replicates), how)


def _over_runs(scores: np.ndarray, statistic: Statistic) -> np.ndarray:
    """(replicates, runs) -> (replicates,)."""
    if statistic == "mean":
        return scores.mean(axis=1)
    cut = scores.shape[1] // 4
    return np.sort(scores, axis=1)[:, cut : scores.shape[1] - cut].mean(axis=1)


def _chunks(total: int) -> list[int]:
    return [min(_CHUNK, total - start) for start in range(0, total, _CHUNK)]


def _draw(generator: np.random.Generator, things: int, size: int) -> np.ndarray:
    """(size, things) how often each thing is drawn when ``things`` are drawn with replacement."""
    picked = generator.integers(things, size=(size, things)) + things * np.arange(size)[:, None]  # (size, things)
    return np.bincount(picked.ravel(), minlength=size * things).reshape(size, things).astype(np.float64)


def _weighted_mean(values: np.ndarray, seed_counts: np.ndarray, user_counts: np.ndarray) -> np.ndarray:
    return ((seed_counts @ values) * user_counts).sum(axis=1) / values.size


def _interval(estimate: float, replicates: np.ndarray, how: Bootstrap) -> Interval:
    tail = (1 - how.level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def _matrix(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"{name}: got shape {values.shape}, allowed (seeds, users) with at least one of each; "
            "stack the session rewards of one agent, a row for each training seed"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: got NaN or infinite rewards, allowed finite numbers; drop the run that wrote them")
    return values
