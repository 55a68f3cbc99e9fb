"""Draws of agents that act by chance: their chances, and that a session's do not depend on its neighbours."""

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, make_agent
from recsim_hrl_agents.draws import SessionDraws, by_chance

AGENTS = {"goal-q": {"c": 2}, "mahrl": {"c": 4, "M": 2, "search": 5, "products": True}}


def test_chances_are_exponentials_of_values():
    values = torch.tensor([0.0, 1.0, 1.0 + np.log(2.0) / 2]).repeat(40_000, 1)
    uniform = torch.rand(values.shape, generator=torch.Generator().manual_seed(0))
    counts = by_chance(values, 0.5, uniform).bincount() / 40_000
    weights = np.array([1.0, np.e**2, 2 * np.e**2])  # exp(value / 0.5)
    np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.01)
    assert by_chance(values, 0.0, uniform).eq(2).all()


def test_the_smallest_uniform_number_chooses_nothing():
    assert by_chance(torch.tensor([9.0, 0.0]), 1.0, torch.tensor([0.0, 0.5])) == 1


def test_a_user_s_numbers_do_not_depend_on_who_draws_beside():
    alone, among = SessionDraws(3), SessionDraws(3)
    alone.begin(np.ones(1, bool), np.array([8]))
    among.begin(np.ones(3, bool), np.array([7, 8, 9]))
    among.uniform_of([0, 2], 4)
    np.testing.assert_array_equal(alone.uniform(1, 4)[0], among.uniform_of([2, 1], 4)[1])
    np.testing.assert_array_equal(alone.uniform_of([0], 4)[0], among.uniform(3, 4)[1])


@pytest.mark.parametrize(("name", "settings"), AGENTS.items())
def test_goals_are_drawn_by_their_values_when_judged_too(circle, name, settings):
    env = circle(4000)
    observations, _ = env.reset(seed=0)
    same = {key: np.repeat(window[:1], 4000, 0) for key, window in observations.items()}
    agent = make_agent(name, env, temperature=0.05, **settings)
    agent.begin(np.ones(4000, bool))
    agent.act(same)
    if name == "goal-q":
        values = agent.network(agent._read(same)[:1])[0].detach()  # (C,)
        shares = agent._goals.bincount(minlength=len(values)) / 4000
    else:
        items = agent.low.candidates  # (C, D)
        state = agent.high.critic.encoder(agent.high.items(same, agent.config.high_histories))[:1]
        values = agent.high.critic.values(state, agent.low.at_item_length(items))[0, 0].detach()  # (C,)
        shares = (agent._goals[:, :1] == items).all(-1).float().mean(0)
    expected = torch.softmax(values / 0.05, 0)
    assert expected.max() < 0.9  # or chance would hardly be seen
    np.testing.assert_allclose(shares, expected, atol=0.04)


@pytest.mark.parametrize(("name", "settings"), AGENTS.items())
def test_judged_sessions_do_not_depend_on_their_number(session_env, name, settings):
    rewards = []
    for users in (2, 10):
        env = session_env(users, session_length=6, observation="item_ids")
        agent, shown = make_agent(name, env, temperature=3.0, **settings), []
        step = env.step
        env.step = lambda actions, step=step, shown=shown: shown.append(actions.copy()) or step(actions)
        rewards.append(evaluate(agent, env, 10, seed=4).total_reward)
    assert len({tuple(action) for action in shown[0].tolist()}) > 1  # histories are empty, so it is by chance
    np.testing.assert_array_equal(*rewards)
