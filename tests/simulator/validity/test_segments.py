"""Rates by segment: worked out by hand, and found where a simulator is wrong about one segment only."""

import dataclasses

import numpy as np
import pytest

from recsim_hrl.simulator.validity.segments import popularity_thirds, segmentations, segments_of
from tests.simulator.validity.samples import sample_of_sessions


def named(sample, shown=None):
    """The segmentations by the first word of their names."""
    return {one.name.split()[0]: one for one in segmentations(sample, np.arange(9) if shown is None else shown)}


def test_rates_by_hand():
    sample = sample_of_sessions([[1, 0], [2, 0], [0, 0]])
    (one,) = segments_of(sample, np.zeros(6, np.int64), ["all"], 0)
    assert (one.impressions, one.users) == (6, 3)
    assert one.clicks.observed == pytest.approx(2 / 6) and one.clicks.predicted == pytest.approx(0.3)
    assert one.orders.observed == pytest.approx(1 / 6) and one.orders.predicted == pytest.approx(0.1)
    assert one.clicks.difference.value == pytest.approx(0.3 - 2 / 6)
    assert not one.clicks.is_judged


def test_who_is_new_and_who_came_back():
    """User 7 comes twice: her second session is that of a returning user."""
    users = named(sample_of_sessions([[1, 1], [0], [0, 0, 0]], users=[7, 8, 7]))["user"].segments
    assert [(one.name, one.impressions, one.users) for one in users] == [("new users", 3, 2), ("returning users", 3, 1)]
    assert [one.clicks.observed for one in users] == [pytest.approx(2 / 3), 0.0]


def test_thirds_keep_equals_together():
    assert popularity_thirds(np.array([0, 1, 2, 3, 4, 5, 6, 7, 8])).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert popularity_thirds(np.array([5, 5, 5, 5])).tolist() == [0, 0, 0, 0]


def test_items_by_how_often_the_fitted_log_shows_them():
    sample = sample_of_sessions([[1, 0, 2]], items=[[0, 4, 8]])
    items = named(sample)["popularity"].segments
    assert [(one.name, one.clicks.observed) for one in items] == [
        ("rare items", 1.0),
        ("middling items", 0.0),
        ("popular items", 1.0),
    ]


def test_positions():
    places = named(sample_of_sessions([[0] * 5 + [1] * 5 + [0] * 2]))["position"].segments
    assert [(one.name, one.impressions, one.clicks.observed) for one in places] == [
        ("positions 1 to 5", 5, 0.0),
        ("positions 6 to 10", 5, 1.0),
        ("positions 11 to 20", 2, 0.0),
    ]


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (None, "the log has no times"),
        (np.array([0.0, 50_000.0]), "no times of the day"),  # counters
        (np.array([1_600_000_000 // 86_400 * 86_400.0] * 2), "no times of the day"),  # days
    ],
)
def test_hours_need_clock_times(seconds, reason):
    hours = named(sample_of_sessions([[0], [1]], start_seconds=seconds))["hour"]
    assert not hours.segments and reason in hours.missing


def test_hours_of_clock_times():
    midnight = 1_600_000_000 // 86_400 * 86_400.0
    hours = named(sample_of_sessions([[0], [1]], start_seconds=midnight + np.array([3600.0, 13 * 3600.0])))["hour"]
    assert [(one.name, one.clicks.observed) for one in hours.segments] == [
        ("00 to 06 h UTC", 0.0),
        ("12 to 18 h UTC", 1.0),
    ]


def test_one_visit_of_each_user_is_no_division():
    assert "one visit of each user" in named(sample_of_sessions([[0], [1]]))["user"].missing


def test_an_error_in_one_segment_is_shown_there():
    """Predictions are right but for returning users, who are said to click half as often again."""
    generator = np.random.default_rng(0)
    sessions = (generator.random((400, 20)) < 0.2).astype(int).tolist()
    sample = sample_of_sessions(sessions, users=[*range(200)] * 2, click=0.2, order=0.0)
    probs = sample.probs.copy()
    probs[sample.is_returning[sample.session]] = [0.7, 0.3, 0.0]
    new, returning = named(dataclasses.replace(sample, probs=probs))["user"].segments
    assert new.clicks.is_judged and new.clicks.shown_error < 0.02
    assert 0.3 < returning.clicks.shown_error < 0.6
    assert not new.orders.is_judged  # there are none
