"""Q-learning over goals: periods, targets and choices against values worked out by hand, and toys of known optimum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, make_agent, train
from recsim_hrl_agents.networks import TwoTowers

from recsim_hrl.vector.tensors import RecSessionTensorEnv

SMALL = {"hidden": (16, 8), "warmup_steps": 200, "steps_per_update": 32, "batch_size": 64, "half_lives": (0.2, 2.0)}


def kept(agent):
    """What is handed to the replay memory, a call after the other."""
    calls, add = [], agent.memory.add
    agent.memory.add = lambda values, size: calls.append(values) or add(values, size)
    return calls


def test_a_goal_is_held_for_its_period_and_earns_its_discounted_rewards(circle):
    env = circle(3, length=5, history=2)
    agent = make_agent("goal-q", env, c=3, gamma=0.5, **SMALL)
    calls, steps = kept(agent), []
    update = agent.update
    agent.update = lambda transitions: steps.append(transitions) or update(transitions)
    train(agent, env, 3 * 9)
    assert [len(call["goals"]) for call in calls] == [3, 3, 3]  # the second session's last period still runs
    actions = np.stack([step.actions for step in steps], 1)  # (B, 9, D)
    rewards = np.stack([step.rewards for step in steps], 1)  # (B, 9)
    for call, first, length in zip(calls, (0, 3, 5), (3, 2, 3), strict=True):  # sessions have five steps
        span = slice(first, first + length)
        goals = env.item_embeddings[call["goals"].numpy()]
        np.testing.assert_array_equal(actions[:, span], np.repeat(goals[:, None], length, 1))
        np.testing.assert_allclose(call["returns"].numpy(), rewards[:, span] @ 0.5 ** np.arange(length))
        np.testing.assert_allclose(call["discounts"].numpy(), [0.5**length] * 3)  # cut off by its length: goes on
        np.testing.assert_array_equal(call["seen"], agent._read(steps[first].observations))
        np.testing.assert_array_equal(call["after"], agent._read(steps[first + length - 1].next_observations))


def test_nothing_follows_a_user_who_left(circle):
    env = circle(3, length=3, leaves=True)
    agent = make_agent("goal-q", env, c=2, **SMALL)
    calls = kept(agent)
    train(agent, env, 3 * 4)
    assert calls[0]["discounts"].tolist() == pytest.approx([agent.config.gamma**2] * 3)
    assert calls[1]["discounts"].tolist() == [0.0] * 3


def test_sessions_that_are_judged_teach_nothing(circle):
    env = circle(4, length=3)
    agent = make_agent("goal-q", env, c=2, **SMALL)
    train(agent, env, 4 * 8)
    held = len(agent.memory)
    evaluate(agent, env, 8)
    assert len(agent.memory) == held
    train(agent, env, 4 * 3)
    assert len(agent.memory) == held + 2 * 4  # the period of two steps, and that of one


def test_the_target_is_the_slow_copys_value_of_the_best_of_some_next_goals(circle):
    env = circle(4, length=4, history=2)
    agent = make_agent("goal-q", env, c=2, among=3, learning_rate=1e-12, **SMALL)
    train(agent, env, 4 * 40)
    for parameter in agent.target.parameters():
        parameter.add_(0.1)  # so that the two networks disagree
    draws = agent._draws.get_state()
    rows = torch.randint(0, len(agent.memory), (64,), generator=agent._draws)
    some = torch.randint(0, 8, (3,), generator=agent._draws)
    agent._draws.set_state(draws)
    batch = {name: values[rows] for name, values in agent.memory.columns.items()}
    with torch.no_grad():
        best = some[agent.network(batch["after"])[:, some].argmax(-1)]  # (S,)
        following = agent.target(batch["after"])[torch.arange(64), best]
        target = batch["returns"] + batch["discounts"] * following
        q = agent.network(batch["seen"])[torch.arange(64), batch["goals"].long()]
    metrics = agent._learn()
    assert metrics["target"].item() == pytest.approx(target.mean().item(), abs=1e-5)
    assert metrics["loss"].item() == pytest.approx((q - target).square().mean().item(), rel=1e-4)


def test_the_values_of_two_towers_by_hand():
    torch.manual_seed(0)
    items, users = torch.randn(5, 3), torch.randn(4, 6)
    network = TwoTowers(6, items, (7, 2))
    with torch.no_grad():
        user, item = network.user(users), network.item(items)  # (4, 3), (5, 3)
        expected = user[:, :2] @ item[:, :2].T / 2**0.5 + user[:, 2:] + item[:, 2]
        torch.testing.assert_close(network(users), expected)
        torch.testing.assert_close(network.among(users, items[1:3]), expected[:, 1:3])
        own = torch.tensor([[0, 1], [2, 2], [4, 0], [3, 1]])
        torch.testing.assert_close(network.values(users, items[own]), expected.gather(1, own))


def test_values_of_a_market_of_one_item(one_item):
    # Every step pays 1: a period of two 1.5 at gamma 0.5, and so Q = 1.5 / (1 - 0.25) = 2.
    env = one_item(32, length=4)
    agent = make_agent("goal-q", env, c=2, gamma=0.5, tau=0.1, learning_rate=3e-3, **SMALL)
    train(agent, env, 8_000)
    observations, _ = env.reset(seed=0)
    np.testing.assert_allclose(agent.score(observations, np.zeros((32, 1), int)), np.full((32, 1), 2.0), atol=0.1)


@pytest.mark.parametrize("action", ["embedding", "item"])
def test_finds_the_item_to_hold_for_each_context(circle, action):
    # The context is seen before the first of four steps alone; its best item pays 5 at each of them.
    env = circle(32, length=4, history=2, action=action, leaves=True)
    agent = make_agent("goal-q", env, seed=1, c=4, learning_rate=5e-3, **SMALL | {"hidden": (64, 64)})
    train(agent, env, 40_000, seed=1)
    assert evaluate(agent, env, 64, seed=100).total_reward.mean() > 19  # of 20; a random goal: 3.5


def test_exploring_goals_are_random_while_warming_up_and_a_share_of_them_after(circle):
    env = circle(500)
    agent = make_agent("goal-q", env, epsilon=0.4, temperature=0.0, **SMALL | {"warmup_steps": 600})
    observations, _ = env.reset(seed=0)
    agent.begin(np.ones(500, bool))
    best = agent.act(observations)
    agent.begin(np.ones(500, bool))
    warming = agent.act(observations, explore=True)
    agent._steps = 600
    agent.begin(np.ones(500, bool))
    later = agent.act(observations, explore=True)
    assert np.mean((warming == best).all(-1)) == pytest.approx(1 / 8, abs=0.06)
    assert np.mean((later == best).all(-1)) == pytest.approx(0.6 + 0.4 / 8, abs=0.08)


def test_the_same_from_tensors_as_from_arrays(session_env, simulator):
    settings = {"session_length": 7, "history": 4, "observation": "item_ids"}
    small = SMALL | {"temperature": 0.5, "c": 3, "warmup_steps": 32, "steps_per_update": 16}
    learned = []
    for env in (session_env(8, **settings), RecSessionTensorEnv(8, "cpu", simulator=simulator, **settings)):
        agent = make_agent("goal-q", env, seed=3, **small)
        train(agent, env, 8 * 30, seed=5)
        learned.append(agent.tensors())
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("c", 0),
        ("gamma", 1.5),
        ("histories", ("seen",)),
        ("hidden", ()),
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("temperature", -1.0),
    ],
)
def test_bad_settings(circle, setting, value):
    agent = make_agent("goal-q", circle(2))
    with pytest.raises(ValueError, match=f"GoalQConfig {setting}"):
        replace(agent.config, **{setting: value})
