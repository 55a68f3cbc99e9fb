"""The response model in use: one cheap update per impression, in place.

What :class:`recsim_hrl.simulator.response.ResponseModel` says of whole sessions, as a linear recurrence. An item has one
kind, so an impression changes two rows of a user's memory (its kind's, and that of all kinds together) and a
prediction reads the same two: the other rows only fade, and that is made up for when they are next touched, from the
step at which they last were. A user-step therefore costs the same for any number of kinds.
``tests/simulator/test_response.py`` holds this form against the parallel one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_hrl.simulator.response import ItemCodes, ResponseModel
from recsim_hrl.types import NO_ITEM, R


@dataclass(frozen=True)
class Memory:
    """Decayed counts of ``B`` users. Row 0 is of all kinds together, row ``1 + k`` of kind ``k``."""

    counts: Tensor  # (B, 1 + K, W) each row as it was at the step at which it was last written
    written: Tensor  # (B, 1 + K) int64, that step

    def take(self, users: Tensor) -> "Memory":
        """A copy of the memory of ``users`` (b,)."""
        return Memory(self.counts[users], self.written[users])

    def put(self, users: Tensor, other: "Memory") -> None:
        """Overwrite the memory of ``users`` (b,) with ``other``."""
        self.counts.index_copy_(0, users, other.counts)
        self.written.index_copy_(0, users, other.written)

    def split(self, size: int) -> list["Memory"]:
        """Views of ``size`` users each."""
        parts = zip(self.counts.split(size), self.written.split(size), strict=True)
        return [Memory(counts, written) for counts, written in parts]


@dataclass(frozen=True)
class Items:
    """What the recurrence needs of items."""

    row: Tensor  # (...) int64, the item's row of a memory: one plus its kind
    values: Tensor  # (..., 1 + V)
    hidden: Tensor  # (..., hidden), the item's own share of the first hidden layer

    def __getitem__(self, index: Tensor) -> "Items":
        return Items(self.row[index], self.values[index], self.hidden[index])

    def take(self, index: Tensor) -> "Items":
        """As ``items[index]`` for ``index`` (B,), with less overhead."""
        return Items(*(part.index_select(0, index) for part in (self.row, self.values, self.hidden)))


class Recurrence:
    """A fitted response model with its weights laid out for stepping; nothing in it changes after construction.

    Args:
        model: The fitted model.
        steps: Impressions of a session, at the most.
        dtype: Of its arithmetic.
        device: Where its weights lie.
    """

    @torch.no_grad()
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
        unit = model.count_unit().double()
        calibrated = (
            weights["logit_scale"] * weights["head.weight"],
            (weights["logit_scale"] * weights["head.bias"] + weights["logit_shift"]),
        )
        place = {"dtype": dtype, "device": torch.device(device)}
        self._read_all = (weights["read_all.weight"] * unit).T.contiguous().to(**place)  # (W, hidden)
        self._read_own = (weights["read_own.weight"] * unit).T.contiguous().to(**place)  # (W, hidden)
        self._read = torch.cat([self._read_all, self._read_own])  # (2W, hidden)
        self._item = weights["read_item.weight"].T.to(**place), weights["read_item.bias"].to(**place)
        self._middle = weights["middle.weight"].T.contiguous().to(**place), weights["middle.bias"].to(**place)
        self._head = calibrated[0].T.contiguous().to(**place), calibrated[1].to(**place)
        decays = model.decays.double().repeat_interleave(config.channels)  # (W,)
        self._decays = decays.to(place["device"])
        ages = torch.arange(steps + 1, dtype=torch.float64).unsqueeze(1)
        self._left = (decays**ages).to(**place)  # (1 + steps, W) what is left of a count after so many impressions
        self._carry = model.carry.double().repeat_interleave(config.channels).to(**place)  # (W,)
        self._answer = torch.eye(R, **place).unsqueeze(-1)  # (R, R, 1)

    @torch.no_grad()
    def items(self, codes: ItemCodes) -> Items:
        """Items with ``codes``, the most likely kind of each."""
        hidden = codes.features.to(self._read) @ self._item[0] + self._item[1]
        return Items(codes.kinds.argmax(-1).to(hidden.device) + 1, codes.values.to(hidden), hidden)

    def blank(self, size: int) -> Memory:
        """Memory of ``size`` users who have seen nothing."""
        counts = torch.zeros((size, 1 + self.kinds, self.width), dtype=self.dtype, device=self._read.device)
        return Memory(counts, torch.zeros(counts.shape[:2], dtype=torch.int64, device=counts.device))

    @torch.no_grad()
    def replay(self, items: Items, shown: Tensor, responses: Tensor) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before.

        Args:
            items: The catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        there = (shown != NO_ITEM).unsqueeze(-1)  # (U, P, 1)
        before = items[shown.clamp_min(0)]
        rows = torch.nn.functional.one_hot(before.row, 1 + self.kinds)
        rows[..., 0] = 1
        ages = torch.arange(shown.shape[1] - 1, -1, -1, device=shown.device)  # (P,)
        left = (self._decays ** ages.unsqueeze(1)).to(self.dtype)  # (P, W)
        counts = torch.matmul((rows * there).to(self.dtype).transpose(1, 2), self._marks(before, responses) * left)
        return Memory(counts * self._carry, torch.zeros(counts.shape[:2], dtype=torch.int64, device=shown.device))

    def _marks(self, items: Items, responses: Tensor) -> Tensor:
        """(..., W) what impressions of ``items`` (...) add to the counts."""
        marks = self._answer[responses] * items.values.unsqueeze(-2)  # (..., R, 1 + V)
        return marks.flatten(-2).repeat(*([1] * responses.ndim), self.time_scales)

    def read(self, memory: Memory, rows: Tensor, step: Tensor) -> Tensor:
        """(B, 2, W) the two rows that an item needs, as they are at ``step`` (B, 1).

        Args:
            memory: Of the users.
            rows: (B, 2) the rows, as indices into all rows of the memory: user * (1 + K) + row.
            step: (B, 1) impressions so far in the session.
        """
        flat = rows.flatten()
        age = step - memory.written.view(-1)[flat].view(-1, 2)  # (B, 2)
        counts = memory.counts.view(-1, self.width).index_select(0, flat)  # (2B, W)
        return counts.mul_(self._left.index_select(0, age.flatten())).view(-1, 2, self.width)

    def logits(self, counts: Tensor, hidden: Tensor) -> Tensor:
        """Calibrated logits (B, R), given what was read (B, 2, W) and the items' share of the hidden layer."""
        return self._respond(torch.addmm(hidden, counts.flatten(1), self._read))

    def _respond(self, hidden: Tensor) -> Tensor:
        """(..., R) from the first hidden layer (..., hidden), which is overwritten."""
        size = hidden.shape[:-1]
        hidden = torch.nn.functional.silu(hidden.view(-1, hidden.shape[-1]), inplace=True)
        deeper = torch.nn.functional.silu(torch.addmm(self._middle[1], hidden, self._middle[0]), inplace=True)
        return torch.addmm(self._head[1], deeper.add_(hidden), self._head[0]).view(*size, R)

    def write(
        self, memory: Memory, rows: Tensor, step: Tensor, counts: Tensor, items: Items, responses: Tensor
    ) -> None:
        """Put one impression of ``items`` (B, ...) with ``responses`` (B,) into the memory, after it was read.

        ``counts`` is what was read, and is overwritten; the other arguments are those of :meth:`read`.
        """
        marks = self._answer[responses] * items.values.unsqueeze(1)  # (B, R, 1 + V)
        marks = marks.view(-1, 1, 1, self.channels)  # the same on both rows and on all time scales
        counts.mul_(self._left[1]).view(-1, 2, self.time_scales, self.channels).add_(marks)
        flat = rows.flatten()
        memory.counts.view(-1, self.width).index_copy_(0, flat, counts.view(-1, self.width))
        memory.written.view(-1).index_copy_(0, flat, (step + 1).expand(-1, 2).flatten())

    @torch.no_grad()
    def all_logits(self, memory: Memory, step: int, items: Items) -> Tensor:
        """(B, C, R) calibrated logits of all ``items`` (C, ...), or (B, C, ...), for all users at the same ``step``."""
        counts = memory.counts * self._left[step - memory.written]  # (B, 1 + K, W)
        hidden = counts[:, 1:] @ self._read_own + (counts[:, 0] @ self._read_all).unsqueeze(1)  # (B, K, hidden)
        kinds = (items.row - 1).expand(len(counts), -1)  # (B, C)
        hidden = hidden.gather(1, kinds.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # (B, C, hidden)
        return self._respond(hidden.add_(items.hidden))

    @torch.no_grad()
    def update(self, memory: Memory, step: int, items: Items, responses: Tensor) -> None:
        """Read and write at once, for users who are all at the same ``step``."""
        rows, steps = self.rows(items.row), torch.full((len(responses), 1), step, device=responses.device)
        self.write(memory, rows, steps, self.read(memory, rows, steps), items, responses)

    def rows(self, row: Tensor) -> Tensor:
        """(B, 2) indices into all rows of a memory: of all kinds together and of ``row`` (B,)."""
        first = torch.arange(0, len(row) * (1 + self.kinds), 1 + self.kinds, device=row.device)  # (B,)
        return torch.stack([first, first + row], 1)
