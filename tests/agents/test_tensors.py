"""Agents that stay on a device, with an environment that gives tensors there."""

from collections import Counter

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, load_agent, make_agent, train
from torch.utils._python_dispatch import TorchDispatchMode

from recsim_hrl.vector.tensors import RecSessionTensorEnv

SMALL = {"hidden": 8, "batch_size": 16, "warmup_steps": 32, "steps_per_update": 16, "n_step": 3}
FLAT = ["ddpg", "deers"]


@pytest.fixture
def tensor_env(simulator):
    def make(num_envs=8, **kwargs):
        settings = {"session_length": 7, "history": 4, "observation": "item_ids"}
        return RecSessionTensorEnv(num_envs, "cpu", simulator=simulator, **(settings | kwargs))

    return make


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("observation", ["item_ids", "embeddings"])
@pytest.mark.parametrize("action", ["item", "embedding"])
def test_an_agent_learns_the_same_from_tensors_as_from_arrays(session_env, tensor_env, action, observation, name):
    settings = {"action": action, "observation": observation}
    learned = []
    for env in (session_env(8, **settings), tensor_env(**settings)):
        agent = make_agent(name, env, seed=3, **SMALL)
        records = train(agent, env, 8 * 30, seed=5, record_every=80)
        learned.append((records, agent.tensors()))
    (records, weights), (other_records, other_weights) = learned
    assert records == other_records and len(records) == 3
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


class Questions(TorchDispatchMode):
    """Counts what would make a processor wait for its accelerator: numbers read, and sizes that depend on values.

    Adam counts its steps in tensors that stay on the processor; those of an agent's optimizers may be read.
    """

    def __init__(self, *agents):
        super().__init__()
        self.asked = Counter()
        optimizers = [one for agent in agents for one in vars(agent).values() if isinstance(one, torch.optim.Optimizer)]
        self._steps = {state["step"].data_ptr() for one in optimizers for state in one.state.values()}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name == "_local_scalar_dense" and args[0].data_ptr() in self._steps:
            return operation(*args, **(kwargs or {}))
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim"):
            self.asked[name] += 1
        if name in ("index", "index_put_", "index_put"):
            by_mask = [one for one in args[1] if one is not None and one.dtype == torch.bool]
            self.asked["a mask as an index"] += len(by_mask)
        return operation(*args, **(kwargs or {}))


def test_the_counter_of_questions_counts():
    numbers = torch.arange(4)
    with Questions() as questions:
        assert not numbers[numbers > 9].any() and numbers[2].item() == 2
    assert questions.asked["a mask as an index"] == 1 and questions.asked["_local_scalar_dense"] == 2


@pytest.mark.parametrize("name", FLAT)
def test_training_asks_the_device_nothing_within_a_session(tensor_env, name):
    env = tensor_env(session_length=40)
    agent = make_agent(name, env, **SMALL)
    train(agent, env, 8 * 40)  # the memory and the optimizers are set up
    with Questions(agent) as questions:
        records = train(agent, env, 8 * 39, record_every=10_000)
    metrics = len(records[-1]) - 1  # the one record is read when the training ends
    assert +questions.asked == {"_local_scalar_dense": metrics}
    assert "target" in records[-1]


@pytest.mark.parametrize("name", FLAT)
def test_a_session_that_ends_asks_once(tensor_env, name):
    env = tensor_env(session_length=7)
    agent = make_agent(name, env, **SMALL)
    train(agent, env, 8 * 7)
    with Questions(agent) as questions:
        records = train(agent, env, 8 * 21, record_every=10_000)
    metrics = len(records[-1]) - 5  # rewards and length of the sessions come as arrays
    assert questions.asked["_local_scalar_dense"] == metrics + 3  # whether all actions were valid, once a session


def test_saved_agents_know_no_device(tensor_env, session_env, tmp_path):
    env = tensor_env()
    agent = make_agent("ddpg", env, hidden=8)
    assert agent.device == env.device
    agent.save(tmp_path / "agent")
    arrays = session_env(8, observation="item_ids")
    again = load_agent(tmp_path / "agent", arrays, device="cpu")
    observations, _ = arrays.reset(seed=2)
    tensors, _ = env.reset(seed=2)
    actions = agent.act(tensors)
    assert isinstance(actions, torch.Tensor)
    np.testing.assert_array_equal(again.act(observations), actions.numpy())


def test_what_does_not_go_together(tensor_env, session_env):
    env = tensor_env()
    with pytest.raises(ValueError, match="evaluate: got an environment that gives tensors"):
        evaluate(make_agent("ddpg", env), env, 2)
    with pytest.raises(ValueError, match="agent sb3-dqn, which takes arrays"):
        train(make_agent("sb3-dqn", tensor_env(action="item")), tensor_env(action="item"), 8)
    with pytest.raises(ValueError, match="agent popularity: got device meta, allowed cpu"):
        make_agent("popularity", session_env(2), device="meta")
