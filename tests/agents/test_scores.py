"""Agents' scores of given items: by hand, beside what they show, and without a trace."""

import numpy as np
import pytest
import torch
from recsim_hrl_agents import Agent, LoggedSessions, Market, agent_names, make_agent
from recsim_hrl_agents.registry import agent_class

from recsim_hrl.types import R
from tests.agents.test_saved_agents import TINY

RANKERS = ["greedy", "cf", "fm", "wide-deep", "gru"]
ITEMS = np.array([[5, 0, 17], [3, 3, 59], [1, 2, 3], [40, 41, 42]])
LOG = LoggedSessions(
    np.random.default_rng(0).integers(0, 60, 400), np.random.default_rng(1).integers(0, R, 400), np.arange(0, 401, 10)
)


def made(name, env, **settings):
    """An agent of random weights, fitted where it wants a log."""
    agent = make_agent(name, env, 0, **TINY.get(name, {}) | settings)
    if agent.learns_from == "log":
        agent.fit(LOG)
    return agent


def env_of(name, session_env, size=4, **kwargs):
    action = "item" if name == "sb3-dqn" else "embedding"
    return session_env(size, **{"observation": "item_ids", "action": action} | kwargs)


def observed(env, steps=3):
    """Observations of users who have seen some items."""
    observations, _ = env.reset(seed=0)
    for step in range(steps):
        observations, *_ = env.step(Market.of(env).item_actions(np.arange(env.num_envs) + env.num_envs * step))
    return {key: window.copy() for key, window in observations.items()}


def all_scores(agent, observations):
    """(B, C) of all candidates."""
    users = len(observations["browsed"])
    return agent.score(observations, np.tile(agent.market.candidates, (users, 1)))


