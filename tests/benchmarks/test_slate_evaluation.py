"""What evaluation tells of slates, held against numbers worked out by hand and against single environments."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.slate_evaluation import Watched, diversity, evaluate_slates, gini
from recsim_hrl.simulator.store import random_simulator

TASK = {"slate_size": 3, "max_requests": 4, "candidates": 20}
ITEMS = np.array([[1, 0], [0, 1], [-1, 0], [2, 0], [0, 0]], np.float32)


class FirstOpen:
    """Shows the first items that can be shown, which depends on nothing else."""

    def begin(self, starting, seeds=None):
        pass

    def act(self, observations, *, explore=False):
        return np.argsort(-observations["available"].astype(int), 1, kind="stable")[:, :3]


@pytest.fixture(scope="module")
def simulator():
    simulator = random_simulator(items=30, users=16, seed=3)
    hasty = dataclasses.replace(simulator.leaving, bias=np.array([-2.0]))  # one in eight leaves after an item
    return dataclasses.replace(simulator, leaving=hasty)


@pytest.mark.parametrize(
    ("slates", "expected"),
    [
        ([[0, 1]], 1.0),  # a right angle
        ([[0, 3]], 0.0),  # one direction
        ([[0, 2]], 2.0),  # opposite ones
        ([[0, 1], [0, 3], [0, 2]], 1.0),
        ([[0, 1, 2]], 4 / 3),  # cosines 0, 0 and -1
        ([[0, 4]], 1.0),  # what has no direction is at right angles to everything
        ([[0]], 0.0),
    ],
)
def test_diversity_by_hand(slates, expected):
    assert diversity(ITEMS, np.array(slates)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "expected"), [((1, 1, 1), 0.0), ((0, 0, 1), 2 / 3), ((3, 0, 1), 0.5), ((0, 0, 0, 8), 0.75)]
)
def test_gini_by_hand(counts, expected):
    # Of (0, 1, 3): the mean of |difference| over all pairs, both ways, is 12 / 9, and twice the mean is 8 / 3.
    assert gini(np.array(counts)) == pytest.approx(expected)


@pytest.mark.parametrize("parallel", [2, 5])
def test_sessions_are_those_of_single_environments(simulator, parallel):
    env = gym.make_vec("RecSlate-v0", parallel, "vector_entry_point", simulator=simulator, **TASK)
    found = evaluate_slates(FirstOpen(), env, sessions=7, seed=40)
    single, slates, seen = gym.make("RecSlate-v0", simulator=simulator, **TASK), [], []
    for session in range(7):
        observation, _ = single.reset(seed=40 + session)
        over, rewards, requests, looked = False, 0.0, 0, 0
        while not over:
            action = FirstOpen().act({"available": observation["available"][None]})[0]
            observation, reward, terminated, truncated, info = single.step(action)
            rewards, requests, looked = rewards + reward, requests + 1, looked + info["is_seen"].sum()
            slates.append(info["item"])
            seen += info["item"][info["is_seen"].astype(bool)].tolist()
            over = terminated or truncated
        told = (found.total_reward[session], found.depth[session], found.length[session])
        assert told == (pytest.approx(rewards), requests, looked)
    assert len(set(found.depth)) > 1, "some have left before others"
    counts = np.array([seen.count(item) for item in single.unwrapped.candidate_items])
    assert found.coverage == (counts > 0).sum() / 20
    assert found.gini == pytest.approx(gini(counts))
    assert found.diversity == pytest.approx(diversity(single.unwrapped.item_embeddings, np.array(slates)))
    assert np.allclose(found.total_reward, found.click_reward + found.order_reward)


def test_the_share_seen_is_that_of_what_is_on_offer(simulator):
    task = TASK | {"catalog_turnover": 0.25, "catalog_start": 1, "stock": 30}
    env = Watched(gym.make_vec("RecSlate-v0", 2, "vector_entry_point", simulator=simulator, **task))
    env.reset(seed=0)
    order = simulator.data.recall_order
    assert env.on_offer.tolist() == order[5:25].tolist(), "a quarter of 20 is gone"


def test_what_a_record_is_told(simulator):
    env = gym.make_vec("RecSlate-v0", 2, "vector_entry_point", simulator=simulator, **TASK)
    found = evaluate_slates(FirstOpen(), env, sessions=3, seed=0)
    fields = found.fields()
    assert fields["click_rewards"] == tuple(found.click_reward)
    assert [name for name, _ in fields["sessions"]] == ["total_reward", "depth", "length"]
    assert dict(fields["measures"])["coverage"] == found.coverage
