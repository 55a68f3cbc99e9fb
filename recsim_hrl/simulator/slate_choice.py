"""What a slate shows for an action, compiled: the open candidates that fit best, each at most once.

A score is summed in float64 in one order, whoever else is in the batch, so that a user fares the same alone and among
thousands. Equal scores go to the first candidate.
"""

from __future__ import annotations

import numpy as np

from recsim_hrl.compiled import exact


@exact
def stretches(first, offered, size):
    """Where the ``offered`` places from ``first`` on of a ring of ``size`` lie, in rising order: begin and end of two
    ranges, of which the first may be empty."""
    return 0, max(0, first + offered - size), first, min(first + offered, size)


@exact
def measure(directions, vector, first, offered, scores):
    """Fill ``scores`` (P,) of the stretch on offer with the products of ``directions`` (D, P) and a ``vector`` (D,)."""
    begin, middle, resumed, end = stretches(first, offered, scores.shape[0])
    scores[begin:middle] = 0.0
    scores[resumed:end] = 0.0
    for d in range(directions.shape[0]):
        weight = np.float64(vector[d])
        for p in range(begin, middle):
            scores[p] += weight * directions[d, p]
        for p in range(resumed, end):
            scores[p] += weight * directions[d, p]


@exact
def take_best(scores, first, offered, is_open):
    """The open candidate of the highest score in the stretch on offer, which is then no longer open."""
    begin, middle, resumed, end = stretches(first, offered, scores.shape[0])
    best = -1
    for p in range(begin, middle):
        if is_open[p] and (best < 0 or scores[p] > scores[best]):
            best = p
    for p in range(resumed, end):
        if is_open[p] and (best < 0 or scores[p] > scores[best]):
            best = p
    is_open[best] = False
    return best


@exact
def choose_by_query(directions, first, offered, is_open, actions, chosen, begin, end):
    """Fill ``chosen`` (B, K) with the K open candidates nearest to each of ``actions`` (B, D), the nearest first.

    Args:
        directions: (D, P) embeddings of the candidates at length 1.
        first: (B,) first place on offer to each user.
        offered: Places on offer, from there around the ring of P.
        is_open: (B, P) bool, what of them can be shown to each user; what is chosen is closed.
        actions: What the slates are for.
        chosen: Is filled.
        begin, end: First user, and the user after the last.
    """
    scores = np.empty(directions.shape[1])
    for user in range(begin, end):
        measure(directions, actions[user], first[user], offered, scores)
        for slot in range(chosen.shape[1]):
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def choose_by_embeddings(directions, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, K, D), one vector a slot; a slot has the nearest that those above left."""
    scores = np.empty(directions.shape[1])
    for user in range(begin, end):
        for slot in range(chosen.shape[1]):
            measure(directions, actions[user, slot], first[user], offered, scores)
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def choose_by_index(directions, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, K) of places; one that is not open stands for the most similar that is."""
    scores = np.empty(directions.shape[1])
    for user in range(begin, end):
        for slot in range(chosen.shape[1]):
            asked = actions[user, slot]
            if is_open[user, asked]:
                chosen[user, slot] = asked
                is_open[user, asked] = False
            else:
                measure(directions, directions[:, asked], first[user], offered, scores)
                chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])


@exact
def choose_by_tokens(codes, first, offered, is_open, actions, chosen, begin, end):
    """The same for ``actions`` (B, L, V): a candidate scores the sum, over levels, of its tokens' logits.

    Args:
        codes: (P, L) tokens of each candidate.
        first, offered, is_open, chosen, begin, end: As above.
        actions: Logits of the tokens of each level.
    """
    scores = np.empty(codes.shape[0])
    for user in range(begin, end):
        for p in range(codes.shape[0]):
            total = 0.0
            for level in range(codes.shape[1]):
                total += np.float64(actions[user, level, codes[p, level]])
            scores[p] = total
        for slot in range(chosen.shape[1]):
            chosen[user, slot] = take_best(scores, first[user], offered, is_open[user])
