"""Response rates by segment: what the log has, and what the simulator predicts for the same impressions.

A simulator can be right on average and wrong on every newcomer. Both rates are taken one step ahead on the very same
impressions, so that they may differ by chance and by the simulator's error only.
"""

from dataclasses import dataclass

import numpy as np

from recsim_hrl.simulator.validity.intervals import Interval
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.types import CLICK, ORDER, SKIP

POSITIONS = (0, 5, 10, 20, 50, 100, 200)
"""First positions of the bins, from 0."""
ENOUGH_IMPRESSIONS, ENOUGH_USERS, ENOUGH_RESPONSES = 200, 30, 20
"""From which on a rate of a segment is judged; responses are clicks or orders, real or predicted."""
_HOURS = 6  # in a bin


@dataclass(frozen=True)
class SegmentRate:
    """One response in one segment."""

    observed: float
    predicted: float
    difference: Interval
    """Predicted less observed, over users drawn anew."""
    is_judged: bool
    """Whether the segment holds enough impressions, users and responses."""

    @property
    def shown_error(self) -> float:
        """The relative error of the prediction that is shown beyond chance."""
        return self.difference.excess / (self.observed or self.predicted or 1.0)

    @property
    def precision(self) -> float:
        """Half the width of the interval, relative to the rate."""
        return (self.difference.high - self.difference.low) / 2.0 / (self.observed or self.predicted or 1.0)


@dataclass(frozen=True)
class Segment:
    """One segment of a log."""

    name: str
    impressions: int
    users: int
    clicks: SegmentRate
    """Orders included."""
    orders: SegmentRate


@dataclass(frozen=True)
class Segmentation:
    """One way to divide the impressions of a log."""

    name: str
    segments: tuple[Segment, ...]
    missing: str = ""
    """Why there are none."""


def segmentations(sample: LogSample, shown: np.ndarray, seed: int = 0) -> tuple[Segmentation, ...]:
    """Rates by segment of users, items, positions and hours.

    Args:
        sample: Of a log, with predictions.
        shown: (I,) how often the log that the simulator was fitted to shows each item.
        seed: Draws the users of the intervals.
    """
    returning = sample.is_returning.astype(np.int64)[sample.session]
    popularity = popularity_thirds(shown)[sample.item]
    positions = np.digitize(sample.step, POSITIONS[1:])
    ends = [*(f"positions {first + 1} to {end}" for first, end in zip(POSITIONS, POSITIONS[1:], strict=False)), ""]
    ends[-1] = f"positions from {POSITIONS[-1] + 1}"
    divided = [
        (
            "user (new: no earlier session in the log)",
            returning,
            ["new users", "returning users"],
            _one_sort_of_user(returning),
        ),
        (
            "popularity of the item (thirds of the catalogue)",
            popularity,
            ["rare items", "middling items", "popular items"],
            "",
        ),
        ("position in the session", positions, ends, ""),
    ]
    hours = sample.hours
    if hours is None:
        why = "the log has no times" if sample.start_seconds is None else "the log's times are no times of the day"
        hours = np.zeros(len(sample.sessions), np.int64)
    else:
        why = ""
    names = [f"{start:02d} to {start + _HOURS:02d} h UTC" for start in range(0, 24, _HOURS)]
    divided.append(("hour in which the session starts", hours[sample.session] // _HOURS, names, why))
    return tuple(
        Segmentation(name, (), why) if why else Segmentation(name, segments_of(sample, group, names, seed))
        for name, group, names, why in divided
    )


def _one_sort_of_user(returning: np.ndarray) -> str:
    if returning.any() and not returning.all():
        return ""
    return "the log holds one visit of each user" if not returning.any() else "every session follows an earlier one"


def popularity_thirds(shown: np.ndarray) -> np.ndarray:
    """(I,) 0 for the third of the items ``shown`` (I,) least, 2 for the third shown most; equals stay together."""
    return np.digitize(shown, np.quantile(shown, (1 / 3, 2 / 3)), right=True)


def segments_of(sample: LogSample, group: np.ndarray, names: list[str], seed: int) -> tuple[Segment, ...]:
    """A segment for each of the ``names`` that ``group`` (n,) gives impressions to."""
    member = group[:, None] == np.arange(len(names))  # (n, G)
    member, names = member[:, member.any(0)], [names[place] for place in np.unique(group)]
    user = sample.users[sample.session]
    impressions, users = member.sum(0).tolist(), [len(np.unique(user[column])) for column in member.T]
    is_large = [
        many >= ENOUGH_IMPRESSIONS and who >= ENOUGH_USERS for many, who in zip(impressions, users, strict=True)
    ]
    clicks = _rates(sample, sample.response >= CLICK, 1.0 - sample.probs[:, SKIP], member, is_large, seed)
    orders = _rates(sample, sample.response == ORDER, sample.probs[:, ORDER], member, is_large, seed)
    return tuple(map(Segment, names, impressions, users, clicks, orders))


def _rates(
    sample: LogSample, happened: np.ndarray, predicted: np.ndarray, member: np.ndarray, is_large: list[bool], seed: int
) -> list[SegmentRate]:
    """Of each column of ``member`` (n, G), for what ``happened`` (n,) and was ``predicted`` (n,)."""
    surplus = (predicted - happened)[:, None]  # (n, 1)
    differences = sample.bootstrap(seed).ratios(member * surplus, member)
    size = member.sum(0)  # (G,)
    hits, hopes = (values.astype(np.float64) @ member for values in (happened, predicted))  # (G,) each
    is_judged = is_large & (np.maximum(hits, hopes) >= ENOUGH_RESPONSES)
    return list(map(SegmentRate, (hits / size).tolist(), (hopes / size).tolist(), differences, is_judged.tolist()))
