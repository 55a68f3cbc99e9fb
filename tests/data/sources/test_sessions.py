"""Visits, impressions and sessions by hand, and against a slow reference on random events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data.blocks import whole_runs
from recsim_hrl.data.sources.sessions import collapse, cut_into_sessions, cut_visits
from recsim_hrl.types import CLICK, ORDER, SKIP


def block(rows):
    names = ("user", "milliseconds", "item", "response")
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def collapsed(rows, gap=1000, return_is_click=False):
    found = collapse(block(rows), gap, return_is_click)
    names = ("visit", "user", "item", "milliseconds", "response", "begins_with_response")
    return list(zip(*(found[name].tolist() for name in names), strict=True))


def test_by_hand():
    rows = [
        (1, 0, 70, SKIP),
        (1, 500, 80, SKIP),
        (1, 600, 70, CLICK),  # the second event of item 70: its row is the first one's
        (1, 1600, 70, ORDER),  # exactly the gap later: the same visit
        (1, 2601, 70, SKIP),  # a moment more than the gap: a new visit
        (2, 2602, 70, ORDER),  # another user, and nothing viewed before
    ]
    assert collapsed(rows) == [
        (0, 1, 70, 0, ORDER, False),
        (0, 1, 80, 500, SKIP, False),
        (1, 1, 70, 2601, SKIP, False),
        (2, 2, 70, 2602, ORDER, True),
    ]


def test_coming_back_to_an_item():
    rows = [(1, 0, 70, SKIP), (1, 1, 70, SKIP), (1, 2, 80, SKIP), (1, 3, 70, SKIP), (1, 4, 90, SKIP), (1, 5, 90, SKIP)]
    responses = [row[4] for row in collapsed(rows, return_is_click=True)]
    assert responses == [CLICK, SKIP, SKIP]  # 70 after 80; 90 twice in a row is no return
    assert [row[4] for row in collapsed(rows)] == [SKIP, SKIP, SKIP]
    bought = [*rows[:3], (1, 3, 70, ORDER)]
    assert [row[4] for row in collapsed(bought, return_is_click=True)] == [ORDER, SKIP]
    later = [(1, 0, 70, SKIP), (1, 1, 80, SKIP), (1, 5000, 70, SKIP)]
    assert [row[4] for row in collapsed(later, return_is_click=True)] == [SKIP, SKIP, SKIP]


def slowly_collapsed(rows, gap, return_is_click):
    found, visit, before = [], -1, None
    for user, time, item, response in rows:
        if before is None or before[0] != user or time - before[1] > gap:
            visit, before = visit + 1, None
        place = next((p for p, row in enumerate(found) if row[0] == visit and row[2] == item), None)
        if place is None:
            found.append([visit, user, item, time, response, response != SKIP, 1])
        else:
            found[place][4] = max(found[place][4], response)
            found[place][6] += before is None or before[2] != item
        before = (user, time, item)
    for row in found:
        if return_is_click and row[4] == SKIP and row.pop() > 1:
            row[4] = CLICK
    return [tuple(row[:6]) for row in found]


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40
)


@settings(deadline=None)
@given(EVENTS, st.integers(0, 4), st.booleans())
def test_against_a_slow_reference(rows, gap, return_is_click):
    rows = sorted(rows)
    assert collapsed(rows, gap, return_is_click) == slowly_collapsed(rows, gap, return_is_click)


@settings(deadline=None)
@given(EVENTS, st.integers(1, 7))
def test_users_one_by_one_give_the_same_impressions(rows, size):
    whole = block(sorted(rows))
    cut = [{name: values[at : at + size] for name, values in whole.items()} for at in range(0, len(rows), size)]
    parts = list(whole_runs(cut, "user"))
    for name, values in whole.items():
        assert np.concatenate([part[name] for part in parts]).tolist() == values.tolist()
    users = [set(part["user"].tolist()) for part in parts]
    assert sum(map(len, users)) == len(set(whole["user"].tolist()))
    found = [collapse(part, 3, True) for part in parts]
    assert np.concatenate([one["item"] for one in found]).tolist() == collapse(whole, 3, True)["item"].tolist()


@pytest.mark.parametrize(
    ("lengths", "session_length", "expected"),
    [
        ([7, 2], 3, [3, 4, 2]),  # 7 / 3 rounds to 2 sessions, of 3 and 4; 2 / 3 rounds to 1
        ([7, 2], 2, [1, 2, 2, 2, 2]),  # 3.5 rounds to 4
        ([1, 1, 1], 50, [1, 1, 1]),
        ([75, 74], 50, [37, 38, 74]),
    ],
)
def test_long_visits_become_equal_sessions(lengths, session_length, expected):
    session, step = cut_visits(np.repeat(np.arange(len(lengths)) + 5, lengths), session_length)
    assert np.bincount(session).tolist() == expected
    assert step.tolist() == [place for length in expected for place in range(length)]


def test_sessions_are_numbered_through_all_blocks():
    blocks = [
        {"visit": np.array([4, 4, 4, 4, 5]), "moment": np.array([10, 11, 12, 13, 9])},
        {"visit": np.array([6]), "moment": np.array([7])},
    ]
    first, second = cut_into_sessions(blocks, 2)
    assert sorted(first) == ["moment", "session", "start", "step"]
    assert [first[name].tolist() for name in ("session", "step", "start")] == [
        [0, 0, 1, 1, 2],
        [0, 1, 0, 1, 0],
        [10, 10, 12, 12, 9],
    ]
    assert [second[name].tolist() for name in ("session", "step", "start")] == [[3], [0], [7]]
