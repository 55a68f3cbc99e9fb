"""Sessions as the fit sees them, by hand."""

import numpy as np
import pytest

from recsim_hrl.simulator import sequences
from recsim_hrl.simulator.sequences import VISIT_WIDTH, Sequences, item_counts
from recsim_hrl.types import NO_ITEM


@pytest.fixture
def three():
    """Sessions of lengths 2, 3 and 1; the first and the last are one user's, and the last one came first."""
    return Sequences.build(
        items=np.array([4, 5, 6, 7, 8, 9]),
        responses=np.array([0, 1, 2, 0, 1, 2]),
        offsets=np.array([0, 2, 5, 6]),
        user_ids=np.array([1, 2, 1]),
        start_times=np.array([100.0, 50.0, 10.0]),
    )


def test_sessions_are_linked_to_the_users_last_one_in_time(three):
    assert three.previous.tolist() == [2, -1, -1]
    assert three.lengths.tolist() == [2, 3, 1]


def test_sessions_that_start_together_keep_the_order_of_the_log():
    same = Sequences.build(
        np.zeros(4), np.zeros(4), np.arange(5), np.array([7, 7, 7, 8]), start_times=np.array([5.0, 5.0, 5.0, 5.0])
    )
    assert same.previous.tolist() == [-1, 0, 1, -1]


def test_item_counts_do_not_depend_on_how_much_is_counted_at_a_time(three, monkeypatch):
    whole = item_counts(three, 10)
    assert whole[4:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]] * 2 and whole[:4].sum() == 0
    monkeypatch.setattr(sequences, "BLOCK", 4)
    assert (item_counts(three, 10) == whole).all()


def test_visits_are_right_aligned(three):
    visits = three.visits(np.array([0, 1]))
    assert visits.user_ids.tolist() == [1, 2]
    assert visits.items[0].tolist() == [NO_ITEM] * (VISIT_WIDTH - 1) + [9]
    assert visits.responses[0].tolist() == [0] * (VISIT_WIDTH - 1) + [2]
    assert visits.items[1].tolist() == [NO_ITEM] * VISIT_WIDTH


def test_a_long_visit_is_known_by_its_end():
    length = VISIT_WIDTH + 5
    sequences = Sequences.build(
        np.arange(length + 1), np.zeros(length + 1), np.array([0, length, length + 1]), np.array([1, 1]), np.arange(2)
    )
    assert sequences.visits(np.array([1])).items[0].tolist() == list(range(5, length))


def test_a_batch_holds_the_visit_then_the_session_then_padding(three):
    batch = three.batch(np.array([0, 1]))
    assert batch.border == VISIT_WIDTH
    assert batch.items[:, VISIT_WIDTH:].tolist() == [[4, 5, 0], [6, 7, 8]]
    assert batch.targets.tolist() == [[0, 1, 0], [2, 0, 1]]
    assert batch.weights.tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    assert batch.items[0, VISIT_WIDTH - 1] == 9 and batch.present[0, :VISIT_WIDTH].sum() == 1
    assert batch.present[1, :VISIT_WIDTH].sum() == 0


def test_cuts_hold_every_session_once_and_stay_within_the_size():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 80, 300)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    sequences = Sequences.build(np.zeros(offsets[-1]), np.zeros(offsets[-1]), offsets, np.arange(300), np.arange(300.0))
    for shuffled in (None, np.random.default_rng(1)):
        parts = sequences.cuts(np.arange(300), 2000, shuffled)
        assert sorted(np.concatenate(parts).tolist()) == list(range(300))
        for part in parts:
            widest = lengths[part].max() + VISIT_WIDTH
            assert len(part) == 1 or len(part) * widest <= 2000


def test_item_counts(three):
    counts = item_counts(three, 10)
    assert counts.shape == (10, 3) and counts.sum() == 6
    assert counts[6].tolist() == [0, 0, 1] and counts[8].tolist() == [0, 1, 0] and counts[0].sum() == 0
