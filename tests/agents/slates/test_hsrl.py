"""HSRL: targets, advantages and losses against numbers worked out by hand, and toys whose best policy is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recsim_hrl_agents import Transitions, evaluate, load_agent, make_agent, train
from recsim_hrl_agents.registry import slate_agent_names
from recsim_hrl_agents.slates.hsrl import clipped_gains, joined, shares, token_advantages
from recsim_hrl_agents.slates.replay import Requests
from recsim_hrl_agents.slates.state import STATE_KEYS

from recsim_hrl.types import CLICK, ORDER
from recsim_hrl.vector.slate import RecSlateVectorEnv
from tests.agents.slates.conftest import ToySlateEnv

SMALL = {"levels": 2, "codes": 4, "width": 16, "requests_per_update": 64, "batch_size": 64, "critic_updates": 2}
FAST = SMALL | {"actor_learning_rate": 5e-3, "critic_learning_rate": 5e-3, "critic_updates": 4, "tau": 0.1}
TINY = {"candidates": 40, "observation": "item_ids", "history": 4}
NAMES = [name for name in slate_agent_names() if name.startswith("hsrl")]


class Patience(ToySlateEnv):
    """Two requests of one item each. Item 0 is clicked; item 1 brings nothing, and after it everything is ordered."""

    def __init__(self, num_envs=32):
        responses = np.zeros((6, 6), int)
        responses[0, 0], responses[1] = CLICK, ORDER
        super().__init__(num_envs, responses, np.eye(6), slate_size=1, length=2)

    def _start(self, rows):
        super()._start(rows)
        self._contexts[rows] = 0
        self._windows["browsed"][rows] = 0

    def step(self, actions):
        primed = (actions == 1).any(1)
        outcome = super().step(actions)
        self._contexts[primed & (self._requests > 0)] = 1
        return outcome


class Kinds(ToySlateEnv):
    """24 items of six kinds. A slate of four of the context's kind is ordered whole, any other is skipped."""

    def __init__(self, num_envs=32):
        self.kinds = np.arange(24) // 4
        responses = np.repeat([0, ORDER], 24)[:, None] * np.ones(24, int)  # the second half are contexts that pay
        embeddings = np.eye(6)[self.kinds] + 0.1 * np.eye(6)[np.arange(24) % 4]
        super().__init__(num_envs, responses, embeddings, slate_size=4)

    def step(self, actions):
        alike = (self.kinds[actions] == self.kinds[self._contexts][:, None]).all(1)
        self._contexts = self._contexts + 24 * alike
        return super().step(actions)


def fake_requests(agent, observations, terminated, rewards, responses, is_seen, items):
    state = {key: torch.as_tensor(observations[key]) for key in (*STATE_KEYS, "available")}
    return Requests(
        state | {"available": state["available"].bool()},
        torch.tensor(items),
        torch.tensor(items),
        torch.tensor(responses),
        torch.tensor(is_seen),
        torch.tensor(rewards),
        state,
        torch.tensor(terminated),
        None,
    )


