import numpy as np
import torch
from recsim_hrl_agents import LoggedSessions, evaluate, make_agent, train


def circle_log(env, sessions=3000, length=5):
    """Sessions that begin with the context as an impression, and go on with random items."""
    rng = np.random.default_rng(0)
    items = rng.integers(12, size=(sessions, length))  # (S, T)
    responses = env.responses[items[:, :1], items]  # (S, T)
    responses[:, 0] = 0
    return LoggedSessions(items.flatten(), responses.flatten(), np.arange(sessions + 1) * length)


def test_offline_finds_the_best_slates_of_a_log(circle):
    env = circle(64, history=1, length=1)
    # Windows of one item: those of the second impressions hold the context alone, as the environment's do.
    log = circle_log(env, length=2)
    agent = make_agent("slate-supervised", env, seed=1, batch_size=128, passes=40, learning_rate=2e-2)
    metrics = agent.fit(log)
    assert metrics["log_loss"] < 0.6 * metrics["base_log_loss"]
    assert evaluate(agent, env, 256, seed=5).total_reward.mean() > 6.5


def test_offline_knows_no_request_and_online_does(circle):
    env = circle(2)
    observations, _ = env.reset(seed=0)
    later = observations | {"request": np.full((2, 1), 0.7, np.float32)}
    items = np.tile(np.arange(12), (2, 1))
    offline = make_agent("slate-supervised", env)
    offline.fit(circle_log(env, 10))
    np.testing.assert_array_equal(offline.score(observations, items), offline.score(later, items))
    online = make_agent("slate-supervised-online", env)
    assert np.abs(online.score(observations, items) - online.score(later, items)).max() > 1e-4


def test_slots_that_users_did_not_look_at_are_no_answers(all_clicked):
    # Everything is clicked, but only the first of two slots is looked at.
    env = all_clicked(32, sees=1)
    agent = make_agent("slate-supervised-online", env, learning_rate=1e-2, warmup_steps=100, batch_size=32)
    train(agent, env, 6_000)
    observations, _ = env.reset(seed=0)
    scores = agent.score(observations, np.tile(np.arange(8), (32, 1)))
    assert scores.min() > 0.9  # taking the second slot for a skip would give 0.5


def test_scores_are_expected_rewards(circle):
    env = circle(3)
    agent = make_agent("slate-supervised-online", env, rewards=(0.5, 1.0, 7.0))
    observations, _ = env.reset(seed=0)
    with torch.no_grad():
        state = agent.network.state(observations)  # (B, width)
        embeddings = torch.from_numpy(env.item_embeddings)
        own, query = agent.network.rates(state), agent.network.queries(state).view(3, 3, 2)
        logits = own[:, None] + agent.network.item_rates(embeddings) + torch.einsum("bre,pe->bpr", query, embeddings)
        expected = logits.softmax(-1).numpy() @ [0.5, 1.0, 7.0]
    items = np.tile(np.arange(12), (3, 1))
    np.testing.assert_allclose(agent.score(observations, items), expected, atol=1e-5)
    np.testing.assert_array_equal(agent.act(observations), np.argsort(-expected, axis=1)[:, :3])
