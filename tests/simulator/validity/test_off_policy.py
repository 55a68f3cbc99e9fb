"""Off-policy values: chances by enumeration, estimates by hand, and a market whose truth is known."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from recsim_hrl.simulator.policies import reward_value
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator, random_simulator
from recsim_hrl.simulator.validity import off_policy
from recsim_hrl.simulator.validity.intervals import UserBootstrap
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.off_policy import CUT, estimate, off_policy_values, weigh
from recsim_hrl.simulator.validity.replay import Player, free_run, still_on
from tests.simulator.validity.samples import sample_of_sessions

ITEMS, LENGTH = 12, 5
VALUES = np.array([0.3, 0.9, 0.3, 0.1, 0.5, 0.7, 0.2, 0.3])
"""Of eight items, three of which are alike."""


def best(items) -> int:
    """The item of the highest value, the first of equals."""
    return max(items, key=lambda item: (VALUES[item], -item))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_chances_and_values_by_enumeration(size):
    """All choices of ``size`` items among the eight less item 4, which was shown before; item 2 is shown now."""
    allowed = [item for item in range(8) if item != 4]
    winners = [best(choice) for choice in itertools.combinations(allowed, size)]
    pool, mask = np.arange(8)[None], np.array([[item in allowed for item in range(8)]])
    for item in allowed:
        value = np.append(VALUES, VALUES[item])[None]
        is_other = mask & (pool != item)
        chance, direct = off_policy._chances(value, pool, np.array([item]), mask, is_other, (size,), len(allowed))
        assert chance[0, 0] == pytest.approx(winners.count(item) / len(winners))
        assert direct[0, 0] == pytest.approx(np.mean(VALUES[winners]))


def test_a_pool_stands_for_the_catalogue_without_bias():
    """The mean over all pools of four of the eight items is what the whole catalogue gives."""
    chances, directs = [], []
    for pool in itertools.combinations(range(8), 4):
        pool = np.array(pool)[None]
        value, every = np.append(VALUES[pool[0]], VALUES[5])[None], np.ones((1, 4), bool)
        chance, direct = off_policy._chances(value, pool, np.array([5]), every, pool != 5, (2,), 8)
        chances.append(chance[0, 0])
        directs.append(direct[0, 0])
    winners = [best(choice) for choice in itertools.combinations(range(8), 2)]
    assert np.mean(chances) == pytest.approx(winners.count(5) / len(winners))
    assert np.mean(directs) == pytest.approx(np.mean(VALUES[winners]))


def test_too_few_items_to_choose_from():
    mask = np.array([[True, False, False]])
    chance, direct = off_policy._chances(
        np.ones((1, 4)), np.arange(3)[None], np.array([0]), mask, ~mask & mask, (2,), 1
    )
    assert np.isnan(chance).all() and np.isnan(direct).all()


def test_estimates_by_hand():
    """Four impressions of two users; the second weight is beyond the cut."""
    weights, reward = np.array([1.0, 2 * CUT, 0.0, 2.0]), np.array([1.0, 5.0, 0.0, 0.0])
    direct, predicted = np.array([0.5, 0.5, 1.5, 1.5]), np.array([0.5, 4.0, 1.0, 1.0])
    found = estimate(1, weights, direct, predicted, reward, UserBootstrap(np.array([0, 0, 1, 1])))
    cut = np.array([1.0, CUT, 0.0, 2.0])
    assert found.simulator.value == 1.0
    assert found.ips.value == pytest.approx((1.0 + 10 * CUT) / 4)
    assert found.mean_weight.value == pytest.approx((3.0 + 2 * CUT) / 4)
    assert found.snips.value == pytest.approx((1.0 + 5 * CUT) / (3.0 + CUT))
    error = (0.5 + CUT * 1.0 - 2.0) / (3.0 + CUT)
    assert found.correction.value == pytest.approx(error)
    assert found.doubly_robust.value == pytest.approx(1.0 + error)
    assert found.checked == pytest.approx(cut.mean())
    assert found.effective_sample_size == pytest.approx(cut.sum() ** 2 / (cut**2).sum())
    assert not found.has_support


def test_weights_of_random_choice():
    """One of the items not shown yet, each alike, against the propensity; any item where the log repeats items."""
    simulator = random_simulator(items=ITEMS)
    propensity = np.array([0.5, 0.25, 0.5])
    fresh = sample_of_sessions([[0, 1, 0]], items=[[3, 4, 5]], propensity=propensity)
    found = weigh(simulator, fresh, (1,), 0).weights[:, 0]
    np.testing.assert_allclose(found, [1 / 12 / 0.5, 1 / 11 / 0.25, 1 / 10 / 0.5])
    repeated = sample_of_sessions([[0, 1, 0]], items=[[3, 4, 3]], propensity=propensity)
    np.testing.assert_allclose(weigh(simulator, repeated, (1,), 0).weights[:, 0], 1 / 12 / propensity)


def market_log(truth: Simulator, sessions: int) -> LogSample:
    """A log of random items, each once a session, that users like ``truth`` answered."""
    generator = np.random.default_rng(3)
    items = np.concatenate([generator.permutation(ITEMS)[:LENGTH] for _ in range(sessions)])
    offsets, users = np.arange(sessions + 1) * LENGTH, np.arange(sessions)
    asked = Sequences.build(items, np.zeros(len(items)), offsets, users, users)
    responses = free_run(truth, asked, users, 0)
    answered = Sequences.build(items, responses, offsets, users, users)
    propensity = 1.0 / (ITEMS - np.tile(np.arange(LENGTH), sessions))
    probs = np.full((len(items), 3), 1 / 3)
    return LogSample(answered, users, items, responses.astype(np.int64), probs, propensity)


def true_value(truth: Simulator, judged: Simulator, sample: LogSample, size: int) -> float:
    """What the best of ``size`` items in the eyes of ``judged`` brings with users like ``truth``."""
    players = [Player(one, sample.sequences) for one in (truth, judged)]
    total = []
    for group in players[0].groups(sample.sessions):
        memories = [player.memory(sample.sessions[group]) for player in players]
        shown = np.zeros((len(group), ITEMS), bool)
        for step, rows in players[0].steps(sample.sessions[group]):
            memories = [still_on(memory, len(rows)) for memory in memories]
            everything = np.tile(np.arange(ITEMS), (len(rows), 1))
            true, seen = (
                reward_value(player.probs(memory, step, everything))
                for player, memory in zip(players, memories, strict=True)
            )
            order = np.argsort(np.where(shown, np.inf, -seen), 1)  # the best first, those shown last
            left = ITEMS - step
            chance = [math.comb(left - 1 - rank, size - 1) / math.comb(left, size) for rank in range(left)]
            total.append(np.take_along_axis(true, order, 1)[:, :left] @ chance)
            item = sample.sequences.items[rows].astype(np.int64)
            shown[np.arange(len(rows)), item] = True
            for player, memory in zip(players, memories, strict=True):
                player.update(memory, step, item, sample.sequences.responses[rows].astype(np.int64))
    return float(np.concatenate(total).mean())


def test_the_truth_is_found_and_a_wrong_simulator_with_it():
    truth = random_simulator(items=ITEMS)
    other = dataclasses.replace(truth, model=random_simulator(items=ITEMS, seed=8).model)
    sample = market_log(truth, 1500)
    for judged, is_right in ((truth, True), (other, False)):
        found = off_policy_values(judged, sample)
        assert [value.choices for value in found] == [1, 2, 5]  # of twelve items
        for value in found:
            expected = true_value(truth, judged, sample, value.choices)
            assert value.doubly_robust.low <= expected <= value.doubly_robust.high
            assert value.snips.low <= expected <= value.snips.high
            assert value.mean_weight.value == pytest.approx(1.0, abs=0.06)
            assert value.has_support and (value.shown_error < 0.02) is is_right


def test_what_was_shown_is_out_of_the_choice():
    """Of twelve items one was shown, so the best of eleven is the best of all others; the shown one was better."""
    simulator = random_simulator(items=ITEMS)
    everything = np.arange(ITEMS)[None]

    def values(item: int) -> np.ndarray:
        """(12,) predicted rewards after a click on ``item``."""
        sample = sample_of_sessions([[1, 0]], items=[[item, (item + 1) % ITEMS]], propensity=np.ones(2))
        player = Player(simulator, sample.sequences)
        memory = player.memory(np.array([0]))
        player.update(memory, 0, np.array([item]), np.array([1]))
        return reward_value(player.probs(memory, 1, everything))[0]

    shown = next(item for item in range(ITEMS) if values(item).argmax() == item)
    sample = sample_of_sessions([[1, 0]], items=[[shown, (shown + 1) % ITEMS]], propensity=np.ones(2))
    found = weigh(simulator, sample, (11,), 0)
    left = np.delete(values(shown), shown)
    assert found.direct[found.row == 1, 0] == pytest.approx(left.max(), rel=1e-5)
    assert values(shown).max() > left.max()
