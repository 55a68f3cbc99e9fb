"""RecSession on tensors against RecSession on arrays, and without a question to the device."""

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.tensor_core import TensorCore
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.vector.tensors import RecSessionTensorEnv

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


def pair(device="cpu", users=64, **arguments):
    """The same task on tensors and on arrays."""
    arguments = {"session_length": 12, "simulator": random_simulator()} | arguments
    return RecSessionTensorEnv(users, device, **arguments), RecSessionVectorEnv(users, **arguments)


def assert_same(tensors, arrays):
    if isinstance(tensors, dict):
        assert tensors.keys() == arrays.keys()
        for name in tensors:
            assert_same(tensors[name], arrays[name])
    else:
        np.testing.assert_array_equal(tensors.cpu().numpy(), arrays)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "item", "observation": "item_ids"},
        {"action": "embedding", "observation": "item_ids"},
        {},
        {"flat": True},
        {"response_noise": 0.5, "action": "item"},
        {"candidates": 12, "action": "item"},
        {"rewards": (-0.5, 1, 5), "history": 3},
    ],
)
def test_sessions_are_those_of_the_environment_on_arrays(device, arguments):
    ours, theirs = pair(device, **arguments)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    (seen, info), (expected, their_info) = ours.reset(seed=3), theirs.reset(seed=3)
    assert_same(seen, expected)
    assert_same(info["user"], their_info["user"])
    ours.action_space.seed(0)
    for step in range(30):
        actions = ours.action_space.sample()
        seen, reward, terminated, truncated, info = ours.step(torch.from_numpy(actions).to(device))
        expected, their_reward, _, their_truncated, their_info = theirs.step(actions)
        assert_same(seen, expected)
        np.testing.assert_allclose(reward.cpu(), their_reward)
        assert_same(truncated, their_truncated)
        assert not terminated.any() and all(part.device.type == device for part in (reward, truncated, terminated))
        last = their_info["final_info"] if (step + 1) % 12 == 0 else their_info
        for name in ("response", "item", "click_reward", "order_reward"):
            assert_same(info[name], last[name])
        assert_same(info["user"], their_info["user"])
        assert ("final_obs" in info) == (their_truncated.all() and "final_obs" in their_info)
        if "final_obs" in info:
            told = {name: values for name, values in last["session"].items() if not name.startswith("_")}
            assert set(info["session"]) == set(told) and len(told) == 6
            for name, values in told.items():
                np.testing.assert_allclose(info["session"][name].cpu(), values)
            final = their_info["final_obs"]
            if ours.core.config.flat:
                assert_same(info["final_obs"], np.stack(final))
            else:
                assert_same(info["final_obs"], {name: np.stack([one[name] for one in final]) for name in final[0]})


def test_memories_are_those_of_the_core_on_arrays():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=20, action="item"))
    seeds = np.arange(50)
    users, state = TensorCore(core, seeds, "cpu"), core.initial(seeds, np.zeros(50, np.int64))
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.integers(200, size=50)
        users.play(users.choose(torch.from_numpy(actions)))
        core.step(state, actions)
    np.testing.assert_array_equal(users.whole, state.memory.whole)
    np.testing.assert_array_equal(users.kinds, state.memory.kinds)
    np.testing.assert_array_equal(users.written, state.memory.written)
    np.testing.assert_array_equal(users.responses, state.responses)


def test_equal_candidates_are_shown_in_their_order():
    simulator = random_simulator(items=40)
    simulator.catalogue.embeddings[:] = simulator.catalogue.embeddings[0].clone()
    ours, theirs = pair(users=3, simulator=simulator, session_length=30)
    ours.reset(seed=0), theirs.reset(seed=0)
    for scale in np.linspace(-1, 1, 30):  # zero among them, a direction that is none
        actions = np.full((3, 8), scale * 0.1, np.float32)
        assert_same(ours.step(actions)[4]["user"], theirs.step(actions)[4]["user"])
    assert_same(ours._users.histories[:, 0], theirs._batch.state.histories[:, 0])


@pytest.mark.parametrize("observation", ["embeddings", "item_ids"])
def test_a_step_asks_the_device_for_nothing(observation):
    """A meta device has shapes and no values: whoever asks it for one fails."""
    core = SessionCore(random_simulator().data, SessionConfig(session_length=4, observation=observation))
    users = TensorCore(core, np.arange(5), "meta")
    for _ in range(3):
        response = users.play(users.choose(torch.empty(5, 8, device="meta")))
        assert users.observe().shape[:3] == (5, 3, 10) and users.reward(response).shape == (5,)
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(users.wrong)


def test_actions_outside_their_space_are_told_of_at_the_end_of_the_session():
    for arguments, bad in (({}, np.nan), ({}, 1e3), ({"action": "item"}, 200), ({"action": "item"}, -1)):
        env, _ = pair(users=4, session_length=3, **arguments)
        env.reset(seed=0)
        good = env.action_space.sample()
        wrong = good.copy()
        wrong[2] = bad
        env.step(wrong)
        env.step(good)
        with pytest.raises(ValueError, match="action: got one outside the action space .* or NaN; check the policy"):
            env.step(good)
        env.reset(seed=0)
        env.step(wrong)
        with pytest.raises(ValueError, match="outside the action space"):
            env.check()
        env.check()


def test_misuse_is_refused():
    env, _ = pair(users=4, action="item")
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="reset options: got \\['user'\\], allowed none"):
        env.reset(seed=0, options={"user": 3})
    env.reset(seed=0)
    for actions in (np.zeros(3, np.int64), np.zeros(4), np.zeros(4, bool), np.zeros((4, 1), np.int64)):
        with pytest.raises(ValueError, match="item action: got .* allowed whole numbers of shape \\(4,\\)"):
            env.step(actions)
    with pytest.raises(ValueError, match="num_envs: got 0"):
        RecSessionTensorEnv(0, "cpu")


def test_a_reset_without_a_seed_goes_on_to_the_next_session():
    ours, theirs = pair(users=4)
    assert_same(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    assert_same(ours.reset()[0], theirs.reset()[0])
    fresh = RecSessionTensorEnv(4, "cpu", simulator=random_simulator())
    fresh.reset()
    assert fresh._users.seed.tolist() == list(range(int(fresh._users.seed[0]), int(fresh._users.seed[0]) + 4))
