"""What a classifier looks at when it tells real responses from simulated ones."""

import numpy as np
from numpy.typing import NDArray

from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.measures import item_rates
from recsim_hrl.types import CLICK, ORDER, SKIP, R

_DIRECTIONS = 8  # of the item embeddings


def past_features(sample: LogSample, embeddings: np.ndarray, categories: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, F) of the real session before each impression, and of its item; standardised.

    Args:
        sample: Of a log.
        embeddings: (I, D) of the items.
        categories: (I,) of the items.
        counts: (I, R) responses to each item in the log that the simulator was fitted to.
    """
    clicked, ordered = sample.response >= CLICK, sample.response == ORDER
    category = categories[sample.item]
    of_kind = _same_kind(sample, category)
    shown_of_kind, clicks_of_kind = (_running_within(of_kind, values) for values in (np.ones(len(category)), clicked))
    rates = item_rates(counts)  # (I, R)
    columns = [
        np.log1p(sample.step),
        np.sqrt(sample.running(clicked)),
        np.sqrt(sample.running(ordered)),
        np.log1p(_since(sample, clicked)),
        np.log1p(_run(sample, category)),
        np.log1p(shown_of_kind),
        np.sqrt(clicks_of_kind),
        sample.is_returning[sample.session],
        np.log(counts.sum(1) + 1.0)[sample.item],
        *np.log(rates[:, 1:] + 1e-6)[sample.item].T,
        *np.log(sample.probs[:, 1:] + 1e-6).T,
        *_main_directions(embeddings)[sample.item].T,
    ]
    return standardised(np.stack(columns, 1))


def response_features(past: np.ndarray, response: np.ndarray) -> NDArray[np.float32]:
    """(n, R - 1 + (R - 1) F) of a response (n,) together with what stands before it (n, F).

    A skip is all zeros: the past alone is the same for both of a pair and tells nothing.
    """
    marks = response[:, None] == np.arange(1, R)  # (n, R - 1)
    crossed = (marks[:, :, None] * past[:, None, :]).reshape(len(past), -1)
    return np.concatenate([marks, crossed], 1).astype(np.float32)


def whole_features(sample: LogSample, response: np.ndarray, categories: np.ndarray) -> NDArray[np.float32]:
    """(S, F) of whole sessions whose items were answered with ``response`` (n,); not standardised.

    Counts, runs, positions, and how clicks spread over categories; with the expected counts, so that a classifier can
    tell many from more than expected.
    """
    clicked, ordered = response >= CLICK, response == ORDER
    session, count = sample.session, len(sample.sessions)
    last = np.maximum(sample.lengths - 1, 1)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(session, values, count)

    def most(values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, sample.starts)

    early = sample.step < 10
    late = sample.step >= sample.lengths[session] / 2
    kind = _same_kind(sample, categories[sample.item])
    of_kind = _running_within(kind, clicked) + clicked
    again = clicked[1:] & clicked[:-1] & (session[1:] == session[:-1])
    first = np.minimum.reduceat(np.where(clicked, sample.step, sample.lengths[session]), sample.starts)
    clicks = total(clicked)
    columns = [
        np.log(sample.lengths),
        np.sqrt(total(1.0 - sample.probs[:, SKIP])),
        np.sqrt(total(sample.probs[:, ORDER])),
        np.sqrt(clicks),
        np.sqrt(total(ordered)),
        np.log1p(first),
        total(clicked & early),
        total(clicked & late) / np.maximum(clicks, 1),
        np.log1p(most(_since(sample, clicked))),
        np.bincount(session[1:], again, count) / last,
        np.sqrt(most(of_kind)),
        np.sqrt(total(clicked & (of_kind == 1))),
        total(ordered & late),
    ]
    return np.stack(columns, 1).astype(np.float32)


def standardised(columns: np.ndarray) -> NDArray[np.float32]:
    """(n, F) with mean 0 and standard deviation 1; a column of equal values becomes zeros."""
    columns = columns.astype(np.float32)
    return (columns - columns.mean(0)) / np.maximum(columns.std(0), 1e-6)


def _main_directions(embeddings: np.ndarray) -> np.ndarray:
    """(I, at most 8) of the embeddings (I, D)."""
    centred = embeddings - embeddings.mean(0)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :_DIRECTIONS]  # (D, 8)
    return centred @ directions


def _same_kind(sample: LogSample, category: np.ndarray) -> np.ndarray:
    """(n,) a number for each category (n,) of each session."""
    return np.unique(sample.session * (np.int64(category.max()) + 1) + category, return_inverse=True)[1]


def _running_within(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) sum of ``values`` (n,) over the earlier rows of the same ``group`` (n,)."""
    order = np.argsort(group, kind="stable")
    before = np.cumsum(values[order], dtype=np.float64) - values[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    base = np.repeat(before[starts], np.diff(np.append(starts, len(group))))
    result = np.empty(len(group))
    result[order] = before - base
    return result


def _since(sample: LogSample, happened: np.ndarray) -> np.ndarray:
    """(n,) impressions since the last one that ``happened`` (n,), or since the session began."""
    place = np.arange(len(happened))
    latest = np.maximum.accumulate(np.where(happened, place + 1, 0))  # with the row itself
    before = np.concatenate([[0], latest[:-1]])
    return place - np.maximum(before, sample.starts[sample.session])


def _run(sample: LogSample, category: np.ndarray) -> np.ndarray:
    """(n,) impressions of the item's ``category`` (n,) in a row just before it."""
    begins = (sample.step == 0) | (np.diff(category, prepend=-1) != 0)
    place = np.arange(len(category))
    return place - np.maximum.accumulate(np.where(begins, place, 0))