@pytest.fixture
def two_requests(circle):
    """An agent that knows what answers pay, and two requests of three slots: the first user went on, the second left
    after the second slot."""

    def make(**settings):
        env = circle(2)
        agent = make_agent("hsrl", env, seed=1, **SMALL | {"gamma": 0.5, "later": 0.0} | settings)
        for responses, reward in (([0, 0, 0], 0.0), ([1, 0, 0], 1.0), ([2, 0, 0], 5.0)):
            for _ in range(1000):  # far more than the ridge weighs
                agent._slot_rewards.add(
                    torch.tensor([responses]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([reward])
                )
        agent.target.values = lambda observations: torch.tensor([10.0, 20.0])
        observations, _ = env.reset(seed=0)
        requests = fake_requests(
            agent,
            observations,
            [False, True],
            [6.0, 1.0],
            [[ORDER, 0, CLICK], [0, CLICK, 0]],
            [[True, True, True], [True, True, False]],
            [[1, 2, 3], [4, 5, 6]],
        )
        return agent, requests

    return make


def test_slots_are_credited_with_their_own_answer_and_all_that_follows(two_requests):
    agent, requests = two_requests()
    of_state, of_slots = agent._targets(requests)
    assert of_state.tolist() == pytest.approx([6 + 0.5 * 10, 1.0])  # nothing follows a user who left
    assert of_slots[0].tolist() == pytest.approx([5 + 5, 0 + 5, 1 + 5], abs=0.01)
    assert of_slots[1].tolist() == pytest.approx([0.0, 1.0, 0.0], abs=0.01)


def test_slots_may_be_credited_with_those_after_them(two_requests):
    agent, requests = two_requests(later=0.5)
    _, of_slots = agent._targets(requests)
    assert of_slots[0].tolist() == pytest.approx([5 + 0.5 * 1 + 5, 0 + 0.5 * 1 + 5, 1 + 5], abs=0.01)
    assert of_slots[1].tolist() == pytest.approx([0.5, 1.0, 0.0], abs=0.01)


def test_the_published_mistake_looks_beyond_the_end_alone(two_requests):
    agent, requests = two_requests(inverted_mask=True)
    of_state, of_slots = agent._targets(requests)
    assert of_state.tolist() == pytest.approx([6.0, 1 + 0.5 * 20])
    assert of_slots[1].tolist() == pytest.approx([10.0, 11.0, 10.0], abs=0.01)


@pytest.mark.parametrize(("leaves", "expected"), [(False, 2 / 0.3), (True, 2 + 1.4 + 0.98)])
def test_a_truncated_session_goes_on_and_one_that_was_left_does_not(all_clicked, leaves, expected):
    # Each of three requests pays 2, and gamma is 0.7.
    env = all_clicked(64, length=3, leaves=leaves)
    agent = make_agent("hsrl", env, **FAST | {"gamma": 0.7, "tau": 0.5, "epochs": 1, "later": 0.0})
    train(agent, env, 6_000)
    observations, _ = env.reset(seed=5)
    with torch.no_grad():
        value, slots = agent.critic(observations, agent.codes[torch.zeros(64, 2, dtype=torch.long)])
    np.testing.assert_allclose(value, expected, atol=0.3)
    np.testing.assert_allclose(slots, expected - 1.0, atol=0.3)  # its own click, and all that follows the request


def test_advantages_of_tokens_sum_to_the_error():
    values, targets = torch.tensor([[[1.0, 4.0, 2.0]]]), torch.tensor([[7.0]])
    assert token_advantages(values, targets, 0.0).tolist() == [[[3.0, -2.0, 5.0]]]  # 7 - 1 in all
    assert token_advantages(values, targets, 0.5).tolist() == [[[3 + 0.5 * 0.5, 0.5, 5.0]]]
    assert token_advantages(values, targets, 1.0).tolist() == [[[6.0, 3.0, 5.0]]]  # the target less each value
    assert token_advantages(values[..., :1], targets, 0.3).tolist() == [[[6.0]]]


def test_gains_end_where_the_ratio_is_clipped():
    ratios = torch.tensor([0.5, 1.0, 1.1, 2.0])
    assert clipped_gains(ratios, torch.tensor(2.0), 0.2).tolist() == pytest.approx([1.0, 2.0, 2.2, 2.4])
    assert clipped_gains(ratios, torch.tensor(-2.0), 0.2).tolist() == pytest.approx([-1.6, -2.0, -2.2, -4.0])


def test_only_slots_that_were_seen_have_a_share():
    assert shares(torch.tensor([[True, False], [True, True]])).tolist() == [
        [pytest.approx(1 / 3), 0.0],
        [pytest.approx(1 / 3)] * 2,
    ]
    assert shares(torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0.0, 0.0]]


def policy_gradient(agent, requests):
    """The step that one epoch of the policy would take, parameter by parameter."""
    taken = {}
    step = agent._actor_optimizer.step
    agent._actor_optimizer.step = lambda: taken.update(
        {name: parameter.grad.clone() for name, parameter in agent.actor.named_parameters()}
    )
    metrics = agent._learn_policy(requests)
    agent._actor_optimizer.step = step
    return taken, metrics


