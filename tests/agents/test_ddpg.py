import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, make_agent, train

SMALL = {"hidden": 16, "critic_width": 32, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}


def values(agent, windows):
    """q of the only item in the states with these browsed windows, under the learned critic."""
    windows = np.array(windows)
    observations = {"browsed": windows, "clicked": np.where(windows > 0, 1, 0)}
    histories = agent.items(observations, ("browsed", "clicked"))
    with torch.no_grad():
        return agent.critic(histories, agent.items.items(np.zeros(len(windows), np.int64))).numpy()


@pytest.mark.parametrize("action", ["embedding", "item"])
def test_finds_the_best_item_of_each_context(circle, action):
    env = circle(32, action=action)
    rates = {"actor_learning_rate": 5e-3, "critic_learning_rate": 5e-3}
    agent = make_agent("ddpg", env, seed=1, gamma=0.0, n_step=1, **SMALL | rates)
    before = evaluate(agent, env, 64, seed=100).total_reward.mean()
    train(agent, env, 8_000, seed=1)
    after = evaluate(agent, env, 64, seed=100).total_reward.mean()
    assert before < 2.5
    assert after > 4.5  # the best policy earns 5, a random one 7 / 8


@pytest.mark.parametrize("n_step", [1, 3])
def test_truncated_sessions_bootstrap(one_item, n_step):
    # All states look alike and every step pays 1: q = 1 / (1 - gamma) = 2. Not bootstrapping at the session's end
    # would give 4 / 3 with one-step targets.
    env = one_item(32, length=2)
    agent = make_agent("ddpg", env, gamma=0.5, tau=0.1, n_step=n_step, critic_learning_rate=3e-3, **SMALL)
    train(agent, env, 5_000)
    np.testing.assert_allclose(values(agent, [[1]]), [2.0], atol=0.1)


def test_terminated_sessions_do_not_bootstrap(one_item):
    # Two steps, then the user leaves: q(first) = 1 + 0.5 * 1, q(second) = 1. Windows tell the two states apart.
    env = one_item(32, length=2, history=2, leaves=True)
    agent = make_agent("ddpg", env, gamma=0.5, tau=0.1, n_step=1, critic_learning_rate=3e-3, **SMALL)
    train(agent, env, 8_000)
    observations, _ = env.reset(seed=0)
    second = env.step(np.ones((32, 2), np.float32))[0]
    for windows, expected in ((observations, 1.5), (second, 1.0)):
        histories = agent.items(windows, ("browsed", "clicked"))
        with torch.no_grad():
            q = agent.critic(histories, agent.items.items(np.zeros(32, np.int64)))
        np.testing.assert_allclose(q.numpy(), np.full(32, expected), atol=0.1)


def test_target_is_reward_plus_discounted_value_of_the_real_next_item(circle):
    env = circle(4)
    agent = make_agent("ddpg", env, seed=3)
    histories = agent.items({key: np.array([[1], [5], [8]]) for key in ("browsed", "clicked")}, ("browsed", "clicked"))
    with torch.no_grad():
        virtual = agent.target_actor(histories)
        embeddings = torch.from_numpy(env.item_embeddings)
        cosine = torch.nn.functional.cosine_similarity(virtual[:, None], embeddings[None], dim=-1)
        q = agent.target_critic(histories, embeddings[cosine.argmax(-1)]).numpy()
    returns, discounts = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.9, 0.5, 0.0])
    found = agent._target(histories, returns, discounts)
    np.testing.assert_allclose(found.numpy(), returns.numpy() + discounts.numpy() * q, rtol=1e-5)


def test_actions_stay_in_the_action_space_and_keep_their_direction(session_env):
    env = session_env(64)
    agent = make_agent("ddpg", env, warmup_steps=0, epsilon=0.0, noise=5.0, final_noise=5.0)
    observations, _ = env.reset(seed=0)
    actions = agent.act(observations, explore=True)
    assert actions.dtype == np.float32 and env.action_space.contains(actions)
    assert np.isclose(np.abs(actions).max(-1), agent.market.action_bound).any()
    np.testing.assert_array_equal(agent.act(observations), agent.act(observations))


