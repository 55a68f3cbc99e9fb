"""Sessions of a log played step by step in a simulator: with the users' own responses, or with those it draws."""

from collections.abc import Iterator

import numpy as np
import torch

from recsim_hrl import random
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.tables import Memory

_STREAM = 41  # of the draws of responses
_TOGETHER = 250  # sessions side by side: their memories stay small


class Player:
    """Plays sessions of ``sequences`` in ``simulator``, from where each user's visit before ended."""

    def __init__(self, simulator: Simulator, sequences: Sequences) -> None:
        self.sequences, self._codes = sequences, simulator.data.codes
        self._model = Recurrence(simulator.data.weights, int(sequences.lengths.max()))
        self._items = self._model.items(self._codes)

    def groups(self, sessions: np.ndarray) -> list[np.ndarray]:
        """Places in ``sessions`` (S,), the longest sessions first, so that those still on are the first of a group."""
        order = np.argsort(-self.sequences.lengths[sessions], kind="stable")
        return [order[start : start + _TOGETHER] for start in range(0, len(order), _TOGETHER)]

    def memory(self, sessions: np.ndarray) -> Memory:
        """What the simulator knows when ``sessions`` (B,) start."""
        visits = self.sequences.visits(sessions)
        return self._model.replay(self._codes, visits.items.numpy(), visits.responses.numpy())

    def steps(self, sessions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Each step and the rows of the log (b,) of the ``sessions`` (B,), longest first, that have it."""
        lengths, offsets = self.sequences.lengths[sessions], self.sequences.offsets[sessions]
        for step in range(int(lengths[0])):
            yield step, offsets[: int((lengths > step).sum())] + step

    def probs(self, memory: Memory, step: int, items: np.ndarray) -> np.ndarray:
        """(B, C, R) of ``items`` (B, C) for all users of ``memory``."""
        logits = self._model.all_logits(memory, step, self._items, items)
        return torch.from_numpy(logits).softmax(-1).numpy()

    def update(self, memory: Memory, step: int, items: np.ndarray, responses: np.ndarray) -> None:
        """Let the users have seen ``items`` (B,) and given ``responses`` (B,)."""
        self._model.update(memory, step, self._items, items, responses)


def still_on(memory: Memory, users: int) -> Memory:
    """A view of the first ``users``."""
    return Memory(*(part[:users] for part in memory))


def free_run(simulator: Simulator, sequences: Sequences, sessions: np.ndarray, seed: int) -> np.ndarray:
    """Responses that the simulator gives to the items of real sessions, each after its own responses before.

    Args:
        simulator: Answers.
        sequences: The log.
        sessions: (S,) positions of sessions in it.
        seed: Draws the responses; a session's depend on this and on its position alone.

    Returns:
        (n,) int8 responses, in the order of ``sessions`` and their impressions.
    """
    player, lengths = Player(simulator, sequences), sequences.lengths[sessions]
    starts = np.cumsum(lengths) - lengths
    drawn = np.zeros(int(lengths.sum()), np.int8)
    for group in player.groups(sessions):
        chosen = sessions[group]
        memory = player.memory(chosen)
        keys = random.mix(random.mix(np.array([seed]), _STREAM), chosen.astype(np.int64))  # (B,)
        for step, rows in player.steps(chosen):
            memory = still_on(memory, len(rows))
            items = sequences.items[rows].astype(np.int64)
            probs = player.probs(memory, step, items[:, None])[:, 0]  # (b, R)
            responses = random.sample(probs, random.uniform(random.mix(keys[: len(rows)], step)))
            player.update(memory, step, items, responses)
            drawn[starts[group[: len(rows)]] + step] = responses
    return drawn
