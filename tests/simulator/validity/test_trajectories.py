"""Trajectories by hand, and whether a reaction of the log is seen."""

import numpy as np
import pytest

from recsim_hrl.simulator.validity.trajectories import reaction, trajectories
from tests.simulator.validity.samples import sample_of_sessions


def test_curves_by_hand():
    """A session of two and one of four: the first keeps its click when it has ended."""
    sample = sample_of_sessions([[1, 0], [0, 0, 2, 1]], click=0.2, order=0.1)
    free = np.array([0, 0, 1, 1, 0, 0])
    found = trajectories(sample, free, np.zeros(1, np.int64))
    assert found.marks == [1, 2, 4]
    assert [interval.value for interval in found.clicks.real] == [0.5, 0.5, 1.5]
    assert found.clicks.expected == pytest.approx([0.3, 0.6, 0.9])
    assert found.clicks.free == [0.5, 1.0, 1.0]
    assert [interval.value for interval in found.orders.real] == [0.0, 0.0, 0.5]
    assert found.clicks.surplus[-1].value == pytest.approx(0.9 - 1.5)
    assert found.clicks.real_band[-1] == pytest.approx([1.1, 1.9])  # between one and two clicks
    assert found.clicks.is_judged == [False] * 3


def test_too_many_predicted_clicks_are_shown():
    generator = np.random.default_rng(1)
    sessions = (generator.random((300, 12)) < 0.2).astype(int).tolist()
    free = np.zeros(3600, np.int64)
    right = trajectories(sample_of_sessions(sessions, click=0.2, order=0.0), free, np.zeros(1, np.int64))
    wrong = trajectories(sample_of_sessions(sessions, click=0.3, order=0.0), free, np.zeros(1, np.int64))
    assert max(error for error, _ in right.clicks.errors) < 0.05
    assert 0.3 < max(error for error, _ in wrong.clicks.errors) < 0.7
    assert all(precision < 0.3 for _, precision in wrong.clicks.errors)
    assert wrong.orders.errors == []  # nobody ordered


def log_of(generator, stays_after_click: float, ends_after_click: float):
    """Sessions over ten items of ten categories, in which what follows a click is as told; after a skip, one half of
    the next items is of the same category and one in twenty sessions ends."""
    sessions, items = [], []
    for _ in range(400):
        item, responses, shown = 0, [], []
        while True:
            click = generator.random() < 0.3
            responses.append(int(click))
            shown.append(item)
            if len(shown) == 40 or generator.random() < (ends_after_click if click else 0.05):
                break
            if generator.random() >= (stays_after_click if click else 0.5):
                item = (item + 1 + int(generator.integers(9))) % 10
        sessions.append(responses)
        items.append(shown)
    return sample_of_sessions(sessions, items=items)


@pytest.mark.parametrize(("stays", "ends", "is_seen"), [(0.5, 0.05, False), (0.8, 0.05, True), (0.5, 0.01, True)])
def test_reactions_of_the_log(stays, ends, is_seen):
    found = reaction(log_of(np.random.default_rng(0), stays, ends), np.arange(10))
    assert found.is_seen is is_seen
    assert found.same_category.value == pytest.approx(stays - 0.5, abs=0.03)
    assert found.ending.value == pytest.approx(ends - 0.05, abs=0.012)


def test_one_category_leaves_the_reaction_open():
    found = reaction(sample_of_sessions([[0, 1, 0]]), np.zeros(1, np.int64))
    assert found.same_category is None and found.is_seen
