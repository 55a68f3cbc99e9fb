"""A random, a scripted, a stable-baselines3 policy, an agent and a plain function at each of the two levels."""

import numpy as np
import pytest
from stable_baselines3 import PPO, TD3, HerReplayBuffer

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.wrappers import (
    GoalConditioned,
    GoalConditionedVector,
    HighLevel,
    HighLevelVector,
    follow_goal,
    policy_from,
)

USERS, WIDTH, STEPS = 3, 4, 6
KINDS = ("random", "scripted", "ppo", "td3", "agent", "callable")
SETTINGS = {
    "simulator": random_simulator(items=60, embedding_dim=WIDTH, users=8, seed=1),
    "session_length": STEPS,
    "candidates": 40,
    "history": 4,
}


class ActingAgent:
    """Has the interface of ``recsim_hrl_agents``: batches in, batches out."""

    def __init__(self, *shape):
        self.shape = shape

    def act(self, observations, *, explore):
        clicked = observations["clicked"]
        assert clicked.ndim == 3 and explore is False
        mean = clicked.mean(1)  # (B, D)
        return np.broadcast_to(mean[:, None], (len(mean), *self.shape)) if len(self.shape) > 1 else mean


def tiny_ppo(env):
    return PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")


def tiny_td3(env):
    return TD3("MultiInputPolicy", env, learning_starts=4, buffer_size=50, batch_size=4, seed=0, device="cpu")


@pytest.fixture(scope="module")
def low_levels():
    goals = GoalConditioned(RecSessionEnv(**SETTINGS), c=3)
    goals.action_space.seed(0)
    one, bound = goals.action_space, goals.action_space.high

    def random(seen):
        return one.sample() if seen["goal"].ndim == 1 else np.stack([one.sample() for _ in seen["goal"]])

    return {
        "random": random,
        "scripted": follow_goal,
        "ppo": tiny_ppo(goals).learn(16),
        "td3": tiny_td3(goals).learn(12),
        "agent": ActingAgent(WIDTH),
        "callable": lambda seen: np.clip(seen["goal"] + seen["browsed"].mean(-2), -bound, bound),
    }


@pytest.fixture(scope="module")
def high_levels():
    env = HighLevel(RecSessionEnv(**SETTINGS), follow_goal, c=3)
    corner = np.broadcast_to(env.action_space.high, env.action_space.shape)

    def callable_source(seen, rng):
        last = seen["clicked"][..., -1, :]  # (D,) or (B, D)
        return np.stack([last, -last], -2)

    return {
        "random": "random",
        "scripted": lambda seen, rng: np.broadcast_to(corner, (*seen["clicked"].shape[:-2], *corner.shape)),
        "ppo": tiny_ppo(env).learn(16),
        "td3": tiny_td3(env).learn(12),
        "agent": ActingAgent(2, WIDTH),
        "callable": callable_source,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_low_level(kind, low_levels):
    low_level = low_levels[kind]
    env = HighLevel(RecSessionEnv(**SETTINGS), low_level, c=4)
    vector = HighLevelVector(RecSessionVectorEnv(num_envs=USERS, **SETTINGS), low_level, c=4)
    vector.action_space.seed(1)
    env.reset(seed=7)
    vector.reset(seed=7)
    for steps in (4, 2):
        goals = vector.action_space.sample()
        info, infos = env.step(goals[0])[4], vector.step(goals)[4]
        assert infos["steps"].tolist() == [steps] * USERS
        if kind != "random":
            np.testing.assert_allclose(infos["internal_rewards"][0], info["internal_rewards"], atol=1e-6)
            np.testing.assert_array_equal(infos["external_rewards"][0], info["external_rewards"])
    assert infos["final_info"]["session"]["length"].tolist() == [STEPS] * USERS


@pytest.mark.parametrize("kind", KINDS)
def test_high_level(kind, high_levels):
    high_level = high_levels[kind]
    env = GoalConditioned(RecSessionEnv(**SETTINGS), high_level, c=3)
    vector = GoalConditionedVector(RecSessionVectorEnv(num_envs=USERS, **SETTINGS), high_level, c=3)
    one, many = env.reset(seed=7)[0], vector.reset(seed=7)[0]
    for _ in range(STEPS):
        np.testing.assert_allclose(many["goal"][0], one["goal"], atol=1e-6)
        actions = follow_goal(many)
        one, many = env.step(actions[0])[0], vector.step(actions)[0]
    assert many["goal"].shape == (USERS, WIDTH)
    if kind in ("ppo", "td3"):
        expected = high_level.predict(env.high_level_observation, deterministic=True)[0]
        np.testing.assert_allclose(one["goal"], expected[0], atol=1e-6)


def test_stable_baselines3_replays_with_hindsight():
    env = GoalConditioned(RecSessionEnv(**SETTINGS), alpha=0.5, hindsight=True)
    model = TD3(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "copy_info_dict": True},
        learning_starts=2 * STEPS,
        buffer_size=100,
        batch_size=16,
        seed=0,
        device="cpu",
    ).learn(4 * STEPS)
    batch = model.replay_buffer.sample(64)
    achieved = batch.next_observations["achieved_goal"].numpy()  # (64, D)
    desired = batch.observations["desired_goal"].numpy()  # (64, D)
    cosines = (achieved * desired).sum(1) / np.linalg.norm(achieved, axis=1) / np.linalg.norm(desired, axis=1)
    external = batch.rewards.numpy()[:, 0] - 0.5 * cosines
    nearest = np.array([0.0, 1.0, 5.0])[np.abs(external[:, None] - [0, 1, 5]).argmin(1)]
    np.testing.assert_allclose(external, nearest, atol=1e-5)
    assert (cosines > 1 - 1e-6).any()  # a goal that hindsight put where the item was


def test_both_levels_trained_in_turn_by_stable_baselines3():
    low = tiny_td3(GoalConditioned(RecSessionEnv(**SETTINGS), c=3)).learn(12)
    high = tiny_ppo(HighLevel(RecSessionEnv(**SETTINGS), low, c=3)).learn(16)
    env = HighLevel(RecSessionEnv(**SETTINGS), low, c=3)
    observation, _ = env.reset(seed=0)
    rewards = []
    truncated = False
    while not truncated:
        goals, _ = high.predict(observation, deterministic=True)
        observation, reward, _, truncated, info = env.step(goals)
        rewards.append(reward)
    assert sum(rewards) == info["session"]["total_reward"] and len(rewards) == 2


def test_exploration_is_passed_on():
    class Explorer:
        def act(self, observations, *, explore):
            return np.full((len(observations["clicked"]), 2), float(explore))

    seen = {"clicked": np.zeros((4, 3))}
    assert policy_from(Explorer(), deterministic=False)(seen).tolist() == [1, 1]
    assert policy_from(Explorer())(seen).tolist() == [0, 0]


def test_what_is_no_policy_is_refused():
    with pytest.raises(ValueError, match="policy: got float, allowed an object with .predict"):
        policy_from(0.5)
