"""The classifier cannot tell what is the same, and tells what is not."""

import dataclasses

import numpy as np
import pytest

from recsim_hrl.simulator.validity.session_features import past_features, response_features, whole_features
from recsim_hrl.simulator.validity.two_samples import discriminate, drawn, one_step, whole_sessions
from tests.simulator.validity.samples import sample_of_sessions

ITEMS = 6
CATEGORIES = np.arange(ITEMS) % 2


@pytest.fixture(scope="module")
def sample():
    """Users click on items of the second category twice as often, and twice as often again after a click."""
    generator = np.random.default_rng(0)
    sessions, items, rates = [], [], []
    for _ in range(600):
        shown, last, answers = generator.integers(0, ITEMS, 20), 0, []
        for item in shown:
            rates.append(0.1 * (1 + CATEGORIES[item]) * (1 + last))
            last = int(generator.random() < rates[-1])
            answers.append(last)
        sessions.append(answers)
        items.append(shown.tolist())
    found = sample_of_sessions(sessions, items=items)
    rates = np.array(rates)
    return dataclasses.replace(found, probs=np.stack([1 - rates, rates, 0 * rates], 1))


@pytest.fixture(scope="module")
def past(sample):
    embeddings = np.eye(ITEMS, dtype=np.float32)
    return past_features(sample, embeddings, CATEGORIES, np.tile([90, 9, 1], (ITEMS, 1)))


def test_a_perfect_simulator_cannot_be_told(sample, past):
    found = [one_step(sample, past, sample.probs, seed).told for seed in range(4)]
    assert sum(told.low <= 0.0 <= told.high for told in found) >= 3
    assert max(told.excess for told in found) < 0.01


def test_a_simulator_without_memory_is_told(sample, past):
    """It is right by item and wrong by what came before: the calibration of all it says is perfect."""
    rates = np.array([sample.probs[sample.item == item, 1].mean() for item in range(ITEMS)])[sample.item]
    found = one_step(sample, past, np.stack([1 - rates, rates, 0 * rates], 1))
    assert found.told.excess > 0.01
    # No classifier can do better than twice the mean distance of the probabilities.
    assert found.told.low < np.abs(rates - sample.probs[:, 1]).mean()


def test_whole_sessions_of_the_same_users_cannot_be_told(sample):
    other = sample.response.reshape(600, 20)[::-1].ravel()  # of other users with the same habits, on other items
    blind = dataclasses.replace(sample, item=np.zeros_like(sample.item))
    assert whole_sessions(blind, other, np.zeros(1, np.int64)).told.excess < 0.03


def test_whole_sessions_without_runs_are_told(sample):
    """The same number of clicks in each session, in another order: counts are the same, runs are not."""
    generator = np.random.default_rng(1)
    other = np.concatenate([generator.permutation(session) for session in sample.response.reshape(600, 20)])
    blind = dataclasses.replace(sample, item=np.zeros_like(sample.item))
    assert whole_sessions(blind, other, np.zeros(1, np.int64)).told.excess > 0.02


def test_pairs_that_are_the_same_count_half():
    real = np.ones((40, 1), np.float32)
    found = discriminate(real, 0 * real, np.arange(40), np.arange(100))
    assert found.picked.value == pytest.approx(0.4 + 0.6 / 2) and found.differing == 0.4


def test_nothing_that_differs_is_guessing():
    found = discriminate(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, int), np.arange(5))
    assert found.picked.value == 0.5 and found.told.value == 0.0


def test_draws_follow_the_probabilities():
    found = drawn(np.tile([0.6, 0.3, 0.1], (20_000, 1)), seed=0)
    np.testing.assert_allclose(np.bincount(found) / 20_000, [0.6, 0.3, 0.1], atol=0.012)


def test_a_skip_has_no_features():
    found = response_features(np.array([[2.0, 3.0]] * 3), np.array([0, 1, 2]))
    assert found.tolist() == [[0] * 6, [1, 0, 2, 3, 0, 0], [0, 1, 0, 0, 2, 3]]


def test_features_of_whole_sessions_by_hand():
    sample = sample_of_sessions([[0, 0, 0, 0], [0, 0]], items=[[0, 1, 0, 0], [0, 1]], click=0.2, order=0.05)
    first, second = whole_features(sample, np.array([0, 1, 1, 2, 0, 0]), np.array([0, 1]))
    expected = {
        0: np.log(4),  # impressions
        1: np.sqrt(4 * 0.25),  # clicks that were to be expected
        3: np.sqrt(3),  # clicks
        4: 1.0,  # orders
        5: np.log(2),  # the first click stands at step 1
        6: 3.0,  # clicks among the first ten
        7: 2 / 3,  # clicks in the second half
        8: np.log(2),  # most impressions without a click
        9: 2 / 3,  # clicks right after a click
        10: np.sqrt(2),  # most clicks of one category
        11: np.sqrt(2),  # categories that were clicked
        12: 1.0,  # orders in the second half
    }
    for place, value in expected.items():
        assert first[place] == pytest.approx(value, rel=1e-5), place
    assert second[3] == 0.0 and second[5] == pytest.approx(np.log(3))


def test_features_of_the_past_do_not_look_ahead(sample, past):
    """Another response changes nothing at or before its own place."""
    changed = sample.response.copy()
    changed[7] = 1 - changed[7]
    other = dataclasses.replace(sample, response=changed)
    embeddings = np.eye(ITEMS, dtype=np.float32)
    found = past_features(other, embeddings, CATEGORIES, np.tile([90, 9, 1], (ITEMS, 1)))
    differs = np.abs(found - past).max(1) > 1e-2  # standardising moves all of it a little
    assert differs[8:20].any() and not differs[:8].any() and not differs[20:].any()
