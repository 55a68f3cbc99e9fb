"""Oracles of slates against all slates of a small market."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch

from benchmarks.slate_oracle import SlateOracle, expected_users, slate_market
from recsim_hrl.simulator.market import Users
from recsim_hrl.simulator.policies import greedy_policy, reward_value
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.tables import Memory
from recsim_hrl.types import R

TASK = {"slate_size": 3, "max_requests": 2, "candidates": 8, "leave": "never"}
PAID = torch.tensor([0.0, 1.0, 5.0])


@pytest.fixture
def env():
    simulator = random_simulator(items=12, users=16, categories=3, seed=5)
    return gym.make_vec("RecSlate-v0", 6, "vector_entry_point", simulator=simulator, **TASK)


def users_of(env, row):
    state = env.unwrapped._batch.state
    return Users(state.session.memory.take(np.array([row])), state.session.step[[row]])


def worth(market, users, slate):
    """Expected reward of a slate, over all answers to it; nobody leaves."""
    if not slate:
        return 0.0
    item = torch.tensor(slate[:1])
    probs = market.probs(users, item.unsqueeze(1))[0, 0]  # (R,)
    total = float(probs @ PAID)
    for response in range(R):
        copies = Memory(*(part.copy() for part in users.memory))
        after = market.update(Users(copies, users.step), item, torch.tensor([response]))
        total += float(probs[response]) * worth(market, after, slate[1:])
    return total


def test_greedy_slates_against_all_slates(env):
    market = slate_market(env.unwrapped.core)
    oracle = SlateOracle(env, market, greedy_policy("reward_greedy", market, reward_value))
    observations, _ = env.reset(seed=7)
    oracle.begin(np.ones(6, bool), 7 + np.arange(6))
    for request in range(2):
        slates = env.unwrapped.candidate_items[oracle.act(observations)]
        for row in range(6):
            available = env.unwrapped.candidate_items[observations["available"][row].astype(bool)].tolist()
            users, chosen = users_of(env, row), slates[row].tolist()
            assert set(chosen) <= set(available) and len(set(chosen)) == 3
            alone = {item: worth(market, users, [item]) for item in available}
            assert chosen[0] == max(alone, key=alone.get), "the first slot is exact"
            for slot in (1, 2):  # the others are those of the expected state, which is next to exact here
                others = [item for item in available if item not in chosen[:slot]]
                best = max(worth(market, users, [*chosen[:slot], item]) for item in others)
                assert worth(market, users, chosen[: slot + 1]) > 0.999 * best
            best = max(worth(market, users, list(slate)) for slate in itertools.permutations(available, 3))
            assert 0.97 * best < worth(market, users, chosen) <= best + 1e-6
        if request == 0:
            observations, *_ = env.step(oracle.act(observations))


def test_the_expected_state_is_the_mean_over_answers(env):
    env.reset(seed=3)
    market, users = slate_market(env.unwrapped.core), users_of(env, 0)
    item, probs = torch.tensor([4]), torch.tensor([[0.5, 0.3, 0.2]])
    before = [part.copy() for part in users.memory]
    found = expected_users(market, users, item, probs)
    after = []
    for response in range(R):
        copies = Memory(*(part.copy() for part in users.memory))
        after.append(market.update(Users(copies, users.step), item, torch.tensor([response])).memory)
    for name in ("whole", "kinds"):
        skip, click, order = (getattr(memory, name) for memory in after)
        assert np.allclose(getattr(found.memory, name), 0.5 * skip + 0.3 * click + 0.2 * order, atol=1e-6)
    assert (found.memory.written == after[0].written).all() and found.step.tolist() == [1]
    assert all((part == own).all() for part, own in zip(users.memory, before, strict=True)), "users stay as they were"
    assert not np.allclose(after[0].whole, after[2].whole)


def test_runs_of_a_category_by_hand(env):
    env.reset(seed=0)
    core, state = env.unwrapped.core, env.unwrapped._batch.state
    oracle = SlateOracle(env, slate_market(core), greedy_policy("g", slate_market(core)))
    categories = core.catalogue.categories[core.candidates]
    same, other = np.flatnonzero(categories == 0)[:2], np.flatnonzero(categories == 1)[0]
    state.session.shown[0, :3], state.session.step[0] = [other, *same], 3
    state.session.shown[1, :3], state.session.step[1] = [*same, other], 3
    state.session.shown[2, :2], state.session.step[2] = same, 2
    last, run = oracle._runs(core, state, np.arange(4))
    assert last.tolist() == [0, 1, 0, -1] and run.tolist() == [2, 1, 2, 0]


def test_sessions_behind_the_first_cost_nothing(env):
    market = slate_market(env.unwrapped.core)
    scored = []
    policy = greedy_policy("counting", market, lambda probs: scored.append(len(probs)) or reward_value(probs))
    oracle = SlateOracle(env, market, policy, every=2)
    observations, _ = env.reset(seed=0)
    oracle.begin(np.ones(6, bool), np.arange(6))
    oracle.begin(np.array([True, False, True, False, False, False]))
    slates = oracle.act(observations)
    assert scored == [4, 4, 4]
    assert (slates[[1, 3, 4, 5]] % 2 == 0).all(), "every second item is looked at"
