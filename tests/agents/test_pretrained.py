"""The zoo's agents load, act, and are worth something."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from recsim_hrl_agents import Market, evaluate, load_agent, load_pretrained, make_agent, pretrained_names
from recsim_hrl_agents.pretrained import ZOO, save_for_the_zoo

import recsim_hrl  # noqa: F401  registers the ids
from tests.agents.test_saved_agents import TINY, actions, taught

IDS = {"short": "RecSessionShort-v0", "long": "RecSessionLong-v0"}


@pytest.mark.parametrize("name", pretrained_names())
def test_every_agent_of_the_zoo_beats_random(name):
    about = json.loads((ZOO / name / "agent.json").read_text(encoding="utf-8"))
    agent, _, task = name.rpartition("-")
    # mahrl-items is MaHRL with settings, and saved as such.
    assert (agent.removesuffix("-items"), task) == (about["agent"], about["provenance"]["task"]["name"])
    env = gym.make_vec(
        IDS[about["provenance"]["task"]["name"]],
        num_envs=20,
        vectorization_mode="vector_entry_point",
        split="test",
        observation="item_ids",
    )
    trained = evaluate(load_pretrained(name, env), env, 20, seed=7).total_reward.mean()
    assert trained > 1.2 * evaluate(make_agent("random", env), env, 20, seed=7).total_reward.mean()


def test_the_zoo_is_small():
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("name", ["ddpg", "deers", "mahrl", "greedy"])
def test_what_the_zoo_leaves_out_is_not_needed_to_act(name, session_env, tmp_path):
    agent, env = taught(name, session_env)
    folder = save_for_the_zoo(agent, tmp_path / "agent", {"seed": 0})
    loaded = load_agent(folder, env)
    np.testing.assert_array_equal(actions(loaded, env), actions(agent, env))
    saved = json.loads((folder / "agent.json").read_text(encoding="utf-8"))
    assert saved["provenance"] == {"seed": 0} and saved["config"]["hidden"] == TINY[name]["hidden"]
    assert loaded.tensors().keys() == agent.tensors().keys()
    if name == "ddpg":
        for slow, fast in zip(loaded.target_actor.parameters(), agent.actor.parameters(), strict=True):
            assert torch.equal(slow, fast)
        assert (folder / "agent.json").stat().st_size < 5_000


def test_unknown_names_and_other_items_are_refused(session_env):
    env = session_env(2)
    with pytest.raises(ValueError, match="pretrained agent: got 'dpg', allowed .*ddpg-short"):
        load_pretrained("dpg", env)
    with pytest.raises(ValueError, match="ddpg-short: got an environment with the items .*simulator='default'"):
        load_pretrained("ddpg-short", Market.of(env))
