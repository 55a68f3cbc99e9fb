"""Splits put every session whole on exactly one side."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.splits import is_own_boundary, split_by_session, split_by_time
from recsim_hrl.types import Catalogue

CATALOGUE = Catalogue(torch.arange(3), torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), torch.ones(3))


def make_log(path, starts, lengths, timed=True, metadata=None):
    """Session ``s`` has id 10 + s, starts at ``starts[s]`` and shows an item every 100 seconds."""
    step = np.concatenate([np.arange(length) for length in lengths])
    columns = {
        "session_id": np.repeat(10 + np.arange(len(lengths)), lengths),
        "step": step,
        "user_id": np.repeat(np.arange(len(lengths)) % 2, lengths),
        "item_index": step % 3,
        "response": step % 3,
        "timestamp": np.repeat(np.array(starts, dtype=float), lengths) + 100.0 * step,
    }
    if not timed:
        del columns["timestamp"]
    return InteractionLog.from_arrays(columns, CATALOGUE, path / "log", metadata)


def sessions(log):
    return log.load().session_ids.tolist()


def test_by_time_goes_by_the_first_impression(tmp_path):
    log = make_log(tmp_path, starts=[50, 10, 40, 20], lengths=[1, 3, 2, 2])
    train, test = split_by_time(log, tmp_path / "split", fraction=0.5)
    assert sessions(train) == [11, 13] and sessions(test) == [10, 12]
    assert train.load().lengths.tolist() == [3, 2]  # session 11 goes on until second 210, past the boundary
    assert train.metadata["split"] == {"by": "time", "boundary": 40.0, "side": "train", "of": "log"}
    assert test.name == "log-test" and train.path == tmp_path / "split" / "train"


def test_by_time_at_a_given_boundary(tmp_path):
    log = make_log(tmp_path, starts=[50, 10, 40, 20], lengths=[1, 3, 2, 2])
    train, test = split_by_time(log, tmp_path, boundary=50.0)
    assert sessions(train) == [11, 12, 13] and sessions(test) == [10]
    with pytest.raises(LogError, match="leaves train without sessions"):
        split_by_time(log, tmp_path / "early", boundary=10.0)
    with pytest.raises(LogError, match="leaves test without sessions"):
        split_by_time(log, tmp_path / "late", boundary=51.0)
    assert not list((tmp_path / "early").iterdir())


def test_by_time_at_the_boundary_of_the_log_itself(tmp_path):
    """Its item vectors know the sessions before second 20, so none of those may be on the other side."""
    log = make_log(tmp_path, starts=[50, 10, 40, 20, 30], lengths=[1] * 5, metadata={"boundary": 20})
    train, test = split_by_time(log, tmp_path / "a")
    assert sessions(train) == [11] and sessions(test) == [10, 12, 13, 14]
    assert train.metadata["split"]["boundary"] == 20.0 and is_own_boundary(log, train)
    half, _ = split_by_time(log, tmp_path / "b", fraction=0.5)  # what is asked for comes first
    assert sessions(half) == [11, 13] and not is_own_boundary(log, half)
    assert sessions(split_by_time(log, tmp_path / "c", boundary=40.0)[0]) == [11, 13, 14]
    later, _ = split_by_time(test, tmp_path / "d")  # all of its sessions are unknown to the vectors: anywhere will do
    assert sessions(later) == [13, 14]


@pytest.mark.parametrize("boundary", [10, 51, "20", None])
def test_a_boundary_without_sessions_on_both_sides_says_nothing(tmp_path, boundary):
    log = make_log(tmp_path, starts=[50, 10, 40, 20], lengths=[1] * 4, metadata={"boundary": boundary})
    train, _ = split_by_time(log, tmp_path)
    assert sessions(train) == [11, 13] and not is_own_boundary(log, train)


@pytest.mark.parametrize("fraction, train_size", [(0.01, 3), (0.5, 3), (0.74, 3), (0.99, 3)])
def test_by_time_keeps_ties_together(tmp_path, fraction, train_size):
    log = make_log(tmp_path, starts=[1, 1, 1, 2], lengths=[1, 1, 1, 1])
    train, test = split_by_time(log, tmp_path, fraction)
    assert (len(sessions(train)), len(sessions(test))) == (train_size, 4 - train_size)


def test_by_session_depends_on_id_and_seed_alone(tmp_path):
    short = make_log(tmp_path / "short", [0] * 40, [2] * 40)
    long = make_log(tmp_path / "long", [9] * 80, [1] * 80)
    train, _ = split_by_session(short, tmp_path / "a", fraction=0.5, seed=3)
    longer, _ = split_by_session(long, tmp_path / "b", fraction=0.5, seed=3)
    other, _ = split_by_session(short, tmp_path / "c", fraction=0.5, seed=4)
    assert sessions(train) == [session for session in sessions(longer) if session < 50]
    assert sessions(train) != sessions(other)


def test_by_session_share(tmp_path):
    log = make_log(tmp_path, [0] * 2000, [1] * 2000)
    train, test = split_by_session(log, tmp_path, fraction=0.8)
    assert abs(len(sessions(train)) - 1600) < 4 * np.sqrt(2000 * 0.8 * 0.2)
    assert train.rows + test.rows == 2000


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_bad_arguments(tmp_path, fraction):
    log = make_log(tmp_path, [0, 1], [1, 1])
    with pytest.raises(ValueError, match="fraction of sessions in train: got"):
        split_by_session(log, tmp_path, fraction)
    with pytest.raises(ValueError, match="fraction of sessions in train: got"):
        split_by_time(log, tmp_path, fraction)


def test_by_time_needs_timestamps(tmp_path):
    log = make_log(tmp_path, [0, 1], [1, 1], timed=False)
    with pytest.raises(LogError, match="column 'timestamp': the column is missing"):
        split_by_time(log, tmp_path, boundary=3.0)


@settings(max_examples=20, deadline=None)
@given(
    starts=st.lists(st.integers(0, 5), min_size=2, max_size=8),
    lengths=st.lists(st.integers(1, 4), min_size=8, max_size=8),
    fraction=st.floats(0.05, 0.95),
    by_time=st.booleans(),
)
def test_a_split_is_a_partition_of_the_sessions(tmp_path_factory, starts, lengths, fraction, by_time):
    folder = tmp_path_factory.mktemp("split")
    log = make_log(folder, starts, lengths[: len(starts)])
    split = split_by_time if by_time else split_by_session
    try:
        train, test = (side.load() for side in split(log, folder, fraction))
    except LogError as error:
        assert "without sessions" in str(error) and (not by_time or len(set(starts)) == 1)
        return
    both = np.concatenate([train.session_ids, test.session_ids])
    assert sorted(both.tolist()) == log.load().session_ids.tolist()
    whole = dict(zip(log.load().session_ids.tolist(), log.load().lengths.tolist(), strict=True))
    assert [whole[session] for session in both.tolist()] == [*train.lengths, *test.lengths]
    if by_time:
        assert train.start_seconds.max() < test.start_seconds.min()
