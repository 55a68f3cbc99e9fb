"""The response model in use: one cheap update per impression, in place.

What :class:`recsim_hrl.simulator.response.ResponseModel` says of whole sessions, as a linear recurrence. An item is of
one kind, so an impression changes two rows of a user's memory (its kind's, and that of all kinds together), and a
prediction reads the same two. The other rows only fade, and that is made up for when they are next touched, from the
step at which they last were. A user-step therefore costs the same for any number of kinds.
``tests/simulator/test_response.py`` holds this form against the parallel one.

It runs on NumPy arrays, for environments, and on torch tensors, for policies that look at all candidates at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_hrl.simulator.backend import NumPy
from recsim_hrl.simulator.weights import SURPRISES, ItemCodes, ResponseWeights, on_grid
from recsim_hrl.types import NO_ITEM, R

if TYPE_CHECKING:
    from recsim_hrl.simulator.backend import Backend
    from recsim_hrl.types import Array


@dataclass(frozen=True)
class Memory:
    """Traces of ``B`` users: on each of H time scales the learned ones, then those of the surprises; W in all."""

    whole: Array  # (B, W) of all kinds together, as they are now
    kinds: Array  # (B, K, W) of each kind, as they were after the impression that last changed them
    written: Array  # (B, K) int64, the step after that impression

    def take(self, users: Array) -> Memory:
        """A copy of the memory of ``users`` (b,)."""
        return Memory(self.whole[users], self.kinds[users], self.written[users])

    def split(self, size: int) -> list[Memory]:
        """Views of ``size`` users each."""
        starts = range(0, len(self.whole), size)
        return [Memory(*(part[start : start + size] for part in vars(self).values())) for start in starts]


@dataclass(frozen=True)
class Items:
    """What the recurrence needs of ``I`` items."""

    kind: Array  # (I,) int64
    hidden: Array  # (I, hidden), the item's own share of the first hidden layer
    marks: Array  # (I R, 2 (W - surprises)), what each response to it adds to the traces of its kind, and of all kinds


@dataclass(frozen=True)
class Read:
    """The traces that concern one item per user, as they are now."""

    row: Array  # (B,) int64, of all users' kinds
    seen: Array  # (B, 2 W) of the item's kind, then of all kinds


class Recurrence:
    """A fitted response model with its weights laid out for stepping.

    Args:
        weights: Of the fitted model.
        steps: Impressions of a session, at the most.
        dtype: Of its arithmetic.
        backend: Whether it runs on NumPy arrays or on torch tensors.
    """

    def __init__(
        self, weights: ResponseWeights, steps: int, dtype: str = "float32", backend: type[Backend] = NumPy
    ) -> None:
        config, exact = weights.config, weights.exact
        self.dtype, self.backend, self.kinds, self.time_scales = dtype, backend, config.kinds, config.time_scales
        repeats = (config.traces, SURPRISES)
        self.learned, surprises = (config.time_scales * size for size in repeats)
        self.width = self.learned + surprises

        def each_trace(values: np.ndarray) -> np.ndarray:
            """(W,) for each trace the value (H,) of its time scale."""
            return np.concatenate([values.repeat(size) for size in repeats])

        reads = [exact[f"{verb}_{part}.weight"] for part in ("own", "all") for verb in ("read", "wonder")]
        read = np.concatenate(reads, 1) * np.tile(each_trace(weights.units), 2)  # (hidden, 2 W)
        self._read = self._place(read.T)  # (2 W, hidden)
        self._write = np.concatenate([exact["write_own.weight"], exact["write_all.weight"]]).T
        self._item = exact["read_item.weight"].T, exact["read_item.bias"]
        self._middle = self._place(exact["middle.weight"].T), self._place(exact["middle.bias"])
        head = exact["logit_scale"] * exact["head.weight"]  # (R, hidden)
        bias = exact["logit_scale"] * exact["head.bias"] + exact["logit_shift"]  # (R,)
        self._head = self._place(head), self._place(bias[:, None])
        self._decays, self._carry = each_trace(weights.decays), each_trace(weights.carry)  # (W,)
        self._left = self._place(self._decays ** np.arange(steps + 1)[:, None])  # (1 + steps, W) after so many steps
        self._answer = self._place(np.tile(np.eye(R)[:, 1:], (1, self.time_scales)))  # (R, surprises)
        self._first = self.backend.place(np.zeros(0, np.int64))

    def _place(self, values: np.ndarray) -> Array:
        return self.backend.place(np.ascontiguousarray(values, self.dtype))

    def items(self, codes: ItemCodes) -> Items:
        """Items with ``codes``."""
        return Items(self.backend.place(codes.kinds), self.hidden_share(codes), self._marks(codes))

    def hidden_share(self, codes: ItemCodes) -> Array:
        """(I, hidden) the share of the first hidden layer that items with ``codes`` have of their own."""
        return self._place(codes.features @ self._item[0] + self._item[1])

    def _marks(self, codes: ItemCodes) -> Array:
        """(I R, 2 learned) of :class:`Items`."""
        # Summed in one order for every item, so that an item's marks do not depend on the others.
        write = self._write.reshape(R, -1, self._write.shape[-1])  # (R, 1 + V, 2 learned)
        marks = sum(value[:, None, None] * write[:, v] for v, value in enumerate(codes.values.T))  # (I, R, 2 learned)
        return self._place(marks.reshape(-1, marks.shape[-1]))

    def marks_of(self, items: Items, chosen: Array, responses: Array) -> Array:
        """(B, 2 learned) what ``responses`` (B,) to the ``chosen`` items (B,) add to the traces."""
        return self.backend.take(items.marks, chosen * R + responses)

    def replay(self, codes: ItemCodes, shown: np.ndarray, responses: np.ndarray) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before; there are no surprises in it.

        Args:
            codes: Of the catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        size, length = shown.shape
        marks = np.asarray(self._marks(codes), np.float64)
        memory = np.zeros((1 + self.kinds, size, self.width))  # all kinds first
        users = np.arange(size)
        for place in range(length):
            here = shown[:, place] != NO_ITEM
            item = shown[here, place]
            left = self._decays[: self.learned] ** (length - 1 - place)  # (learned,) by the end of the visit
            own, whole = np.split(marks[item * R + responses[here, place]], 2, 1)  # (u, learned) each
            memory[0, here, : self.learned] += whole * left
            memory[1 + codes.kinds[item], users[here], : self.learned] += own * left
        memory *= self._carry
        kinds = self._place(memory[1:].swapaxes(0, 1))  # (U, K, W)
        return Memory(self._place(memory[0]), kinds, self.backend.place(np.zeros((size, self.kinds), np.int64)))

    def read(self, memory: Memory, kind: Array, step: Array | int) -> Read:
        """What ``memory`` holds of one ``kind`` (B,) per user, after ``step`` impressions, (B,) or the same for all."""
        take = self.backend.take
        if len(self._first) != len(kind):
            self._first = self.backend.place(np.arange(0, len(kind) * self.kinds, self.kinds))
        row = self._first + kind
        age = step - take(memory.written.reshape(-1), row)
        own = take(memory.kinds.reshape(-1, self.width), row)
        own *= take(self._left, age)
        return Read(row, self.backend.join((own, memory.whole)))

    def logits(self, seen: Array, hidden: Array) -> Array:
        """Calibrated logits (R, B) of one item per user, from what is ``seen`` (B, 2 W) of the user and the item's
        share of the ``hidden`` layer (B, hidden)."""
        first = seen @ self._read
        first += hidden
        return respond(first, self._middle, self._head, self.backend)

    def write(
        self, memory: Memory, read: Read, marks: Array, responses: Array, expected: Array, step: Array | int
    ) -> None:
        """Put one impression per user into ``memory``.

        Args:
            memory: Is changed.
            read: What was read for the item; it is used up.
            marks: (B, 2 learned) what the response to the item adds, of :meth:`marks_of`.
            responses: (B,)
            expected: (R, B) probabilities of the responses, on the grid that surprises are taken from.
            step: Impressions before this one, (B,) or the same for all.
        """
        surprise = self.backend.take(self._answer, responses)
        surprise -= self.backend.join((expected[1:].T,) * self.time_scales)
        own, learned = read.seen[:, : self.width], self.learned
        for traces, mark in ((own, marks[:, :learned]), (memory.whole, marks[:, learned:])):
            traces *= self._left[1]
            traces[:, :learned] += mark
            traces[:, learned:] += surprise
        memory.kinds.reshape(-1, self.width)[read.row] = own
        memory.written.reshape(-1)[read.row] = step + 1

    def all_logits(self, memory: Memory, step: int, kind: Array, hidden: Array) -> Array:
        """(B, C, R) calibrated logits of many items for all users at the same ``step``.

        Args:
            memory: The users'.
            step: Impressions of the session so far.
            kind: (C,) of the items, or (B, C) where they differ by user.
            hidden: (C, hidden), or (B, C, hidden), the items' share of the first layer.
        """
        own = memory.kinds * self._left[step - memory.written]  # (B, K, W)
        rows = own @ self._read[: self.width] + (memory.whole @ self._read[self.width :])[:, None]  # (B, K, hidden)
        if kind.ndim == 1:
            first = rows[:, kind]  # (B, C, hidden)
        else:
            first = rows[self.backend.place(np.arange(len(rows)))[:, None], kind]
        first += hidden
        logits = respond(first.reshape(-1, first.shape[-1]), self._middle, self._head, self.backend)
        return logits.T.reshape(*first.shape[:2], R)

    def update(self, memory: Memory, step: int, items: Items, chosen: Array, responses: Array) -> None:
        """Read, foretell and write at once, for users who are all at the same ``step``."""
        read = self.read(memory, self.backend.take(items.kind, chosen), step)
        logits = self.logits(read.seen, self.backend.take(items.hidden, chosen))
        expected = on_grid(self.backend.softmax(logits))
        self.write(memory, read, self.marks_of(items, chosen, responses), responses, expected, step)


def respond(first: Array, middle: tuple[Array, Array], head: tuple[Array, Array], backend: type[Backend]) -> Array:
    """Logits (R, n) from the first hidden layer (n, hidden), which is overwritten.

    Args:
        first: The layer before its nonlinearity.
        middle: Weights (hidden, hidden), inputs first, and bias (hidden,) of the second layer.
        head: Weights (R, hidden) and bias (R, 1) of the logits.
        backend: Of the arrays.
    """
    hidden = backend.silu(first)
    deeper = hidden @ middle[0]
    deeper += middle[1]
    deeper = backend.silu(deeper)
    deeper += hidden
    return head[0] @ deeper.T + head[1]
