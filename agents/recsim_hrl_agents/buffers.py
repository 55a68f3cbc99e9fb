"""Preallocated replay memories: one that keeps each sub-environment's steps in order, for n-step returns, and a ring.

They live on the agent's device, and neither adding nor sampling asks the device for a number. With item-id observations
a window costs 4 bytes an item, with embeddings 4 * D: prefer the former (50 times less for 50-dimensional items);
networks look embeddings up when they need them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Array, Transitions
from recsim_hrl_agents.returns import n_step_returns


@dataclass(frozen=True)
class Batch:
    """Sampled n-step transitions."""

    observations: dict[str, Tensor]  # (S, ...)
    items: Tensor  # (S,) int64 catalogue index of the item shown; (S, K) of slates, -1 where the user did not look
    returns: Tensor  # (S,) discounted rewards of the steps in between
    discounts: Tensor  # (S,) factor of the bootstrapped value, 0 where the user left
    next_observations: dict[str, Tensor]  # (S, ...)
    shown: Tensor  # (L, S, ...) int64 items shown in the session up to ``next_observations``, latest first; -1: none


class ReplayBuffer:
    """The latest ``capacity`` transitions of ``B`` sub-environments.

    Args:
        capacity: Transitions kept, over all sub-environments.
        keys: Observations to keep; others are dropped.
        device: Where they are kept.
        before: Observations to keep of the beginning of a step alone.
    """

    def __init__(
        self, capacity: int, keys: tuple[str, ...], device: torch.device | str = "cpu", before: tuple[str, ...] = ()
    ) -> None:
        if capacity < 1:
            raise ValueError(f"replay buffer capacity: got {capacity}, allowed 1 or more")
        self._capacity = capacity
        self._keys = keys
        self._before = (*keys, *before)
        self._device = torch.device(device)
        self._columns: dict[str, Tensor] = {}
        self._rows = 0
        self._next = 0
        self._filled = 0

    def __len__(self) -> int:
        """Transitions held."""
        return self._filled * (self._columns["rewards"].shape[1] if self._columns else 0)

    def add(self, transitions: Transitions) -> None:
        """Append one step of all sub-environments."""
        values = {
            "items": transitions.seen_items,
            "rewards": transitions.rewards,
            "terminated": transitions.terminated,
            "ended": transitions.ended,
        }
        for key in self._before:
            values[f"observation/{key}"] = transitions.observations[key]
        for key in self._keys:
            values[f"next/{key}"] = transitions.next_observations[key]
        if not self._columns:
            self._allocate(values)
        size = self._columns["rewards"].shape[1]
        if len(transitions.rewards) != size:
            raise ValueError(
                f"replay buffer: got a step of {len(transitions.rewards)} users, allowed {size} as in the first step; "
                "use one vector environment per agent"
            )
        for name, value in values.items():
            self._columns[name][self._next] = torch.as_tensor(value)
        self._next = (self._next + 1) % self._rows
        self._filled = min(self._filled + 1, self._rows)

    def cut(self, starting: np.ndarray) -> None:
        """Let no return run from the latest step on into the session that starts now, where ``starting`` (B,)."""
        if self._filled and len(starting) == self._columns["ended"].shape[1]:
            self._columns["ended"][(self._next - 1) % self._rows] |= torch.as_tensor(starting, device=self._device)

    def sample(
        self, size: int, generator: torch.Generator, n: int = 1, gamma: float = 1.0, look_back: int = 0
    ) -> Batch:
        """``size`` transitions drawn uniformly with replacement, with returns over up to ``n`` steps each, and with
        the ``look_back`` latest items of their sessions."""
        where = {"generator": generator, "device": self._device}
        age = torch.randint(1, self._filled + 1, (size,), **where)  # (S,) 1 is the latest row
        users = torch.randint(0, self._columns["rewards"].shape[1], (size,), **where)  # (S,)
        ahead = torch.arange(min(n, self._filled), device=self._device)[:, None]  # (n, 1)
        rows = (self._next - age + ahead) % self._rows  # (n, S)
        newest = ahead + 1 >= age  # (n, S) nothing follows the latest row yet: bootstrap from there
        returns, discounts, last = n_step_returns(
            self._columns["rewards"][rows, users],
            self._columns["ended"][rows, users] | newest,
            self._columns["terminated"][rows, users],
            gamma,
        )
        first, final = rows[0], rows.gather(0, last[None])[0]  # (S,)
        return Batch(
            {key: self._columns[f"observation/{key}"][first, users] for key in self._before},
            self._columns["items"][first, users].long(),
            returns,
            discounts,
            {key: self._columns[f"next/{key}"][final, users] for key in self._keys},
            self._shown(final, age - last, users, look_back),
        )

    def _shown(self, rows: Tensor, ages: Tensor, users: Tensor, look_back: int) -> Tensor:
        """(L, S, ...) the items shown to ``users`` (S,) at ``rows`` (S,) of ``ages`` (S,) and those before it, L <=
        ``look_back`` in all; -1 where another session's begin, or what is no longer held."""
        back = torch.arange(min(look_back, self._filled), device=self._device)[:, None]  # (L, 1)
        earlier = (rows - back) % self._rows  # (L, S)
        ended = self._columns["ended"][earlier, users] & (back > 0)  # (L, S) the step itself may end its session
        apart = (ended.cumsum(0) > 0) | (ages + back > self._filled)  # (L, S)
        items = self._columns["items"][earlier, users].long()  # (L, S, ...)
        return items.masked_fill(apart.view(*apart.shape, *(1,) * (items.ndim - 2)), -1)

    def _allocate(self, values: dict[str, Array]) -> None:
        self._rows = max(1, self._capacity // len(values["rewards"]))
        for name, value in values.items():
            self._columns[name] = _column(self._rows, torch.as_tensor(value), self._device)


class Ring:
    """The latest ``capacity`` rows of named columns, which come many at a time.

    Args:
        capacity: Rows kept; as many as come at first, if those are more.
        device: Where they are kept.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._capacity, self._device = capacity, device
        self.columns: dict[str, Tensor] = {}
        self._next = self._filled = 0

    def __len__(self) -> int:
        """Rows held."""
        return self._filled

    def add(self, values: dict[str, Tensor], size: int) -> None:
        """Append ``size`` rows of every column."""
        if not self.columns:
            self._capacity = max(self._capacity, size)
            self.columns = {name: _column(self._capacity, value[0], self._device) for name, value in values.items()}
        rows = torch.as_tensor((self._next + np.arange(size)) % self._capacity, device=self._device)
        for name, value in values.items():
            self.columns[name][rows] = value.to(self.columns[name].dtype)
        self._next = (self._next + size) % self._capacity
        self._filled = min(self._filled + size, self._capacity)

    def sample(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``size`` rows drawn uniformly with replacement."""
        rows = torch.randint(0, self._filled, (size,), generator=generator, device=self._device)
        return {name: values[rows] for name, values in self.columns.items()}


def _column(rows: int, one: Tensor, device: torch.device) -> Tensor:
    """Room for ``rows`` values like ``one``."""
    return torch.zeros((rows, *one.shape), dtype=_NARROW.get(one.dtype, one.dtype), device=device)


_NARROW = {torch.int64: torch.int32, torch.float64: torch.float32}
"""Half of what an environment may give, which is enough for item ids and rewards."""
