"""HSRL's networks against the same written slowly: item by item, token by token."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.hsrl_networks import ItemPolicy, PrefixCritic, TokenPolicy
from recsim_hrl_agents.slates.token_tree import TokenTree

CODES = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [1, 2], [2, 1], [2, 2], [2, 0], [1, 1], [3, 0], [3, 3], [0, 3]])
FORMS = {"autoregressive": (True, True), "independent": (True, False), "no residual": (False, True)}


@pytest.fixture
def market(circle):
    return Market.of(circle(2))


@pytest.fixture
def observations(circle):
    seen, _ = circle(5).reset(seed=3)
    return seen


@pytest.fixture
def available():
    draws = torch.Generator().manual_seed(1)
    return torch.rand((5, 12), generator=draws) < 0.6


def policy(market, form, scale=3.0, together=False):
    torch.manual_seed(4)
    network = TokenPolicy(market, "means", 8, 4, 2, *FORMS[form], together)
    with torch.no_grad():
        for head in network.heads:
            head.weight *= scale  # far from all tokens alike
    return network


def slow_log_prob(network, state, item, available):
    """Log-probability of one item for one user, and the entropy at each level."""
    context, total, entropies = state, 0.0, []
    for level, token in enumerate(CODES[item].tolist()):
        logits = network.heads[level](context)
        prefix = CODES[item, :level]
        open_items = [i for i in range(12) if available[i] and (CODES[i, :level] == prefix).all()]
        open_tokens = sorted({int(CODES[i, level]) for i in open_items})
        chances = logits[open_tokens].softmax(0)
        total += float(chances[open_tokens.index(token)].log())
        entropies.append(float(-(chances * chances.log()).sum()))
        if level == 0 and network.residual:
            table = network.tokens[0].weight
            taken = table[token] if network.autoregressive else logits.softmax(0) @ table
            left = context - taken
            norm = network.norms[0]
            context = (left - left.mean()) / (left.var(unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
    return total, entropies


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_tokens_are_as_likely_as_by_hand_and_items_sum_to_one(market, observations, available, form):
    network, tree = policy(market, form), TokenTree(CODES, 4)
    places = torch.arange(12).expand(5, -1)
    log_probs, entropies = network.token_log_probs(observations, tree, available, places)
    states = network.state(observations)
    for user in range(5):
        items = torch.nonzero(available[user]).flatten().tolist()
        for item in items:
            total, by_level = slow_log_prob(network, states[user], item, available[user])
            assert log_probs[user, item].sum().item() == pytest.approx(total, abs=1e-5)
            assert entropies[user, item].tolist() == pytest.approx(by_level, abs=1e-5)
        assert log_probs[user, items].sum(-1).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_best_items_are_the_likeliest_that_can_be_shown(market, observations, available, form):
    network, tree = policy(market, form), TokenTree(CODES, 4)
    everything = torch.ones_like(available)
    for shown in (available, everything):
        log_probs, _ = network.token_log_probs(observations, tree, shown, torch.arange(12).expand(5, -1))
        expected = log_probs.sum(-1).masked_fill(~shown, -torch.inf).topk(3, 1).indices
        assert torch.equal(network.best(observations, tree, shown, 3, 12, None), expected)
        narrow = network.best(observations, tree, shown, 3, 3, None)
        assert shown.gather(1, narrow).all()
        assert all(len(set(slate)) == 3 for slate in narrow.tolist())


@torch.no_grad()
def test_a_narrow_beam_keeps_the_likeliest_prefixes(market, observations):
    network, tree = policy(market, "autoregressive"), TokenTree(CODES, 4)
    everything = torch.ones(5, 12, dtype=torch.bool)
    first = network.heads[0](network.state(observations)).argmax(-1)
    best = network.best(observations, tree, everything, 1, 1, None)[:, 0]
    assert torch.equal(CODES[best, 0], first)


@pytest.mark.parametrize("form", [*FORMS, "flat"])
@torch.no_grad()
def test_drawn_slates_follow_plackett_and_luce(market, observations, form):
    torch.manual_seed(2)
    network = ItemPolicy(market, "means", 8) if form == "flat" else policy(market, form, 1.0)
    tree, users = TokenTree(CODES, 4), 40_000
    one = {key: values[:1] for key, values in observations.items()}
    shown = torch.zeros(1, 12, dtype=torch.bool)
    shown[:, [1, 2, 3, 6, 10]] = True
    log_probs, _ = network.token_log_probs(one, tree, shown, torch.arange(12)[None])
    chances = log_probs.sum(-1).exp()[0]  # (12,)
    many = {key: np.repeat(values, users, 0) for key, values in one.items()}
    rng = np.random.default_rng(0)
    slates = network.best(
        many, tree, shown.expand(users, -1), 2, 64, lambda size, width: rng.random((size, width), np.float32)
    )
    for first, second in permutations([1, 2, 3, 6, 10], 2):
        expected = (chances[first] * chances[second] / (1 - chances[first])).item()
        found = ((slates[:, 0] == first) & (slates[:, 1] == second)).float().mean().item()
        assert found == pytest.approx(expected, abs=4 * (expected / users) ** 0.5)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_a_slate_stays_with_the_likeliest_token_until_nothing_is_left_under_it(market, observations, available, form):
    network, tree = policy(market, form, together=True), TokenTree(CODES, 4)
    chances = network.token_log_probs(observations, tree, available, torch.arange(12).expand(5, -1))[0].exp()
    expected = [
        sorted(torch.nonzero(shown).flatten().tolist(), key=lambda i, own=own: (-own[i][0], -own[i][1]))[:5]
        for own, shown in zip(chances.tolist(), available, strict=True)
    ]
    slates = network.best(observations, tree, available, 5, 64, None).tolist()
    assert slates == expected
    kinds = [[int(CODES[item, 0]) for item in slate] for slate in slates]
    assert all(len(set(kind)) < 5 for kind in kinds) and any(len(set(kind)) > 1 for kind in kinds)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_drawn_slates_stay_with_a_token_that_is_drawn_as_likely_as_it_is(market, observations, form):
    network, tree, users = policy(market, form, 1.0, together=True), TokenTree(CODES, 4), 40_000
    one = {key: values[:1] for key, values in observations.items()}
    shown = torch.zeros(1, 12, dtype=torch.bool)
    shown[:, [1, 2, 3, 6, 10]] = True  # two begin with 0, one each with 1, 2 and 3
    own = network.token_log_probs(one, tree, shown, torch.arange(12)[None])[0].exp()[0]  # (12, 2)
    many = {key: np.repeat(values, users, 0) for key, values in one.items()}
    rng = np.random.default_rng(0)
    slates = network.best(
        many, tree, shown.expand(users, -1), 3, 64, lambda size, width: rng.random((size, width), np.float32)
    )
    # The first kind and its items in turn, then another kind among those that are left.
    chances = {}
    for first, second, third in permutations([1, 2, 3, 6, 10], 3):
        if {first, second} == {1, 2}:
            chance = own[first].prod() * own[third, 0] / (1 - own[1, 0])
        elif {second, third} == {1, 2}:
            chance = own[first, 0] * own[second].prod() / (1 - own[first, 0])
        elif 1 in (first, second) or 2 in (first, second):
            chance = own.new_zeros(())
        else:  # three kinds; the third is drawn with its item
            chance = own[first, 0] * own[second, 0] / (1 - own[first, 0])
            chance = chance * own[third].prod() / (1 - own[first, 0] - own[second, 0])
        chances[first, second, third] = chance.item()
    assert sum(chances.values()) == pytest.approx(1.0, abs=1e-5)
    for (first, second, third), expected in chances.items():
        found = (slates == torch.tensor([first, second, third])).all(1).float().mean().item()
        assert found == pytest.approx(expected, abs=4 * (expected / users) ** 0.5)


@torch.no_grad()
def test_when_fewer_prefixes_than_items_are_open_all_of_their_items_are_found(market, observations):
    tree, shown = TokenTree(CODES, 4), torch.zeros(5, 12, dtype=torch.bool)
    shown[:, [9, 10]] = True  # both begin with 3
    rng = np.random.default_rng(0)
    for draw, together in product((None, lambda size, width: rng.random((size, width), np.float32)), (False, True)):
        network = policy(market, "autoregressive", together=together)
        slates = network.best(observations, tree, shown, 2, 2, draw)
        assert slates.sort(1).values.tolist() == [[9, 10]] * 5


@pytest.mark.parametrize("form", FORMS)
def test_a_levels_log_probability_teaches_the_levels_above_only_through_the_context(market, observations, form):
    network, tree = policy(market, form), TokenTree(CODES, 4)
    log_probs, _ = network.token_log_probs(
        observations, tree, torch.ones(5, 12, dtype=torch.bool), torch.arange(12).expand(5, -1)
    )
    reached = {
        level: {
            name: gradient is not None and bool(gradient.any())
            for (name, _), gradient in zip(
                network.named_parameters(),
                torch.autograd.grad(
                    log_probs[:, :5, level].sum(), list(network.parameters()), retain_graph=True, allow_unused=True
                ),
                strict=True,
            )
        }
        for level in (0, 1)
    }
    assert reached[0]["heads.0.weight"] and not reached[0]["heads.1.weight"]
    assert reached[1]["heads.1.weight"] and reached[1]["state.merge.0.weight"]
    if form != "no residual":
        assert not reached[0]["tokens.0.weight"] and reached[1]["tokens.0.weight"]
    assert reached[1]["heads.0.weight"] == (form == "independent")  # through the expected token


@torch.no_grad()
def test_scores_are_log_probabilities_where_every_code_is_an_item(market, observations):
    full = torch.cartesian_prod(torch.arange(4), torch.arange(4))  # (16, 2) every code
    network, items = policy(market, "autoregressive"), torch.tensor([[3, 7]] * 5)
    tree, everything = TokenTree(full, 4), torch.ones(5, 16, dtype=torch.bool)
    log_probs, _ = network.token_log_probs(observations, tree, everything, items)
    torch.testing.assert_close(network.scores(observations, items, full[items]), log_probs.sum(-1))


@torch.no_grad()
def test_the_critics_prefixes_by_hand(market, observations):
    torch.manual_seed(0)
    critic = PrefixCritic(market, "means", 8, 4, 3)
    codes = torch.tensor([[[0, 1, 2], [3, 0, 1], [2, 2, 0]]] * 5)
    of_state, values = critic(observations, codes)
    state = critic.state(observations)
    torch.testing.assert_close(of_state, critic.of_state(state)[:, 0])
    torch.testing.assert_close(of_state, critic.values(observations))
    for slot in range(3):
        context = state + critic.slots.weight[slot]
        for depth in range(3):
            torch.testing.assert_close(values[:, slot, depth], critic.heads[depth](context)[:, 0])
            if depth < 2:
                left = context - critic.tokens[depth].weight[codes[0, slot, depth]]
                context = (left - left.mean(-1, keepdim=True)) / (
                    left.var(-1, unbiased=False, keepdim=True) + 1e-5
                ).sqrt()


def test_entropies_teach_where_tokens_are_forbidden_as_well(market, observations):
    network, tree = policy(market, "autoregressive"), TokenTree(CODES, 4)
    shown = torch.ones(5, 12, dtype=torch.bool)
    shown[:, [9, 10]] = False  # nothing is left that begins with 3
    _, entropies = network.token_log_probs(observations, tree, shown, torch.zeros(5, 1, dtype=torch.long))
    found = torch.autograd.grad(entropies[..., 0].sum(), network.heads[0].weight)[0]
    chances = network.heads[0](network.state(observations))[:, :3].softmax(-1)
    expected = torch.autograd.grad(-(chances * chances.log()).sum(), network.heads[0].weight)[0]
    torch.testing.assert_close(found, expected)
    assert found[:3].any() and not found[3].any()
