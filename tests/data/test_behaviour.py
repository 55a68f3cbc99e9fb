"""The logging policy and the log it writes: propensities are true, nothing is shown twice, Table 1 is met."""

import numpy as np
import pytest
import torch

from recsim_hrl.data.behaviour import BehaviourConfig, Tactic
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import simulate_visits, write_log
from recsim_hrl.types import CLICK, ORDER

TINY = WorldConfig(items=8, categories=2, embedding_dim=4)
VISITS = 20_000


def behaviour(**fields):
    """Visits that nobody leaves within a few impressions."""
    return BehaviourConfig(**{"leave_rate": 1e-9, "trust_leaving": 0.0, **fields})


@pytest.fixture(scope="module")
def world():
    return World(TINY)


@pytest.fixture(scope="module")
def visits(world):
    """Visits of three impressions under the default mix."""
    return simulate_visits(world, behaviour(max_length=3, stretch=2.0), torch.arange(VISITS), user_pool=1000)


def test_the_first_propensities_are_a_softmax_within_the_category(world, visits):
    """A visit starts without clicks, so categories are alike and items follow the score of the tactic."""
    first = visits.step == 0
    config = BehaviourConfig()
    scores = {
        "uniform": torch.zeros(8),
        "popular": world.allure,
        "good": world.quality,
        "balanced": 0.5 * (world.allure + world.quality),
    }
    for number, tactic in enumerate(config.tactics):
        rows = first & (visits.tactic == number)
        assert bool(rows.any())
        weights = torch.exp(scores[tactic.score] * tactic.sharpness).double()
        share = weights / torch.stack([weights[world.category == k].sum() for k in range(2)])[world.category]
        torch.testing.assert_close(visits.propensity[rows], 0.5 * share[visits.item[rows]], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_weighting_by_the_propensity_gives_each_item_its_due(world, step):
    """E[1{item shown} / propensity] is the chance that the item could still be shown."""
    mild = (  # tactics whose weights have a small variance
        Tactic(0.5, stay=0.0, follow=0.5, score="uniform", sharpness=0.0),
        Tactic(0.5, stay=0.5, follow=0.5, score="good", sharpness=0.5),
    )
    config = behaviour(tactics=mild, max_length=3, stretch=2.0)
    visits = simulate_visits(world, config, torch.arange(VISITS), user_pool=1000)
    items = visits.item.view(VISITS, 3).numpy()
    propensity = visits.propensity.view(VISITS, 3).numpy()[:, step]
    assert 0.0 < propensity.min() and propensity.max() <= 1.0
    for item in range(8):
        weighted = (items[:, step] == item) / propensity
        left = 1.0 - (items[:, :step] == item).any(1).mean()
        assert weighted.mean() == pytest.approx(left, abs=4.0 * weighted.std() / VISITS**0.5 + 1e-9)


def test_propensities_are_the_frequencies_of_what_is_shown(visits):
    """Of impressions that a tactic shows first with propensity p, a share p of its first impressions is that item."""
    first = visits.step == 0
    for tactic in range(len(BehaviourConfig().tactics)):
        rows = first & (visits.tactic == tactic)
        counts = np.bincount(visits.item[rows].numpy(), minlength=8) / int(rows.sum())
        for item in range(8):
            shown = rows & (visits.item == item)
            if bool(shown.any()):
                expected = float(visits.propensity[shown][0])
                noise = (expected * (1.0 - expected) / int(rows.sum())) ** 0.5
                assert counts[item] == pytest.approx(expected, abs=4.5 * noise)


def test_a_visit_that_nobody_leaves_shows_every_item_once(world):
    shown = simulate_visits(world, behaviour(), torch.arange(200), user_pool=50)
    items = shown.item.view(200, 8)
    assert torch.equal(items.sort(1).values, torch.arange(8).expand(200, -1))
    last = shown.propensity.view(200, 8)[:, -1]
    torch.testing.assert_close(last, torch.ones_like(last), rtol=1e-4, atol=0.0)


def test_a_visit_can_be_made_again_without_the_others(world):
    config = BehaviourConfig(max_length=6)
    together = simulate_visits(world, config, torch.arange(40), user_pool=9, seed=3)
    alone = simulate_visits(world, config, torch.tensor([17]), user_pool=9, seed=3)
    rows = together.session == 17
    for name in ("step", "user", "item", "response", "tactic"):
        assert torch.equal(getattr(together, name)[rows], getattr(alone, name)), name
    other = simulate_visits(world, config, torch.arange(40), user_pool=9, seed=4)
    assert not torch.equal(other.user.unique_consecutive(), together.user.unique_consecutive())


def test_lengths_are_geometric_where_patience_is_alike_and_trust_does_not_matter():
    config = behaviour(leave_rate=0.2, patience_spread=0.0)
    world = World(WorldConfig(items=400, categories=2, embedding_dim=4))
    visits = simulate_visits(world, config, torch.arange(8000), user_pool=500)
    lengths = np.bincount(visits.session.numpy())
    assert lengths.mean() == pytest.approx(5.0, abs=0.2)  # standard error 0.05
    assert (lengths == 1).mean() == pytest.approx(0.2, abs=0.02)


def test_lost_trust_makes_users_leave():
    world = World(WorldConfig(items=400, categories=2, embedding_dim=4))
    bait = (Tactic(1.0, stay=0.0, follow=0.0, score="popular", sharpness=4.0),)
    lengths = [
        len(
            simulate_visits(
                world,
                BehaviourConfig(tactics=bait, leave_rate=0.05, trust_leaving=weight),
                torch.arange(800),
                user_pool=500,
            ).step
        )
        for weight in (0.0, 2.0)
    ]
    assert lengths[1] < 0.9 * lengths[0]


def test_only_a_confounded_logger_knows_what_users_like(world):
    def mean_taste(confounded: bool) -> float:
        config = behaviour(max_length=1, confounded=confounded)
        first = simulate_visits(world, config, torch.arange(VISITS), user_pool=5000)
        taste = world.users(first.user).taste
        return float(taste.gather(1, world.category[first.item].unsqueeze(1)).mean())

    assert mean_taste(False) == pytest.approx(0.0, abs=0.03)
    assert mean_taste(True) > 0.2


def test_statistics_of_the_default_log_are_those_of_table_1():
    visits = simulate_visits(World(), BehaviourConfig(), torch.arange(9000), user_pool=4000, seed=5)
    clicks, orders = int((visits.response >= CLICK).sum()), int((visits.response == ORDER).sum())
    lengths = np.bincount(visits.session.numpy())
    assert clicks / len(visits.step) == pytest.approx(0.098, abs=0.005)
    assert orders / clicks == pytest.approx(0.055, abs=0.005)
    assert lengths.mean() == pytest.approx(46.5, abs=2.0)
    assert np.quantile(lengths, 0.95) > 2.5 * lengths.mean()  # the long tail
    pairs = visits.session * 10_000 + visits.item
    assert len(pairs.unique()) == len(pairs)  # nothing is shown twice in a visit


def test_write_log_writes_whole_visits_and_says_where_they_come_from(world, tmp_path):
    log = InteractionLog.open(write_log(world, tmp_path / "log", impressions=900, seed=2, batch=16))
    log.validate()
    assert 900 <= log.rows < 900 + 16 * 8 * 2
    assert WorldConfig(**log.metadata["world"]) == TINY and log.metadata["seed"] == 2
    assert log.metadata["behaviour"]["confounded"] is False
    starts = log.load().start_seconds
    assert bool((np.diff(starts) >= 0).all())  # visits are numbered in order of time
    again = InteractionLog.open(write_log(world, tmp_path / "again", impressions=900, seed=2, batch=400))
    shorter = min(log.rows, again.rows)
    np.testing.assert_array_equal(log.load().item_index[:shorter], again.load().item_index[:shorter])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tactics": (Tactic(0.5, 0.0, 0.0, "good", 1.0),)}, "shares sum to 0.5"),
        ({"tactics": (Tactic(1.0, 0.0, 0.0, "best", 1.0),)}, r"unknown item scores \['best'\]"),
        ({"leave_rate": 0.0}, "leave_rate: got 0.0"),
    ],
)
def test_impossible_behaviour(fields, message):
    with pytest.raises(ValueError, match=message):
        BehaviourConfig(**fields)
