"""The sections of a report that need no true world: segments, trajectories, classifier, off-policy, what is unknown."""

import math
from collections.abc import Iterator

from recsim_hrl.simulator.validity import evidence_figures as figures
from recsim_hrl.simulator.validity.disagreement import Disagreement, Whereabouts
from recsim_hrl.simulator.validity.evidence import Evidence
from recsim_hrl.simulator.validity.intervals import Interval
from recsim_hrl.simulator.validity.off_policy import CUT, ENOUGH_CHECKED, ENOUGH_SUPPORT, OffPolicyValue
from recsim_hrl.simulator.validity.report_content import Block, Chart, Section, Table, Warned
from recsim_hrl.simulator.validity.segments import Segmentation, SegmentRate
from recsim_hrl.simulator.validity.trajectories import Reaction, Trajectories
from recsim_hrl.simulator.validity.two_samples import Discrimination

_BANDS = "Shaded: where 80% of the real sessions lie; dashed: 80% of the free ones."


def evidence_sections(evidence: Evidence) -> Iterator[Section]:
    """All of them, in order."""
    yield _segments(evidence.segments)
    yield _trajectories(evidence.trajectories)
    yield _two_samples(evidence)
    yield _off_policy(evidence.off_policy)
    yield _where_it_does_not_know(evidence.disagreement)


def _segments(found: tuple[Segmentation, ...]) -> Section:
    blocks: list[Block] = [
        "Rates of clicks (orders included) and of orders, by segment: what the log has, and what the simulator "
        "predicts for the same impressions. The interval of the difference comes from users drawn anew (bootstrap). "
        "Segments with too few users or responses are shown and not judged."
    ]
    blocks += [
        Chart(
            f"segments-{name}",
            f"Predicted less observed {name}, relative to the observed rate, with 95% intervals. Shaded: limit of the "
            "criterion. Grey intervals: too few to judge.",
            f"Relative error of the predicted rate of {name} by segment; the numbers stand in the tables below.",
            lambda axes, name=name, limit=limit: figures.segment_errors(axes, found, name, limit),
            height=5.6,
        )
        for name, limit in (("clicks", 0.1), ("orders", 0.2))
    ]
    for one in found:
        if one.missing:
            blocks.append(f"Rates by {one.name} cannot be judged: {one.missing}.")
            continue
        rows = [
            (segment.name, f"{segment.impressions:,}", *_rate(segment.clicks), *_rate(segment.orders))
            for segment in one.segments
        ]
        head = ("impressions", "clicks, log", "simulator", "difference", "orders, log", "simulator", "difference")
        blocks.append(Table(f"By {one.name}", ("segment", *head), rows))
    return Section("segments", "Response rates by segment", tuple(blocks))


def _rate(rate: SegmentRate) -> tuple[str, str, str]:
    difference = rate.difference
    told = f"{difference.value:+.2%} [{difference.low:+.2%}, {difference.high:+.2%}]" if rate.is_judged else "too few"
    return f"{rate.observed:.2%}", f"{rate.predicted:.2%}", told


def _trajectories(found: Trajectories) -> Section:
    rows = [
        (
            str(mark),
            *(
                text
                for curve in (found.clicks, found.orders)
                for text in (_between(curve.real[at]), f"{curve.expected[at]:.3f}", f"{curve.free[at]:.3f}")
            ),
        )
        for at, mark in enumerate(found.marks)
    ]
    charts = [
        Chart(
            f"so-far-{name}",
            f"Mean {name} so far. " + (_BANDS if figures.has_band(curve) else "Shaded: 95% interval of the real mean."),
            f"{name.capitalize()} so far by position: real sessions end at {curve.real[-1].value:.3f}, expected "
            f"{curve.expected[-1]:.3f}, free {curve.free[-1]:.3f}.",
            lambda axes, curve=curve, name=name: figures.so_far(axes, found.marks, curve, name),
        )
        for name, curve in (("clicks", found.clicks), ("orders", found.orders))
    ]
    head = ("clicks, real", "expected", "free", "orders, real", "expected", "free")
    return Section(
        "trajectories",
        "Session trajectories",
        (
            f"Clicks and orders so far, over {found.sessions:,} sessions; a session that has ended keeps its total. "
            "“Expected” sums the predictions, each given the real session before it: if the simulator is right, it "
            "follows the real curve whatever policy wrote the log. “Free” is the simulator answering the same items "
            "after its own responses, as it does when an agent trains.",
            _reaction(found.reaction),
            *charts,
            Table("So far, mean per session", ("impressions", *head), rows),
        ),
    )


