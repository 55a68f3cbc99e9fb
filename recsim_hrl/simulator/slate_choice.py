"""What a slate shows for an action, compiled: the open items that fit best, each at most once.

The stock is a ring of P places, and what is on offer to a user a stretch of it. A score is summed in float64 in one
order, whoever else is in the batch, so that a user fares the same alone and among thousands. Equal scores go to the
first place.
"""

from __future__ import annotations

import math

import numpy as np

from recsim_hrl.compiled import exact

GRID = 2.0**40
"""Cosines are compared on this grid, as in :mod:`recsim_hrl.simulator.nearest`: vectors of one direction tie."""


@exact
def stretches(first, offered, size):
    """Where the ``offered`` places from ``first`` on of a ring of ``size`` lie, in rising order: begin and end of two
    ranges, of which the first may be empty."""
    return 0, max(0, first + offered - size), first, min(first + offered, size)


@exact
def mark_open(shown, step, first, offered, is_open, begin, end):
    """Fill ``is_open`` (B, P): what is on offer and not among the first ``step`` (B,) places ``shown`` (B, T).

    Args:
        shown, step: What each user saw in the session.
        first: (B,) first place on offer to each user.
        offered: Places on offer, from there around the ring.
        is_open: Is filled.
        begin, end: First user, and the user after the last.
    """
    for user in range(begin, end):
        low, middle, resumed, high = stretches(first[user], offered, is_open.shape[1])
        is_open[user] = False
        is_open[user, low:middle] = True
        is_open[user, resumed:high] = True
        for place in range(step[user]):
            is_open[user, shown[user, place]] = False


@exact
def aim(action, vector):
    """Put ``action`` (D,), brought to length 1, into ``vector`` (D,) float64; zero stays."""
    square = 0.0
    for d in range(vector.shape[0]):
        vector[d] = np.float64(action[d])
        square += vector[d] * vector[d]
    length = max(math.sqrt(square), 1e-300)
    for d in range(vector.shape[0]):
        vector[d] /= length


@exact
def measure(directions, vector, begin, end, scores):
    """Fill ``scores`` (P,) from ``begin`` to ``end`` with the cosines of ``directions`` (D, P) and ``vector`` (D,)."""
    width = directions.shape[0]
    scores[begin:end] = 0.0
    whole = width // 4 * 4  # four at a time, which halves the time and adds in the same order
    for d in range(0, whole, 4):
        a, b, c, e = vector[d], vector[d + 1], vector[d + 2], vector[d + 3]
        for p in range(begin, end):
            two = (scores[p] + a * directions[d, p]) + b * directions[d + 1, p]
            scores[p] = (two + c * directions[d + 2, p]) + e * directions[d + 3, p]
    for d in range(whole, width):
        for p in range(begin, end):
            scores[p] += vector[d] * directions[d, p]
    for p in range(begin, end):
        scores[p] = np.rint(scores[p] * GRID)


@exact
def measure_offer(directions, vector, first, offered, scores):
    """The same for the ``offered`` places from ``first`` on."""
    low, middle, resumed, high = stretches(first, offered, scores.shape[0])
    measure(directions, vector, low, middle, scores)
    measure(directions, vector, resumed, high, scores)


@exact
def take_best(scores, first, offered, is_open):
    """The open place of the highest score on offer, which is then no longer open."""
    low, middle, resumed, high = stretches(first, offered, scores.shape[0])
    best, most = -1, -math.inf
    for p in range(low, middle):
        if scores[p] > most and is_open[p]:
            best, most = p, scores[p]
    for p in range(resumed, high):
        if scores[p] > most and is_open[p]:
            best, most = p, scores[p]
    is_open[best] = False
    return best


@exact
def choose_by_query(directions, first, offered, is_open, actions, chosen, begin, end):
    """Fill ``chosen`` (B, K) with the K open places nearest to each of ``actions`` (B, D), the nearest first.

    Args:
        directions: (D, P) float64, embeddings of the stock at length 1.
        first, offered: As in :func:`mark_open`.
        is_open: (B, P) bool, what can be shown to each user; what is chosen is closed.
        actions: What the slates are for.
        chosen: Is filled.
        begin, end: First user, and the user after the last.
    """
    scores, vector = np.empty(directions.shape[1]), np.empty(directions.shape[0])
    for user in range(begin, end):
        aim(actions[user], vector)
        measure_offer(directions, vector, first[user], offered, scores)
        for slot in range(chosen.shape[1]):
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def choose_by_embeddings(directions, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, K, D), one vector a slot; a slot has the nearest that those above left."""
    scores, vector = np.empty(directions.shape[1]), np.empty(directions.shape[0])
    for user in range(begin, end):
        for slot in range(chosen.shape[1]):
            aim(actions[user, slot], vector)
            measure_offer(directions, vector, first[user], offered, scores)
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def choose_by_index(directions, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, K) of places; one that is not open stands for the most similar that is."""
    scores, vector = np.empty(directions.shape[1]), np.empty(directions.shape[0])
    for user in range(begin, end):
        for slot in range(chosen.shape[1]):
            asked = actions[user, slot]
            if is_open[user, asked]:
                chosen[user, slot] = asked
                is_open[user, asked] = False
            else:
                for d in range(vector.shape[0]):
                    vector[d] = directions[d, asked]
                measure_offer(directions, vector, first[user], offered, scores)
                chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def add_logits(codes, logits, begin, end, scores):
    """Fill ``scores`` (P,) from ``begin`` to ``end`` with the sums of the ``logits`` (L, V) of their tokens."""
    scores[begin:end] = 0.0
    for level in range(codes.shape[0]):
        for p in range(begin, end):
            scores[p] += np.float64(logits[level, codes[level, p]])


@exact
def choose_by_tokens(codes, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, L, V): a place scores the sum, over levels, of its tokens' logits.

    Args:
        codes: (L, P) tokens of the stock.
        first, offered, is_open, chosen, begin, end: As above.
        actions: Logits of the tokens of each level.
    """
    scores = np.empty(codes.shape[1])
    for user in range(begin, end):
        low, middle, resumed, high = stretches(first[user], offered, codes.shape[1])
        add_logits(codes, actions[user], low, middle, scores)
        add_logits(codes, actions[user], resumed, high, scores)
        for slot in range(chosen.shape[1]):
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])
