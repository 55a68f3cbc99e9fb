"""What happens to one user in one step, compiled: the one place where the behaviour of a session is written.

Functions here take arrays of ``B`` users and work on the users from ``begin`` to ``end``, so that threads can share a
batch. See :mod:`recsim_hrl.compiled` for how they are compiled.

Sums of float32 products depend on how many users are multiplied at once, near 1e-7. Where such a difference could
change an integer (which item is nearest, which response is drawn, which step of a grid a probability is rounded to),
the sum is made again in float64, in one order; so a user fares the same alone and among thousands.
"""

import math

import numpy as np

from recsim_hrl import random
from recsim_hrl.compiled import ONE_THREAD, contracted, exact, fused
from recsim_hrl.simulator.tables import Items, Memory, Model, Network, SessionState
from recsim_hrl.simulator.weights import PROBABILITY_GRID, SURPRISES
from recsim_hrl.types import CLICK, ORDER, SKIP, R

USER_STREAM, RESPONSE_STREAM, NOISE_STREAM, MEMBER_STREAM = 1, 2, 3, 4
CLOSE_DRAW = 1e-5  # a draw this near to the edge between two responses is decided in float64
CLOSE_EDGE = 0.0012  # so is a probability this near to the edge between two steps of the grid, in steps


stir = exact(random.stir)


@exact
def mix(key, word):
    """``key`` with one more word folded in; see :mod:`recsim_hrl.random`."""
    return stir(key, word * random.GOLDEN)


@exact
def uniform(key):
    """A number in [0, 1) with 24 random bits."""
    return np.float32((stir(key, 0) >> 40) & ((1 << 24) - 1)) * np.float32(2.0**-24)


@exact
def normal(key):
    """A standard normal number (Box-Muller)."""
    first, second = np.float64(uniform(mix(key, 1))), np.float64(uniform(mix(key, 2)))
    return np.float32(math.sqrt(-2.0 * math.log1p(-first)) * math.cos(2.0 * math.pi * second))


_LOG2E, _WHOLE = np.float32(math.log2(math.e)), np.float32(1.5 * 2.0**23)  # added to a number, it leaves no fraction
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(math.log(2.0) ** n / math.factorial(n)) for n in range(8))


@contracted
def power(x):
    """exp(x) in float32 within 3e-7 of its value, in arithmetic that runs on many numbers at once."""
    binary = min(max(x * _LOG2E, np.float32(-126.0)), np.float32(126.0))
    shifted = np.float32(binary + _WHOLE)  # its last bits are the nearest whole number, its sum less _WHOLE is, too
    rest = binary - (shifted - _WHOLE)  # -1/2 to 1/2
    series = _T4 + rest * (_T5 + rest * (_T6 + rest * _T7))
    series = _T0 + rest * (_T1 + rest * (_T2 + rest * (_T3 + rest * series)))
    return series * np.int32((shifted.view(np.int32) << np.int32(23)) + np.int32(127 << 23)).view(np.float32)


@fused
def activate(layer, bias):
    """SiLU of ``layer`` (n, hidden) plus ``bias`` (hidden,), in its place."""
    for row in range(layer.shape[0]):
        for j in range(layer.shape[1]):
            x = layer[row, j] + bias[j]
            layer[row, j] = x / (np.float32(1.0) + power(-x))


@fused
def add_up(layer, deeper):
    """Add ``layer`` (n, hidden) to ``deeper`` (n, hidden)."""
    for row in range(layer.shape[0]):
        for j in range(layer.shape[1]):
            deeper[row, j] += layer[row, j]


@exact
def apply(network, seen, layer, deeper, logits):
    """Fill ``logits`` (n, R) but for their bias, from what is ``seen`` (n, 2 W + F); layers (n, hidden) are scratch."""
    np.dot(seen, network.first, layer)
    deepen(network, layer, deeper, logits)


@exact
def deepen(network, layer, deeper, logits):
    """The same from the sums of the first ``layer`` (n, hidden)."""
    activate(layer, network.first_bias)
    np.dot(layer, network.second, deeper)
    activate(deeper, network.second_bias)
    add_up(layer, deeper)
    np.dot(deeper, network.head, logits)


@exact
def multiply(values, row, weights, bias, sums):
    """Fill ``sums`` (hidden,) with the product of ``values[row]`` (n,) and ``weights`` (n, hidden), plus ``bias``."""
    for j in range(sums.shape[0]):
        sums[j] = bias[j]
    whole = weights.shape[0] // 4 * 4  # four at a time, which halves the time and adds in the same order
    for i in range(0, whole, 4):
        a, b = np.float64(values[row, i]), np.float64(values[row, i + 1])
        c, d = np.float64(values[row, i + 2]), np.float64(values[row, i + 3])
        for j in range(sums.shape[0]):
            first = (sums[j] + a * weights[i, j]) + b * weights[i + 1, j]
            sums[j] = (first + c * weights[i + 2, j]) + d * weights[i + 3, j]
    for i in range(whole, weights.shape[0]):
        a = np.float64(values[row, i])
        for j in range(sums.shape[0]):
            sums[j] += a * weights[i, j]