def test_each_levels_choice_follows_its_own_advantage(two_requests):
    agent, requests = two_requests(trace=0.0, epochs=1, entropy=0.0, supervised=0.0, max_gradient_norm=1e9)
    known = torch.tensor([[[1.0, 1.0]] * 3] * 2)  # of no prefix more than of another
    agent.critic.forward = lambda *_: (None, known)
    agent._targets = lambda _: (None, torch.tensor([[3.0] * 3] * 2))
    taken, metrics = policy_gradient(agent, requests)
    assert not taken["heads.0.weight"].any() and not taken["tokens.0.weight"].isnan().any()
    assert taken["heads.1.weight"].any()  # the last token alone brought more than was expected
    assert metrics["advantage_0"].item() == 0.0 and metrics["advantage_1"].item() == 2.0

    agent._targets = lambda _: (None, known[..., 0])
    known[..., 1] = 2.0  # now the first token raises hopes that the last disappoints
    known[..., 0] = 1.0
    taken, metrics = policy_gradient(agent, requests)
    assert taken["heads.0.weight"].any() and taken["heads.1.weight"].any()
    assert metrics["advantage_0"].item() == 1.0 and metrics["advantage_1"].item() == pytest.approx(1.0)


def test_one_critic_gives_all_tokens_the_error_of_the_item(two_requests):
    alone = {"entropy": 0.0, "supervised": 0.0, "max_gradient_norm": 1e9}
    agent, requests = two_requests(together=False, multi_level=False, epochs=1, **alone)
    agent.critic.forward = lambda *_: (None, torch.ones(2, 3, 1))
    agent._targets = lambda _: (None, torch.tensor([[3.0] * 3] * 2))
    taken, metrics = policy_gradient(agent, requests)
    asked = requests.observations, agent.tree, requests.observations["available"], agent.places(requests.items)
    log_probs, _ = agent.actor.token_log_probs(*asked)
    loss = -(2.0 * log_probs.sum(-1))[requests.is_seen].mean()
    expected = torch.autograd.grad(loss, list(agent.actor.parameters()))
    for gradient, found in zip(expected, taken.values(), strict=True):
        torch.testing.assert_close(found, gradient)
    assert "advantage_1" not in metrics


def test_a_token_that_the_slate_stays_with_was_chosen_once(two_requests):
    agent, _ = two_requests()
    codes = torch.tensor([[[2, 1, 0], [2, 1, 3], [2, 0, 3], [1, 0, 3]]])
    # The third token is another choice below another second one, and the last item shares tokens but no prefix.
    assert agent.actor.choices(codes).int().tolist() == [[[1, 1, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1]]]
    assert agent.actor.choices(codes[:, :1]).int().tolist() == [[[1, 1, 1]]]
    one_by_one, _ = two_requests(together=False)
    assert one_by_one.actor.choices(codes).all()


def test_only_choices_are_credited(two_requests):
    agent, requests = two_requests(epochs=1, entropy=0.0, supervised=0.0, max_gradient_norm=1e9)
    agent.critic.forward = lambda *_: (None, torch.ones(2, 3, 2))
    credit = torch.tensor([[3.0, 5.0, 7.0], [4.0, 6.0, 8.0]])
    agent._targets = lambda _: (None, credit)
    shown = [[1, 0], [1, 2], [3, 1]], [[2, 0], [0, 1], [0, 2]]  # items 1 to 3, and 4 to 6
    others = [[3, 0], [3, 2], [0, 0], [0, 3], [2, 2]]
    agent._take_codes(torch.tensor([[3, 3], *shown[0], *shown[1], *others]))
    taken, _ = policy_gradient(agent, requests)
    asked = requests.observations, agent.tree, requests.observations["available"], agent.places(requests.items)
    token = agent.actor.token_log_probs(*asked)[0]  # (2, 3, 2)
    # Of the five slots that were seen, only the first user's second item goes on with the token above it.
    chosen = 2 * token[0, 0].sum() + 4 * token[0, 1, 1] + 6 * token[0, 2].sum()
    chosen = chosen + 3 * token[1, 0].sum() + 5 * token[1, 1].sum()
    expected = torch.autograd.grad(-chosen / 5, list(agent.actor.parameters()))
    for gradient, found in zip(expected, taken.values(), strict=True):
        torch.testing.assert_close(found, gradient)


def test_the_supervised_and_entropy_terms_by_hand(two_requests):
    agent, requests = two_requests(epochs=1, entropy=0.3, supervised=0.7, max_gradient_norm=1e9)
    agent.critic.forward = lambda *_: (None, torch.zeros(2, 3, 2))
    agent._targets = lambda _: (None, torch.zeros(2, 3))
    taken, metrics = policy_gradient(agent, requests)
    asked = requests.observations, agent.tree, requests.observations["available"], agent.places(requests.items)
    log_probs, entropies = agent.actor.token_log_probs(*asked)
    item = log_probs.sum(-1)
    liked = (5 * item[0, 0] + item[0, 2] + item[1, 1]) / 5  # an order, two clicks; five slots were seen
    assert metrics["supervised_loss"].item() == pytest.approx(-liked.item(), rel=1e-3)
    assert metrics["entropy_1"].item() == pytest.approx(entropies[requests.is_seen][:, 1].mean().item())
    loss = -0.7 * liked - 0.3 * entropies[requests.is_seen].sum(-1).mean()
    expected = torch.autograd.grad(loss, list(agent.actor.parameters()))
    for gradient, found in zip(expected, taken.values(), strict=True):
        torch.testing.assert_close(found, gradient, rtol=2e-3, atol=1e-5)


