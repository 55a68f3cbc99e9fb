import numpy as np
import pytest
from recsim_hrl_agents.logged import LoggedSessions, Windows


def slow_windows(log, row, length):
    """The same windows, written as a loop over the rows before."""
    session = int(np.searchsorted(log.offsets, row, side="right")) - 1
    first = log.offsets[session]
    if log.user_ids is not None and session and log.user_ids[session - 1] == log.user_ids[session]:
        first = log.offsets[session - 1]
    windows = {}
    for key, least in (("browsed", 0), ("clicked", 1), ("ordered", 2)):
        items = [log.item_index[r] + 1 for r in range(first, row) if log.response[r] >= least][-length:]
        windows[key] = [0] * (length - len(items)) + items
    return windows


@pytest.mark.parametrize("with_users", [False, True])
def test_windows_against_slow_reference(with_users):
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 9, 40)
    size = int(lengths.sum())
    users = rng.integers(0, 12, 40) if with_users else None
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    log = LoggedSessions(rng.integers(0, 30, size), rng.integers(0, 3, size), offsets, users).by_user()
    found = Windows(log, 4).take(np.arange(size))
    for row in range(size):
        for key, window in slow_windows(log, row, 4).items():
            assert found[key][row].tolist() == window


def test_by_user_keeps_sessions_whole_and_in_order():
    log = LoggedSessions(np.arange(6), np.array([0, 1, 2, 0, 1, 2]), np.array([0, 2, 3, 6]), np.array([7, 4, 7]))
    sorted_log = log.by_user()
    assert sorted_log.user_ids.tolist() == [4, 7, 7]
    assert sorted_log.item_index.tolist() == [2, 0, 1, 3, 4, 5]
    assert sorted_log.response.tolist() == [2, 0, 1, 0, 1, 2]
    assert sorted_log.offsets.tolist() == [0, 1, 3, 6]


def test_window_of_a_log_without_orders_is_empty():
    log = LoggedSessions(np.array([3, 4]), np.array([0, 1]), np.array([0, 2]))
    found = Windows(log, 2).take(np.array([1]))
    assert found["browsed"].tolist() == [[0, 4]]
    assert found["clicked"].tolist() == [[0, 0]]
    assert found["ordered"].tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("items", "responses", "offsets", "message"),
    [
        ([], [], [0], "got no impressions"),
        ([1, 2], [0], [0, 2], "got 1 responses, allowed 2"),
        ([1, 2], [0, 3], [0, 2], "got response 3, allowed 0 to 2"),
        ([1, 2], [0, 1], [0, 1], "got offsets from 0 to 1"),
    ],
)
def test_bad_logs(items, responses, offsets, message):
    with pytest.raises(ValueError, match=message):
        LoggedSessions(np.array(items), np.array(responses), np.array(offsets))


def test_anything_that_loads_a_table_is_a_log():
    class Log:
        def load(self):
            return LoggedSessions(np.array([1]), np.array([2]), np.array([0, 1]), np.array([9]))

    log = LoggedSessions.of(Log())
    assert (log.item_index.tolist(), log.response.tolist(), log.user_ids.tolist()) == ([1], [2], [9])
    with pytest.raises(ValueError, match="log: got dict, allowed an InteractionLog or LoggedSessions"):
        LoggedSessions.of({})