def test_noise_is_correlated_within_a_session_and_renewed_between_sessions(session_env):
    agent = make_agent("ddpg", session_env(2), noise_correlation=0.8, seed=4)
    agent.begin(np.ones(2000, bool))
    first, second = agent._next_noise(2000).numpy(), agent._next_noise(2000).numpy()
    starting = np.arange(2000) < 1000
    agent.begin(starting)
    third = agent._next_noise(2000).numpy()

    def correlation(a, b):
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    assert correlation(first, second) == pytest.approx(0.8, abs=0.03)
    assert correlation(second[~starting], third[~starting]) == pytest.approx(0.8, abs=0.04)
    assert correlation(second[starting], third[starting]) == pytest.approx(0.0, abs=0.06)
    assert third.std() == pytest.approx(1.0, abs=0.03)


def test_noise_falls_linearly(session_env):
    agent = make_agent("ddpg", session_env(2), noise=1.0, final_noise=0.2, noise_steps=100)
    scales = []
    for agent._steps in (0, 25, 100, 5000):
        scales.append(agent._noise_scale())
    assert scales == pytest.approx([1.0, 0.8, 0.2, 0.2])


@pytest.mark.parametrize("gradient_at_item", [True, False])
def test_the_actor_follows_the_critic_at_the_item_or_at_the_virtual_action(circle, gradient_at_item):
    env = circle(32)
    agent = make_agent("ddpg", env, seed=1, gradient_at_item=gradient_at_item, actor_learning_rate=1e-9, **SMALL)
    train(agent, env, 640, seed=1)
    asked = []
    agent.critic.value = lambda state, actions: (
        asked.append(actions) or type(agent.critic).value(agent.critic, state, actions)
    )
    agent._learn()
    actions = asked[-1].detach()  # the actor's, the last that the critic was asked about
    is_item = (torch.cdist(actions, torch.from_numpy(env.item_embeddings)) < 1e-5).any(-1)
    assert is_item.all() if gradient_at_item else not is_item.any()


def test_training_is_reproducible_and_leaves_global_generators_alone(session_env):
    weights = []
    settings = {"observation": "item_ids"}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in range(2):
        env = session_env(8, **settings)
        agent = make_agent("ddpg", env, seed=9, warmup_steps=40, batch_size=16, hidden=8, steps_per_update=8)
        records = train(agent, env, 160, seed=1, record_every=80)
        weights.append(agent.tensors())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert {"critic_loss", "q", "actor_q", "target", "saturation"} <= set(records[-1])


def test_embedding_and_item_id_observations_learn_the_same(session_env):
    weights = []
    for observation in ("embeddings", "item_ids"):
        env = session_env(4, observation=observation)
        agent = make_agent("ddpg", env, seed=9, warmup_steps=40, batch_size=16, hidden=8, steps_per_update=8)
        train(agent, env, 120, seed=1)
        weights.append(agent.tensors())
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gamma", 1.5),
        ("hidden", 0),
        ("from_goal", True),
        ("known_reward", 0.5),
        ("actor_learning_rate", 0.0),
        ("noise", -1.0),
        ("noise_correlation", 1.0),
    ],
)
def test_bad_settings(circle, setting, value):
    with pytest.raises(ValueError, match=f"DDPGConfig {setting}: got {value}, allowed"):
        make_agent("ddpg", circle(2), **{setting: value})


def test_reads_the_histories_that_it_is_told_to(circle):
    env = circle(2)
    agent = make_agent("ddpg", env, histories=("clicked",), **SMALL)
    assert list(agent.actor.encoder.readers) == ["clicked"]
    train(agent, env, 8)
    with pytest.raises(ValueError, match="DDPGConfig histories: got"):
        make_agent("ddpg", env, histories=("seen",))
