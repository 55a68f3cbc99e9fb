import numpy as np
import pytest
import torch
from recsim_hrl_agents import Market, Transitions, evaluate, make_agent, train
from recsim_hrl_agents.flat.deers import DEERS, SIDES, best_unshown, clicked_places, competitors, pairwise_loss

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.types import SKIP

SMALL = {"hidden": 16, "width": 32, "joined": 16, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}
QUICK = {"learning_rate": 5e-3, "epsilon_steps": 2_000, "alpha": 0.0}
TINY = {"hidden": 8, "width": 8, "joined": 8, "batch_size": 16, "warmup_steps": 40, "steps_per_update": 8}


def market(items=3, action="item", categories=None):
    embeddings = np.random.default_rng(0).normal(size=(items, 2)).astype(np.float32)
    bound = float(np.abs(embeddings).max())
    return Market(embeddings, np.arange(items), "item_ids", action, bound, 4, categories)


def test_skipped_items_are_those_browsed_and_not_clicked():
    browsed = torch.tensor([[0, 3, 7, 2, 9], [1, 2, 3, 4, 7], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
    clicked = torch.tensor(
        [
            [0, 8, 5, 3, 2],  # 8 and 5 were clicked before the window of what was browsed begins
            [9, 7, 1, 2, 4],  # 7 was clicked in a visit before, and skipped now
            [0, 0, 0, 0, 0],
            [1, 2, 3, 4, 5],  # all were clicked
        ]
    )
    skipped = (browsed > 0) & ~clicked_places(browsed, clicked)
    assert [row[one].tolist() for row, one in zip(browsed, skipped, strict=True)] == [[7, 9], [3, 7], [], []]
    agent = DEERS(market(9))
    state = agent._state({"browsed": browsed.numpy(), "clicked": clicked.numpy()})
    assert torch.equal(state["positive"], clicked)
    assert state["negative"].tolist() == [[0, 0, 0, 7, 9], [0, 0, 0, 3, 7], [0] * 5, [0] * 5]


@pytest.mark.parametrize("observation", ["item_ids", "embeddings"])
def test_skipped_items_of_played_sessions(session_env, observation):
    env = session_env(8, observation=observation)
    agent = make_agent("deers", env, **TINY)
    observations, _ = env.reset(seed=1)
    agent.begin(np.ones(8, bool))
    shown = []
    for _ in range(6):
        observations, *_, infos = env.step(agent.act(observations, explore=True))
        shown.append((infos["item"] + 1, infos["response"]))
    items, responses = (np.stack(part[-4:], 1) for part in zip(*shown, strict=True))  # (B, N) each
    found = agent._state(observations)
    for row in range(8):
        skips = items[row][responses[row] == SKIP]
        np.testing.assert_array_equal(found["negative"][row], np.pad(skips, (4 - len(skips), 0)))
    np.testing.assert_array_equal(found["browsed"], items)
    np.testing.assert_array_equal(found["were_clicked"], responses != SKIP)
    assert (responses != SKIP).any() and (responses == SKIP).any()


def test_competitors_by_hand():
    categories = torch.tensor([0, 0, 0, 1, 0, 1, 0])  # of catalogue index + 1
    browsed = torch.tensor(
        [
            [2, 4, 3, 6],  # item 1 is clicked: the latest skip of category 0, not 3 of category 1
            [6, 4, 2, 3],  # item 1 is skipped: the latest click of category 0
            [0, 0, 2, 4],  # item 1 is skipped, and so was everything else
            [0, 0, 0, 0],  # nothing was shown before
            [4, 1, 3, 3],  # item 1 was skipped in a visit before: it does not compete with itself
        ]
    )
    were_clicked = torch.tensor([[0, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()
    items, is_clicked = torch.zeros(5, dtype=torch.long), torch.tensor([True, False, False, True, True])
    assert competitors(browsed, were_clicked, items, is_clicked, categories).tolist() == [4, 4, 0, 0, 4]
    anywhere = competitors(browsed, were_clicked, items, is_clicked, torch.zeros(7, dtype=torch.long))
    assert anywhere.tolist() == [3, 3, 0, 0, 3]


@pytest.mark.parametrize(("categories", "expected"), [(np.array([0, 0, 1, 0]), 2), (None, 3)])
@pytest.mark.parametrize("clicked_now", [True, False])
def test_competitors_are_kept_with_their_transitions(categories, expected, clicked_now):
    agent = DEERS(market(4, categories=categories))
    # Items 2 and 3 were skipped, 4 was clicked; item 1 is shown now, of the category of 2 and 4. Rewards tell nothing.
    before = {"browsed": np.array([[0, 2, 3, 4]]), "clicked": np.array([[0, 0, 0, 4]])}
    after = {"browsed": np.array([[2, 3, 4, 1]]), "clicked": np.array([[0, 0, 4, 1]])}
    if not clicked_now:
        after["clicked"], expected = before["clicked"], 4
    never = np.zeros(1, bool)
    agent.begin(~never)
    agent.update(Transitions(before, np.zeros(1), np.array([0]), np.zeros(1, np.float32), after, never, never))
    batch = agent._buffer.sample(2, torch.Generator())
    assert batch.observations["competitor"].tolist() == [expected] * 2
    assert batch.observations["negative"].tolist() == [[0, 0, 2, 3]] * 2
    assert batch.next_observations["negative"].tolist() == [[0, 0, 2, 3] if clicked_now else [0, 2, 3, 1]] * 2


def test_pairwise_loss_by_hand():
    q, other_q = (torch.tensor(values, requires_grad=True) for values in ([1.0, 2.0, 3.0], [3.0, 0.0, 5.0]))
    loss = pairwise_loss(q, torch.tensor([2.0, 4.0, 1.0]), other_q, torch.tensor([True, False, True]), 0.25)
    assert loss.item() == pytest.approx((1 - 0.25 * 4 + 4 + 4 - 0.25 * 4) / 3)
    q_slope, other_slope = torch.autograd.grad(loss, (q, other_q))
    # d/dq = 2 (q - y) - 2 alpha (q - q_E), d/dq_E = 2 alpha (q - q_E): downhill, the two values part.
    assert q_slope.tolist() == pytest.approx([-1 / 3, -4 / 3, 5 / 3])
    assert other_slope.tolist() == pytest.approx([-1 / 3, 0.0, -1 / 3])


def test_the_pairwise_term_stretches_differences():
    # Two items with targets 3 and 1 in one state, the second the first one's competitor: q - q_E = 2 / (1 - 2 alpha).
    values = torch.tensor([2.0 + 1.25, 2.0 - 1.25], requires_grad=True)
    targets, has_other = torch.tensor([3.0, 1.0]), torch.tensor([True, False])
    loss = pairwise_loss(values, targets, values[1].expand(2), has_other, 0.1)
    assert torch.autograd.grad(loss, values)[0].abs().max() < 1e-6


def test_best_unshown_by_hand():
    values = torch.tensor([[1.0, 5.0, 3.0], [1.0, 5.0, 3.0], [1.0, 5.0, 3.0]])
    shown = torch.tensor([[False, False, False], [False, True, False], [True, True, True]])
    assert best_unshown(values, shown).tolist() == [[1], [2], [1]]


@pytest.mark.parametrize(("double", "values"), [(False, [5, 3, 2, 9]), (True, [1, 1, 2, 9])])
def test_targets_by_hand(double, values):
    agent = DEERS(market(), make_agent("deers", market(), double=double).config)
    slow = [[1.0, 5.0, 3.0], [1.0, 5.0, 3.0], [2.0, 1.0, 0.0], [4.0, 4.0, 9.0]]
    learned = [[9.0, 0.0, 8.0], [9.0, 0.0, 8.0], [7.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    agent.target.values = lambda state, candidates: torch.tensor(slow)
    agent.network.values = lambda state, candidates: torch.tensor(learned)
    # Item 1 was shown to the second user, all items to the last; the third has left.
    shown = torch.tensor([[-1, 1, -1, 0], [-1, -1, -1, 1], [-1, -1, -1, 2]])
    returns, discounts = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5, 0.5, 0.0, 0.9])
    found = agent._target({}, returns, discounts, shown)
    expected = [1 + 0.5 * values[0], 2 + 0.5 * values[1], 3.0, 4 + 0.9 * values[3]]
    assert found.tolist() == pytest.approx(expected)


def test_all_values_are_those_of_single_items():
    agent = DEERS(market(5))
    state = {side: torch.randn(7, 4, 2, generator=torch.Generator().manual_seed(1)) for side in SIDES}
    everywhere = agent.network.values(state, agent.candidates)  # (7, 5)
    reads, network = agent.network.read(state), agent.network
    for place, item in enumerate(agent.candidates):
        # One layer for each side of the state, none for both, before they meet.
        sides = [torch.relu(reads[i] + network.from_action[side](item)) for i, side in enumerate(SIDES)]
        joined = torch.relu(sum(network.join[side](one) for side, one in zip(SIDES, sides, strict=True)))
        torch.testing.assert_close(everywhere[:, place], network.head(joined).squeeze(-1))


def values(agent, observations, items):
    """q of one item each in these states, under the learned network."""
    windows = agent._windows(agent._state(observations))
    with torch.no_grad():
        q = agent.network.values(windows, agent.candidates)
    return q[torch.arange(len(q)), torch.as_tensor(items)].numpy()


@pytest.mark.parametrize("action", ["embedding", "item"])
def test_finds_the_best_item_of_each_context(circle, action):
    env = circle(32, action=action)
    agent = make_agent("deers", env, seed=1, gamma=0.0, **SMALL | QUICK)
    train(agent, env, 6_000, seed=1)
    assert evaluate(agent, env, 64, seed=100).total_reward.mean() > 4.5  # the best policy earns 5, a random one 7 / 8


@pytest.mark.parametrize("n_step", [1, 3])
def test_truncated_sessions_bootstrap(one_item, n_step):
    # All states look alike and every step pays 1: q = 1 / (1 - gamma) = 2. Not bootstrapping at the session's end
    # would give 4 / 3 with one-step targets. With one item, what was shown has to be shown again.
    env = one_item(32, length=2)
    agent = make_agent("deers", env, gamma=0.5, tau=0.1, n_step=n_step, **SMALL | QUICK)
    train(agent, env, 4_000)
    observations = {key: np.array([[1]]) for key in ("browsed", "clicked")}
    np.testing.assert_allclose(values(agent, observations, [0]), [2.0], atol=0.1)


def test_terminated_sessions_do_not_bootstrap(one_item):
    # Two steps, then the user leaves: q(first) = 1 + 0.5 * 1, q(second) = 1. Windows tell the two states apart.
    env = one_item(32, length=2, history=2, leaves=True)
    agent = make_agent("deers", env, gamma=0.5, tau=0.1, **SMALL | QUICK)
    train(agent, env, 6_000)
    observations, _ = env.reset(seed=0)
    second = env.step(np.ones((32, 2), np.float32))[0]
    np.testing.assert_allclose(values(agent, observations, [0] * 32), np.full(32, 1.5), atol=0.1)
    np.testing.assert_allclose(values(agent, second, [0] * 32), np.ones(32), atol=0.1)


def test_what_was_shown_does_not_count_in_the_target(three_items):
    # Of three items one is always ordered, one clicked, one skipped; two are shown, never one twice. So the order is
    # worth 5 + 0.5 * 1, the click 1 + 0.5 * 5, the skip 0 + 0.5 * 5; with repetition the order would be worth 7.5.
    env = three_items(32)
    settings = SMALL | QUICK | {"final_epsilon": 1.0, "steps_per_update": 12}
    agent = make_agent("deers", env, gamma=0.5, tau=0.1, **settings)
    train(agent, env, 5_000)
    observations, _ = env.reset(seed=0)
    for item, expected in enumerate((5.5, 3.5, 2.5)):
        np.testing.assert_allclose(values(agent, observations, [item] * 32), np.full(32, expected), atol=0.1)


@pytest.mark.parametrize("action", ["embedding", "item"])
@pytest.mark.parametrize("explore", [True, False])
def test_no_item_is_shown_twice_in_a_session(session_env, action, explore):
    env = session_env(16, action=action, candidates=9)
    agent = make_agent("deers", env, **TINY)
    observations, _ = env.reset(seed=0)
    agent.begin(np.ones(16, bool))
    shown = []
    for _ in range(7):
        actions = agent.act(observations, explore=explore)
        observations, *_, infos = env.step(actions)
        last = infos.get("final_info", infos)
        shown.append(last["item"])
        chosen = actions if action == "item" else (actions[:, None] == env.item_embeddings[None]).all(-1).argmax(-1)
        np.testing.assert_array_equal(env.candidate_items[chosen] if action == "item" else chosen, last["item"])
    assert all(len(set(items)) == 7 for items in np.stack(shown, 1).tolist())
    agent.begin(np.arange(16) < 8)
    assert agent._shown.sum(1).tolist() == [0] * 8 + [7] * 8
    with pytest.raises(ValueError, match="got 2 users, allowed 16"):
        agent.act({key: value[:2] for key, value in observations.items()})


def test_embedding_and_item_id_observations_learn_the_same(session_env):
    weights = []
    for observation in ("embeddings", "item_ids"):
        env = session_env(4, observation=observation)
        agent = make_agent("deers", env, seed=9, **TINY)
        train(agent, env, 120, seed=1)
        weights.append(agent.tensors())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_training_is_reproducible_and_leaves_global_generators_alone(session_env):
    weights = []
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in range(2):
        env = session_env(8, observation="item_ids")
        agent = make_agent("deers", env, seed=9, double=True, n_step=2, **TINY)
        records = train(agent, env, 160, seed=1, record_every=80)
        weights.append(agent.tensors())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert {"loss", "squared_error", "q", "target", "competitors", "gap"} <= set(records[-1])


def test_epsilon_falls_linearly_after_the_warm_up():
    agent = make_agent("deers", market(), warmup_steps=50, epsilon=0.9, final_epsilon=0.1, epsilon_steps=100)
    found = []
    for agent._steps in (0, 49, 50, 100, 150, 5000):
        found.append(agent.epsilon)
    assert found == pytest.approx([1.0, 1.0, 0.9, 0.5, 0.1, 0.1])


def test_random_items_are_as_many_as_epsilon_says():
    agent = make_agent("deers", market(20), warmup_steps=0, epsilon=0.3)
    windows = {key: np.zeros((4000, 4), np.int64) for key in ("browsed", "clicked")}
    best = agent.act(windows)[0]
    agent.begin(np.ones(4000, bool))
    others = (agent.act(windows, explore=True) != best).mean()
    assert others == pytest.approx(0.3 * 19 / 20, abs=0.025)  # a random item may be the best one


def test_categories_come_from_the_environment(session_env, simulator, circle):
    expected = simulator.catalogue.categories
    for env in (session_env(2), RecSessionEnv(simulator=simulator, session_length=7)):
        np.testing.assert_array_equal(Market.of(env).categories, expected)
    assert make_agent("deers", session_env(2))._categories[1:].tolist() == expected.tolist()
    assert Market.of(circle(2)).categories is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [("alpha", 1.0), ("alpha", -0.1), ("gamma", 1.5), ("width", 0), ("learning_rate", 0.0), ("epsilon_steps", -1)],
)
def test_bad_settings(setting, value):
    with pytest.raises(ValueError, match=f"DEERSConfig {setting}: got {value}, allowed"):
        make_agent("deers", market(), **{setting: value})
