"""MaHRL's two levels, step by step on a small market against values worked out by hand."""

import numpy as np
import pytest
import torch
from recsim_hrl_agents import evaluate, make_agent, train
from recsim_hrl_agents.hierarchical.mahrl import MaHRLConfig
from recsim_hrl_agents.networks import GoalActor, GoalCritics, GoalProducts, StateEncoder
from recsim_hrl_agents.registry import agent_config

from recsim_hrl.vector.tensors import RecSessionTensorEnv

ACTOR_ALONE = {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-9}
SMALL = {"hidden": 16, "critic_width": 32, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}


def watched(agent):
    """What is handed to the replay memories of the low and of the high level."""
    low, high = [], []
    keep_low, keep_high = agent.low.update, agent.high.store

    def update(transitions):
        low.append(transitions)
        return keep_low(transitions)

    def store(seen, goals, rewards, steps, after, left):
        high.append((seen, goals, rewards, steps, after, left))
        keep_high(seen, goals, rewards, steps, after, left)

    agent.low.update, agent.high.store = update, store
    return low, high


def cosine(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_low_level_is_paid_for_showing_items_like_its_goal(circle, alpha):
    env = circle(3, length=4, history=2)
    agent = make_agent("mahrl", env, c=4, M=2, alpha=alpha, realised=False, **SMALL)
    low, high = watched(agent)
    train(agent, env, 3 * 8)
    assert len(low) == 8 and len(high) == 2
    for step, transitions in enumerate(low):
        _, goals, rewards, *_ = high[step // 4]
        active = goals[:, step % 4 // 2].numpy()  # (B, D): two steps under each of two goals (Eq. 11)
        np.testing.assert_array_equal(transitions.observations["goal"].numpy(), active)
        external = rewards[:, step % 4].numpy()
        expected = external + alpha * cosine(env.item_embeddings[transitions.items], active)  # Eq. 10
        np.testing.assert_allclose(transitions.rewards.numpy(), expected, atol=1e-5)
    following = [transitions.next_observations["goal"].numpy() for transitions in low]
    for step in (0, 1, 2, 4, 5, 6):
        np.testing.assert_array_equal(following[step], low[step + 1].observations["goal"].numpy())
    # The goal that would have come next is not the one of the next session, which is set from its own start.
    assert not np.array_equal(following[3], low[4].observations["goal"].numpy())


def test_guided_by_the_state_alone_the_low_level_is_paid_by_the_user_alone(circle):
    env = circle(3, length=4, history=2)
    agent = make_agent("mahrl", env, c=4, M=2, alpha=0.5, guide="state", **SMALL)
    low, high = watched(agent)
    train(agent, env, 3 * 4)
    np.testing.assert_array_equal(np.stack([one.rewards.numpy() for one in low], 1), high[0][2].numpy())
    assert agent.low.actor.encoder.vectors == ("goal",)


def test_guided_by_the_reward_alone_the_low_level_does_not_see_the_goal(circle):
    agent = make_agent("mahrl", circle(3), guide="reward", **SMALL)
    assert agent.low.actor.encoder.vectors == () and agent.low.actor.encoder.merge.in_features == 32
    for name in ("from_goal", "knows_internal"):
        with pytest.raises(ValueError, match=f"MaHRLConfig {name}: got True with guide 'reward'"):
            make_agent("mahrl", circle(3), guide="reward", **{name: True})
    assert make_agent("mahrl", circle(3), guide="state", knows_internal=True, alpha=1.0).low.config.known_reward == 0


@pytest.mark.parametrize(("beta", "earned"), [(0.0, [3.0, 12.0]), (0.5, [3.0, 13.5]), (1.0, [3.0, 15.0])])
def test_goals_earn_the_rewards_of_their_sub_period_and_of_those_before(circle, beta, earned):
    agent = make_agent("mahrl", circle(2), c=4, M=2, beta=beta, **SMALL)
    agent.begin(np.ones(2, bool))
    seen = {"clicked": torch.ones((2, 1), dtype=torch.int64), "ordered": torch.ones((2, 1), dtype=torch.int64)}
    rewards = torch.tensor([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 0.0, 0.0]])
    left = torch.tensor([False, True])
    agent.high.store(seen, torch.ones((2, 2, 2)), rewards, np.array([4, 2]), seen, left)
    memory = {name: values[:2].numpy() for name, values in agent.high.memory.columns.items()}
    np.testing.assert_allclose(memory["rewards"][0], earned)  # Eq. 12, 13
    assert memory["rewards"][1][0] == 3.0
    np.testing.assert_array_equal(memory["started"], [[1, 1], [1, 0]])  # the user left before the second goal
    np.testing.assert_allclose(memory["discount"], [0.95, 0.0])


@pytest.mark.parametrize("leaves", [False, True])
def test_a_period_ends_with_its_session(circle, leaves):
    env = circle(3, length=3, history=4, leaves=leaves)
    agent = make_agent("mahrl", env, c=4, M=2, realised=False, **SMALL)
    low, high = watched(agent)
    train(agent, env, 3 * 7)
    assert [one[3].tolist() for one in high] == [[3] * 3] * 2  # the third session is still running
    for session, (seen, goals, _, _, after, left) in enumerate(high):
        first, last = low[3 * session], low[3 * session + 2]
        for key in ("clicked", "ordered"):
            np.testing.assert_array_equal(seen[key].numpy(), first.observations[key])
            np.testing.assert_array_equal(after[key].numpy(), last.next_observations[key])
        assert left.tolist() == [leaves] * 3
        for step in range(3):
            np.testing.assert_array_equal(low[3 * session + step].observations["goal"].numpy(), goals[:, step // 2])


def test_sessions_of_different_ends_keep_their_own_periods(circle):
    env = circle(2, length=6, history=1)
    original = env.reset

    def reset(**kwargs):
        result = original(**kwargs)
        env._steps[:] = [0, 3]  # the second user's first session ends after three steps
        return result

    env.reset = reset
    agent = make_agent("mahrl", env, c=4, M=1, **SMALL)
    low, high = watched(agent)
    train(agent, env, 2 * 7)
    # After three steps user 1's session ends; after four user 0's period; after six user 0's session, two steps into
    # its second period; after seven user 1's first whole period.
    assert [one[3].tolist() for one in high] == [[3], [4], [2], [4]]
    goals = np.stack([one.observations["goal"].numpy() for one in low])  # (7, 2, D)
    changes = (goals[1:] != goals[:-1]).any(-1)  # (6, 2)
    np.testing.assert_array_equal(np.flatnonzero(changes[:, 0]) + 1, [4, 6])
    np.testing.assert_array_equal(np.flatnonzero(changes[:, 1]) + 1, [3])


def test_sessions_that_are_judged_teach_nothing(circle):
    env = circle(4, length=3)
    agent = make_agent("mahrl", env, c=2, M=1, **SMALL)
    train(agent, env, 4 * 8)
    held = len(agent.high.memory)
    evaluate(agent, env, 8)
    assert len(agent.high.memory) == held
    train(agent, env, 4 * 3)
    assert len(agent.high.memory) == held + 2 * 4  # the period of two steps, and that of one


def test_realised_goals_are_the_mean_of_what_was_shown(circle):
    env = circle(3, length=4, history=2)
    agent = make_agent("mahrl", env, c=4, M=2, **SMALL)
    low, high = watched(agent)
    train(agent, env, 3 * 4)
    shown = np.stack([env.item_embeddings[one.items] for one in low], 1)  # (B, 4, D)
    sums = np.stack([shown[:, :2].sum(1), shown[:, 2:].sum(1)], 1)  # (B, 2, D)
    goals = high[0][1].numpy()
    rows = np.linalg.norm(sums, axis=-1) > 0.01  # opposite items cancel out; then the goal stays
    np.testing.assert_allclose(cosine(goals, np.where(rows[..., None], sums, goals)), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(goals, axis=-1), 1.0, atol=1e-5)  # the length of an item
    assert rows.any()


def test_the_networks_of_the_high_level_by_hand():
    torch.manual_seed(0)
    encoder = StateEncoder(("clicked", "ordered"), 2, 3)
    actor, critics = GoalActor(encoder, 2, 1.5, 2), GoalCritics(encoder, 2, 4, 2)
    histories = {key: torch.randn(5, 6, 2) for key in ("clicked", "ordered")}
    with torch.no_grad():
        state = encoder(histories)
        last = [encoder.readers[key](histories[key])[0][:, -1] for key in ("clicked", "ordered")]
        merged = torch.cat(last, 1) @ encoder.merge.weight.T + encoder.merge.bias  # Eq. 3
        torch.testing.assert_close(state, merged)
        goals = actor(histories)
        for m in range(2):
            weight, bias = actor.heads.weight[2 * m : 2 * m + 2], actor.heads.bias[2 * m : 2 * m + 2]
            torch.testing.assert_close(goals[:, m], 1.5 * torch.tanh(state @ weight.T + bias))  # Eq. 4
        q = critics(histories, goals)
        for m in range(2):
            v = torch.relu(critics.from_state[m](state) + goals[:, m] @ critics.from_goal[m].weight.T)  # Eq. 5
            torch.testing.assert_close(q[:, m], critics.heads[m](v)[:, 0])
        every = critics.values(state, goals[:, 0])  # (5, 2, 5): goal j in state i
        torch.testing.assert_close(every[torch.arange(5), 0, torch.arange(5)], q[:, 0])
        assert (GoalCritics(encoder, 2, 4, 2, relu_output=True)(histories, goals) >= 0).all()


def test_products_of_goals_and_states_by_hand():
    torch.manual_seed(0)
    critics = GoalProducts(StateEncoder(("clicked",), 2, 3), 2, 4, 2)
    histories, goals = {"clicked": torch.randn(5, 6, 2)}, torch.randn(5, 2, 2)
    with torch.no_grad():
        state = critics.encoder(histories)  # (5, 3)
        q = critics(histories, goals)
        for m, tower in enumerate(critics.towers):
            user, item = tower.user(state), tower.item(goals[:, m])  # (5, 5) each: four features and one of its own
            expected = (user[:, :4] * item[:, :4]).sum(-1) / 2 + user[:, 4] + item[:, 4]
            torch.testing.assert_close(q[:, m], expected)
        every = critics.values(state, goals[:, 1])  # (5, 2, 5): goal j in state i
        torch.testing.assert_close(every[torch.arange(5), 1, torch.arange(5)], q[:, 1])


def test_exploring_goals_that_are_looked_for_are_items(circle):
    env = circle(64)
    observations, _ = env.reset(seed=0)
    for search in (4, 0):
        agent = make_agent("mahrl", env, M=2, search=search, high_noise=0.5, high_epsilon=0.2, **SMALL)
        goals = agent.high.goals(observations, explore=True, warming=False).flatten(0, 1).numpy()  # (128, D)
        are_items = (np.abs(goals[:, None] - env.item_embeddings).max(-1) < 1e-6).any(-1)
        assert are_items.all() == (search > 0)
    agent = make_agent("mahrl", env, search=2, high_epsilon=0.0, **SMALL)
    judged, tried = (agent.high.goals(observations, explore=explore, warming=False) for explore in (False, True))
    assert torch.equal(judged, tried)  # the best of all items, and not of two


@pytest.mark.parametrize("realised", [True, False])
def test_goals_are_looked_for_as_the_critics_know_them(circle, realised):
    # A critic of the first entry alone, and items of the lengths 1 and 3: the longer one has the larger entry.
    env = circle(2)
    agent = make_agent("mahrl", env, M=1, search=2, realised=realised, **SMALL)
    items = torch.tensor([[0.9, 0.1], [1.8, 2.4]])
    agent.low.candidates = items
    agent.high.critic.values = lambda state, goals: goals[:, 0].expand(len(state), 1, -1)
    goals = agent.high.goals(env.reset(seed=0)[0], explore=False, warming=False)
    np.testing.assert_array_equal(goals.numpy(), [[items[0 if realised else 1].tolist()]] * 2)


def test_a_low_critic_that_is_told_the_internal_reward(circle):
    env = circle(32, length=4, history=2)
    agent = make_agent("mahrl", env, c=4, alpha=0.5, knows_internal=True, gamma=0.5, n_step=1, **SMALL | ACTOR_ALONE)
    low, _ = watched(agent)
    train(agent, env, 32 * 8)
    for critic in (agent.low.critic, agent.low.target_critic):
        for parameter in critic.parameters():
            parameter.data.zero_()
    observations = {**low[0].observations}
    items = np.tile(np.arange(8), (32, 1))
    expected = 0.5 * cosine(env.item_embeddings[items], observations["goal"].numpy()[:, None])  # (32, 8)
    np.testing.assert_allclose(agent.low.score(observations, items), expected, atol=1e-6)
    histories = agent.low.items(observations, agent.low._keys)
    shown = agent.low.candidates[agent.low._nearest(agent.low.target_actor(histories))]  # (32, D)
    target = agent.low._target(histories, torch.ones(32), torch.full((32,), 0.5))
    following = 1 + 0.5 * 0.5 * cosine(shown, observations["goal"])  # what it pays, and half of the known part of next
    np.testing.assert_allclose(target.numpy(), following, atol=1e-6)
    for _ in range(300):  # the critic hardly moves, so that the known part alone leads the actor
        agent.low._learn()
    with torch.no_grad():
        virtual = agent.low.actor(histories)
    assert cosine(virtual, observations["goal"]).mean() > 0.95


def test_the_high_target_is_what_was_earned_plus_the_discounted_value_of_the_next_goals(circle):
    env = circle(4, length=4, history=2)
    agent = make_agent("mahrl", env, c=2, M=2, beta=0.5, high_batch_size=64, **SMALL)
    train(agent, env, 4 * 8)
    high, asked = agent.high, []
    value = type(high.critic).value
    high.critic.value = lambda state, goals: asked.append(value(high.critic, state, goals)) or asked[-1]
    draws = high._draws.get_state()
    rows = torch.randint(0, len(high.memory), (64,), generator=high._draws)
    high._draws.set_state(draws)
    batch = {name: values[rows] for name, values in high.memory.columns.items()}
    with torch.no_grad():
        after = high.items({key: batch[f"after/{key}"] for key in ("clicked", "ordered")}, ("clicked", "ordered"))
        goals = torch.nn.functional.normalize(high.target_actor(after), dim=-1)  # items have length 1
        target = batch["rewards"] + batch["discount"][:, None] * high.target_critic(after, goals)  # Eq. 14
    metrics = high.learn()
    q = asked[0].detach()
    assert metrics["high_target"].item() == pytest.approx(target.mean().item(), abs=1e-5)
    loss = (batch["started"] * (q - target) ** 2).sum() / batch["started"].sum()
    assert metrics["high_critic_loss"].item() == pytest.approx(loss.item(), rel=1e-4)


def test_goals_follow_the_chain_rule_through_their_critics(circle):
    env = circle(4, length=4, history=2)
    settings = {"high_learning_rate": 1e-12, "high_batch_size": 64, "max_gradient_norm": 1e9}
    agent = make_agent("mahrl", env, c=2, M=2, **SMALL | settings)
    train(agent, env, 4 * 8)
    high, draws = agent.high, agent.high._draws.get_state()
    rows = torch.randint(0, len(high.memory), (64,), generator=high._draws)
    high._draws.set_state(draws)
    keys = ("clicked", "ordered")
    seen = high.items({key: high.memory.columns[f"seen/{key}"][rows] for key in keys}, keys)
    goals, parameters = high.actor(seen), list(high.actor.parameters())
    (slopes,) = torch.autograd.grad(high.critic(seen, agent.low.at_item_length(goals)).sum(), goals)  # (S, M, D)
    expected = torch.autograd.grad(goals, parameters, -slopes / 64)  # Eq. 16, downhill
    high.learn()
    assert sum(one.abs().sum() for one in expected) > 0
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_high_values_of_a_market_of_one_item(one_item):
    # Every step pays 1 and a period has 2, so Q = 2 / (1 - 0.5) = 4 under the one goal there is, whatever it is.
    env = one_item(32, length=4)
    agent = make_agent("mahrl", env, c=2, M=1, high_gamma=0.5, tau=0.1, high_learning_rate=3e-3, **SMALL)
    train(agent, env, 6_000)
    observations, _ = env.reset(seed=0)
    histories = agent.high.items(observations, ("clicked", "ordered"))
    with torch.no_grad():
        q = agent.high.critic(histories, agent.low.at_item_length(agent.high.actor(histories)))
    np.testing.assert_allclose(q.numpy(), np.full((32, 1), 4.0), atol=0.3)


ONE = {"gamma": 0.0, "n_step": 1, "c": 1, "M": 1, "alpha": 0.5}
RATES = {"actor_learning_rate": 5e-3, "critic_learning_rate": 5e-3, "high_learning_rate": 5e-3}


# The best policy earns 5, a random one 7 / 8, the best that does not know the context 7 / 8 as well.
@pytest.mark.parametrize(
    ("shows", "settings", "solved"),
    [
        ("browsed", {}, True),  # what the low level alone sees
        ("ordered", {}, True),  # what the high level alone sees, and must tell the low level
        ("ordered", {"from_goal": True, "noise": 0.1, "final_noise": 0.1}, True),
        ("ordered", {"from_goal": True, "search": 8, "noise": 0.1, "high_noise": 0.0}, True),
        ("ordered", {"realised": False}, False),  # values of goals that nobody followed
        ("ordered", {"guide": "reward"}, False),  # as the paper writes it, the low level is not told
    ],
)
def test_finds_the_best_item_of_each_context(circle, shows, settings, solved):
    env = circle(32, shows=shows)
    agent = make_agent("mahrl", env, seed=1, **SMALL | RATES | ONE | settings)
    train(agent, env, 12_000, seed=1)
    earned = evaluate(agent, env, 64, seed=100).total_reward.mean()
    assert earned > 4.5 if solved else earned < 3


def test_products_find_it_too_but_later(circle):
    env = circle(32, shows="ordered")
    settings = {"search": 8, "products": True, "knows_internal": True, "noise": 0.1, "final_noise": 0.1}
    agent = make_agent("mahrl", env, seed=1, **SMALL | RATES | ONE | settings)
    train(agent, env, 30_000, seed=1)
    assert evaluate(agent, env, 64, seed=100).total_reward.mean() > 4.5


@pytest.mark.parametrize(
    "more", [{}, {"search": 5, "products": True, "knows_internal": True, "realised": False, "temperature": 0.3}]
)
def test_the_same_from_tensors_as_from_arrays(session_env, simulator, more):
    settings = {"session_length": 7, "history": 4, "observation": "item_ids"}
    small = {"hidden": 8, "batch_size": 16, "warmup_steps": 32, "steps_per_update": 16, "c": 3, "M": 2}
    learned = []
    for env in (session_env(8, **settings), RecSessionTensorEnv(8, "cpu", simulator=simulator, **settings)):
        agent = make_agent("mahrl", env, seed=3, **small, **more)
        train(agent, env, 8 * 30, seed=5)
        learned.append(agent.tensors())
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("guide", "nothing"),
        ("M", 11),
        ("beta", 2.0),
        ("alpha", -1.0),
        ("high_gamma", 1.5),
        ("high_histories", ("seen",)),
        ("temperature", 0.1),
    ],
)
def test_bad_settings(circle, setting, value):
    with pytest.raises(ValueError, match=f"{setting}"):
        make_agent("mahrl", circle(2), **{setting: value})


def test_products_are_not_the_layers_of_equation_5():
    with pytest.raises(ValueError, match="relu_output: got True with products=True, allowed with products=False"):
        MaHRLConfig(products=True, relu_output=True)


def test_ablations_are_the_agent_with_settings():
    without_input, by_state, one_goal = (agent_config(name) for name in ("hrl-i", "hrl-s", "hrl-g"))
    assert (without_input.histories, without_input.high_histories) == (("clicked",), ("clicked",))
    assert by_state.guide == "state" and one_goal.M == 1
    assert agent_config("hrl-g", alpha=0.5) == MaHRLConfig(M=1, alpha=0.5)
    with pytest.raises(ValueError, match=r"agent hrl-g: got unknown settings \['goals'\]"):
        agent_config("hrl-g", goals=1)