@exact
def apply_exactly(network, seen, row, probs, noise):
    """Fill ``probs`` (R,) for what is seen in one ``row``, in float64, summed in one order."""
    layer, deeper = np.empty((1, network.second.shape[0])), np.empty((1, network.second.shape[0]))
    multiply(seen, row, network.first, network.first_bias, layer[0])
    for j in range(layer.shape[1]):
        layer[0, j] /= 1.0 + math.exp(-layer[0, j])
    multiply(layer, 0, network.second, network.second_bias, deeper[0])
    for j in range(layer.shape[1]):
        deeper[0, j] = deeper[0, j] / (1.0 + math.exp(-deeper[0, j])) + layer[0, j]
    multiply(deeper, 0, network.head, network.head_bias, probs)
    probs += noise
    most, total = max(probs[0], probs[1], probs[2]), 0.0
    for response in range(R):
        probs[response] = math.exp(probs[response] - most)
        total += probs[response]
    probs /= total


@fused
def raise_all(numbers):
    """Put exp(x) in the place of every x of ``numbers`` (n,)."""
    for place in range(numbers.shape[0]):
        numbers[place] = power(numbers[place])


@exact
def softmax(logits, bias, size):
    """Turn ``logits`` (size, R) less their ``bias`` (R,) into probabilities."""
    for row in range(size):
        skip, click, order = logits[row, 0] + bias[0], logits[row, 1] + bias[1], logits[row, 2] + bias[2]
        most = max(skip, click, order)
        logits[row, 0], logits[row, 1], logits[row, 2] = skip - most, click - most, order - most
    raise_all(logits.reshape(-1)[: size * R])
    for row in range(size):
        skip, click, order = logits[row, 0], logits[row, 1], logits[row, 2]
        share = np.float32(1.0) / (skip + click + order)
        logits[row, 0], logits[row, 1], logits[row, 2] = skip * share, click * share, order * share


