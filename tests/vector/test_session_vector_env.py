"""The native vector environment against the single one, Gymnasium's own vectorisation, and literals."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import recsim_hrl  # noqa: F401  registers the ids
from recsim_hrl.registration import ENVIRONMENTS
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv
from tests.reference.market import market

VARIANTS = [
    {},
    {"action": "item"},
    {"observation": "item_ids", "response_noise": 0.3},
    {"flat": True, "action": "item", "observation": "item_ids"},
]


def make_vec(folder, num_envs=3, name="RecSession-v0", **arguments):
    return gym.make_vec(name, num_envs, "vector_entry_point", simulator=folder, **arguments)


def make_sync(folder, num_envs, name="RecSession-v0", **arguments):
    def one():
        return gym.make(name, simulator=folder, **arguments)

    return SyncVectorEnv([one] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def same(value, other, path="") -> None:
    """Equal in structure, types and numbers, with the path of the first difference."""
    if isinstance(value, dict):
        assert set(value) == set(other), path
        for name in value:
            same(value[name], other[name], f"{path}/{name}")
    elif isinstance(value, tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for place, (one, two) in enumerate(zip(value, other, strict=True)):
            same(one, two, f"{path}[{place}]")
    elif isinstance(value, np.ndarray):
        assert value.dtype == other.dtype, path
        np.testing.assert_array_equal(value, other, err_msg=path)
    else:
        assert value == other, path


@pytest.mark.parametrize("arguments", VARIANTS)
def test_it_gives_what_gymnasium_makes_of_single_environments(arguments, simulator_folder):
    native = make_vec(simulator_folder, 3, session_length=4, **arguments)
    sync = make_sync(simulator_folder, 3, session_length=4, **arguments)
    assert native.single_action_space == sync.single_action_space
    assert native.single_observation_space == sync.single_observation_space
    assert native.action_space == sync.action_space and native.observation_space == sync.observation_space
    native.action_space.seed(0)
    same(native.reset(seed=7), sync.reset(seed=7))
    for _ in range(10):  # two autoresets
        actions = native.action_space.sample()
        observation, *rest = native.step(actions)
        assert native.observation_space.contains(observation)
        for part, expected in zip((observation, *rest), sync.step(actions), strict=True):
            same(part, expected)


def test_it_gives_the_same_when_sessions_end_at_different_times(simulator_folder):
    native = make_vec(simulator_folder, 3, session_length=4, action="item")
    sync = make_sync(simulator_folder, 3, session_length=4, action="item")
    native.reset(seed=7), sync.reset(seed=7)
    for step in range(12):
        if step in (1, 6):
            mask = np.array([False, step == 6, True])
            given = {"seed": [1, 2, 3]} if step == 6 else {}
            same(
                native.reset(options={"reset_mask": mask}, **given),
                sync.reset(options={"reset_mask": mask.copy()}, **given),
            )
        actions = native.action_space.sample()
        for part, expected in zip(native.step(actions), sync.step(actions), strict=True):
            same(part, expected)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_sub_environment_i_is_the_single_environment_of_seed_s_plus_i(name, simulator_folder):
    """For as long as the longest session takes, and the start of the one after each."""
    native = make_vec(simulator_folder, 4, name)
    singles = [gym.make(name, simulator=simulator_folder) for _ in range(4)]
    native.action_space.seed(0)
    native.reset(seed=100)
    playing = dict(enumerate(singles))
    for i, single in playing.items():
        single.reset(seed=100 + i)
    while playing:
        actions = native.action_space.sample()
        observations, rewards, terminated, truncated, infos = native.step(actions)
        for i, single in list(playing.items()):
            observation, reward, has_left, is_over, info = single.step(actions[i])
            assert (rewards[i], terminated[i], truncated[i]) == (reward, has_left, is_over)
            if not (has_left or is_over):
                assert np.array_equal(infos["item"][i], info["item"])
                continue
            assert data_equivalence(infos["final_obs"][i], observation, exact=True)
            total = infos["final_info"]["session"]["total_reward"][i]
            assert total == pytest.approx(info["session"]["total_reward"], abs=0) and total > 0
            first, _ = single.reset()  # the next episode of the same seed
            many = observations
            second = {key: value[i] for key, value in many.items()} if isinstance(many, dict) else many[i]
            assert data_equivalence(second, first, exact=True)
            del playing[i]


def test_autoreset_by_hand():
    env = RecSessionVectorEnv(
        2, simulator=market(), session_length=2, history=2, action="item", observation="item_ids", rewards=(0, 1, 5)
    )
    observation, info = env.reset(seed=0, options={"users": [1, 0]})
    assert observation["browsed"].tolist() == [[3, 2], [0, 0]]
    assert info["user"].tolist() == [1, 0] and info["_user"].tolist() == [True, True]

    observation, reward, terminated, truncated, info = env.step(np.array([1, 2]))
    assert observation["browsed"].tolist() == [[2, 2], [0, 3]]
    assert reward.tolist() == [5.0, 0.0]
    assert terminated.tolist() == truncated.tolist() == [False, False]
    assert {name: value.tolist() for name, value in info.items() if not name.startswith("_")} == {
        "response": [2, 0],
        "item": [1, 2],
        "item_id": [101, 102],
        "category": [1, 2],
        "click_reward": [0.0, 0.0],
        "order_reward": [5.0, 0.0],
        "user": [1, 0],
    }

    env.reset(options={"reset_mask": np.array([True, False]), "users": [2, None]})
    env.step(np.array([0, 1]))  # the second session ends, the first has one step to go
    env.reset(options={"reset_mask": np.array([False, True]), "users": [None, 0]})
    observation, reward, terminated, truncated, info = env.step(np.array([4, 3]))
    assert reward.tolist() == [0.0, 1.0]
    assert terminated.tolist() == [False, False] and truncated.tolist() == [True, False]
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, False]
    final = {name: value.tolist() for name, value in info["final_obs"][0].items()}
    assert final == {"browsed": [1, 5], "clicked": [4, 1], "ordered": [0, 0]}
    assert info["final_obs"][1] is None
    finals = info["final_info"]
    assert {name: finals[name].tolist() for name in ("response", "item", "item_id", "category", "user")} == {
        "response": [0, 0],
        "item": [4, 0],
        "item_id": [104, 0],
        "category": [1, 0],
        "user": [2, 0],
    }
    assert finals["_item"].tolist() == finals["_session"].tolist() == [True, False]
    assert {name: value.tolist() for name, value in finals["session"].items() if not name.startswith("_")} == {
        "total_reward": [1.0, 0.0],
        "click_reward": [1.0, 0.0],
        "order_reward": [0.0, 0.0],
        "clicks": [1, 0],
        "orders": [0, 0],
        "length": [2, 0],
    }
    # What is not of the old session belongs to the new one of user 0 and to the running one of user 1.
    assert info["item"].tolist() == [0, 3] and info["_item"].tolist() == [False, True]
    assert info["_user"].tolist() == [True, True]
    fresh = {0: [0, 0], 1: [3, 2], 2: [5, 4]}[int(info["user"][0])]
    assert observation["browsed"].tolist() == [fresh, [0, 4]]


def test_users_can_be_chosen_and_bad_options_are_refused(simulator_folder):
    env = make_vec(simulator_folder)
    drawn = env.reset(seed=0)[1]["user"].tolist()
    assert env.reset(seed=0, options={"users": [4, None, 31]})[1]["user"].tolist() == [4, drawn[1], 31]
    assert env.reset(seed=0, options={"user": 9})[1]["user"].tolist() == [9, 9, 9]
    for arguments, words in (
        ({"options": {"users": [1, 2]}}, "reset option users: got 2 values, allowed 3"),
        ({"options": {"users": [1, 2, 32]}}, "reset option user: got 32, allowed 0 to 31"),
        ({"options": {"mask": 1}}, r"reset options: got \['mask'\]"),
        ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, "reset_mask: got bool of shape .* with 0 set"),
        ({"options": {"reset_mask": np.ones(2, dtype=bool)}}, r"reset_mask: got bool of shape \(2,\)"),
        ({"options": {"reset_mask": np.ones(3)}}, "reset_mask: got float64"),
        ({"seed": [1, 2]}, "seed: got 2 values, allowed 3"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": [0, -4, 1]}, "seed: got -4"),
    ):
        with pytest.raises(ValueError, match=words):
            env.reset(**arguments)


def test_a_refused_reset_and_a_refused_action_change_nothing(simulator_folder):
    env, twin = make_vec(simulator_folder, action="item"), make_vec(simulator_folder, action="item")
    env.reset(seed=0), twin.reset(seed=0)
    with pytest.raises(ValueError, match="reset option user: got 99"):
        env.reset(options={"users": [1, 2, 99]})
    with pytest.raises(ValueError, match="seed: got -1"):
        env.reset(seed=[5, 5, -1])
    for actions, words in (
        (np.array([0, 1]), r"got int64 of shape \(2,\), allowed whole numbers of shape \(3,\)"),
        (np.array([0, 1, 240]), "item action: got 240, allowed 0 to 239"),
    ):
        with pytest.raises(ValueError, match=words):
            env.step(actions)
    for part, expected in zip(env.step(np.arange(3)), twin.step(np.arange(3)), strict=True):
        same(part, expected)
    same(env.reset(), twin.reset())


def test_seeds_may_be_a_list_and_none_goes_on(simulator_folder):
    env, single = make_vec(simulator_folder), gym.make("RecSession-v0", simulator=simulator_folder)
    env.reset(seed=[8, 8, 9])
    users = env.reset(seed=[None, 8, None])[1]["user"].tolist()
    expected = []
    for seed, resets in ((8, 2), (8, 1), (9, 2)):
        single.reset(seed=seed)
        expected.append(single.reset()[1]["user"] if resets == 2 else single.reset(seed=seed)[1]["user"])
    assert users == expected


def test_unseeded_environments_differ(simulator_folder):
    runs = [make_vec(simulator_folder, 30).reset()[1]["user"].tolist() for _ in range(2)]
    assert runs[0] != runs[1] and len(set(runs[0])) > 5


def test_it_must_be_reset_first(simulator_folder):
    env = make_vec(simulator_folder, action="item")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros(3, dtype=np.int64))
    with pytest.raises(ResetNeeded, match="for all users first"):
        env.reset(options={"reset_mask": np.array([True, False, False])})


@pytest.mark.parametrize("limit", [None, -1, 3, 80])
def test_max_episode_steps_shortens_sessions(limit, simulator_folder):
    env = make_vec(simulator_folder, max_episode_steps=limit, session_length=5, action="item")
    env.reset(seed=0)
    ends = [bool(env.step(np.full(3, step))[3].all()) for step in range(5)]
    assert ends == ([False, False, True, False, False] if limit == 3 else [False] * 4 + [True])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_in_mid_session_goes_on_in_the_same_way(copied, simulator_folder):
    env = make_vec(simulator_folder, session_length=6, response_noise=0.2)
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
    env, twin = (make_vec(simulator_folder, observation="item_ids", action="item") for _ in range(2))
    observation, info = env.reset(seed=0)
    twin.reset(seed=0)
    for step in range(60):
        for array in (*observation.values(), *info.values()):
            if isinstance(array, np.ndarray) and array.dtype != object:
                array[...] = 0
        observation, _, _, _, info = env.step(np.full(3, step % 50))
        expected = twin.step(np.full(3, step % 50))
        same(observation, expected[0])
        same(info, expected[4])


def test_a_user_is_the_same_among_1024(simulator_folder):
    """Items, responses and rewards bit for bit; seeds 5 and 1020 are played alone beside the batch."""
    crowd = make_vec(simulator_folder, 1024, session_length=15, observation="item_ids")
    crowd.reset(seed=0)
    actions = np.random.default_rng(1).uniform(-1, 1, (30, 1024, 8)).astype(np.float32)
    steps = [crowd.step(action) for action in actions]  # two sessions
    for row in (5, 1020):
        alone = make_vec(simulator_folder, 1, session_length=15, observation="item_ids")
        alone.reset(seed=row)
        for step, action in zip(steps, actions, strict=True):
            observation, reward, _, truncated, info = alone.step(action[row : row + 1])
            assert reward[0] == step[1][row] and truncated[0] == step[3][row]
            for name, value in observation.items():
                np.testing.assert_array_equal(value[0], step[0][name][row])
            source, own = (step[4]["final_info"], info["final_info"]) if truncated[0] else (step[4], info)
            assert own["item"][0] == source["item"][row] and own["response"][0] == source["response"][row]


def test_rendering_gives_a_frame_per_user():
    env = RecSessionVectorEnv(2, simulator=market(), session_length=2, action="item", render_mode="ansi")
    env.reset(seed=0, options={"users": [1, 2]})
    env.step(np.array([1, 2]))
    first, second = env.render()
    assert first.splitlines()[0].split() == "RecSession user 1 step 1 of 2".split()
    assert first.splitlines()[-1].split() == ["1", "101", "1", "2.00", "order", "5", "5"]
    assert second.splitlines()[-1].split() == ["1", "102", "2", "3.00", "skip", "0", "0"]
    env.step(np.array([0, 0]))  # the next sessions have begun
    assert [len(frame.splitlines()) for frame in env.render()] == [2, 2]
    pictures = RecSessionVectorEnv(2, simulator=market(), session_length=2, render_mode="rgb_array")
    pictures.reset(seed=0)
    assert [frame.shape[1:] for frame in pictures.render()] == [(960, 3)] * 2
    with pytest.raises(ValueError, match="render_mode: got 'human', allowed None or one of"):
        RecSessionVectorEnv(2, simulator=market(), session_length=2, render_mode="human")


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_bad_numbers_of_users_are_refused(number):
    with pytest.raises(ValueError, match=f"num_envs: got {number}"):
        RecSessionVectorEnv(number, simulator=random_simulator())