def _reaction(found: Reaction) -> str:
    if found.same_category is None:
        return (
            "All items are of one category, so it cannot be seen whether what the log shows next follows the clicks. "
            "If it does, free sessions fall short of real ones even in a perfect simulator."
        )
    same, ending = found.same_category, found.ending
    told = (
        f"After a click, the next item of the log is of the same category {_points(same)}, and the session ends there "
        f"{_points(ending)}. "
    )
    if found.is_seen:
        return told + (
            "So the log reacts to its users. A free session keeps the items and the length of the real one, which fit "
            "the real clicks and not its own; it may fall short even if the simulator is perfect, and is shown but not "
            "judged."
        )
    return told + "No reaction to the users is seen, so free sessions should look like real ones."


def _points(slope: Interval) -> str:
    way = "more" if slope.value >= 0 else "less"
    low, high = 100 * slope.low, 100 * slope.high
    return f"{abs(100 * slope.value):.1f} percentage points {way} often (interval {low:+.1f} to {high:+.1f})"


def _two_samples(evidence: Evidence) -> Section:
    tests = [
        ("simulator, one step", evidence.one_step),
        ("per-item rates, one step", evidence.one_step_of_items),
        ("simulator, whole sessions", evidence.whole),
    ]
    rows = [
        (name, f"{test.pairs:,}", f"{test.differing:.0%}", _share(test.picked), _share(test.told))
        for name, test in tests
    ]
    return Section(
        "two-samples",
        "Can a model tell simulated from real?",
        (
            "A classifier gets pairs of a real and a simulated one and picks the real one; 50% is guessing (this share "
            "is the area under the ROC curve over matched pairs). It is trained on half of the users and judged on "
            "the other half, and the other way round.",
            "One step: both share the real session so far and the item, and differ in the response. A perfect "
            "simulator gives 50% whatever policy wrote the log. Twice what is beyond 50% is the least share of "
            "responses that are wrong. For comparison, the same test of a predictor that knows each item's rate and "
            "nothing of the user.",
            "Whole sessions: the real responses against those of the simulator running free on the same items, by "
            "counts, runs, positions and categories of clicks and orders."
            + (
                " As this log reacts to its users (see trajectories), a perfect simulator would be told apart, too."
                if evidence.trajectories.reaction.is_seen
                else ""
            ),
            Chart(
                "picked",
                "How often the real one is picked, with 95% intervals. The line is guessing.",
                "; ".join(f"{name}: real one picked in {test.picked.value:.1%}" for name, test in tests) + ".",
                lambda axes: figures.picked(axes, tests),
                height=2.2,
            ),
            Table("Pairs", ("test", "pairs", "that differ", "real one picked", "shown to be wrong"), rows),
            _two_samples_in_words(evidence.one_step),
        ),
    )


def _two_samples_in_words(test: Discrimination) -> str:
    if test.told.excess == 0.0:
        return "One step ahead, the classifier does no better than guessing: it found nothing that the simulator lacks."
    return (
        f"One step ahead, the classifier does better than guessing: at least {test.told.excess:.2%} of the simulated "
        "responses are of a kind that real users do not give."
    )


def _off_policy(values: tuple[OffPolicyValue, ...]) -> Section:
    title = "Value of other policies, by the log's own evidence"
    if not values:
        return Section(
            "off-policy",
            title,
            (
                "This cannot be judged: the log has no column propensity, which says how likely its policy was to show "
                "the item that it showed. With it, the log itself tells what other policies earn, and the simulator "
                "can be held against that even where no true world is known.",
            ),
        )
    rows = [
        (
            value.name,
            f"{value.simulator.value:.3f}",
            _between(value.doubly_robust),
            _between(value.snips),
            _between(value.ips),
            _between(value.mean_weight, 2),
            f"{value.checked:.0%}",
            f"{value.effective_sample_size:,.0f}",
        )
        for value in values
    ]
    head = ("simulator", "doubly robust", "SNIPS", "IPS", "mean weight", "checked", "effective sample")
    return Section(
        "off-policy",
        title,
        (
            "Reward of one impression (click 1, order 5) if another policy had chosen the item, averaged over the real "
            "pasts of the log. “Best of C” draws C items at random from those that can be shown and takes the one with "
            "the highest reward in the simulator's eyes: the larger C, the more it leans on the simulator. These are "
            "not values of whole sessions.",
            "IPS weighs each real reward by how much likelier the policy was to show that item than the log's policy. "
            "SNIPS divides by the sum of the weights. The doubly robust value takes the simulator's and corrects it by "
            f"its weighted errors. Weights of the last two are cut at {CUT:g}; “checked” is the share of the policy's "
            "impressions that they then still speak for, and the rest is taken to be like it.",
            Chart(
                "off-policy",
                "Reward per impression: the simulator's word and three estimates from the log, with 95% intervals.",
                "; ".join(
                    f"{one.name}: simulator {one.simulator.value:.3f}, doubly robust {one.doubly_robust.value:.3f}"
                    for one in values
                )
                + ".",
                lambda axes: figures.off_policy(axes, values),
                height=3.6,
            ),
            Table("Reward per impression", ("policy", *head), rows),
            *_off_policy_in_words(values),
            "A mean weight far from 1 means one of two things: the propensities are wrong or the log's policy could "
            "not show all items, or single impressions of very large weight happen to be missing. IPS is then off by "
            "as much; SNIPS and the doubly robust value less.",
        ),
    )