def test_it_learns_when_enough_requests_were_gathered_from_those_alone(circle):
    env = circle(24, length=2)
    agent = make_agent("hsrl", env, **SMALL)
    learned, learn = [], agent._learn_policy
    agent._learn_policy = lambda requests: learned.append(requests) or learn(requests)
    seen, update = [], agent.update
    agent.update = lambda transitions: seen.append(transitions) or update(transitions)
    train(agent, env, 24 * 7)
    assert [len(requests.rewards) for requests in learned] == [72, 72]  # 64 are enough, and 24 come at a time
    for key in ("items", "responses", "rewards"):
        expected = np.concatenate([getattr(step, key) for step in seen[3:6]])
        np.testing.assert_array_equal(getattr(learned[1], key), expected)
    np.testing.assert_array_equal(
        learned[1].observations["available"], np.concatenate([step.observations["available"] for step in seen[3:6]])
    )


def test_requests_are_joined_in_order():
    def step(first):
        observations = {key: np.full((2, 3), first) for key in STATE_KEYS}
        after = {key: values + 10 for key, values in observations.items()}
        two = np.array([first, first + 1])
        return Transitions(
            observations | {"available": np.ones((2, 4), np.int8)},
            two[:, None],
            two[:, None],
            two * 1.0,
            after,
            two == 1,
            two == 0,
            two[:, None],
            two[:, None] > 0,
        )

    requests = joined([step(0), step(2)])
    assert requests.items.tolist() == [[0], [1], [2], [3]]
    assert requests.terminated.tolist() == [False, True, False, False]
    assert requests.next_observations["request"][:, 0].tolist() == [10, 10, 12, 12]
    assert requests.observations["available"].dtype == torch.bool


@pytest.mark.parametrize("name", ["hsrl", "hsrl-single-critic", "hsrl-flat"])
def test_finds_the_slate_for_each_context(circle, name):
    env = circle(64, never=(0,))
    agent = make_agent(name, env, seed=1, **FAST)
    train(agent, env, 6_000, seed=1)
    assert evaluate(agent, env, 256, seed=100).total_reward.mean() > 5  # of 6.4; random slates bring 1.75


@pytest.mark.parametrize(("name", "least", "most"), [("hsrl", 15.0, 20.0), ("hsrl-item-by-item", 0.0, 4.0)])
def test_finds_slates_of_one_kind_if_they_are_chosen_together(name, least, most):
    env = Kinds(64)
    agent = make_agent(name, env, seed=1, **FAST | {"codes": 6})
    train(agent, env, 6_000, seed=1)
    assert least <= evaluate(agent, env, 256, seed=100).total_reward.mean() <= most


@pytest.mark.parametrize(("inverted", "expected"), [(False, 5.0), (True, 1.0)])
def test_waits_for_what_comes_later_unless_the_mask_is_inverted(inverted, expected):
    env = Patience(64)
    agent = make_agent("hsrl", env, seed=2, **FAST | {"entropy": 0.1, "inverted_mask": inverted})
    train(agent, env, 6_000, seed=2)
    assert evaluate(agent, env, 64, seed=100).total_reward.mean() == expected  # an order then, or a click now


