"""The environments of RecSession over several simulators."""

import gymnasium as gym
import numpy as np
import pytest

import recsim_hrl  # noqa: F401  registers the ids
from recsim_hrl.simulator.store import random_simulator, save_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv
from tests.simulator.test_ensemble import drawn, simulators
from tests.vector.test_session_vector_env import make_sync, make_vec, same


@pytest.mark.parametrize("arguments", [{}, {"action": "item", "observation": "item_ids", "response_noise": 0.3}])
def test_it_gives_what_gymnasium_makes_of_single_environments(arguments):
    arguments |= {"simulators": simulators(), "session_length": 4}
    native, sync = make_vec("default", 5, **arguments), make_sync("default", 5, **arguments)
    native.action_space.seed(0)
    observed = native.reset(seed=7)
    same(observed, sync.reset(seed=7))
    assert observed[1]["simulator_index"].tolist() == drawn(range(7, 12), 0).tolist()
    for step in range(1, 11):
        actions = native.action_space.sample()
        found = native.step(actions)
        for part, expected in zip(found, sync.step(actions), strict=True):
            same(part, expected)
        assert found[4]["simulator_index"].tolist() == drawn(range(7, 12), step // 4).tolist()
        if step % 4 == 0:  # the info of a session that ended is of the member that played it
            ended = found[4]["final_info"]["simulator_index"]
            assert ended.tolist() == drawn(range(7, 12), step // 4 - 1).tolist()


def test_folders_by_name_and_one_member_alone(tmp_path):
    folder = save_simulator(random_simulator(), tmp_path / "one")
    ensemble = gym.make("RecSession-v0", simulators=[str(folder), folder], action="item", session_length=3)
    plain = gym.make("RecSession-v0", simulator=folder, action="item", session_length=3)
    assert ensemble.reset(seed=1)[1].keys() == {"user", "simulator_index"}
    assert plain.reset(seed=1)[1].keys() == {"user"}
    for action in range(3):
        ours, theirs = ensemble.step(action), plain.step(action)
        assert ours[4].pop("simulator_index") in (0, 1)
        assert ours[1:] == theirs[1:]  # two of the same are one


def test_users_put_aside_go_on():
    env, other = (RecSessionVectorEnv(6, simulators=simulators(), session_length=5, action="item") for _ in range(2))
    env.reset(seed=3)
    for action in range(3):
        env.step(np.full(6, action))
    other.load_state_dict(env.state_dict())
    for action in range(3, 12):
        for part, expected in zip(env.step(np.full(6, action)), other.step(np.full(6, action)), strict=True):
            same(part, expected)
    for wrong in (simulators()[::-1], simulators(2)):
        third = RecSessionVectorEnv(6, simulators=wrong, session_length=5, action="item")
        with pytest.raises(ValueError, match="got that of another task"):
            third.load_state_dict(env.state_dict())


def test_misuse_is_refused(simulator_folder):
    with pytest.raises(ValueError, match="simulators: got 'default', allowed a list .*put it in brackets"):
        make_vec("default", simulators="default")
    with pytest.raises(ValueError, match="simulators: got them beside simulator=.*leave one out"):
        make_vec(simulator_folder, simulators=[simulator_folder])
