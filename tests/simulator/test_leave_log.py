"""What a log tells of leaving: memories as an environment keeps them, ends, and sessions that the log cut."""

import numpy as np
import pytest

from recsim_hrl.simulator import leave_log
from recsim_hrl.simulator.leave_log import Player, longest_of
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import NO_ITEM

LENGTHS = np.array([3, 7, 1, 7, 2])
USERS = np.array([1, 2, 1, 1, 2])  # sessions 0, 2 and 3 are visits of one user


def some_sessions(lengths: np.ndarray = LENGTHS, users: np.ndarray = USERS, items: int = 40, seed: int = 0):
    rng, offsets = np.random.default_rng(seed), np.concatenate([[0], np.cumsum(lengths)])
    shown, responses = rng.integers(0, items, offsets[-1]), rng.integers(0, 3, offsets[-1])
    return Sequences.build(shown, responses, offsets, users, np.arange(len(lengths)))


def player_of(sequences: Sequences, longest: int | None = None) -> Player:
    data = random_simulator(items=40).data
    return Player(data.weights, data.catalogue, sequences, longest)


def test_memories_are_those_of_one_user_alone():
    sequences, data = some_sessions(), random_simulator(items=40).data
    order = np.array([3, 0, 4, 1, 2])
    moments = player_of(sequences).play(order)
    model = Recurrence(data.weights, 7)
    codes = data.weights.encode(data.catalogue.embeddings)
    expected = []
    for session in order:
        visit = sequences.visits(np.array([session])).numpy()
        assert (visit.items[0] != NO_ITEM).sum() == {0: 0, 1: 0, 2: 3, 3: 1, 4: 7}[session]
        memory = model.replay(codes, visit.items, visit.responses)
        for step, place in enumerate(range(sequences.offsets[session], sequences.offsets[session + 1])):
            chosen, response = (
                part[place : place + 1].astype(np.int64) for part in (sequences.items, sequences.responses)
            )
            model.update(memory, step, model.items(codes), chosen, response)
            expected.append(memory.whole[0].copy())
    np.testing.assert_array_equal(moments.whole, expected)  # to the last bit
    assert moments.steps.tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 1, 2, 1, 2, 3, 4, 5, 6, 7, 1]
    assert np.flatnonzero(moments.ends).tolist() == [6, 9, 11, 18, 19]


def test_sessions_that_the_log_cut_do_not_end():
    moments = player_of(some_sessions(), longest=7).play(np.arange(5))
    assert np.flatnonzero(moments.ends).tolist() == [2, 10, 19]  # lengths 3, 1 and 2
    assert np.flatnonzero(player_of(some_sessions(), longest=3).play(np.arange(5)).ends).tolist() == [10, 19]


def test_blocks_are_all_sessions_in_their_order(monkeypatch):
    player, order = player_of(some_sessions()), np.array([1, 4, 0, 2, 3])
    whole = player.play(order)
    monkeypatch.setattr(leave_log, "_BLOCK", 8)
    blocks = list(player.blocks(order))
    assert [len(block.steps) for block in blocks] == [7, 6, 7]  # 7 | 2 + 3 + 1 | 7
    monkeypatch.setattr(leave_log, "_SESSIONS", 2)
    assert [len(block.steps) for block in player.blocks(order)] == [7, 5, 1, 7]  # no more than two sessions at once
    for name, expected in vars(whole).items():
        np.testing.assert_array_equal(np.concatenate([getattr(block, name) for block in blocks]), expected)


@pytest.mark.parametrize(
    ("lengths", "longest"),
    [
        ([9] * 6, 9),
        ([9] * 5, None),  # five may be chance
        ([*range(1, 101)], None),
        ([*range(1, 100), *[100] * 6], 100),  # one of each of the ten lengths just below
        ([*range(1, 90), *[*range(90, 100)] * 3, *[100] * 15], None),
        ([*range(1, 90), *[*range(90, 100)] * 3, *[100] * 16], 100),
        ([1] * 50 + [2] * 20 + [3] * 8, None),  # a short tail is no cut
        ([5], None),
    ],
)
def test_the_length_at_which_a_log_cuts(lengths, longest):
    assert longest_of(np.array(lengths)) == longest
