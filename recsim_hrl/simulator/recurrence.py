"""The response model in use: one cheap update per impression, in place.

What :class:`recsim_hrl.simulator.response.ResponseModel` says of whole sessions, as a linear recurrence. An item is of
one kind, so an impression changes two rows of a user's memory (its kind's, and that of all kinds together), and a
prediction reads the same two. The other rows only fade, and that is made up for when they are next touched, from the
step at which they last were. A user-step therefore costs the same for any number of kinds.
``tests/simulator/test_response.py`` holds this form against the parallel one.
"""

from __future__ import annotations

import numpy as np

from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.tables import Items, Memory, Model, Network
from recsim_hrl.simulator.weights import SURPRISES, ItemCodes, ResponseWeights
from recsim_hrl.types import NO_ITEM, R


class Recurrence:
    """A fitted response model with its weights laid out for stepping.

    Args:
        weights: Of the fitted model.
        steps: Impressions of a session, at the most.
    """

    def __init__(self, weights: ResponseWeights, steps: int) -> None:
        config, exact = weights.config, weights.exact
        self.kinds, repeats = config.kinds, (config.traces, SURPRISES)
        self.learned, surprises = (config.time_scales * size for size in repeats)
        self.width = self.learned + surprises

        def each_trace(values: np.ndarray) -> np.ndarray:
            """(W,) for each trace the value (H,) of its time scale."""
            return np.concatenate([values.repeat(size) for size in repeats])

        reads = [exact[f"{verb}_{part}.weight"] for part in ("own", "all") for verb in ("read", "wonder")]
        read = np.concatenate(reads, 1) * np.tile(each_trace(weights.units), 2)  # (hidden, 2 W)
        self._decays, self._carry = each_trace(weights.decays), each_trace(weights.carry)  # (W,)
        write = np.concatenate([exact["write_own.weight"], exact["write_all.weight"]]).T  # (R (1 + V), 2 learned)
        self._write = write.reshape(R, -1, 2 * self.learned)
        layers = (
            np.concatenate([read, exact["read_item.weight"]], 1).T,
            exact["read_item.bias"],
            exact["middle.weight"].T,
            exact["middle.bias"],
            (exact["logit_scale"] * exact["head.weight"]).T,
            exact["logit_scale"] * exact["head.bias"] + exact["logit_shift"],
        )
        network, precise = (
            Network(*(np.ascontiguousarray(layer, dtype) for layer in layers)) for dtype in (np.float32, np.float64)
        )
        left = self._decays ** np.arange(steps + 1)[:, None]  # (1 + steps, W) of a trace after so many steps
        own, whole = np.split(self._write, 2, 2)  # (R, 1 + V, learned) each
        nothing = np.zeros((*own.shape[:2], surprises))
        marks = np.concatenate([own, nothing, whole, nothing], 2)
        place = np.concatenate([np.full(self.learned, -1), np.arange(surprises) % SURPRISES])  # (W,) which surprise
        surprised = np.tile(place, 2) == np.arange(SURPRISES)[:, None]  # (SURPRISES, 2 W)
        left = np.tile(left, 2)  # (1 + steps, 2 W)
        tables = (np.ascontiguousarray(table, np.float32) for table in (left, marks, surprised))
        self.model = Model(network, precise, *tables)

    def items(self, codes: ItemCodes) -> Items:
        """Items with ``codes``."""
        return Items(codes.kinds, codes.values.astype(np.float32), codes.features.astype(np.float32))

    def replay(self, codes: ItemCodes, shown: np.ndarray, responses: np.ndarray) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before; there are no surprises in it.

        Args:
            codes: Of the catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        size, length = shown.shape
        memory = np.zeros((1 + self.kinds, size, self.width))  # all kinds first
        users = np.arange(size)
        for place in range(length):
            here = shown[:, place] != NO_ITEM
            item = shown[here, place]
            left = self._decays[: self.learned] ** (length - 1 - place)  # (learned,) by the end of the visit
            marks = np.einsum("uv,uvw->uw", codes.values[item], self._write[responses[here, place]])
            own, whole = np.split(marks, 2, 1)  # (u, learned) each
            memory[0, here, : self.learned] += whole * left
            memory[1 + codes.kinds[item], users[here], : self.learned] += own * left
        memory *= self._carry
        whole, kinds = memory[0], memory[1:].swapaxes(0, 1)
        written = np.zeros((size, self.kinds), np.int32)
        return Memory(whole.astype(np.float32), np.ascontiguousarray(kinds, np.float32), written)

    def all_logits(self, memory: Memory, step: int | np.ndarray, items: Items, chosen: np.ndarray) -> np.ndarray:
        """(B, C, R) calibrated logits of many items.

        Args:
            memory: The users'.
            step: Impressions of the session so far, of all users alike or (B,).
            items: Of the catalogue.
            chosen: (C,) indices into it, or (B, C) where they differ by user.
        """
        network, width = self.model.network, self.width
        own = memory.kinds * self.model.left[np.reshape(step, (-1, 1)) - memory.written, : self.width]  # (B, K, W)
        rows = own @ network.first[:width]  # (B, K, hidden)
        rows += (memory.whole @ network.first[width : 2 * width])[:, None]
        kinds = items.kinds[chosen]
        first = rows[:, kinds] if kinds.ndim == 1 else rows[np.arange(len(rows))[:, None], kinds]  # (B, C, hidden)
        first += items.features[chosen] @ network.first[2 * width :]
        shape, first = first.shape, first.reshape(-1, first.shape[-1])
        kernels.activate(first, network.first_bias)
        deeper = first @ network.second
        kernels.activate(deeper, network.second_bias)
        deeper += first
        return (deeper @ network.head + network.head_bias).reshape(*shape[:2], R)

    def update(
        self, memory: Memory, step: int | np.ndarray, items: Items, chosen: np.ndarray, responses: np.ndarray
    ) -> None:
        """Let users at ``step``, all alike or (B,), have seen ``chosen`` items (B,) and given ``responses`` (B,)."""
        kernels.update(self.model, items, memory, chosen, responses, np.full(len(chosen), step), 0, len(chosen))
