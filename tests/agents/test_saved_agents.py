import json

import numpy as np
import pytest
import torch
from recsim_hrl_agents import LoggedSessions, agent_class, agent_names, load_agent, make_agent, storage, train

TINY = {
    "ddpg": {"hidden": 8, "critic_width": 8, "warmup_steps": 16, "batch_size": 8, "steps_per_update": 8},
    "deers": {"hidden": 8, "width": 8, "joined": 8, "warmup_steps": 16, "batch_size": 8, "steps_per_update": 8},
    "mahrl": {"hidden": 8, "critic_width": 8, "warmup_steps": 16, "batch_size": 8, "steps_per_update": 8, "c": 3},
    "goal-q": {"hidden": (8,), "warmup_steps": 16, "batch_size": 8, "steps_per_update": 8, "c": 3},
    "greedy": {"hidden": 8, "half_lives": (3.0,)},
    "cf": {"factors": 4},
    "fm": {"factors": 4, "half_lives": (3.0,)},
    "wide-deep": {"kinds": 4, "factors": 4, "hidden": (8,), "half_lives": (3.0,)},
    "gru": {"hidden": 8},
    "sb3-dqn": {"net_arch": (8,), "learning_starts": 16, "batch_size": 8},
    "sb3-ppo": {"net_arch": (8,), "n_steps": 5, "batch_size": 10, "n_epochs": 1},
    "sb3-td3": {"net_arch": (8,), "learning_starts": 16, "batch_size": 8},
    "sb3-sac": {"net_arch": (8,), "learning_starts": 16, "batch_size": 8},
}


def taught(name, session_env, seed=0):
    """An agent that has learned a little, and its environment."""
    env = session_env(4, observation="item_ids", action="item" if name == "sb3-dqn" else "embedding")
    agent = make_agent(name, env, seed, **TINY.get(name, {}))
    if agent.learns_from == "log":
        rng = np.random.default_rng(seed)
        agent.fit(LoggedSessions(rng.integers(0, 60, 200), rng.integers(0, 3, 200), np.arange(0, 201, 10)))
    elif agent.learns_from == "environment":
        train(agent, env, 60, seed=seed)
    return agent, env


def actions(agent, env):
    observations, _ = env.reset(seed=3)
    agent.begin(np.ones(4, bool), np.arange(4))
    return agent.act(observations)


@pytest.mark.parametrize("name", agent_names())
def test_a_loaded_agent_acts_the_same(name, session_env, tmp_path):
    agent, env = taught(name, session_env)
    expected = actions(agent, env)
    agent.save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent", env)
    assert type(loaded) is agent_class(name) and loaded.config == agent.config
    np.testing.assert_array_equal(actions(loaded, env), expected)
    fresh = make_agent(name, env, 1, **TINY.get(name, {}))
    fresh.load(tmp_path / "agent")
    for key, tensor in agent.tensors().items():
        assert torch.equal(tensor, fresh.tensors()[key])
    files = sorted(path.name for path in (tmp_path / "agent").iterdir())
    assert files[0] == "agent.json" and files[1].endswith(".safetensors") and len(files) == 2


def test_an_agent_saved_before_a_setting_was_there(session_env, tmp_path):
    agent, env = taught("ddpg", session_env)
    expected = actions(agent, env)
    described = json.loads((agent.save(tmp_path) / "agent.json").read_text())
    assert described["config"].pop("known_reward") == 0.0
    (tmp_path / "agent.json").write_text(json.dumps(described))
    np.testing.assert_array_equal(actions(load_agent(tmp_path, env), env), expected)
    other = make_agent("ddpg", env, **TINY["ddpg"], sees_goal=True, known_reward=0.5)
    with pytest.raises(ValueError, match="got config .*'known_reward': 0.0.*, allowed .*'known_reward': 0.5"):
        other.load(tmp_path)


def test_an_interrupted_save_leaves_the_earlier_agent(session_env, tmp_path, monkeypatch):
    agent, env = taught("ddpg", session_env)
    expected = actions(agent, env)
    agent.save(tmp_path)
    other, _ = taught("ddpg", session_env, seed=1)
    replace = storage.os.replace

    def killed(source, target):
        if str(target).endswith("agent.json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        other.save(tmp_path)
    monkeypatch.undo()
    np.testing.assert_array_equal(actions(load_agent(tmp_path, env), env), expected)
    other.save(tmp_path)
    np.testing.assert_array_equal(actions(load_agent(tmp_path, env), env), actions(other, env))


def test_damaged_and_foreign_folders(session_env, tmp_path):
    agent, env = taught("popularity", session_env)
    with pytest.raises(ValueError, match="got no readable agent"):
        load_agent(tmp_path / "missing", env)
    agent.save(tmp_path)
    weights = next(tmp_path.glob("*.safetensors"))
    payload = weights.read_bytes()
    weights.write_bytes(payload[:-1] + b"!")
    with pytest.raises(ValueError, match="does not have the hash"):
        load_agent(tmp_path, env)
    weights.write_bytes(payload)
    description = json.loads((tmp_path / "agent.json").read_text())
    for change in ({"format": 99}, {"weights": "../elsewhere.safetensors"}):
        (tmp_path / "agent.json").write_text(json.dumps(description | change))
        with pytest.raises(ValueError, match="got no readable agent"):
            load_agent(tmp_path, env)


def test_another_agent_or_market_is_refused(session_env, tmp_path):
    agent, env = taught("popularity", session_env)
    agent.save(tmp_path)
    with pytest.raises(ValueError, match="got agent popularity, allowed random"):
        make_agent("random", env).load(tmp_path)
    with pytest.raises(ValueError, match="got config"):
        make_agent("popularity", env, prior_impressions=1.0).load(tmp_path)
    other = session_env(2)
    other.item_embeddings = np.zeros((5, 6), np.float32)
    other.candidate_items = np.arange(5)
    with pytest.raises(ValueError, match="weights do not fit this market"):
        load_agent(tmp_path, other)


def test_registry(session_env):
    names = ["random", "popularity", "greedy", "cf", "fm", "wide-deep", "gru", "ddpg", "deers", "mahrl", "goal-q"]
    names += ["sb3-dqn", "sb3-ppo", "sb3-td3", "sb3-sac"]
    variants = ["hrl-i", "hrl-s", "hrl-g", "mahrl-anchored", "mahrl-items"]
    assert agent_names() == names + variants
    assert [agent_class(name).name for name in names] == names
    assert [agent_class(name).name for name in variants] == ["mahrl"] * 5
    env = session_env(2)
    with pytest.raises(ValueError, match="got 'dqn', allowed random, popularity"):
        make_agent("dqn", env)
    with pytest.raises(ValueError, match=r"unknown settings \['gama'\], allowed \['histories'"):
        make_agent("ddpg", env, gama=0.9)
    with pytest.raises(ValueError, match="got an environment with embedding actions, allowed item actions"):
        make_agent("sb3-dqn", env)