def seeded(call, *args, **kwargs):
    """What a call gives that may draw from torch's global generator, as SB3 does where it explores."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return call(*args, **kwargs)


def zero(module):
    for weights in module.parameters():
        weights.data.zero_()
    return module


@pytest.mark.parametrize("name", agent_names())
def test_scores_are_of_pairs_alone_and_leave_no_trace(name, session_env):
    env = env_of(name, session_env)
    agent, twin = made(name, env), made(name, env)
    observations = observed(env)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    scores = agent.score(observations, ITEMS)
    assert scores.shape == ITEMS.shape and np.isfinite(scores).all()
    np.testing.assert_array_equal(agent.score(observations, ITEMS), scores)
    if name != "random":  # whose numbers belong to the batch
        np.testing.assert_allclose(scores[1, 0], scores[1, 1], rtol=1e-6)  # how a product is blocked moves a digit
        one = agent.score({key: window[2:3] for key, window in observations.items()}, ITEMS[2:3, ::-1])
        np.testing.assert_allclose(one[0, ::-1], scores[2], rtol=1e-4, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    for key, tensor in agent.tensors().items():
        assert torch.equal(tensor, twin.tensors()[key]) and not tensor.grad_fn
    for explore in (False, True, True):
        actions = [seeded(who.act, observations, explore=explore) for who in (agent, twin)]
        np.testing.assert_array_equal(*actions)
        agent.score(observations, ITEMS)


@pytest.mark.parametrize("name", agent_names())
def test_both_forms_of_observations_score_the_same(name, session_env):
    scores = [
        made(name, env).score(observed(env), ITEMS)
        for env in (env_of(name, session_env, observation=form) for form in ("item_ids", "embeddings"))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["ddpg", "deers", "mahrl"])
def test_tensors_are_scored_as_tensors(name, session_env):
    env = env_of(name, session_env)
    agent, observations = made(name, env), observed(env)
    tensors = {key: torch.from_numpy(window) for key, window in observations.items()}
    scores = agent.score(tensors, torch.from_numpy(ITEMS))
    assert isinstance(scores, torch.Tensor) and not scores.requires_grad
    np.testing.assert_array_equal(scores.numpy(), agent.score(observations, ITEMS))


@pytest.mark.parametrize("name", ["popularity", *RANKERS, "deers"])
def test_what_is_scored_highest_is_shown_first(name, session_env):
    env = env_of(name, session_env, action="item", candidates=30)
    agent = made(name, env)
    observations = observed(env)
    agent.begin(np.ones(4, bool))
    order = all_scores(agent, observations).argsort(-1, kind="stable")[:, ::-1]
    shown = np.stack([agent.act(observations) for _ in range(3)], 1)
    if name == "popularity":  # where scores tie
        rates = agent.reward_rates[agent.market.candidates]
        np.testing.assert_array_equal(rates[shown], rates[order[:, :3]])
    else:
        np.testing.assert_array_equal(shown, order[:, :3])


@pytest.mark.parametrize("item_tower", [True, False])
def test_dqn_shows_what_it_scores_highest(item_tower, session_env):
    env = env_of("sb3-dqn", session_env, candidates=30)
    agent = made("sb3-dqn", env, item_tower=item_tower, evaluation_eps=0.0)
    observations = observed(env)
    scores = all_scores(agent, observations)
    np.testing.assert_array_equal(agent.act(observations), scores.argmax(-1))
    values = agent.policy.q_net(agent.policy.obs_to_tensor(observations)[0])  # (B, C) SB3's own
    np.testing.assert_allclose(scores, values.detach().numpy(), rtol=1e-4, atol=1e-6)
    others = np.setdiff1d(np.arange(60), env.candidate_items)[None].repeat(4, 0)
    if item_tower:
        assert np.isfinite(agent.score(observations, others)).all()
    else:
        with pytest.raises(ValueError, match="got 120 that are not candidates, allowed the 30 candidates"):
            agent.score(observations, others)


def test_ppo_scores_by_its_action(session_env):
    env = env_of("sb3-ppo", session_env)
    agent, observations = made("sb3-ppo", env), observed(env)
    actions, chosen = agent.act(observations), agent.market.item_embeddings[ITEMS]
    lengths = np.linalg.norm(actions, axis=-1)[:, None] * np.linalg.norm(chosen, axis=-1)
    np.testing.assert_allclose(
        agent.score(observations, ITEMS), np.einsum("bd,bnd->bn", actions, chosen) / lengths, atol=1e-5
    )
    env = env_of("sb3-ppo", session_env, action="item")
    agent, observations = made("sb3-ppo", env), observed(env)
    scores = all_scores(agent, observations)
    np.testing.assert_array_equal(agent.act(observations), scores.argmax(-1))
    np.testing.assert_allclose(np.exp(scores).sum(-1), 1.0, rtol=1e-5)  # of the candidates, here all


@pytest.mark.parametrize("name", ["sb3-td3", "sb3-sac"])
def test_the_lesser_critic_of_sb3_by_hand(name, session_env):
    env = env_of(name, session_env)
    agent, observations = made(name, env), observed(env)
    entries = agent.market.item_embeddings[ITEMS][..., 0] / agent.market.action_bound  # (B, n) as actions in [-1, 1]
    for sign, network in zip((1.0, -1.0), agent.policy.critic.q_networks, strict=True):
        zero(network)
        # The first hidden unit is 2 + the first entry of the action, above 0; one critic rises with it, one falls.
        network[0].weight.data[0, -agent.market.embedding_dim] = 1.0
        network[0].bias.data[0] = 2.0
        network[2].weight.data[0, 0] = sign
        network[2].bias.data[0] = 2.5 if sign < 0 else -1.5
    expected = np.minimum(2.0 + entries - 1.5, 2.5 - (2.0 + entries))
    assert (expected != 2.0 + entries - 1.5).any() and (expected == 2.0 + entries - 1.5).any()
    np.testing.assert_allclose(agent.score(observations, ITEMS), expected, atol=1e-5)


def test_critic_and_popularity_by_hand(session_env):
    env = env_of("ddpg", session_env)
    agent, observations = made("ddpg", env), observed(env)
    embeddings = agent.market.item_embeddings[ITEMS]  # (B, n, D)
    zero(agent.critic)
    # q = 3 relu(first entry + 1) + 2 relu(-second entry) - 0.5, whatever the state.
    agent.critic.from_action.weight.data[0, 0], agent.critic.from_action.weight.data[1, 1] = 1.0, -1.0
    agent.critic.from_state.bias.data[0] = 1.0
    agent.critic.head.weight.data[0, 0], agent.critic.head.weight.data[0, 1] = 3.0, 2.0
    agent.critic.head.bias.data[0] = -0.5
    expected = 3 * np.maximum(embeddings[..., 0] + 1, 0) + 2 * np.maximum(-embeddings[..., 1], 0) - 0.5
    np.testing.assert_allclose(agent.score(observations, ITEMS), expected, rtol=1e-5)
    popular = made("popularity", env, prior_impressions=2.0)
    popular.fit(LoggedSessions(np.array([5, 5, 5, 17, 3]), np.array([2, 2, 0, 2, 1]), np.array([0, 3, 5])))
    # The mean reward is 16 / 5, of which there are two impressions more for each item.
    scores = popular.score(observations, ITEMS)
    np.testing.assert_allclose(scores[0], [(10 + 6.4) / 5, 3.2, (5 + 6.4) / 3])
    np.testing.assert_allclose(scores[1], [(1 + 6.4) / 3, (1 + 6.4) / 3, 3.2])


def test_a_ranker_scores_by_expected_reward(session_env):
    env = env_of("cf", session_env)
    agent, observations = made("cf", env), observed(env)
    zero(agent.network)
    agent.network.item_rates.weight.data[5] = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    agent.network.item_rates.weight.data[17] = torch.log(torch.tensor([0.1, 0.9, 1e-9]))
    # 0.3 + 5 * 0.2; a third of 1 + 5 where nothing was learned; 0.9.
    np.testing.assert_allclose(agent.score(observations, ITEMS)[0], [1.3, 2.0, 0.9], rtol=1e-5)


@pytest.mark.parametrize("guide", ["reward", "state", "both"])
def test_mahrl_scores_by_its_low_critic_under_the_first_goal(guide, session_env):
    env = env_of("mahrl", session_env)
    agent, observations = made("mahrl", env, guide=guide, M=3, c=6), observed(env)
    goals = agent.high.goals(observations, explore=False, warming=False)  # (B, M, D)
    assert not torch.allclose(goals[:, 0], goals[:, 1])
    embeddings = torch.from_numpy(agent.market.item_embeddings[ITEMS])
    seen = agent.low.items(observations, ("browsed", "clicked"))
    if guide != "reward":
        seen["goal"] = goals[:, 0]
    critic = agent.low.critic
    expected = critic.value(critic.encoder(seen), embeddings).detach().numpy()
    np.testing.assert_allclose(agent.score(observations, ITEMS), expected, rtol=1e-5, atol=1e-6)
    agent.high.actor.heads.bias.data += 0.5
    moved = not np.allclose(agent.score(observations, ITEMS), expected, rtol=1e-3)
    assert moved == (guide != "reward")


def test_agents_that_only_show_items_say_so(session_env):
    class Mute(Agent):
        name, config_class, learns_from = "mute", int, "nothing"
        act = tensors = load_tensors = None

    env = env_of("random", session_env)
    assert all(agent_class(name).can_score() for name in agent_names()) and not Mute.can_score()
    with pytest.raises(
        ValueError, match="agent mute: got a class without scores of items, allowed are those that can_score"
    ):
        Mute(Market.of(env), 0).score(observed(env), ITEMS)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (ITEMS[:2], r"got shape \(2, 3\), allowed \(4, n\)"),
        (ITEMS[0], r"got shape \(3,\), allowed \(4, n\)"),
        (ITEMS + 10, "got catalogue indices from 10 to 69, allowed 0 to 59"),
        (ITEMS - 1, "got catalogue indices from -1 to 58"),
    ],
)
def test_items_are_checked(items, message, session_env):
    env = env_of("ddpg", session_env)
    with pytest.raises(ValueError, match=message):
        made("ddpg", env).score(observed(env), items)


@pytest.mark.parametrize("name", ["popularity", *RANKERS])
def test_without_a_log_there_are_no_scores(name, session_env):
    env = env_of(name, session_env)
    with pytest.raises(ValueError, match=f"agent {name}: got no log yet"):
        make_agent(name, env, **TINY.get(name, {})).score(observed(env), ITEMS)
