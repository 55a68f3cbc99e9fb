"""The native vector environment of slates against the single one, Gymnasium's own vectorisation, and literals."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.slate import RecSlateVectorEnv
from tests.simulator.test_ensemble import drawn, simulators
from tests.simulator.test_slate_core import leaving_after, market_data
from tests.vector.test_session_support import covered
from tests.vector.test_session_vector_env import make_sync, make_vec, same

SMALL = {"name": "RecSlate-v0", "slate_size": 3, "max_requests": 4, "candidates": 60}
VARIANTS = [
    {},
    {"action": "embeddings", "observation": "item_ids", "slate_size": 9, "leave": "temper", "reward": "clicks"},
    {"action": "query", "response_noise": 0.3, "catalog_turnover": 0.1},
    {
        "action": "tokens",
        "slate_size": 9,
        "max_requests": 12,
        "candidates": 120,
        "leave": "temper",
        "reward": "rl4rs",
        "catalog_turnover": 0.2,
    },
    {"catalog_turnover": 1.0, "catalog_start": 9},
    {"leave": "never", "rewards": (-0.1, 0.3, 1.7)},
]


def ids():
    return fit_semantic_ids(random_simulator(items=240).catalogue.embeddings.numpy(), SemanticIdConfig(2, 20))


@pytest.mark.parametrize("arguments", VARIANTS)
def test_it_gives_what_gymnasium_makes_of_single_environments(arguments, simulator_folder):
    arguments = SMALL | {"semantic_ids": ids()} | arguments
    native, sync = make_vec(simulator_folder, 5, **arguments), make_sync(simulator_folder, 5, **arguments)
    assert native.single_action_space == sync.single_action_space
    assert native.single_observation_space == sync.single_observation_space
    assert native.action_space == sync.action_space and native.observation_space == sync.observation_space
    native.action_space.seed(0)
    same(native.reset(seed=7), sync.reset(seed=7))
    ends = np.zeros((2, 5))
    for _ in range(30):  # each user has three sessions or more
        actions = native.action_space.sample()
        observation, *rest = native.step(actions)
        assert native.observation_space.contains(observation)
        for part, expected in zip((observation, *rest), sync.step(actions), strict=True):
            same(part, expected)
        ends += rest[1:3]
    assert (ends.sum(0) >= 3).all()
    assert (ends[0].sum() > 0) == (arguments.get("leave") != "never")


def test_it_gives_the_same_when_users_are_reset_in_between(simulator_folder):
    native, sync = make_vec(simulator_folder, 3, **SMALL), make_sync(simulator_folder, 3, **SMALL)
    native.reset(seed=7), sync.reset(seed=7)
    native.action_space.seed(0)
    for step in range(12):
        if step in (1, 6):
            mask, given = np.array([False, step == 6, True]), {"seed": [1, 2, 3]} if step == 6 else {}
            same(*(env.reset(options={"reset_mask": mask.copy()}, **given) for env in (native, sync)))
        actions = native.action_space.sample()
        for part, expected in zip(native.step(actions), sync.step(actions), strict=True):
            same(part, expected)


def test_autoreset_by_hand():
    """Users leave with their second impression; user 1 saw items 2 and 1 before, user 0 nothing."""
    leaving = market_data(leaving_after(1.5))
    env = RecSlateVectorEnv(2, slate_size=3, max_requests=1, simulator=leaving, history=2, observation="item_ids")
    env.reset(seed=0, options={"users": [1, 0]})
    observation, reward, terminated, truncated, info = env.step(np.array([[1, 0, 3], [4, 1, 0]]))
    assert reward.tolist() == [6.0, 5.0]
    assert terminated.tolist() == [True, True] and truncated.tolist() == [False, False]
    finals = info["final_info"]
    assert finals["response"].tolist() == [[2, 1, 0], [0, 2, 0]]
    assert finals["is_seen"].tolist() == [[True, True, False]] * 2
    assert finals["item"].tolist() == [[1, 0, 3], [4, 1, 0]] and finals["item_id"].tolist()[1] == [104, 101, 100]
    assert finals["session"]["depth"].tolist() == [1, 1] and finals["session"]["length"].tolist() == [2, 2]
    assert [one["browsed"].tolist() for one in info["final_obs"]] == [[2, 1], [5, 2]]
    assert [one["available"].tolist() for one in info["final_obs"]] == [[0, 0, 1, 1, 1], [1, 0, 1, 1, 0]]
    assert [one["request"].tolist() for one in info["final_obs"]] == [[1.0], [1.0]]
    assert "item" not in info and info["_user"].all()
    assert observation["available"].all() and not observation["request"].any()  # the next sessions have begun

    mixed = RecSlateVectorEnv(2, slate_size=2, max_requests=2, simulator=market_data(leaving_after(2.5)))
    mixed.reset(seed=0)
    mixed.step(np.array([[0, 1], [0, 1]]))
    mixed.reset(options={"reset_mask": np.array([False, True])})
    _, _, terminated, truncated, info = mixed.step(np.array([[2, 3], [2, 3]]))
    assert terminated.tolist() == [True, False] and truncated.tolist() == [False, False]
    assert info["final_info"]["is_seen"].tolist() == [[True, False], [False, False]]
    assert info["final_obs"][1] is None and info["_item"].tolist() == [False, True]
    assert info["item"].tolist() == [[0, 0], [2, 3]]


@pytest.mark.parametrize("limit", [None, -1, 2, 80])
def test_max_episode_steps_shortens_sessions(limit, simulator_folder):
    env = make_vec(simulator_folder, max_episode_steps=limit, leave="never", **SMALL)
    env.reset(seed=0)
    ends = [bool(env.step(np.arange(9).reshape(3, 3))[3].all()) for _ in range(4)]
    assert ends == ([False, True, False, True] if limit == 2 else [False] * 3 + [True])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_in_mid_session_goes_on_in_the_same_way(copied, simulator_folder):
    env = make_vec(simulator_folder, action="query", catalog_turnover=0.1, response_noise=0.2, **SMALL)
    env.reset(seed=4)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(12)]
    for action in actions[:4]:
        env.step(action)
    twin = copied(env)
    for action in actions[4:]:
        for part, expected in zip(env.step(action), twin.step(action), strict=True):
            same(part, expected)


def test_what_it_returns_is_the_callers_to_change(simulator_folder):
    env, twin = (make_vec(simulator_folder, observation="item_ids", **SMALL) for _ in range(2))
    observation, info = env.reset(seed=0)
    twin.reset(seed=0)
    for step in range(30):
        for array in (*observation.values(), *info.values()):
            if isinstance(array, np.ndarray) and array.dtype != object:
                array[...] = 0
        actions = (np.arange(9).reshape(3, 3) + 7 * step) % 60
        observation, _, _, _, info = env.step(actions)
        expected = twin.step(actions)
        same(observation, expected[0])
        same(info, expected[4])


def test_a_user_is_the_same_among_1024_on_any_number_of_threads(simulator_folder):
    """Two requests of every session and more, bit for bit; seeds 5 and 1020 are played alone beside the batch."""
    arguments = SMALL | {"observation": "item_ids", "action": "embeddings"}
    crowd = make_vec(simulator_folder, 1024, threads=2, **arguments)
    crowd.reset(seed=0)
    crowd.action_space.seed(1)
    actions = [crowd.action_space.sample() for _ in range(9)]
    steps = [crowd.step(action) for action in actions]
    for row in (5, 1020):
        alone = make_vec(simulator_folder, 1, threads=1, **arguments)
        alone.reset(seed=row)
        for step, action in zip(steps, actions, strict=True):
            observation, *ends, info = alone.step(action[row : row + 1])
            assert [part[0] for part in ends] == [part[row] for part in step[1:4]]
            for name, value in observation.items():
                np.testing.assert_array_equal(value[0], step[0][name][row])
            ended = ends[1][0] or ends[2][0]
            own, source = (one["final_info"] if ended else one for one in (info, step[4]))
            for name in ("item", "response", "is_seen"):
                np.testing.assert_array_equal(own[name][0], source[name][row])


def test_misuse_is_refused_and_changes_nothing(simulator_folder):
    env, twin = make_vec(simulator_folder, **SMALL), make_vec(simulator_folder, **SMALL)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros((3, 3), np.int64))
    env.reset(seed=0), twin.reset(seed=0)
    good = np.arange(9).reshape(3, 3)
    for actions, words in (
        (good[:2], r"got int64 of shape \(2, 3\), allowed whole numbers of shape \(3, 3\)"),
        (good * 10, "items action: got an entry 60, allowed 0 to 59"),
    ):
        with pytest.raises(ValueError, match=words):
            env.step(actions)
    for part, expected in zip(env.step(good), twin.step(good), strict=True):
        same(part, expected)
    with pytest.raises(ValueError, match="num_envs: got 0"):
        RecSlateVectorEnv(0, simulator=random_simulator())
    with pytest.raises(ValueError, match="render_mode: got 'human', allowed None or one of"):
        make_vec(simulator_folder, render_mode="human", **SMALL)


def test_rendering_gives_a_frame_per_user():
    env = RecSlateVectorEnv(
        2, slate_size=2, max_requests=2, simulator=market_data(leaving_after(2.5)), render_mode="ansi"
    )
    env.reset(seed=0, options={"users": [1, 2]})
    env.step(np.array([[1, 2], [3, 4]]))
    first, second = env.render()
    assert first.splitlines()[0] == "RecSlate  user 1  request 1 of 2, 2 items seen"
    assert second.splitlines()[-1].split() == ["1", "2", "104", "1", "5.00", "skip", "0", "1"]
    env.step(np.array([[0, 3], [0, 1]]))  # they leave, and the next sessions have begun
    assert [len(frame.splitlines()) for frame in env.render()] == [2, 2]


def test_an_ensemble_gives_what_gymnasium_makes_of_single_environments():
    arguments = SMALL | {"simulators": simulators(), "observation": "item_ids", "catalog_turnover": 0.1}
    native, sync = make_vec("default", 5, **arguments), make_sync("default", 5, **arguments)
    native.action_space.seed(0)
    observed = native.reset(seed=7)
    same(observed, sync.reset(seed=7))
    assert observed[1]["simulator_index"].tolist() == drawn(range(7, 12), 0).tolist()
    for _ in range(8):
        actions = native.action_space.sample()
        for part, expected in zip(native.step(actions), sync.step(actions), strict=True):
            same(part, expected)


def test_each_slot_is_told_what_the_log_holds_as_it_is_one_by_one():
    simulator, _ = covered()
    arguments = {"candidates": 150, "report_support": True}
    slates = make_vec(simulator, 20, "RecSlate-v0", slate_size=4, max_requests=5, **arguments)
    items = make_vec(simulator, 20, session_length=20, action="item", **arguments)
    slates.reset(seed=0), items.reset(seed=0)
    order = np.stack([np.random.default_rng(row).permutation(150)[:20] for row in range(20)])
    playing, told_of = np.ones(20, bool), 0
    for request in range(5):
        slate = order[:, 4 * request : 4 * request + 4]
        _, _, terminated, truncated, info = slates.step(slate)
        ended = terminated | truncated
        one_by_one = [items.step(slate[:, slot])[4] for slot in range(4)]
        for row in np.flatnonzero(playing):
            source = info["final_info"] if ended[row] else info
            for slot, alone in enumerate(one_by_one):
                alone = alone["final_info"] if request == 4 and slot == 3 else alone
                seen = source["is_seen"][row, slot]
                assert source["response"][row, slot] == (alone["response"][row] if seen else 0)
                for name in ("support", "is_supported"):
                    assert source[name][row, slot] == (alone[name][row] if seen else 0)
                told_of += seen
        playing &= ~ended
    assert told_of > 200
    sync = make_sync(simulator, 3, "RecSlate-v0", slate_size=4, max_requests=5, **arguments)
    native = make_vec(simulator, 3, "RecSlate-v0", slate_size=4, max_requests=5, **arguments)
    same(native.reset(seed=3), sync.reset(seed=3))
    for request in range(8):
        for part, expected in zip(*(env.step(order[:3, request : request + 4]) for env in (native, sync)), strict=True):
            same(part, expected)
    with_members = dataclasses.replace(covered(1)[0], catalogue=simulator.catalogue)
    make_vec("default", 2, "RecSlate-v0", simulators=[simulator, with_members], max_requests=5, **arguments)
