"""The response model in use: one cheap update per impression, in place.

What :class:`recsim_hrl.simulator.response.ResponseModel` says of whole sessions, as a linear recurrence. An item is of
one kind, so an impression changes two rows of a user's memory (its kind's, and that of all kinds together), and a
prediction reads the same two. The other rows only fade, and that is made up for when they are next touched, from the
step at which they last were. A user-step therefore costs the same for any number of kinds.
``tests/simulator/test_response.py`` holds this form against the parallel one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.simulator.response import SURPRISES, ItemCodes, ResponseModel, on_grid
from recsim_hrl.types import NO_ITEM, R


@dataclass(frozen=True)
class Memory:
    """Traces of ``B`` users: on each of H time scales the learned ones, then those of the surprises; W in all."""

    whole: Tensor  # (B, W) of all kinds together, as they are now
    kinds: Tensor  # (B, K, W) of each kind, as they were after the impression that last changed them
    written: Tensor  # (B, K) int64, the step after that impression

    def take(self, users: Tensor) -> "Memory":
        """A copy of the memory of ``users`` (b,)."""
        return Memory(self.whole[users], self.kinds[users], self.written[users])

    def split(self, size: int) -> list["Memory"]:
        """Views of ``size`` users each."""
        parts = (part.split(size) for part in (self.whole, self.kinds, self.written))
        return [Memory(*part) for part in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Items:
    """What the recurrence needs of ``I`` items."""

    kind: Tensor  # (I,) int64
    hidden: Tensor  # (I, hidden), the item's own share of the first hidden layer
    marks: Tensor  # (I R, 2 (W - surprises)), what each response to it adds to the traces of its kind, and of all kinds

    def marks_of(self, chosen: Tensor, responses: Tensor) -> Tensor:
        """(B, 2 (W - surprises)) what ``responses`` (B,) to the ``chosen`` items (B,) add."""
        return self.marks.index_select(0, chosen * R + responses)


@dataclass(frozen=True)
class Read:
    """The traces that concern one item per user, as they are now."""

    row: Tensor  # (B,) int64, of all users' kinds
    seen: Tensor  # (B, 2 W) of the item's kind, then of all kinds


class Recurrence:
    """A fitted response model with its weights laid out for stepping.

    Args:
        model: The fitted model.
        steps: Impressions of a session, at the most.
        dtype: Of its arithmetic.
        device: Where its weights lie.
    """

    def __init__(
        self,
        model: ResponseModel,
        steps: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        config, weights = model.config, {name: value.double() for name, value in model.state_dict().items()}
        place = {"dtype": dtype, "device": torch.device(device)}
        self.dtype, self.kinds, self.time_scales = dtype, config.kinds, config.time_scales
        repeats = (config.traces, SURPRISES)
        self.learned, surprises = (config.time_scales * size for size in repeats)
        self.width = self.learned + surprises

        def each_trace(values: Tensor) -> Tensor:
            """(W,) for each trace the value (H,) of its time scale."""
            return torch.cat([values.double().repeat_interleave(size) for size in repeats])

        reads = [weights[f"{verb}_{part}.weight"] for part in ("own", "all") for verb in ("read", "wonder")]
        read = torch.cat(reads, 1) * each_trace(model.units).repeat(2)  # (hidden, 2 W)
        self._read = read.T.contiguous().to(**place)  # (2 W, hidden)
        self._write = torch.cat([weights["write_own.weight"], weights["write_all.weight"]]).T.to(place["device"])
        self._item = weights["read_item.weight"].T.to(**place), weights["read_item.bias"].to(**place)
        self._middle = weights["middle.weight"].T.contiguous().to(**place), weights["middle.bias"].to(**place)
        head = weights["logit_scale"] * weights["head.weight"]  # (R, hidden)
        bias = weights["logit_scale"] * weights["head.bias"] + weights["logit_shift"]  # (R,)
        self._head = head.to(**place), bias.unsqueeze(1).to(**place)
        self._decays = each_trace(model.decays).to(place["device"])  # (W,)
        ages = torch.arange(steps + 1, dtype=torch.float64).unsqueeze(1)
        self._left = (each_trace(model.decays) ** ages).to(**place)  # (1 + steps, W) left after so many impressions
        self._carry = each_trace(model.carry).to(**place)  # (W,)
        self._answer = torch.eye(R, **place)[:, 1:].repeat(1, self.time_scales)  # (R, surprises)
        self._first = torch.zeros(0, dtype=torch.int64, device=place["device"])

    def items(self, codes: ItemCodes) -> Items:
        """Items with ``codes``."""
        hidden = self.hidden_share(codes)  # (I, hidden)
        # Summed in one order for every item, so that an item's marks do not depend on the others.
        write = self._write.unflatten(0, (R, -1))  # (R, 1 + V, 2 learned)
        parts = [value.view(-1, 1, 1) * write[:, v] for v, value in enumerate(codes.values.to(write).unbind(-1))]
        marks = sum(parts).to(self.dtype)  # (I, R, 2 learned)
        return Items(codes.kinds.argmax(-1).to(hidden.device), hidden, marks.flatten(0, 1))

    def hidden_share(self, codes: ItemCodes) -> Tensor:
        """(I, hidden) the share of the first hidden layer that items with ``codes`` have of their own."""
        return codes.features.to(self._read) @ self._item[0] + self._item[1]

    def replay(self, items: Items, shown: Tensor, responses: Tensor) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before; there are no surprises in it.

        Args:
            items: The catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        places = shown.clamp_min(0)
        present = (shown != NO_ITEM).unsqueeze(-1).to(self.dtype)  # (U, P, 1)
        kinds = nn.functional.one_hot(items.kind[places], self.kinds) * present  # (U, P, K)
        ages = torch.arange(shown.shape[1] - 1, -1, -1, device=shown.device)  # (P,)
        left = (self._decays[: self.learned] ** ages.unsqueeze(1)).to(self.dtype)  # (P, learned)
        own, whole = items.marks[places * R + responses].chunk(2, -1)  # (U, P, learned) each
        memory = torch.matmul(kinds.transpose(1, 2), own * left), (whole * left * present).sum(1)
        rest = self.width - self.learned
        kinds, whole = (nn.functional.pad(part, (0, rest)) * self._carry for part in memory)
        return Memory(whole, kinds, torch.zeros_like(kinds[..., 0], dtype=torch.int64))

    def read(self, memory: Memory, kind: Tensor, step: Tensor) -> Read:
        """What ``memory`` holds of one ``kind`` (B,) per user, after ``step`` (B,) impressions of the session."""
        if len(self._first) != len(kind):
            self._first = torch.arange(0, len(kind) * self.kinds, self.kinds, device=kind.device)
        row = self._first + kind
        age = step - memory.written.view(-1).index_select(0, row)
        own = memory.kinds.view(-1, self.width).index_select(0, row)
        return Read(row, torch.cat([own.mul_(self._left.index_select(0, age)), memory.whole], 1))

    def logits(self, seen: Tensor, hidden: Tensor) -> Tensor:
        """Calibrated logits (R, B) of one item per user, from what is ``seen`` (B, 2 W) of the user and the item's
        share of the ``hidden`` layer (B, hidden)."""
        return self._respond(torch.addmm(hidden, seen, self._read))

    def _respond(self, hidden: Tensor) -> Tensor:
        """(R, n) from the first hidden layer (n, hidden), which is overwritten."""
        hidden = nn.functional.silu(hidden, inplace=True)
        deeper = nn.functional.silu(torch.addmm(self._middle[1], hidden, self._middle[0]), inplace=True)
        return torch.addmm(self._head[1], self._head[0], deeper.add_(hidden).T)

    def write(
        self, memory: Memory, read: Read, marks: Tensor, responses: Tensor, expected: Tensor, step: Tensor
    ) -> None:
        """Put one impression per user into ``memory``.

        Args:
            memory: Is changed.
            read: What was read for the item; it is used up.
            marks: (B, 2 (W - surprises)) what the response to the item adds, of :meth:`Items.marks_of`.
            responses: (B,)
            expected: (B, R) probabilities of the responses, on the grid that surprises are taken from.
            step: (B,) impressions before this one.
        """
        surprise = self._answer.index_select(0, responses) - expected[:, 1:].repeat(1, self.time_scales)
        for traces, mark in zip((read.seen[:, : self.width], memory.whole), marks.chunk(2, 1), strict=True):
            traces.mul_(self._left[1])
            traces[:, : self.learned].add_(mark)
            traces[:, self.learned :].add_(surprise)
        memory.kinds.view(-1, self.width).index_copy_(0, read.row, read.seen[:, : self.width])
        memory.written.view(-1).index_copy_(0, read.row, step + 1)

    def all_logits(self, memory: Memory, step: int, kind: Tensor, hidden: Tensor) -> Tensor:
        """(B, C, R) calibrated logits of many items for all users at the same ``step``.

        Args:
            memory: The users'.
            step: Impressions of the session so far.
            kind: (C,) of the items, or (B, C) where they differ by user.
            hidden: (C, hidden), or (B, C, hidden), the items' share of the first layer.
        """
        own = memory.kinds * self._left[step - memory.written]  # (B, K, W)
        first = own @ self._read[: self.width] + (memory.whole @ self._read[self.width :]).unsqueeze(1)
        if kind.ndim == 1:
            first = first.index_select(1, kind)  # (B, C, hidden)
        else:
            first = first.gather(1, kind.unsqueeze(-1).expand(-1, -1, first.shape[-1]))
        first = first.add_(hidden)
        return self._respond(first.flatten(0, 1)).T.unflatten(0, first.shape[:2])

    def update(self, memory: Memory, step: int, items: Items, chosen: Tensor, responses: Tensor) -> None:
        """Read, foretell and write at once, for users who are all at the same ``step``."""
        steps = torch.full_like(responses, step)
        read = self.read(memory, items.kind.index_select(0, chosen), steps)
        probs = self.logits(read.seen, items.hidden.index_select(0, chosen)).T.softmax(-1)
        self.write(memory, read, items.marks_of(chosen, responses), responses, on_grid(probs), steps)
