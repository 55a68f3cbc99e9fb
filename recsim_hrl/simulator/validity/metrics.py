"""Measures of prediction, in NumPy; tests hold them against scikit-learn and hand-computed values."""

import numpy as np


def auc(happened: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; ties count half. ``nan`` where only one class is present.

    Args:
        happened: (n,) bool.
        score: (n,) higher means likelier.
    """
    positives = int(happened.sum())
    negatives = len(happened) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]  # (n,) mean rank of tied scores, from 1
    return float((ranks[happened].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def pr_auc(happened: np.ndarray, score: np.ndarray) -> float:
    """Average precision: the mean of the precision at each positive, tied scores taken together."""
    if not happened.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(happened[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    hits, shown = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    return float((np.diff(hits, prepend=0) * hits / shown).sum() / hits[-1])


def calibration_bins(happened: np.ndarray, probability: np.ndarray, bins: int = 20) -> np.ndarray:
    """Mean prediction, frequency and weight of bins that hold equally many predictions: (bins, 3)."""
    order = np.argsort(probability, kind="stable")
    rows = [
        (probability[part].mean(), happened[part].mean(), len(part) / len(order))
        for part in np.array_split(order, min(bins, len(order)))
    ]
    return np.asarray(rows)


def expected_calibration_error(happened: np.ndarray, probability: np.ndarray, bins: int = 20) -> float:
    """Mean distance of prediction and frequency over bins that hold equally many predictions."""
    table = calibration_bins(happened, probability, bins)
    return float((np.abs(table[:, 0] - table[:, 1]) * table[:, 2]).sum())


def log_loss(probs: np.ndarray, responses: np.ndarray) -> float:
    """Mean negative log-likelihood of ``responses`` (n,) under ``probs`` (n, R)."""
    return float(-np.log(probs[np.arange(len(responses)), responses]).mean())


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-a of two lists of values of the same things."""
    pairs = np.triu_indices(len(first), 1)
    agree = np.sign(first[pairs[0]] - first[pairs[1]]) * np.sign(second[pairs[0]] - second[pairs[1]])
    return float(agree.mean())
