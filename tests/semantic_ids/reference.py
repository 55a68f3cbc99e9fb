"""The slow, obvious way to give items codes: every code is listed, items ask one after the other."""

from collections import Counter
from itertools import product


def squared(left):
    return sum(value * value for value in left)


def minus(left, vector):
    return [value - other for value, other in zip(left, vector, strict=True)]


def all_codes(codebooks):
    return list(product(range(len(codebooks[0])), repeat=len(codebooks)))


def left_of(point, code, codebooks):
    """What a code, or the beginning of one, leaves of a point."""
    for level, token in enumerate(code):
        point = minus(point, codebooks[level][token])
    return point


def nearest_code(point, codebooks):
    """Level by level, the first of the tokens whose vector is nearest."""
    code = ()
    for _ in codebooks:
        options = [code + (token,) for token in range(len(codebooks[0]))]
        code = min(options, key=lambda option: squared(left_of(point, option, codebooks)))
    return code


def placed(points, codebooks, taken=()):
    """A free code for each point: those who are refused by a token, as others fit it better, ask again."""
    free = [code for code in all_codes(codebooks) if code not in set(taken)]
    codes = [() for _ in points]
    for level in range(len(codebooks)):
        room = Counter(code[: level + 1] for code in free)
        waiting, begun = list(range(len(points))), list(codes)
        while waiting:
            queues = {}
            for item in waiting:
                options = [begun[item] + (token,) for token in range(len(codebooks[0]))]
                far = {o: squared(left_of(points[item], o, codebooks)) for o in options if room[o]}
                wish = min(far, key=lambda option: (far[option], option))
                queues.setdefault(wish, []).append((far[wish], item))
            waiting = []
            for wish, queue in queues.items():
                queue.sort()
                for _, item in queue[: room[wish]]:
                    codes[item] = wish
                waiting += sorted(item for _, item in queue[room[wish] :])
                room[wish] = max(0, room[wish] - len(queue))
    return codes
