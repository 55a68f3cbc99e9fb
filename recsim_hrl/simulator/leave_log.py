"""What a log tells of leaving: the memory of its users after every impression, and after which of them they left.

The response model plays the sessions of the log once more, so that a leave model learns from the very memory that an
environment keeps.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.weights import ResponseWeights
from recsim_hrl.types import Catalogue

_BLOCK = 200_000
"""Impressions that are played at a time: 30 MB of traces."""
_SESSIONS = 10_000
"""Sessions that are played at a time, at the most: short ones have more memory of kinds than impressions."""
_AS_MANY = 5
"""The log cut its longest sessions if there are more than so many times as many as of each length just below."""


@dataclass(frozen=True)
class Moments:
    """Impressions of whole sessions, one session after the other, and what was known of the user after each."""

    whole: np.ndarray  # (n, W) float32, see ``Memory.whole``
    steps: np.ndarray  # (n,) int64 impressions of the session so far, that one counted
    ends: np.ndarray  # (n,) bool, whether the user left then


class Player:
    """Plays sessions of a log, as an environment would.

    Args:
        weights: Of the response model.
        catalogue: The items.
        sequences: The sessions.
        longest: Sessions of so many impressions or more do not end by themselves; None: all do.
    """

    def __init__(
        self, weights: ResponseWeights, catalogue: Catalogue, sequences: Sequences, longest: int | None
    ) -> None:
        self.sequences = sequences
        self._longest = longest or int(sequences.lengths.max()) + 1
        self._model = Recurrence(weights, int(sequences.lengths.max()))
        self._codes = weights.encode(catalogue.numpy().embeddings)
        self._items = self._model.items(self._codes)

    def blocks(self, sessions: np.ndarray) -> Iterator[Moments]:
        """``sessions`` (positions) in their order, some at a time."""
        edges = np.cumsum(self.sequences.lengths[sessions]) // _BLOCK
        for part in np.split(sessions, np.flatnonzero(np.diff(edges)) + 1):
            for few in np.array_split(part, math.ceil(len(part) / _SESSIONS)):
                yield self.play(few)

    def play(self, sessions: np.ndarray) -> Moments:
        """All impressions of ``sessions`` (S,), in the order of these."""
        sequences, lengths = self.sequences, self.sequences.lengths[sessions]
        visits = sequences.visits(sessions).numpy()
        order = np.argsort(-lengths, kind="stable")  # so that those still there are the first
        memory = self._model.replay(self._codes, visits.items[order], visits.responses[order])
        first, source = (np.cumsum(lengths) - lengths)[order], sequences.offsets[sessions][order]
        whole = np.empty((int(lengths.sum()), memory.whole.shape[1]), np.float32)  # (n, W)
        alive = np.searchsorted(-lengths[order], -np.arange(lengths.max()))  # (T,) longer than so many
        for step, size in enumerate(alive.tolist()):
            items = sequences.items[source[:size] + step].astype(np.int64)
            responses = sequences.responses[source[:size] + step].astype(np.int64)
            steps = np.full(size, step)
            kernels.update(self._model.model, self._items, memory, items, responses, steps, 0, size)
            whole[first[:size] + step] = memory.whole[:size]
        ends = np.zeros(len(whole), bool)
        ends[np.cumsum(lengths)[lengths < self._longest] - 1] = True
        return Moments(whole, 1 + np.arange(len(whole)) - np.repeat(np.cumsum(lengths) - lengths, lengths), ends)


def end_losses(chance: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(n,) negative log-likelihood of whether users left, which they did with ``chance`` (n,) if it is right."""
    return -np.log(np.maximum(np.where(ends, chance, 1.0 - chance), np.finfo(np.float64).tiny))


def longest_of(lengths: np.ndarray) -> int | None:
    """The length at which a log cuts its sessions, found from their ``lengths`` (S,); None if it cuts none.

    Where it does, all who would have stayed longer gather at the largest length.
    """
    longest = int(lengths.max())
    below = np.count_nonzero((lengths < longest) & (lengths >= longest - max(1, longest // 10)))
    gathered = np.count_nonzero(lengths == longest)
    return longest if gathered > _AS_MANY * max(1.0, below / max(1, longest // 10)) else None
