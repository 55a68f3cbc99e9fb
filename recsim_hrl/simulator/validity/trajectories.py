"""Real against simulated session trajectories: clicks and orders so far, position by position.

Three curves. *Real*: what the users of the log did. *Expected*: the sum of the predictions, each given the real session
before it; if the simulator is right, real and expected differ by chance only, whatever policy wrote the log. *Free*:
the simulator answers the same items after its own responses, as it does when agents train on it. A free session may
differ from a real one even if the simulator is perfect: a shop that shows more of what was clicked, or users who leave
when bored, make the items of a real session follow its real responses. :class:`Reaction` says whether that is so.
"""

from dataclasses import dataclass

import numpy as np

from recsim_hrl.simulator.validity.intervals import Interval, UserBootstrap
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.types import CLICK, ORDER, SKIP

MARKS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400)
"""Positions at which the curves are told."""
ENOUGH = 20
_BAND = (0.1, 0.9)


@dataclass(frozen=True)
class Curve:
    """One response, so far in the session; sessions that ended keep their total. Lists have one entry per mark."""

    real: list[Interval]
    """Mean over sessions."""
    expected: list[float]
    free: list[float]
    real_band: list[list[float]]
    """The 10% and 90% quantiles over sessions."""
    free_band: list[list[float]]
    surplus: list[Interval]
    """Mean expected less real."""
    is_judged: list[bool]
    """Whether ``ENOUGH`` responses came so far in all sessions together."""

    @property
    def errors(self) -> list[tuple[float, float]]:
        """At each mark that is judged, the relative error of the expected curve that is shown beyond chance, and half
        the width of its interval."""
        rows = zip(self.surplus, self.real, self.is_judged, strict=True)
        judged = [(gap, real.value) for gap, real, is_judged in rows if is_judged]
        return [(gap.excess / mean, (gap.high - gap.low) / 2.0 / mean) for gap, mean in judged]


@dataclass(frozen=True)
class Reaction:
    """Whether what comes next in the log follows the responses."""

    same_category: Interval | None
    """How much likelier the next item is of the same category after a click; None for one category only."""
    ending: Interval
    """How much likelier a session ends after a click."""

    @property
    def is_seen(self) -> bool:
        """Whether the log's items or endings follow the responses, or that cannot be told."""
        return self.same_category is None or self.same_category.excess > 0.0 or self.ending.excess > 0.0


@dataclass(frozen=True)
class Trajectories:
    """The curves of a log."""

    marks: list[int]
    sessions: int
    clicks: Curve
    """Orders included."""
    orders: Curve
    reaction: Reaction


def trajectories(sample: LogSample, free: np.ndarray, categories: np.ndarray, seed: int = 0) -> Trajectories:
    """The curves and the reaction of the log's policy.

    Args:
        sample: Of a log, with predictions.
        free: (n,) responses of :func:`recsim_hrl.simulator.validity.replay.free_run` to the same sessions.
        categories: (I,) of the items.
        seed: Draws the users of the intervals.
    """
    longest = int(sample.lengths.max())
    marks = [mark for mark in MARKS if mark < longest] + [longest]
    clicks = (sample.response >= CLICK, 1.0 - sample.probs[:, SKIP], free >= CLICK)
    orders = (sample.response == ORDER, sample.probs[:, ORDER], free == ORDER)
    curves = (_curve(sample, marks, *columns, seed) for columns in (clicks, orders))
    return Trajectories(marks, len(sample.sessions), *curves, reaction(sample, categories, seed))


def _curve(
    sample: LogSample, marks: list[int], real: np.ndarray, expected: np.ndarray, free: np.ndarray, seed: int
) -> Curve:
    totals = [_so_far(sample, values, marks) for values in (real, expected, free)]  # (S, marks) each
    bootstrap, ones = sample.bootstrap_sessions(seed), np.ones((len(sample.sessions), 1))
    bands = [np.quantile(total, _BAND, 0).T.tolist() for total in (totals[0], totals[2])]
    means = bootstrap.ratios(totals[0], ones)
    surplus = bootstrap.ratios(totals[1] - totals[0], ones)
    expected_mean, free_mean = (total.mean(0).tolist() for total in totals[1:])
    return Curve(means, expected_mean, free_mean, *bands, surplus, (totals[0].sum(0) >= ENOUGH).tolist())


def _so_far(sample: LogSample, values: np.ndarray, marks: list[int]) -> np.ndarray:
    """(S, marks) sum of ``values`` (n,) over the first impressions of each session."""
    running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = sample.starts[:, None] + np.minimum(marks, sample.lengths[:, None])  # (S, marks)
    return running[ends] - running[sample.starts][:, None]


def reaction(sample: LogSample, categories: np.ndarray, seed: int = 0) -> Reaction:
    """Whether the next item, or the end of the session, follows the responses of ``sample``.

    Args:
        sample: Of a log.
        categories: (I,) of the items.
        seed: Draws the users of the intervals.
    """
    is_last = sample.step == sample.lengths[sample.session] - 1
    clicked, user = sample.response >= CLICK, sample.users[sample.session]
    ending = _slope(clicked, is_last, user, seed)
    category, goes_on = categories[sample.item], ~is_last
    if (category == category[0]).all() or not goes_on.any():
        return Reaction(None, ending)
    same = category[np.flatnonzero(goes_on) + 1] == category[goes_on]
    return Reaction(_slope(clicked[goes_on], same, user[goes_on], seed), ending)


def _slope(cause: np.ndarray, effect: np.ndarray, user: np.ndarray, seed: int) -> Interval:
    """The share of ``effect`` (n,) where ``cause`` (n,) holds, less that where it does not."""
    away = cause - cause.mean()
    bootstrap = UserBootstrap(np.unique(user, return_inverse=True)[1], seed)
    return bootstrap.ratios((away * (effect - effect.mean()))[:, None], (away**2)[:, None])[0]