def test_an_unlikely_item_that_becomes_likely_at_once_leaves_numbers(two_requests):
    agent, requests = two_requests(epochs=3)
    with torch.no_grad():
        for head in agent.actor.heads:
            head.weight.mul_(1e3)
    agent._actor_optimizer.param_groups[0]["lr"] = 1.0
    agent._learn_policy(requests)
    assert all(parameter.isfinite().all() for parameter in agent.actor.parameters())


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in NAMES), ("hsrl", {"encoder": "attention"})])
def test_every_form_trains_in_recslate_and_shows_what_is_on_offer(simulator, name, settings):
    env = RecSlateVectorEnv(8, simulator=simulator, slate_size=3, max_requests=4, catalog_turnover=0.2, **TINY)
    shown, step = [], env.step

    def stepping(actions):
        shown.append(np.take_along_axis(observations[0], actions, 1).all())
        outcome = step(actions)
        observations[0] = outcome[0]["available"]
        return outcome

    observations = [env.reset(seed=3)[0]["available"]]
    env.step = stepping
    agent = make_agent(name, env, **SMALL | {"codes": 5, "levels": 3, "beam": 2} | settings)
    before = {key: tensor.clone() for key, tensor in agent.tensors().items()}
    curve = train(agent, env, 8 * 30, seed=3)
    assert all(shown) and len(shown) == 30
    parts = {"actor", "critic", "target"}
    changed = {key.split(".")[0] for key, tensor in agent.tensors().items() if not torch.equal(tensor, before[key])}
    assert changed == parts
    assert ("advantage_2" in curve[-1]) == (name not in ("hsrl-flat", "hsrl-single-critic"))
    assert agent.act(env.reset(seed=4)[0]).shape == (8, 3)  # from a beam narrower than the slate
    scores = agent.score(env.reset(seed=4)[0], np.tile([59, 0, 7], (8, 1)))
    assert scores.shape == (8, 3) and np.isfinite(scores).all()


def test_a_saved_agent_acts_as_the_one_it_was_saved_from(circle, tmp_path):
    env = circle(16)
    agent = make_agent("hsrl", env, seed=5, **SMALL)
    train(agent, env, 500)
    agent.codes[[0, 1]] = agent.codes[[1, 0]]  # other ids than a fit would give
    agent._take_codes(agent.codes)
    agent.save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent", env)
    observations, _ = env.reset(seed=7)
    np.testing.assert_array_equal(loaded.act(observations), agent.act(observations))
    items = np.tile(np.arange(12), (16, 1))
    np.testing.assert_array_equal(loaded.score(observations, items), agent.score(observations, items))


def test_an_agent_of_another_catalogue_is_refused(circle, tmp_path):
    make_agent("hsrl", circle(2), **SMALL).save(tmp_path / "agent")
    smaller = circle(2)
    smaller.item_embeddings, smaller.candidate_items = smaller.item_embeddings[:10], np.arange(10)
    with pytest.raises(ValueError, match=r"codes of shape \(12, 2\), allowed \(10, 2\)"):
        load_agent(tmp_path / "agent", smaller)


def test_the_seed_alone_decides_what_is_learned(circle):
    learned = []
    for seed in (3, 3, 4):
        env = circle(16)
        agent = make_agent("hsrl", env, seed=seed, **SMALL)
        train(agent, env, 500, seed=1)
        learned.append(agent.tensors())
    same = [torch.equal(tensor, learned[1][name]) for name, tensor in learned[0].items()]
    assert all(same)
    assert not torch.equal(learned[0]["actor.heads.0.weight"], learned[2]["actor.heads.0.weight"])
    assert torch.equal(learned[0]["codes"], learned[2]["codes"])


def test_a_training_that_was_killed_ends_like_one_that_was_not(simulator, tmp_path):
    def trained(folder=None, killed_at=None):
        env = RecSlateVectorEnv(8, simulator=simulator, slate_size=3, max_requests=4, **TINY)
        agent = make_agent("hsrl", env, seed=1, **SMALL | {"codes": 8, "requests_per_update": 24})
        step, left = env.step, [killed_at]

        def stepping(actions):
            left[0] = None if left[0] is None else left[0] - 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return step(actions)

        env.step = stepping
        train(agent, env, 8 * 25, seed=4, checkpoint=folder, checkpoint_every=8 * 5)
        return agent.tensors()

    expected = trained()
    for killed_at in (3, 8, 13):  # what was gathered is part of a checkpoint after 5, 10, ... steps
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "training", killed_at)
    found = trained(tmp_path / "training")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("levels", 0),
        ("gamma", 1.5),
        ("trace", -0.1),
        ("entropy", -1.0),
        ("clip", 0.0),
        ("critic_updates", -1),
        ("requests_per_update", 0),
    ],
)
def test_bad_settings(circle, setting, value):
    agent = make_agent("hsrl", circle(2), **SMALL)
    with pytest.raises(ValueError, match=f"HSRLConfig {setting}"):
        replace(agent.config, **{setting: value})
