import numpy as np
import pytest
import torch
from recsim_hrl_agents import LoggedSessions, Market, evaluate, make_agent
from recsim_hrl_agents.baselines.greedy import ResponseRanker
from recsim_hrl_agents.baselines.shown import ShownItems
from recsim_hrl_agents.networks import ItemTable


def shown_items(env, agent, steps):
    """(steps, B) what the environment showed."""
    observations, _ = env.reset(seed=0)
    agent.begin(np.ones(env.num_envs, bool))
    items = []
    for _ in range(steps):
        observations, *_, infos = env.step(agent.act(observations))
        items.append(infos["item"])
    return np.stack(items)


@pytest.mark.parametrize("action", ["embedding", "item"])
def test_popularity_shows_the_most_rewarding_items_in_order(session_env, action):
    env = session_env(2, action=action, candidates=20)
    agent = make_agent("popularity", env, prior_impressions=2.0)
    first, second, third = env.candidate_items[[4, 9, 2]]
    # Rewards per item: 5 + 5 + 0 = 10 of 3; 5 of 1; 1 of 1. The mean is 16 / 5 = 3.2, two impressions of it are added.
    items = np.array([first, first, first, second, third])
    metrics = agent.fit(LoggedSessions(items, np.array([2, 2, 0, 2, 1]), np.array([0, 3, 5])))
    assert metrics == {"mean_reward": pytest.approx(3.2), "best_item_reward": pytest.approx((5 + 6.4) / 3)}
    assert agent.reward_rates[first] == pytest.approx((10 + 6.4) / 5)
    assert agent.reward_rates[third] == pytest.approx((1 + 6.4) / 3)
    shown = shown_items(env, agent, 6)
    assert (shown[0] == second).all() and (shown[1] == first).all()
    assert third not in shown  # all items that were never logged rank before it, at the mean


def test_random_draws_every_candidate_equally_and_none_twice(session_env):
    env = session_env(400, candidates=10)
    shown = shown_items(env, make_agent("random", env, seed=1), 6)
    assert all(len(set(column)) == 6 for column in shown.T)
    counts = np.array([(shown[0] == item).sum() for item in env.candidate_items])
    assert ((counts - 40) ** 2 / 40).sum() < 27.9  # chi-square with 9 degrees of freedom, p = 0.001


def test_shown_items():
    shown = ShownItems(3)
    shown.begin(np.array([True, True]))
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert shown.best(scores).tolist() == [0, 2]
    assert shown.best(scores).tolist() == [1, 1]
    shown.begin(np.array([True, False]))
    assert shown.best(scores).tolist() == [0, 0]
    assert shown.best(scores).tolist() == [1, 2]  # the second user has seen all: the best once more
    with pytest.raises(ValueError, match="got 3 users, allowed 2"):
        shown.fit_batch(3)


def log_of_the_circle(circle, sessions=4000):
    """Sessions of two impressions: the context is shown, then a random item."""
    rng = np.random.default_rng(0)
    contexts, items = rng.integers(8, size=sessions), rng.integers(8, size=sessions)
    responses = circle(1).responses[contexts, items]
    return LoggedSessions(
        np.stack([contexts, items], 1).ravel(),
        np.stack([np.zeros(sessions, int), responses], 1).ravel(),
        np.arange(0, 2 * sessions + 1, 2),
    )


@pytest.mark.parametrize("action", ["embedding", "item"])
def test_greedy_learns_the_best_item_of_each_context(circle, action):
    env = circle(16, action=action)
    agent = make_agent("greedy", env, batch_size=128, passes=4, learning_rate=2e-2)
    metrics = agent.fit(log_of_the_circle(circle))
    assert evaluate(agent, env, 64).total_reward.mean() > 4.9
    # First impressions are always skipped: the best log-loss is 0 for them. Those after are known given the context.
    assert metrics["log_loss"] < 0.5 * metrics["base_log_loss"]


def test_ranker_reads_decayed_means():
    ranker = ResponseRanker(embedding_dim=1, history=3, half_lives=(1.0,), hidden=2)
    items = ItemTable(np.array([[2.0], [4.0]], np.float32), "item_ids")
    empty = np.zeros((1, 3), np.int64)
    reads = ranker.read(items, {"browsed": np.array([[0, 1, 2]]), "clicked": empty, "ordered": empty})
    # Weights 1/4, 1/2, 1 over their sum 7/4; the oldest place is empty.
    torch.testing.assert_close(reads[0, :2], torch.tensor([(1.0 + 4.0) / 1.75, 1.5 / 1.75]))
    assert reads[0, 2:].abs().sum() == 0


@pytest.mark.parametrize("name", ["popularity", "greedy", "cf", "fm", "wide-deep", "gru"])
def test_rankers_want_a_log_of_this_market(circle, name):
    env = circle(2)
    agent = make_agent(name, env)
    with pytest.raises(ValueError, match=f"agent {name}: got no log yet"):
        agent.act(env.reset(seed=0)[0])
    with pytest.raises(ValueError, match="got item index 8, allowed 0 to 7"):
        agent.fit(LoggedSessions(np.array([8]), np.array([0]), np.array([0, 1])))


def test_only_rankers_take_a_log(circle):
    with pytest.raises(ValueError, match="agent ddpg: it learns from environment, not from a log"):
        make_agent("ddpg", circle(2)).fit(log_of_the_circle(circle, 10))


def test_market_reads_every_form(session_env, simulator):
    market = Market.of(session_env(2, action="item", observation="item_ids", candidates=30))
    assert (market.action, market.observation, market.history, len(market.candidates)) == ("item", "item_ids", 4, 30)
    assert market.item_embeddings.shape == (60, 6)
    for settings in ({}, {"action": "item"}, {"observation": "item_ids"}):
        env = session_env(2, **settings)
        assert Market.of(env).observation_space == env.single_observation_space
        assert Market.of(env).action_space == env.single_action_space
    with pytest.raises(ValueError, match="allowed a Dict with browsed, clicked, ordered"):
        Market.of(session_env(2, flat=True))