@exact
def look(model, codes, memory, item, step, first, size, seen):
    """Fill ``seen`` (size, 2 W + F) with what the network reads of the ``size`` users from ``first`` on and the
    ``item`` (B,) of each, after ``step`` (B,) impressions."""
    left, whole, kinds, written = model.left, memory.whole, memory.kinds, memory.written
    kind_of, features, width = codes.kinds, codes.features, memory.whole.shape[1]
    # Traces of a kind are far apart: touched before they are used, many are fetched at once, a tenth off a step.
    # (The sum is kept where it is overwritten, or nobody would compute it.)
    touched, last = np.float32(0.0), width - 1
    for user in range(first, first + size):
        kind = kind_of[item[user]]
        touched += kinds[user, kind, 0] + kinds[user, kind, last // 2] + kinds[user, kind, last]
        touched += np.float32(written[user, kind])
    seen[0, 0] = touched
    for row in range(size):
        user = first + row
        kind = kind_of[item[user]]
        age = step[user] - written[user, kind]
        for w in range(width):
            seen[row, w] = kinds[user, kind, w] * left[age, w]
        for w in range(width):
            seen[row, width + w] = whole[user, w]
        for f in range(features.shape[1]):
            seen[row, 2 * width + f] = features[item[user], f]


@exact
def foretell(model, seen, probs, size, expected):
    """Fill ``expected`` (size, R) with ``probs`` (size, R) on the grid that surprises are taken from.

    Surprises are kept, so they must be the same in every batch: near an edge of the grid float64 decides.
    """
    for row in range(size):
        close = False
        for response in range(1, R):
            steps = np.float64(probs[row, response]) * PROBABILITY_GRID
            near = np.rint(steps)
            close |= abs(steps - near) > 0.5 - CLOSE_EDGE
            expected[row, response] = np.float32(near / PROBABILITY_GRID)
        if close:
            precise = np.empty(R)
            apply_exactly(model.exact, seen, row, precise, np.zeros(R, np.float32))
            expected[row] = np.rint(precise * PROBABILITY_GRID) / PROBABILITY_GRID


@exact
def remember(model, codes, memory, item, step, responses, expected, first, size, seen):
    """Put one impression each into the memory of the ``size`` users from ``first`` on; ``seen`` is used up."""
    left, marks, surprises = model.left, model.marks, model.surprises
    whole, kinds, written, width = memory.whole, memory.kinds, memory.written, memory.whole.shape[1]
    kind_of, values, most = codes.kinds, codes.values, marks.shape[1] - 1
    i, j, k, m = min(1, most), min(2, most), min(3, most), min(4, most)  # of four values; what is missing adds nothing
    has = (np.arange(1, 5) <= most).astype(np.float32)
    for row in range(size):
        user = first + row
        mine, kind, response = values[item[user]], kind_of[item[user]], responses[user]
        click = np.float32(response == CLICK) - expected[row, CLICK]
        order = np.float32(response == ORDER) - expected[row, ORDER]
        a, b, c, d = mine[i] * has[0], mine[j] * has[1], mine[k] * has[2], mine[m] * has[3]
        for w in range(2 * width):  # of the item's kind, then of all kinds; in one go, which halves the time
            kept = seen[row, w] * left[1, w] + marks[response, 0, w]  # the first value of an item is 1
            kept = (kept + click * surprises[0, w]) + order * surprises[1, w]
            kept = (kept + a * marks[response, i, w]) + b * marks[response, j, w]
            seen[row, w] = (kept + c * marks[response, k, w]) + d * marks[response, m, w]
        for v in range(5, most + 1):
            value = mine[v]
            for w in range(2 * width):
                seen[row, w] += value * marks[response, v, w]
        for w in range(width):
            kinds[user, kind, w] = seen[row, w]
        for w in range(width):
            whole[user, w] = seen[row, width + w]
        written[user, kind] = step[user] + 1


@exact
def block_of(network):
    """Users whose matrix products the library does not cut among threads of its own."""
    inputs, width = network.first.shape
    return max(1, min(64, ONE_THREAD // (width * max(inputs, width))))


@exact
def update(model, codes, memory, item, responses, step, begin, end):
    """Let users have seen an ``item`` (B,) each, after ``step`` (B,) impressions, and given ``responses`` (B,)."""
    network = model.network
    block, (inputs, width) = min(block_of(network), end - begin), network.first.shape
    seen, probs = np.empty((block, inputs), np.float32), np.empty((block, R), np.float32)
    layer, deeper = np.empty((block, width), np.float32), np.empty((block, width), np.float32)
    expected = np.empty((block, R), np.float32)
    for first in range(begin, end, block):
        size = min(block, end - first)
        look(model, codes, memory, item, step, first, size, seen)
        apply(network, seen[:size], layer[:size], deeper[:size], probs[:size])
        softmax(probs, network.head_bias, size)
        foretell(model, seen, probs, size, expected)
        remember(model, codes, memory, item, step, responses, expected, first, size, seen)


@exact
def surprise(network, left, kinds, hidden, kind, responses, found):
    """Fill ``found`` (B, T, SURPRISES) with the surprises of whole sessions, place after place.

    Args:
        network: What reads surprises alone: its first layer is (2 S, hidden), S = H SURPRISES.
        left: (1 + T, S) what so many steps leave of a trace.
        kinds: Number of kinds.
        hidden: (B, T, hidden) of the first layer, all but the share of the surprises.
        kind: (B, T) of the items.
        responses: (B, T), -1 where there is no impression.
        found: Is filled; zero where there is no impression.
    """
    (users, length), traces, width = kind.shape, left.shape[1], network.second.shape[0]
    block = min(block_of(network), users)
    seen, probs = np.empty((block, 2 * traces), np.float32), np.empty((block, R), np.float32)
    layer, deeper = np.empty((block, width), np.float32), np.empty((block, width), np.float32)
    for first in range(0, users, block):
        size = min(block, users - first)
        own, whole = np.zeros((size, kinds, traces), np.float32), np.zeros((size, traces), np.float32)
        written = np.zeros((size, kinds), np.int64)
        for place in range(length):
            for row in range(size):
                mine = kind[first + row, place]
                age = place - written[row, mine]
                for s in range(traces):
                    seen[row, s] = own[row, mine, s] * left[age, s]
                    seen[row, traces + s] = whole[row, s]
            np.dot(seen[:size], network.first, layer[:size])
            for row in range(size):
                for j in range(width):
                    layer[row, j] += hidden[first + row, place, j]
            deepen(network, layer[:size], deeper[:size], probs[:size])
            softmax(probs, network.head_bias, size)
            for row in range(size):
                mine, response = kind[first + row, place], responses[first + row, place]
                for s in range(traces):
                    kept, number = s % SURPRISES, np.float32(0.0)
                    if response >= 0:
                        expected = np.rint(probs[row, 1 + kept] * np.float32(PROBABILITY_GRID))
                        number = np.float32(response == 1 + kept) - expected / np.float32(PROBABILITY_GRID)
                        found[first + row, place, kept] = number
                    own[row, mine, s] = seen[row, s] * left[1, s] + number
                    whole[row, s] = seen[row, traces + s] * left[1, s] + number
                written[row, mine] = place + 1


@exact
def disturb(state, deviation, first, size, logits, noise):
    """Fill ``noise`` (size, R) with that of the next responses, and add it to their ``logits`` (size, R)."""
    for row in range(size):
        user = first + row
        key = mix(mix(mix(state.seed[user], NOISE_STREAM), state.episode[user]), state.step[user])
        for response in range(R):
            noise[row, response] = np.float32(deviation) * normal(mix(key, response))
            logits[row, response] += noise[row, response]


@exact
def draw(model, state, seen, probs, noise, first, size, responses):
    """Draw ``responses`` (B,) from ``probs`` (size, R) where they are not given; near an edge float64 decides."""
    numbers = np.empty(size, np.float32)
    for row in range(size):
        user = first + row
        numbers[row] = uniform(mix(mix(mix(state.seed[user], RESPONSE_STREAM), state.episode[user]), state.step[user]))
    for row in range(size):
        user, number = first + row, numbers[row]
        if responses[user] >= 0:
            continue
        skip, click = probs[row, SKIP] - number, probs[row, ORDER] + (number - np.float32(1.0))
        responses[user] = np.int64(skip <= 0) + np.int64(click > 0)
        if min(abs(skip), abs(click)) < CLOSE_DRAW:
            precise = np.empty(R)
            apply_exactly(model.exact, seen, row, precise, noise[row])
            responses[user] = np.int64(number >= precise[0]) + np.int64(number >= precise[0] + precise[1])


@exact
def record(items, state, chosen, responses, first, size):
    """Note the ``chosen`` candidates (B,) and the ``responses`` (B,) of the ``size`` users from ``first`` on."""
    step, shown, histories, counts = state.step, state.shown, state.histories, state.responses
    last = histories.shape[2] - 1
    for user in range(first, first + size):
        shown[user, step[user]] = chosen[user]
        for history in range(responses[user] + 1):  # browsed, clicked, ordered
            for place in range(last):
                histories[user, history, place] = histories[user, history, place + 1]
            histories[user, history, last] = items[chosen[user]] + 1
        counts[user, responses[user]] += 1
        step[user] += 1


@exact
def as_model(parts):
    """A :class:`Model` of its ``parts``."""
    return Model(Network(*parts[0]), Network(*parts[1]), parts[2], parts[3], parts[4])


@exact
def as_state(parts):
    """A :class:`SessionState` of its ``parts``."""
    seed, episode, step, user, shown, histories, recalled, responses, memory = parts
    return SessionState(seed, episode, step, user, shown, histories, recalled, responses, Memory(*memory))


@exact
def play(model, codes, items, state, deviation, chosen, responses, asked, moves, begin, end):
    """Show ``chosen`` candidates (B,) to the users from ``begin`` to ``end``.

    Args:
        model: A :class:`Model`; it, ``codes`` and ``state`` may be plain tuples, see ``tables.plain``.
        codes: :class:`Items`, the candidates.
        items: (C,) catalogue index of each candidate.
        state: A :class:`SessionState`; changed if ``moves``. No session may be at its end.
        deviation: Standard deviation of the noise on the logits.
        chosen: Candidates to show.
        responses: Is filled with what the users do, where it is negative.
        asked: (B, R) is filled with the probabilities that the responses are drawn with; (0, R) if nobody asks.
        moves: Whether the users move on, or are only asked.
        begin, end: First user, and the user after the last.
    """
    model, codes, state = as_model(model), Items(*codes), as_state(state)
    network, memory = model.network, state.memory
    block, (inputs, width) = min(block_of(network), end - begin), network.first.shape
    seen, probs = np.empty((block, inputs), np.float32), np.empty((block, R), np.float32)
    layer, deeper = np.empty((block, width), np.float32), np.empty((block, width), np.float32)
    expected, noise = np.empty((block, R), np.float32), np.zeros((block, R), np.float32)
    for first in range(begin, end, block):
        size = min(block, end - first)
        look(model, codes, memory, chosen, state.step, first, size, seen)
        apply(network, seen[:size], layer[:size], deeper[:size], probs[:size])
        if deviation > 0.0:
            np.dot(deeper[:size], network.head, expected[:size])
            softmax(expected, network.head_bias, size)
            disturb(state, deviation, first, size, probs, noise)
            softmax(probs, network.head_bias, size)
            foretell(model, seen, expected, size, expected)
        else:
            softmax(probs, network.head_bias, size)
            foretell(model, seen, probs, size, expected)
        draw(model, state, seen, probs, noise, first, size, responses)
        for row in range(min(size, asked.shape[0])):
            for response in range(R):
                asked[first + row, response] = probs[row, response]
        if moves:
            remember(model, codes, memory, chosen, state.step, responses, expected, first, size, seen)
            record(items, state, chosen, responses, first, size)
