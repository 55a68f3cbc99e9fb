"""The verdict of a report: named criteria, each met, not met, or not to be judged on this log; never a single grade.

Where a value is estimated, its *shown* error counts: the part that is beyond chance. It is not enough for a criterion
that nothing is shown: where the log is too small to have shown an error of twice the limit, there is no verdict.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from recsim_hrl.simulator.validity.evidence import Evidence
from recsim_hrl.simulator.validity.segments import SegmentRate
from recsim_hrl.simulator.validity.trajectories import Trajectories
from recsim_hrl.simulator.validity.two_samples import Discrimination

MET, MISSED, UNKNOWN = "met", "not met", "cannot be judged"
_COVERAGE_ROWS = 100_000  # a shorter log holds few sorts of impressions often, whatever the policy


@dataclass(frozen=True)
class Criterion:
    """One row of the verdict."""

    name: str
    section: str
    """Where in the report the evidence stands."""
    value: float
    """nan where there is none."""
    limit: float
    at_least: bool
    """Whether the limit is a floor and not a ceiling."""
    meaning: str
    """What it says to someone who trains agents on the simulator."""
    reason: str = ""
    """Why it cannot be judged, if so."""
    is_share: bool = True
    """Whether value and limit are shares, to be told in percent."""

    @property
    def verdict(self) -> str:
        if self.reason:
            return UNKNOWN
        return MET if (self.value >= self.limit if self.at_least else self.value <= self.limit) else MISSED

    def __str__(self) -> str:
        if self.reason:
            return f"{self.verdict:16s}  {self.name}: {self.reason}"
        return f"{self.verdict:16s}  {self.name}: {self.told(self.value)} ({self.bound})"

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'≥' if self.at_least else '≤'} {self.told(self.limit)}"

    def told(self, number: float) -> str:
        """``number`` in the criterion's unit."""
        return f"{100.0 * number:.3g}%" if self.is_share else f"{number:.3g}"

    def to_json(self) -> dict[str, Any]:
        """The fields and the verdict."""
        return asdict(self) | {"verdict": self.verdict}


def shown_error(name: str, section: str, errors: list[tuple[float, float]], limit: float, meaning: str) -> Criterion:
    """The criterion that the largest of ``errors`` that is shown stays within ``limit``.

    Args:
        name: Of the criterion.
        section: Of the report.
        errors: (shown error, precision) of each thing that can be judged; precision is half the width of the interval.
        limit: Of the error, relative like the errors.
        meaning: In plain words.
    """
    largest = max((error for error, _ in errors), default=math.nan)
    reason = ""
    if not errors:
        reason = "the log holds too few impressions, users or responses"
    elif largest <= limit and all(precision > limit for _, precision in errors):
        reason = f"the log is too small: its best interval is ± {min(precision for _, precision in errors):.0%}"
    return Criterion(name, section, largest, limit, False, meaning, reason)


def criteria_of(evidence: Evidence) -> list[Criterion]:
    """All criteria on evidence that needs no true world, in the order of the report."""
    return [
        *_segments(evidence),
        *_trajectories(evidence.trajectories),
        *_two_samples(evidence.one_step, evidence.whole, evidence.trajectories),
        _off_policy(evidence),
        *_where_policies_go(evidence),
    ]


def _segments(evidence: Evidence) -> list[Criterion]:
    segments = [segment for one in evidence.segments for segment in one.segments]

    def errors(rates: list[SegmentRate]) -> list[tuple[float, float]]:
        return [(rate.shown_error, rate.precision) for rate in rates if rate.is_judged]

    meaning = "No group of users, items, positions or hours is {} much more, or less, in the simulator than in the log."
    return [
        shown_error(
            f"{name} by segment, largest error shown",
            "segments",
            errors([getattr(segment, name) for segment in segments]),
            limit,
            meaning.format(verb),
        )
        for name, limit, verb in (("clicks", 0.1, "clicking"), ("orders", 0.2, "ordering"))
    ]


def _trajectories(found: Trajectories) -> list[Criterion]:
    meaning = "Along a session, {} come when they come in the log: not too early, not too late, not too many."
    return [
        shown_error(
            f"{name} so far in a session, largest error shown",
            "trajectories",
            getattr(found, name).errors,
            limit,
            meaning.format(name),
        )
        for name, limit in (("clicks", 0.1), ("orders", 0.2))
    ]


def _two_samples(one_step: Discrimination, whole: Discrimination, found: Trajectories) -> list[Criterion]:
    told = one_step.told
    width = (told.high - told.low) / 2.0
    reacts = ""
    if found.reaction.is_seen:
        reacts = "what the log shows next, or when it ends, follows the clicks, so true users would be told apart, too"
    elif (whole.told.high - whole.told.low) / 2.0 > 0.1:
        reacts = "the log holds too few sessions"
    return [
        Criterion(
            "responses that a classifier shows to be wrong",
            "two-samples",
            told.excess,
            0.01,
            False,
            "Given the same past and item, a trained model finds next to nothing that tells a simulated response from "
            "a real one.",
            f"the log is too small: the interval is ± {width:.1%}" if told.excess <= 0.01 < width else "",
        ),
        Criterion(
            "whole sessions that a classifier tells apart",
            "two-samples",
            whole.told.excess,
            0.1,
            False,
            "Sessions that the simulator makes up on its own look like real ones.",
            reacts,
        ),
    ]


def _off_policy(evidence: Evidence) -> Criterion:
    name = "value of policies by the log's own evidence, largest error shown"
    meaning = (
        "Policies that choose by the simulator's predictions earn in the log what the simulator promises them, for one "
        "impression after a real past."
    )
    values = [value for value in evidence.off_policy if value.has_support]
    if values:
        return shown_error(name, "off-policy", [(value.shown_error, value.precision) for value in values], 0.1, meaning)
    reason = "the log does not say how likely its policy was to show an item (column `propensity`)"
    if evidence.off_policy:
        reason = "not enough support: the log hardly shows what the policies would show"
    return Criterion(name, "off-policy", math.nan, 0.1, False, meaning, reason)


def _where_policies_go(evidence: Evidence) -> list[Criterion]:
    found = evidence.disagreement
    alone = "no other simulator was given (--ensemble)" if len(found.members) == 1 else ""
    short = f"the log is short: {evidence.rows:,} impressions" if evidence.rows < _COVERAGE_ROWS else ""
    return [
        Criterion(
            "share of impressions that the log covers, lowest of six policies",
            "where-it-does-not-know",
            min(policy.coverage for policy in found.policies),
            0.7,
            True,
            "Agents that follow the simulator's predictions stay where the log has taught it something.",
            short,
        ),
        Criterion(
            "disagreement of simulators where policies go, in units of that on the log",
            "where-it-does-not-know",
            found.largest_ratio,
            2.0,
            False,
            "Simulators fitted to other sessions say the same there, so the simulator does not merely guess.",
            alone,
            is_share=False,
        ),
        Criterion(
            "reward that simulators promise the same policy, largest spread",
            "where-it-does-not-know",
            max(policy.spread for policy in found.policies),
            0.1,
            False,
            "What an agent earns would be the same in a simulator fitted to other sessions.",
            alone,
        ),
    ]
