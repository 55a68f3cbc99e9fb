"""The nearest candidate by cosine, compiled: exact, over any number of candidates, in blocks that fit the cache.

No approximate index: actions of an actor are far from all items, where such indexes find the wrong one often.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from recsim_hrl.compiled import ONE_THREAD, exact, fused

CLOSE_COSINE = np.float32(2e-5)  # candidates this near to the best float32 cosine are compared in float64
COSINE_GRID = 2.0**40  # float64 cosines are compared on this grid: equal embeddings tie, and the first one wins
ROUNDING = 1e-5  # an action this far outside its space is taken for a rounding error of whoever scaled it
BLOCK, ROW, SEGMENT, CONTENDERS = 64, 2048, 32, 64  # users at once, cosines held for each, looked through, kept
NOWHERE = np.float32(-2.0)  # less than any cosine


class Candidates(NamedTuple):
    """What actions choose from, in the order in which ties are decided; ``choose_...`` take plain tuples of it, too."""

    table: np.ndarray  # (I, D) float32, embeddings of the catalogue
    item: np.ndarray  # (C,) int64, catalogue index of each candidate
    directions: np.ndarray  # (C, D) float32, embeddings of length 1
    open: np.ndarray  # (C,) bool, whether the candidate can be shown


@exact
def was_shown(shown, user, step, candidate):
    """Whether ``candidate`` is among the first ``step`` of those ``shown`` (B, T) to a ``user``."""
    found = False
    for place in range(step):
        found |= shown[user, place] == candidate
    return found


@exact
def is_outside(actions, user, bound):
    """Whether an entry of ``actions[user]`` (D,) is not within ``bound``, or NaN."""
    for d in range(actions.shape[1]):
        if not abs(actions[user, d]) <= bound + ROUNDING:
            return True
    return False


@exact
def choose_items(candidates, shown, step, actions, chosen, begin, end):
    """Fill ``chosen`` (B,) with the candidates that item ``actions`` (B,) show: for one that was shown or is gone, the
    nearest that can be. Returns the first user whose action is no candidate, or -1."""
    candidates = Candidates(*candidates)
    table, item, still = candidates.table, candidates.item, candidates.open
    repeated, count = np.empty(end - begin, np.int64), 0
    for user in range(begin, end):
        if not 0 <= actions[user] < item.shape[0]:
            return user
        chosen[user] = actions[user]
        if not still[actions[user]] or was_shown(shown, user, step[user], actions[user]):
            repeated[count] = user
            count += 1
    if count > 0:
        vectors = np.empty((count, table.shape[1]), np.float32)
        for place in range(count):
            for d in range(vectors.shape[1]):
                vectors[place, d] = table[item[actions[repeated[place]]], d]
        find(candidates, shown, step, vectors, repeated[:count], chosen)
    return -1


@exact
def choose_vectors(candidates, shown, step, actions, bound, chosen, begin, end):
    """Fill ``chosen`` (B,) with the candidates that embedding ``actions`` (B, D) show. Returns the first user whose
    action is not within ``bound``, or -1."""
    for user in range(begin, end):
        if is_outside(actions, user, bound):
            return user
    users = np.empty(end - begin, np.int64)
    for place in range(len(users)):
        users[place] = begin + place
    find(Candidates(*candidates), shown, step, actions[begin:end], users, chosen)
    return -1


@exact
def choose_recalled(candidates, shown, step, actions, bound, recalled, chosen, begin, end):
    """As :func:`choose_vectors`, where every user has candidates of its own, ``recalled`` (B, Q) of all."""
    candidates = Candidates(*candidates)
    directions, still = candidates.directions, candidates.open
    direction, kept = np.empty((actions.shape[1], 1), np.float32), np.empty(CONTENDERS, np.int64)
    for user in range(begin, end):
        if is_outside(actions, user, bound):
            return user
        direct(actions, user, direction, 0)
        best, count = NOWHERE, 0
        for place in range(recalled.shape[1]):
            candidate = np.int64(recalled[user, place])
            cosine = product(directions, candidate, direction)
            if cosine < best - CLOSE_COSINE or not still[candidate] or was_shown(shown, user, step[user], candidate):
                continue
            if cosine > best + CLOSE_COSINE:
                count = 0
            best = max(best, cosine)
            if count < CONTENDERS:
                kept[count] = candidate
            count += 1
        chosen[user] = kept[0]
        if count > CONTENDERS:
            chosen[user] = decide(candidates, actions[user], shown, user, step[user], recalled[user], recalled.shape[1])
        elif count > 1:
            chosen[user] = decide(candidates, actions[user], shown, user, step[user], kept, count)
        elif count == 0:  # all of the user's own are gone
            alone = np.empty(1, np.int64)
            alone[0] = user
            find(candidates, shown, step, actions[user : user + 1], alone, chosen)
    return -1


@fused
def product(directions, candidate, direction):
    """The product of one of ``directions`` (C, D) and ``direction`` (D, 1)."""
    total = np.float32(0.0)
    for d in range(directions.shape[1]):
        total += directions[candidate, d] * direction[d, 0]
    return total


@exact
def find(candidates, shown, step, vectors, users, chosen):
    """Fill ``chosen`` for ``users`` (n,) with the nearest candidates to ``vectors`` (n, D) that were not shown."""
    (size, width), still = candidates.directions.shape, candidates.open
    blocks, row = max(1, (len(users) + BLOCK - 1) // BLOCK), min(size, ROW)
    block = (len(users) + blocks - 1) // blocks  # of equal size, as the last one is filled up
    tile = max(1, ONE_THREAD // (block * width))
    cosines = np.empty((row, block), np.float32)  # a column per user, so that users are looked through side by side
    most = np.empty((1 + (row - 1) // SEGMENT, block), np.float32)
    directions = np.empty((width, block), np.float32)
    best, count = np.empty(block, np.float32), np.empty(block, np.int64)
    kept = np.empty((block, CONTENDERS), np.int64)
    for first in range(0, len(users), block):
        real = min(block, len(users) - first)
        for place in range(block):
            direct(vectors, first + min(place, real - 1), directions, place)
            best[place], count[place] = NOWHERE, 0
        for start in range(0, size, row):
            here = min(row, size - start)
            for low in range(0, here, tile):
                high = min(low + tile, here)
                np.dot(candidates.directions[start + low : start + high], directions, cosines[low:high])
            for gone in range(here):
                if not still[start + gone]:
                    for place in range(block):
                        cosines[gone, place] = NOWHERE
            for place in range(real):
                hide(cosines, place, shown, users[first + place], step, start, here)
            segments = summarise(cosines, here, most)
            for place in range(real):
                contend(cosines, most, place, start, here, segments, best, kept[place], count)
        for place in range(real):
            user = users[first + place]
            chosen[user] = kept[place, 0]
            if count[place] > 1:
                vector = vectors[first + place]
                chosen[user] = decide(candidates, vector, shown, user, step[user], kept[place], count[place])


@fused
def direct(vectors, number, directions, place):
    """Put ``vectors[number]`` (D,), brought to length 1, into column ``place`` of ``directions`` (D, n); zero stays."""
    square = 0.0
    for d in range(vectors.shape[1]):
        square += np.float64(vectors[number, d]) * np.float64(vectors[number, d])
    inverse = 1.0 / max(math.sqrt(square), 1e-300)
    for d in range(vectors.shape[1]):
        directions[d, place] = vectors[number, d] * inverse


@exact
def hide(cosines, place, shown, user, step, start, here):
    """Put last what was ``shown`` (B, T) to a ``user`` of the ``here`` candidates from ``start``."""
    for number in range(step[user]):
        row = shown[user, number] - start
        if 0 <= row < here:
            cosines[row, place] = NOWHERE


@exact
def summarise(cosines, here, most):
    """Fill ``most`` (segments, n) with the largest of each segment of ``cosines`` (here, n); the number of segments."""
    segments = 0
    for low in range(0, here, SEGMENT):
        for place in range(most.shape[1]):
            most[segments, place] = NOWHERE
        high = min(low + SEGMENT, here)
        for row in range(low, high, 4):
            second, third, fourth = min(row + 1, high - 1), min(row + 2, high - 1), min(row + 3, high - 1)
            for place in range(most.shape[1]):
                most[segments, place] = max(
                    max(most[segments, place], max(cosines[row, place], cosines[second, place])),
                    max(cosines[third, place], cosines[fourth, place]),
                )
        segments += 1
    return segments


@exact
def contend(cosines, most, place, start, here, segments, best, kept, count):
    """Keep those of the ``here`` candidates from ``start`` that may be the nearest of the user in column ``place``.

    ``best`` and ``count`` hold each user's best cosine and number of contenders so far. A number beyond the size of
    ``kept`` means that all candidates have to be compared again.
    """
    before = best[place]
    for segment in range(segments):
        best[place] = max(best[place], most[segment, place])
    if best[place] > before + CLOSE_COSINE:
        count[place] = 0
    least = max(best[place] - CLOSE_COSINE, np.float32(-1.5))  # an item that was shown is never a contender
    for segment in range(segments):
        if most[segment, place] < least:
            continue
        for row in range(segment * SEGMENT, min((segment + 1) * SEGMENT, here)):
            if cosines[row, place] >= least:
                if count[place] < kept.shape[0]:
                    kept[count[place]] = start + row
                count[place] += 1


@exact
def decide(candidates, vector, shown, user, step, kept, count):
    """The nearest to ``vector`` (D,) in float64, among ``count`` candidates ``kept`` in rising order, or among all if
    they are more than could be kept; the first, where some tie."""
    best, nearest, width = -math.inf, np.int64(-1), vector.shape[0]
    length = 0.0
    for d in range(width):
        length += np.float64(vector[d]) * np.float64(vector[d])
    length = max(math.sqrt(length), 1e-300)
    everyone, table, item, still = count > kept.shape[0], candidates.table, candidates.item, candidates.open
    for place in range(item.shape[0] if everyone else count):
        candidate = place if everyone else kept[place]
        product, square = 0.0, 0.0
        for d in range(width):
            other = np.float64(table[item[candidate], d])
            product += np.float64(vector[d]) * other
            square += other * other
        cosine = np.rint(product / length / max(math.sqrt(square), 1e-300) * COSINE_GRID)
        if cosine > best and still[candidate] and not was_shown(shown, user, step, candidate):
            best, nearest = cosine, candidate
    return nearest


@exact
def embed(histories, table, observation, begin, end):
    """Fill ``observation`` (B, 3, N, D) with the embeddings of items in ``histories`` (B, 3, N), zero where empty."""
    for user in range(begin, end):
        for history in range(histories.shape[1]):
            for place in range(histories.shape[2]):
                item, values = histories[user, history, place], observation[user, history, place]
                for d in range(table.shape[1]):
                    values[d] = table[item - 1, d] if item > 0 else np.float32(0.0)
