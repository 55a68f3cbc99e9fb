"""The response model in use: one cheap update per impression, in place.

What :class:`recsim_hrl.simulator.response.ResponseModel` says of whole sessions, as a linear recurrence. An item is of
one kind, so an impression changes two rows of a user's memory (its kind's, and that of all kinds together), and a
prediction reads the same two. The other rows only fade, and that is made up for when they are next touched, from the
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

    def __getitem__(self, index: Tensor) -> "Items":
        return Items(self.kind[index], self.values[index], self.hidden[index])

    def take(self, index: Tensor) -> "Items":
        """As ``items[index]`` for ``index`` (B,), with less overhead."""
        return Items(*(part.index_select(0, index) for part in (self.kind, self.values, self.hidden)))


@dataclass(frozen=True)
class Read:
    """The counts of the kind of one item per user, as they are now."""

    place: Tensor  # (B,) int64, which row of all users' counts
    own: Tensor  # (B, W)


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
        unit = model.count_unit().double()
        calibrated = (
            weights["logit_scale"] * weights["head.weight"],
            (weights["logit_scale"] * weights["head.bias"] + weights["logit_shift"]),
        )
        place = {"dtype": dtype, "device": torch.device(device)}
        self._read_all = (weights["read_all.weight"] * unit).T.contiguous().to(**place)  # (W, hidden)
        self._read_own = (weights["read_own.weight"] * unit).T.contiguous().to(**place)  # (W, hidden)
        self._own_limits = weights["own_limits"].to(**place).unbind()  # (W,) lowest, (W,) highest
        self._all_limits = weights["all_limits"].to(**place).unbind()
        self._item = weights["read_item.weight"].T.to(**place), weights["read_item.bias"].to(**place)
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
        hidden = codes.features.to(self._read_own) @ self._item[0] + self._item[1]
        return Items(codes.kinds.argmax(-1).to(hidden.device), codes.values.to(hidden), hidden)

    def blank(self, size: int) -> Memory:
        """Memory of ``size`` users who have seen nothing."""
        counts = torch.zeros((size, self.kinds, self.width), dtype=self.dtype, device=self._first.device)
        return Memory(counts[:, 0].clone(), counts, torch.zeros_like(counts[..., 0], dtype=torch.int64))

    def replay(self, items: Items, shown: Tensor, responses: Tensor) -> Memory:
        """Memory of users at the start of a visit (step 0), after the visit before.

        Args:
            items: The catalogue.
            shown: (U, P) indices into it, right-aligned, NO_ITEM where none.
            responses: (U, P)
        """
        before = items[shown.clamp_min(0)]
        kinds = torch.nn.functional.one_hot(before.kind, self.kinds)  # (U, P, K)
        kinds = (kinds * (shown != NO_ITEM).unsqueeze(-1)).to(self.dtype)
        ages = torch.arange(shown.shape[1] - 1, -1, -1, device=shown.device)  # (P,)
        left = (self._decays ** ages.unsqueeze(1)).to(self.dtype)  # (P, W)
        marks = self._marks(before.values, responses).repeat(1, 1, self.time_scales)  # (U, P, W)
        counts = torch.matmul(kinds.transpose(1, 2), marks * left) * self._carry  # (U, K, W)
        return Memory(counts.sum(1), counts, torch.zeros_like(counts[..., 0], dtype=torch.int64))

    def _marks(self, values: Tensor, responses: Tensor) -> Tensor:
        """(..., channels) what impressions of items with ``values`` (..., 1 + V) add on every time scale."""
        return (self._answer[responses].unsqueeze(-1) * values.unsqueeze(-2)).flatten(-2)

    def read(self, memory: Memory, kind: Tensor, step: Tensor) -> Read:
        """What ``memory`` holds of one ``kind`` (B,) per user, after ``step`` (B,) impressions of the session."""
        if len(self._first) != len(kind):
            self._first = torch.arange(0, len(kind) * self.kinds, self.kinds, device=kind.device)
        place = self._first + kind
        age = step - memory.written.view(-1).index_select(0, place)
        own = memory.counts.view(-1, self.width).index_select(0, place)
        return Read(place, own.mul_(self._left.index_select(0, age)))

    def logits(self, whole: Tensor, own: Tensor, hidden: Tensor) -> Tensor:
        """Calibrated logits (R, B) of one item per user.

        Args:
            whole: (B, W) the counts of all kinds together.
            own: (B, W) the counts of the item's kind.
            hidden: (B, hidden) the item's share of the hidden layer.
        """
        own, whole = own.clamp(*self._own_limits), whole.clamp(*self._all_limits)
        return self._respond(torch.addmm(hidden, own, self._read_own).addmm_(whole, self._read_all))

    def _respond(self, hidden: Tensor) -> Tensor:
        """(R, n) from the first hidden layer (n, hidden), which is overwritten."""
        hidden = torch.nn.functional.silu(hidden, inplace=True)
        deeper = torch.nn.functional.silu(torch.addmm(self._middle[1], hidden, self._middle[0]), inplace=True)
        return torch.addmm(self._head[1], self._head[0], deeper.add_(hidden).T)

    def write(self, memory: Memory, read: Read, values: Tensor, responses: Tensor, step: Tensor) -> None:
        """Put one impression per user into ``memory``.

        Args:
            memory: Is changed.
            read: What was read for the item; it is used up.
            values: (B, 1 + V) of the item.
            responses: (B,)
            step: (B,) impressions before this one.
        """
        marks = self._marks(values, responses).unsqueeze(1)  # (B, 1, channels)
        for counts in (memory.whole, read.own):
            counts.mul_(self._left[1]).view(-1, self.time_scales, self.channels).add_(marks)
        memory.counts.view(-1, self.width).index_copy_(0, read.place, read.own)
        memory.written.view(-1).index_copy_(0, read.place, step + 1)

    def all_logits(self, memory: Memory, step: int, items: Items) -> Tensor:
        """(B, C, R) calibrated logits of all ``items`` (C, ...), or (B, C, ...), for all users at the same ``step``."""
        own = (memory.counts * self._left[step - memory.written]).clamp(*self._own_limits)  # (B, K, W)
        whole = memory.whole.clamp(*self._all_limits)  # (B, W)
        hidden = own @ self._read_own + (whole @ self._read_all).unsqueeze(1)  # (B, K, hidden)
        if items.kind.ndim == 1:
            hidden = hidden.index_select(1, items.kind)  # (B, C, hidden)
        else:
            hidden = hidden.gather(1, items.kind.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        hidden = hidden.add_(items.hidden)
        return self._respond(hidden.flatten(0, 1)).T.unflatten(0, hidden.shape[:2])

    def update(self, memory: Memory, step: int, items: Items, responses: Tensor) -> None:
        """Read and write at once, for users who are all at the same ``step``."""
        steps = torch.full_like(responses, step)
        self.write(memory, self.read(memory, items.kind, steps), items.values, responses, steps)
