import random

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, make_agent, train
from recsim_hrl_agents.baselines.sb3 import NativeVecEnv
from recsim_hrl_agents.baselines.sb3_agents import train_sb3
from recsim_hrl_agents.baselines.two_towers import TwoTowers
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from recsim_hrl.envs.session import RecSessionEnv


def assert_same(ours, theirs):
    """Equal in value and type, through dicts and arrays."""
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    "settings", [{}, {"action": "item"}, {"observation": "item_ids"}, {"flat": True}, {"rewards": (-0.1, 1, 5)}]
)
def test_bit_for_bit_like_dummy_vec_env_of_monitors(simulator, session_env, settings):
    arguments = {"session_length": 7, "history": 4} | settings
    theirs = DummyVecEnv([lambda: Monitor(RecSessionEnv(simulator=simulator, **arguments))] * 3)
    ours = NativeVecEnv(session_env(3, **settings))
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    for env in (ours, theirs):
        env.seed(5)
        env.action_space.seed(1)
    assert_same(ours.reset(), dict(theirs.reset()) if not settings.get("flat") else theirs.reset())
    assert_same(ours.reset_infos, theirs.reset_infos)
    endings = 0
    for _ in range(20):
        actions = np.stack([theirs.action_space.sample() for _ in range(3)])
        observations, rewards, ended, infos = ours.step(actions)
        expected_observations, expected_rewards, expected_ended, expected_infos = theirs.step(actions)
        if not settings.get("flat"):
            expected_observations = dict(expected_observations)
        assert_same(observations, expected_observations)
        assert_same(rewards, expected_rewards)
        assert_same(ended, expected_ended)
        for info, expected in zip(infos, expected_infos, strict=True):
            if "episode" in expected:
                endings += 1
                assert info["episode"].pop("t") >= 0 and expected["episode"].pop("t") >= 0
            assert_same(info, expected)
        assert_same(ours.reset_infos, theirs.reset_infos)
    assert endings == 6


def test_a_user_who_leaves_is_not_a_time_limit(one_item):
    for leaves in (False, True):
        env = NativeVecEnv(one_item(2, leaves=leaves))
        env.seed(0)
        env.reset()
        *_, ended, infos = env.step(np.ones((2, 2), np.float32))
        assert ended.all()
        assert [info["TimeLimit.truncated"] for info in infos] == [not leaves] * 2
        assert [info["episode"]["r"] for info in infos] == [1.0, 1.0]


def test_ppo_learns_the_same_on_both(simulator, session_env):
    weights = []
    for env in (
        DummyVecEnv([lambda: Monitor(RecSessionEnv(simulator=simulator, session_length=7, history=4))] * 2),
        NativeVecEnv(session_env(2)),
    ):
        model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
        model.learn(32)
        weights.append(model.policy.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("algorithm", "steps", "settings"),
    [
        ("dqn", 8_000, {"learning_rate": 3e-3, "learning_starts": 500, "net_arch": (32,), "gamma": 0.0}),
        ("ppo", 12_000, {"learning_rate": 1e-2, "n_steps": 16, "batch_size": 256, "net_arch": (32,), "gamma": 0.0}),
        (
            "td3",
            12_000,
            {"learning_rate": 3e-3, "learning_starts": 1000, "net_arch": (32,), "gamma": 0.0, "gradient_steps": 2},
        ),
        (
            "sac",
            12_000,
            {"learning_rate": 3e-3, "learning_starts": 1000, "net_arch": (32,), "gamma": 0.0, "gradient_steps": 2},
        ),
    ],
)
def test_algorithms_find_the_best_item_of_each_context(circle, algorithm, steps, settings):
    env = circle(32, action="item" if algorithm == "dqn" else "embedding")
    agent = train_sb3(algorithm, env, steps, seed=1, **settings)
    assert evaluate(agent, env, 64, seed=100).total_reward.mean() > 3.5  # the best earns 5, random choice 7 / 8


@pytest.mark.parametrize("algorithm", ["dqn", "ppo", "td3", "sac"])
def test_embedding_and_item_id_observations_give_the_same_actions(session_env, algorithm):
    action = "item" if algorithm == "dqn" else "embedding"
    actions = []
    for observation in ("embeddings", "item_ids"):
        env = session_env(4, observation=observation, action=action)
        observations, _ = env.reset(seed=3)
        actions.append(make_agent(f"sb3-{algorithm}", env, seed=2).act(observations))
    np.testing.assert_allclose(actions[0], actions[1], rtol=1e-5, atol=1e-6)


def test_global_generators_are_left_alone_and_curves_are_recorded(session_env):
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    env = session_env(4)
    agent = train_sb3("ppo", env, 56, n_steps=7, batch_size=14, net_arch=(8,))
    records = train(agent, env, 56, record_every=28)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert [record["env_steps"] for record in records] == [28, 56]
    assert records[0]["length"] == 7
    assert records[0]["total_reward"] == records[0]["click_reward"] + records[0]["order_reward"]
    assert "value_loss" in records[1]


def test_two_towers_are_products_of_features_plus_what_is_the_users_and_the_items_own():
    candidates = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    towers = TwoTowers(2, candidates, (4,))
    features = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    values = towers(features)
    for i, user in enumerate(towers.user(features).tolist()):
        for j, item in enumerate(towers.item(candidates).tolist()):
            product = sum(u * v for u, v in zip(user[:4], item[:4], strict=True)) / 2.0  # 4 features: their root
            assert values[i, j].item() == pytest.approx(product + user[4] + item[4], abs=1e-6)


def test_an_item_tower_needs_a_width(session_env):
    env = session_env(2, action="item")
    with pytest.raises(ValueError, match=r"got net_arch=\(\) with item_tower=True, allowed at least one hidden layer"):
        make_agent("sb3-dqn", env, net_arch=())
    assert make_agent("sb3-dqn", env, net_arch=(), item_tower=False).act(env.reset(seed=0)[0]).shape == (2,)


@pytest.mark.parametrize(("falling", "last"), [(True, 0.0), (False, 0.01)])
def test_step_sizes_fall_to_nothing(session_env, falling, last):
    agent = train_sb3(
        "dqn", session_env(4, action="item"), 400, learning_rate=0.01, learning_starts=8, falling_rate=falling
    )
    [group] = agent.policy.optimizer.param_groups
    assert group["lr"] == pytest.approx(last, abs=2e-4)


def test_dqn_shows_random_items_as_often_as_it_was_told(session_env):
    env = session_env(500, action="item")
    observations, _ = env.reset(seed=0)
    shown = {}
    for share in (0.0, 0.3):
        agent = make_agent("sb3-dqn", env, evaluation_eps=share)
        agent.begin(np.ones(500, bool), np.arange(500))
        shown[share] = np.concatenate([agent.act(observations) for _ in range(20)])
    candidates = len(env.candidate_items)
    other = (shown[0.0] != shown[0.3]).mean()
    assert other == pytest.approx(0.3 * (1 - 1 / candidates), abs=0.02)  # a random item may be the best one
    assert set(shown[0.3]) == set(range(candidates))
