"""Measures of prediction, by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from recsim_hrl.simulator.validity.metrics import (
    auc,
    calibration_bins,
    expected_calibration_error,
    kendall_tau,
    log_loss,
    pr_auc,
)


def test_auc_by_hand():
    # Of the four pairs (positive, negative), 0.8 beats both and 0.4 ties with one and beats the other: 3.5 of 4.
    happened = np.array([True, False, True, False])
    assert auc(happened, np.array([0.8, 0.4, 0.4, 0.1])) == pytest.approx(3.5 / 4)


def test_pr_auc_by_hand():
    # Precision at the positives: 1/1 and 2/3.
    happened = np.array([True, False, True, False])
    assert pr_auc(happened, np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1.0 + 2.0 / 3.0) / 2)


@pytest.mark.parametrize("decimals", [1, 8])
def test_auc_and_pr_auc_are_those_of_scikit_learn_with_and_without_ties(decimals):
    generator = np.random.default_rng(0)
    score = generator.random(500).round(decimals)
    happened = generator.random(500) < 0.2 + 0.3 * score
    assert auc(happened, score) == pytest.approx(roc_auc_score(happened, score), abs=1e-12)
    assert pr_auc(happened, score) == pytest.approx(average_precision_score(happened, score), abs=1e-12)


def test_auc_and_pr_auc_are_nan_where_they_mean_nothing():
    nothing, score = np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3])
    assert math.isnan(auc(nothing, score)) and math.isnan(auc(~nothing, score))
    assert math.isnan(pr_auc(nothing, score))


def test_log_loss_by_hand_and_by_scikit_learn():
    probs = np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    assert log_loss(probs, np.array([0, 2])) == pytest.approx(-(math.log(0.7) + math.log(0.25)) / 2)
    generator = np.random.default_rng(1)
    probs = generator.dirichlet(np.ones(3), 200)
    responses = generator.integers(0, 3, 200)
    assert log_loss(probs, responses) == pytest.approx(sklearn_log_loss(responses, probs, labels=[0, 1, 2]))


def test_calibration_bins_hold_equally_many_predictions():
    probability = np.array([0.4, 0.1, 0.3, 0.2])
    happened = np.array([True, False, True, False])
    table = calibration_bins(happened, probability, bins=2)
    np.testing.assert_allclose(table, [[0.15, 0.0, 0.5], [0.35, 1.0, 0.5]])
    # |0.15 - 0| / 2 + |0.35 - 1| / 2
    assert expected_calibration_error(happened, probability, bins=2) == pytest.approx(0.4)


def test_calibration_error_of_a_perfect_forecast_is_its_noise_and_of_a_shifted_one_its_shift():
    generator = np.random.default_rng(2)
    probability = generator.uniform(0.1, 0.5, 200_000)
    happened = generator.random(200_000) < probability
    assert expected_calibration_error(happened, probability) < 0.005
    assert expected_calibration_error(happened, probability + 0.1) == pytest.approx(0.1, abs=0.005)


def test_fewer_predictions_than_bins():
    assert calibration_bins(np.array([True]), np.array([0.3])).tolist() == [[0.3, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("second", "tau"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([1, 2, 4, 3], 4 / 6), ([1, 1, 2, 3], 5 / 6)],
    ids=["same", "reversed", "one swap", "one tie"],
)
def test_kendall_tau_by_hand(second, tau):
    assert kendall_tau(np.array([10, 20, 30, 40]), np.array(second)) == pytest.approx(tau)
