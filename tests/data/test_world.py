"""The synthetic market: responses and changes of mind, by hand; what it hides, and what its log looks like."""

import math

import pytest
import torch

from recsim_hrl.data.world import LEVEL_WEIGHTS, TASTE_LEVELS, Users, World, WorldConfig, WorldState
from recsim_hrl.types import CLICK, ORDER, SKIP


@pytest.fixture(scope="module")
def world():
    return World(WorldConfig(items=30, categories=3, embedding_dim=6))


def state_of(taste, trust, presence, fatigue, interest, intent, trust_shift):
    """One user."""
    rows = [torch.tensor([row]) for row in (taste, presence, fatigue, interest, intent)]
    users = Users(torch.tensor([0]), rows[0], torch.tensor([trust]))
    return WorldState(users, *rows[1:], torch.tensor([trust_shift]))


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_response_probabilities_by_hand(world):
    c, item, category = world.config, 17, int(world.category[17])
    column = [0.0, 0.0, 0.0]
    column[category] = 1.0
    here = lambda value: [value * one for one in column]  # noqa: E731
    state = state_of(here(0.7), -0.4, here(2.3), here(8.5), here(1.2), here(0.9), 0.6)
    quality, allure, price = (float(x[item]) for x in (world.quality, world.allure, world.price_score))
    ready = 2.3**2 / (2.3**2 + c.presence_half**2)
    tired = 8.5 - c.fatigue_free
    trust = c.trust_span * math.tanh(0.6 / c.trust_span) - 0.4
    click = c.click_cap * sigmoid(
        c.click_bias
        + c.click_allure * allure
        + c.click_interest * math.tanh(0.6)
        + c.click_consideration * ready
        - c.click_tired * tired
        + c.click_trust * trust
        + 0.7
    )
    order = c.order_cap * sigmoid(
        c.order_bias
        + c.order_quality * quality
        - c.order_price * price
        + c.order_consideration * ready
        + 2.0 * c.order_intent * math.tanh(0.45)
        - c.order_tired * tired
        + c.order_trust * trust
        + c.order_taste * 0.7
    )
    probs = world.probs(state, torch.tensor([item]))[0, 0]
    assert probs.tolist() == pytest.approx([1.0 - click, click * (1.0 - order), click * order], abs=1e-6)
    other = next(i for i in range(30) if int(world.category[i]) != category)
    assert float(world.probs(state, torch.tensor([other]))[0, 0, SKIP]) != pytest.approx(1.0 - click, abs=1e-3)


def test_probs_take_items_for_all_or_for_each(world):
    state = world.initial(world.users(torch.tensor([1, 2])))
    items = torch.tensor([3, 20])
    alike = world.probs(state, items)
    assert alike.shape == (2, 2, 3)
    torch.testing.assert_close(world.probs(state, items.expand(2, -1)), alike)
    torch.testing.assert_close(alike.sum(-1), torch.ones(2, 2))


def test_changes_of_mind_by_hand(world):
    """A click, an order and a skip in one category, then what is left."""
    c, item = world.config, 5
    category, quality, allure = int(world.category[item]), float(world.quality[item]), float(world.allure[item])
    good, gap = sigmoid(1.5 * quality), quality - allure
    state = world.initial(world.users(torch.tensor([4])))
    for response in (CLICK, ORDER, SKIP):
        state = world.update(state, torch.tensor([item]), torch.tensor([response]))
    p, f, i, n, t = c.presence_decay, c.fatigue_decay, c.interest_decay, c.intent_decay, c.trust_decay
    assert float(state.presence[0, category]) == pytest.approx(p * p + p + 1.0, rel=1e-6)
    assert float(state.fatigue[0, category]) == pytest.approx(f * f + f + 1.0, rel=1e-6)
    assert float(state.interest[0, category]) == pytest.approx((i + 1.0) * i, rel=1e-6)
    # An order keeps a share of the intent, the click that it implies included.
    assert float(state.intent[0, category]) == pytest.approx((good * n + good) * c.intent_kept * n, rel=1e-5)
    assert float(state.trust_shift[0]) == pytest.approx(c.trust_step * gap * (t + 1.0) * t, rel=1e-5)
    others = [k for k in range(3) if k != category]
    for field in (state.presence, state.fatigue, state.interest, state.intent):
        assert field[0, others].tolist() == [0.0, 0.0]


