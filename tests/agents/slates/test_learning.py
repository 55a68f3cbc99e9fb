"""What holds for every agent that learns to show slates."""

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, load_agent, make_agent, train

HYPER = {"gamma": 0.0, "kernel": 8, "hidden": 64, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}
HYPER |= {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
CONTINUOUS = {"gamma": 0.0, "learning_rate": 3e-3, "learning_starts": 500, "action_noise": 0.3}
LEARNERS = {
    "hac": HYPER | {"supervision": 0.1, "alignment": 0.1},
    "pg-ra": HYPER | {"kernel": 4},
    "slate-a2c": {"gamma": 0.0},
    "slate-ddpg": CONTINUOUS,
    "slate-td3": CONTINUOUS,
    "slate-supervised-online": {"temperature": 0.3, "warmup_steps": 500},
}
BRIEF = {"warmup_steps": 64, "batch_size": 16}


def env_of(name, circle, num_envs=32, **kwargs):
    queries = name in ("slate-a2c", "slate-ddpg", "slate-td3")
    return circle(num_envs, action="query" if queries else "items", **kwargs)


@pytest.mark.parametrize("name", LEARNERS)
def test_finds_the_best_slate_of_each_context(circle, name):
    env = env_of(name, circle)
    agent = make_agent(name, env, seed=1, **LEARNERS[name])
    before = evaluate(agent, env, 256, seed=10**6).total_reward.mean()
    train(agent, env, 8_000, seed=1)
    after = evaluate(agent, env, 256, seed=10**6).total_reward.mean()
    assert before < 3.5
    assert after > 6.0  # the best policy brings 7, a random one 1.75; the wrong item in the middle at most 2.75


@pytest.mark.parametrize("name", LEARNERS)
def test_same_seed_same_weights_and_a_saved_agent_acts_alike(circle, name, tmp_path):
    settings = {key: value for key, value in BRIEF.items() if name != "slate-a2c"}
    if name in ("slate-ddpg", "slate-td3"):
        settings = {"learning_starts": 64, "batch_size": 16}
    env = env_of(name, circle, 8, length=2, never=(2, 5))
    agents = [make_agent(name, env, seed=seed, **settings) for seed in (3, 3, 4)]
    for agent in agents:
        train(agent, env, 400, seed=7)
    first, same, other = (agent.tensors() for agent in agents)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    agents[0].save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent", env)
    observations, _ = env.reset(seed=9)
    np.testing.assert_array_equal(loaded.act(observations), agents[0].act(observations))


@pytest.mark.parametrize("name", ["hac", "pg-ra", "slate-supervised-online"])
def test_never_shows_what_is_not_available(circle, name):
    # 9 of 12 items, 3 in each of 3 requests: the toy market fails on any other slate.
    env = circle(16, length=3, never=(0, 4, 8))
    agent = make_agent(name, env, **BRIEF)
    train(agent, env, 1_000)
    evaluate(agent, env, 32)


@pytest.mark.parametrize("name", ["hac", "pg-ra", "slate-supervised-online"])
@pytest.mark.parametrize("setting", ["width", "batch_size", "steps_per_update"])
def test_settings_are_checked(circle, name, setting):
    with pytest.raises(ValueError, match=f"{setting}: got 0, allowed 1 or more"):
        make_agent(name, circle(2), **{setting: 0})
