import numpy as np
import pytest
import torch
from recsim_hrl_agents.base import Transitions
from recsim_hrl_agents.buffers import ReplayBuffer


def step(time, ended=(False, False), terminated=(False, False)):
    """Step number ``time`` of two users: user u is in state 10 u + time and is paid time."""
    states = np.array([[time], [10 + time]])
    terminated, ended = np.array(terminated), np.array(ended)
    return Transitions(
        observations={"browsed": states},
        actions=np.zeros((2, 3), np.float32),
        items=np.array([time, time]),
        rewards=np.full(2, float(time)),
        next_observations={"browsed": states + 100},
        terminated=terminated,
        truncated=ended & ~terminated,
    )


def sampled(buffer, **kwargs):
    """(return, discount, state bootstrapped from) by starting state, over many draws."""
    batch = buffer.sample(400, torch.Generator().manual_seed(0), **kwargs)
    states, following = batch.observations["browsed"][:, 0], batch.next_observations["browsed"][:, 0]
    return {
        int(state): (float(value), float(discount), int(after))
        for state, value, discount, after in zip(states, batch.returns, batch.discounts, following, strict=True)
    }


def test_three_step_returns_of_a_stream():
    buffer = ReplayBuffer(20, ("browsed",))
    buffer.add(step(1))
    buffer.add(step(2, ended=(True, False)))  # user 0 is truncated
    buffer.add(step(3, ended=(False, True), terminated=(False, True)))  # user 1 leaves
    buffer.add(step(4))
    found = sampled(buffer, n=3, gamma=0.5)
    assert found == {
        1: (1 + 1, 0.25, 102),
        2: (2, 0.5, 102),
        3: (3 + 2, 0.25, 104),  # the latest row: two steps are all there are
        4: (4, 0.5, 104),
        11: (1 + 1 + 0.75, 0.0, 113),
        12: (2 + 1.5, 0.0, 113),
        13: (3, 0.0, 113),
        14: (4, 0.5, 114),
    }


def test_full_buffer_forgets_the_oldest_and_keeps_order():
    buffer = ReplayBuffer(6, ("browsed",))  # three rows of two users
    for time in range(1, 6):
        buffer.add(step(time))
    assert len(buffer) == 6
    found = sampled(buffer, n=2, gamma=1.0)
    assert found == {
        3: (7, 1.0, 104),
        4: (9, 1.0, 105),
        5: (5, 1.0, 105),
        13: (7, 1.0, 114),
        14: (9, 1.0, 115),
        15: (5, 1.0, 115),
    }


def test_cut_keeps_returns_inside_a_session():
    buffer = ReplayBuffer(20, ("browsed",))
    buffer.add(step(1))
    buffer.cut(np.array([True, False]))
    buffer.add(step(2))
    found = sampled(buffer, n=2, gamma=1.0)
    assert found[1] == (1, 1.0, 101)
    assert found[11] == (3, 1.0, 112)


def shown(buffer, **kwargs):
    """Items of the session up to the state bootstrapped from, latest first, by starting state."""
    batch = buffer.sample(400, torch.Generator().manual_seed(0), **kwargs)
    states = batch.observations["browsed"][:, 0].tolist()
    return dict(zip(states, batch.shown.T.tolist(), strict=True))


def test_items_shown_earlier_in_the_session():
    buffer = ReplayBuffer(20, ("browsed",))
    buffer.add(step(1))
    buffer.add(step(2, ended=(True, False)))
    buffer.add(step(3, ended=(False, True)))
    buffer.add(step(4))
    assert shown(buffer, look_back=3) == {
        1: [1, -1, -1],
        2: [2, 1, -1],
        3: [3, -1, -1],  # another session
        4: [4, 3, -1],
        11: [1, -1, -1],
        12: [2, 1, -1],
        13: [3, 2, 1],
        14: [4, -1, -1],
    }
    assert shown(buffer, look_back=1)[13] == [3] and shown(buffer)[13] == []
    two_steps = shown(buffer, look_back=4, n=2)
    assert two_steps[11] == [2, 1, -1, -1] and two_steps[1] == [2, 1, -1, -1] and two_steps[2] == [2, 1, -1, -1]


def test_items_of_a_full_buffer_are_those_that_are_held():
    buffer = ReplayBuffer(6, ("browsed",))  # three rows of two users
    for time in range(1, 6):
        buffer.add(step(time))
    assert shown(buffer, look_back=5) == {
        3: [3, -1, -1],
        4: [4, 3, -1],
        5: [5, 4, 3],
        13: [3, -1, -1],
        14: [4, 3, -1],
        15: [5, 4, 3],
    }


def test_observations_of_the_beginning_of_a_step_alone():
    buffer = ReplayBuffer(6, (), before=("browsed",))
    buffer.add(step(1))
    batch = buffer.sample(8, torch.Generator())
    assert set(batch.observations["browsed"][:, 0].tolist()) <= {1, 11} and batch.next_observations == {}


def test_item_ids_are_kept_in_four_bytes():
    buffer = ReplayBuffer(4, ("browsed",))
    buffer.add(step(1))
    assert buffer.sample(1, torch.Generator()).observations["browsed"].dtype == torch.int32


def test_wrong_number_of_users():
    buffer = ReplayBuffer(4, ("browsed",))
    buffer.add(step(1))
    one = step(2)
    with pytest.raises(ValueError, match="got a step of 1 users, allowed 2"):
        buffer.add(
            Transitions(
                {"browsed": one.observations["browsed"][:1]},
                one.actions[:1],
                one.items[:1],
                one.rewards[:1],
                {"browsed": one.next_observations["browsed"][:1]},
                one.terminated[:1],
                one.truncated[:1],
            )
        )
    with pytest.raises(ValueError, match="capacity: got 0"):
        ReplayBuffer(0, ("browsed",))