def test_other_categories_let_consideration_fade(world):
    first, second = 0, 29  # items are sorted by category
    state = world.initial(world.users(torch.tensor([4])))
    state = world.update(state, torch.tensor([first]), torch.tensor([SKIP]))
    state = world.update(state, torch.tensor([second]), torch.tensor([SKIP]))
    assert float(state.presence[0, int(world.category[first])]) == pytest.approx(world.config.presence_decay)
    assert float(state.trust_shift[0]) == 0.0  # a skip teaches nothing about the shop


def test_update_returns_a_new_state(world):
    state = world.initial(world.users(torch.tensor([4])))
    world.update(state, torch.tensor([3]), torch.tensor([ORDER]))
    assert float(state.presence.sum() + state.intent.sum() + state.trust_shift.abs().sum()) == 0.0


def test_a_user_is_the_same_alone_and_among_others(world):
    alone, among = world.users(torch.tensor([11])), world.users(torch.arange(50))
    assert torch.equal(alone.taste[0], among.taste[11]) and float(alone.trust[0]) == float(among.trust[11])


def test_another_seed_makes_other_users_and_items(world):
    other = World(WorldConfig(items=30, categories=3, embedding_dim=6, seed=1))
    assert not torch.equal(other.users(torch.arange(50)).taste, world.users(torch.arange(50)).taste)
    assert not torch.equal(other.quality, world.quality)
    again = World(world.config)
    assert torch.equal(again.catalogue.embeddings, world.catalogue.embeddings)


def test_hidden_levels_have_the_weights_that_bayes_sums_over(world):
    users = world.users(torch.arange(40_000))
    for levels in (users.taste[:, 0], users.taste[:, 2]):
        for level, weight in zip(TASTE_LEVELS, LEVEL_WEIGHTS, strict=True):
            assert float((levels == torch.tensor(level)).float().mean()) == pytest.approx(weight, abs=0.01)
    assert float(users.trust.mean()) == pytest.approx(0.0, abs=0.01)
    correlation = torch.corrcoef(torch.stack([users.taste[:, 0], users.taste[:, 1], users.trust]))
    assert float((correlation - torch.eye(3)).abs().max()) < 0.02


def test_every_category_has_items_and_they_stand_together(world):
    counts = torch.bincount(world.category, minlength=3)
    assert int(counts.min()) >= 1 and int(counts.sum()) == 30
    assert bool((world.category.diff() >= 0).all())


def test_click_bait_looks_better_than_it_is():
    world = World(WorldConfig(items=20_000))
    assert float(torch.corrcoef(torch.stack([world.quality, world.allure]))[0, 1]) == pytest.approx(-0.3, abs=0.03)
    assert float(world.quality.std()) == pytest.approx(1.0, abs=0.03)


def test_the_embedding_shows_a_trait_in_part():
    """A linear regression on embeddings and categories finds quality, and not all of it."""
    world = World(WorldConfig(items=4000))
    inputs = torch.cat([world.catalogue.embeddings, torch.nn.functional.one_hot(world.category).float()], -1)
    guess = inputs @ torch.linalg.lstsq(inputs, world.quality.unsqueeze(1), driver="gelsd").solution
    explained = 1.0 - float((world.quality - guess.squeeze(1)).var() / world.quality.var())
    assert 0.7 < explained < 0.99


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"items": 3, "categories": 4}, "got 3 items in 4 categories"),
        ({"categories": 1}, "in 1 categories"),
        ({"embedding_dim": 3}, "embedding_dim: got 3, allowed 4 or more"),
        ({"trust_decay": 1.0}, "trust_decay: got 1.0"),
    ],
)
def test_impossible_worlds(fields, message):
    with pytest.raises(ValueError, match=message):
        WorldConfig(**fields)