def _off_policy_in_words(values: tuple[OffPolicyValue, ...]) -> Iterator[Block]:
    supported = [value for value in values if value.has_support]
    silent = [value for value in supported if value.shown_error == 0.0]
    if silent:
        names, coarsest = ", ".join(value.name for value in silent), max(value.precision for value in silent)
        yield f"No error of the simulator is shown for: {names}. One of {coarsest:.0%} would be about visible."
    for value in supported:
        if value.shown_error > 0.0:
            way = "overpays" if value.correction.value < 0 else "underpays"
            yield Warned(
                f"{value.name.capitalize()}: the simulator {way} by at least {value.shown_error:.1%}, by the log's own "
                "evidence."
            )
    for value in values:
        if not value.has_support:
            yield (
                f"{value.name.capitalize()}: not enough support. The log is worth {value.effective_sample_size:,.0f} "
                f"impressions of this policy (needed {ENOUGH_SUPPORT}) and speaks for {value.checked:.0%} of what it "
                f"shows (needed {ENOUGH_CHECKED:.0%})."
            )


def _where_it_does_not_know(found: Disagreement) -> Section:
    blocks: list[Block] = [
        f"Six policies play {found.length} items per session in the simulator, as agents do. Coverage is the share of "
        "their impressions that are of a sort which the log holds often (category run, recent clicks, recent item "
        "quality, position). Where it is low, the simulator guesses."
    ]
    alone = len(found.members) == 1
    if alone:
        blocks.append(
            "Whether other simulators would say the same cannot be judged: none was given. Fit one to other sessions "
            "of the same items (recsim-hrl fit LOG --out SIM --split both makes two) and give its folder: recsim-hrl "
            "evaluate SIM/train --log LOG --out DIR --ensemble SIM/test."
        )
    else:
        blocks += [
            f"The simulators {', '.join(f'“{name}”' for name in found.members)} then predict what happens there. "
            "Disagreement is the share of responses that two of them would give differently; “far” is the share of "
            "impressions on which they disagree more than on 95% of the log's. An agent that goes where it is high is "
            "paid by guesses. Simulators that learned from the same mistake of a log agree on it: agreement is no "
            "proof.",
            Chart(
                "disagreement",
                "Disagreement of the simulators on the log (line) and where policies go.",
                f"Disagreement on the log {found.log.disagreement:.2%}; "
                + "; ".join(f"{one.policy} {one.disagreement:.2%}" for one in found.policies)
                + ".",
                lambda axes: figures.disagreement(axes, found),
            ),
        ]
    head = ["policy", "reward per session", "coverage"]
    head += [] if alone else ["disagreement", "far", *(f"promised by {name}" for name in found.members)]
    rows = [_whereabouts(one, alone) for one in ((found.log,) * (not alone) + found.policies)]
    blocks.append(Table("Where policies go", tuple(head), rows))
    if not alone:
        blocks.append("Promised: reward per impression that each simulator predicts for the very same impressions.")
    return Section("where-it-does-not-know", "Where the simulator does not know", tuple(blocks))


def _whereabouts(one: Whereabouts, alone: bool) -> tuple[str, ...]:
    cells = (one.policy, "", "")
    if not math.isnan(one.reward):
        cells = (one.policy, f"{one.reward:.2f} ± {one.standard_error:.2f}", f"{one.coverage:.0%}")
    if alone:
        return cells
    return (*cells, f"{one.disagreement:.2%}", f"{one.far:.0%}", *(f"{reward:.4f}" for reward in one.promised))


def _between(interval: Interval, digits: int = 3) -> str:
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _share(interval: Interval) -> str:
    return f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
