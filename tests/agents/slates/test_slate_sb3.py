import numpy as np
import pytest
import torch
from recsim_hrl_agents import make_agent, train
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.sb3 import StateFeatures


@pytest.mark.parametrize("encoder", ["means", "attention"])
def test_networks_have_the_state_of_all_agents_of_slates(circle, encoder):
    env = circle(4, action="query")
    market = Market.of(env)
    features = StateFeatures(market.observation_space, market, encoder, 16)
    observations, _ = env.reset(seed=0)
    observations["clicked"][1, -1] = 3
    floats = {key: torch.as_tensor(observations[key]).float() for key in market.observation_space}  # as SB3 has them
    with torch.no_grad():
        np.testing.assert_array_equal(features(floats), features._state(observations))
    assert features.features_dim == 16 and set(market.observation_space) == {"browsed", "clicked", "ordered", "request"}


@pytest.mark.parametrize(("leaves", "expected"), [(False, 4.0), (True, 2.0)])
@pytest.mark.parametrize("name", ["slate-ddpg", "slate-td3"])
def test_sessions_that_are_cut_bootstrap_and_those_that_users_leave_do_not(all_clicked, name, leaves, expected):
    # Every request pays 2 and ends its session, all states look alike: 2 / (1 - 0.5) where sessions are cut, else 2.
    env = all_clicked(32, action="query", leaves=leaves, alike=True)
    agent = make_agent(name, env, gamma=0.5, tau=0.1, learning_rate=3e-3, learning_starts=500)
    train(agent, env, 6_000)
    observations, _ = env.reset(seed=0)
    scores = agent.score(observations, np.zeros((32, 1), np.int64))
    np.testing.assert_allclose(scores, expected, atol=0.2)


def test_they_want_queries(circle):
    with pytest.raises(ValueError, match="action='query'"):
        make_agent("slate-td3", circle(2))
