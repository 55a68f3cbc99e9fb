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

from recsim_hrl.simulator.response import SURPRISES, ItemCodes, ResponseModel
from recsim_hrl.types import NO_ITEM, R


@dataclass(frozen=True)
class Memory:
    """Decayed counts of ``B`` users."""

    whole: Tensor  # (B, W) of all kinds together, as they are now
    counts: Tensor  # (B, K, W) of each kind, as they were after the impression that last changed them
    written: Tensor  # (B, K) int64, the step after that impression

    def take(self, users: Tensor) -> "Memory":
        """A copy of the memory of ``users`` (b,)."""
        return Memory(self.whole[users], self.counts[users], self.written[users])

    def split(self, size: int) -> list["Memory"]:
        """Views of ``size`` users each."""
        parts = (part.split(size) for part in (self.whole, self.counts, self.written))
        return [Memory(*part) for part in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Items:
    """What the recurrence needs of items."""

    kind: Tensor  # (...) int64
    values: Tensor  # (..., 1 + V)
    hidden: Tensor  # (..., hidden), the item's own share of the first hidden layer
    expected: Tensor  # (..., R), its own share of the logits of the expectation

    def __getitem__(self, index: Tensor) -> "Items":
        return Items(self.kind[index], self.values[index], self.hidden[index], self.expected[index])

    def take(self, index: Tensor) -> "Items":
        """As ``items[index]`` for ``index`` (B,), with less overhead."""
        parts = (self.kind, self.values, self.hidden, self.expected)
        return Items(*(part.index_select(0, index) for part in parts))


@dataclass(frozen=True)
class Read:
    """The counts that concern one item per user, as they are now."""

    place: Tensor  # (B,) int64, which row of all users' counts
    own: Tensor  # (B, W) of the item's kind
    seen: Tensor  # (B, 2 W) of its kind, then of all kinds, within the limits: what the model sees of the user


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
        self.dtype, self.time_scales, self.channels = dtype, config.time_scales, config.channels
        self.width = config.time_scales * config.channels
        self.kinds = config.kinds
        unit = model.count_unit().double().repeat_interleave(self.channels)  # (W,)
        calibrated = (
            weights["logit_scale"] * weights["head.weight"],
            (weights["logit_scale"] * weights["head.bias"] + weights["logit_shift"]),
        )
        place = {"dtype": dtype, "device": torch.device(device)}
        read = torch.cat([weights[f"read_{part}.weight"] * unit for part in ("own", "all")], 1)  # (hidden, 2 W)
        self._read = read.T.contiguous().to(**place)  # (2 W, hidden)
        # The expectation reads counts and no surprises.
        expect = [weights[f"expect_{part}.weight"].unflatten(1, (self.time_scales, -1)) for part in ("own", "all")]
        expect = [nn.functional.pad(part, (0, SURPRISES)).flatten(1) * unit for part in expect]  # (SURPRISES, W) each
        self._expect = torch.cat(expect, 1).to(**place).unbind()  # (2 W,) for each response but the skip
        self._limits = torch.cat([weights["own_limits"], weights["all_limits"]], 1).to(**place)  # (2, 2 W)
        self._item = weights["read_item.weight"].T.to(**place), weights["read_item.bias"].to(**place)
        expect_item = weights["expect_item.weight"].T, weights["expect_item.bias"]  # (F, SURPRISES), (SURPRISES,)
        self._expect_item = [nn.functional.pad(part, (1, 0)).to(**place) for part in expect_item]  # a skip's logit is 0
        self._middle = weights["middle.weight"].T.contiguous().to(**place), weights["middle.bias"].to(**place)
        self._head = calibrated[0].to(**place), calibrated[1].unsqueeze(1).to(**place)  # (R, hidden), (R, 1)
        decays = model.decays.double().repeat_interleave(config.channels)  # (W,)
        self._decays = decays.to(place["device"])
        ages = torch.arange(steps + 1, dtype=torch.float64).unsqueeze(1)
        self._left = (decays**ages).to(**place)  # (1 + steps, W) what is left of a count after so many impressions
        self._carry = model.carry.double().repeat_interleave(config.channels).to(**place)  # (W,)
        self._answer = torch.eye(R, **place)  # (R, R)
        self._first = torch.zeros(0, dtype=torch.int64, device=place["device"])

    def items(self, codes: ItemCodes) -> Items:
        """Items with ``codes``."""
        features = codes.features.to(self._read)
        hidden = features @ self._item[0] + self._item[1]
        expected = features @ self._expect_item[0] + self._expect_item[1]
        return Items(codes.kinds.argmax(-1).to(hidden.device), codes.values.to(hidden), hidden, expected)

    def replay(self, items: Items, shown: Tensor, responses: Tensor) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before.

        Args:
            items: The catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        places = shown.clamp_min(0)
        kinds = nn.functional.one_hot(items.kind[places], self.kinds)  # (U, P, K)
        kinds = (kinds * (shown != NO_ITEM).unsqueeze(-1)).to(self.dtype)
        ages = torch.arange(shown.shape[1] - 1, -1, -1, device=shown.device)  # (P,)
        left = (self._decays ** ages.unsqueeze(1)).to(self.dtype)  # (P, W)
        marks = self._marks(items.values[places], responses)  # (U, P, channels - SURPRISES)
        marks = nn.functional.pad(marks, (0, SURPRISES)).repeat(1, 1, self.time_scales)  # (U, P, W)
        counts = torch.matmul(kinds.transpose(1, 2), marks * left) * self._carry  # (U, K, W)
        return Memory(counts.sum(1), counts, torch.zeros_like(counts[..., 0], dtype=torch.int64))

    def _marks(self, values: Tensor, responses: Tensor) -> Tensor:
        """What impressions of items with ``values`` (..., 1 + V) add to the counts (...,) on every time scale."""
        return (self._answer[responses].unsqueeze(-1) * values.unsqueeze(-2)).flatten(-2)

    def read(self, memory: Memory, kind: Tensor, step: Tensor) -> Read:
        """What ``memory`` holds of one ``kind`` (B,) per user, after ``step`` (B,) impressions of the session."""
        if len(self._first) != len(kind):
            self._first = torch.arange(0, len(kind) * self.kinds, self.kinds, device=kind.device)
        place = self._first + kind
        age = step - memory.written.view(-1).index_select(0, place)
        own = memory.counts.view(-1, self.width).index_select(0, place)
        own.mul_(self._left.index_select(0, age))
        return Read(place, own, torch.cat([own, memory.whole], 1).clamp_(*self._limits))

    def logits(self, seen: Tensor, hidden: Tensor) -> Tensor:
        """Calibrated logits (R, B) of one item per user, from what is ``seen`` (B, 2 W) of the user and the item's
        share of the ``hidden`` layer (B, hidden)."""
        return self._respond(torch.addmm(hidden, seen, self._read))

    def expectation(self, seen: Tensor, expected: Tensor) -> Tensor:
        """(B, R) expected probabilities of the responses, from what is ``seen`` (B, 2 W) of the user and the item's
        share of their logits (B, R).

        They enter the memory, so they must not depend on who else is in the batch: a sum per user and no matrix
        product, whose order of additions changes with the size of the batch.
        """
        logits = torch.stack([(seen * weights).sum(-1) for weights in self._expect], 1)  # (B, SURPRISES)
        return nn.functional.pad(logits, (1, 0)).add_(expected).softmax(-1)

    def _respond(self, hidden: Tensor) -> Tensor:
        """(R, n) from the first hidden layer (n, hidden), which is overwritten."""
        hidden = nn.functional.silu(hidden, inplace=True)
        deeper = nn.functional.silu(torch.addmm(self._middle[1], hidden, self._middle[0]), inplace=True)
        return torch.addmm(self._head[1], self._head[0], deeper.add_(hidden).T)

    def write(self, memory: Memory, read: Read, items: Items, responses: Tensor, step: Tensor) -> None:
        """Put one impression per user into ``memory``.

        Args:
            memory: Is changed.
            read: What was read for the item; it is used up.
            items: One per user.
            responses: (B,)
            step: (B,) impressions before this one.
        """
        surprise = self._answer[responses] - self.expectation(read.seen, items.expected)  # (B, R)
        marks = torch.cat([self._marks(items.values, responses), surprise[:, 1:]], 1).unsqueeze(1)  # (B, 1, channels)
        for counts in (memory.whole, read.own):
            counts.mul_(self._left[1]).view(-1, self.time_scales, self.channels).add_(marks)
        memory.counts.view(-1, self.width).index_copy_(0, read.place, read.own)
        memory.written.view(-1).index_copy_(0, read.place, step + 1)

    def all_logits(self, memory: Memory, step: int, items: Items) -> Tensor:
        """(B, C, R) calibrated logits of all ``items`` (C, ...), or (B, C, ...), for all users at the same ``step``."""
        width = self.width
        own = (memory.counts * self._left[step - memory.written]).clamp(*self._limits[:, :width])  # (B, K, W)
        whole = memory.whole.clamp(*self._limits[:, width:])  # (B, W)
        hidden = own @ self._read[:width] + (whole @ self._read[width:]).unsqueeze(1)  # (B, K, hidden)
        if items.kind.ndim == 1:
            hidden = hidden.index_select(1, items.kind)  # (B, C, hidden)
        else:
            hidden = hidden.gather(1, items.kind.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        hidden = hidden.add_(items.hidden)
        return self._respond(hidden.flatten(0, 1)).T.unflatten(0, hidden.shape[:2])

    def update(self, memory: Memory, step: int, items: Items, responses: Tensor) -> None:
        """Read and write at once, for users who are all at the same ``step``."""
        steps = torch.full_like(responses, step)
        self.write(memory, self.read(memory, items.kind, steps), items, responses, steps)
