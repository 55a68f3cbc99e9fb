"""A preallocated replay buffer that keeps each sub-environment's steps in order, for n-step returns.

With item-id observations a window costs 4 bytes an item, with embeddings 4 * D: prefer the former (50 times less for
50-dimensional items); networks look embeddings up when they need them.
"""

from dataclasses import dataclass

import numpy as np

from recsim_hrl_agents.base import Transitions
from recsim_hrl_agents.returns import n_step_returns


@dataclass(frozen=True)
class Batch:
    """Sampled n-step transitions."""

    observations: dict[str, np.ndarray]  # (S, ...)
    items: np.ndarray  # (S,) catalogue index of the item shown
    returns: np.ndarray  # (S,) discounted rewards of the steps in between
    discounts: np.ndarray  # (S,) factor of the bootstrapped value, 0 where the user left
    next_observations: dict[str, np.ndarray]  # (S, ...)


class ReplayBuffer:
    """The latest ``capacity`` transitions of ``B`` sub-environments.

    Args:
        capacity: Transitions kept, over all sub-environments.
        keys: Observations to keep; others are dropped.
    """

    def __init__(self, capacity: int, keys: tuple[str, ...]) -> None:
        if capacity < 1:
            raise ValueError(f"replay buffer capacity: got {capacity}, allowed 1 or more")
        self._capacity = capacity
        self._keys = keys
        self._columns: dict[str, np.ndarray] = {}
        self._rows = 0
        self._next = 0
        self._filled = 0

    def __len__(self) -> int:
        """Transitions held."""
        return self._filled * (self._columns["rewards"].shape[1] if self._columns else 0)

    def add(self, transitions: Transitions) -> None:
        """Append one step of all sub-environments."""
        values = {
            "items": transitions.items.astype(np.int32),
            "rewards": transitions.rewards.astype(np.float32),
            "terminated": transitions.terminated,
            "ended": transitions.ended,
        }
        for key in self._keys:
            values[f"observation/{key}"] = _compact(transitions.observations[key])
            values[f"next/{key}"] = _compact(transitions.next_observations[key])
        if not self._columns:
            self._allocate(values)
        size = self._columns["rewards"].shape[1]
        if len(transitions.rewards) != size:
            raise ValueError(
                f"replay buffer: got a step of {len(transitions.rewards)} users, allowed {size} as in the first step; "
                "use one vector environment per agent"
            )
        for name, value in values.items():
            self._columns[name][self._next] = value
        self._next = (self._next + 1) % self._rows
        self._filled = min(self._filled + 1, self._rows)

    def cut(self, starting: np.ndarray) -> None:
        """Let no return run from the latest step on into the session that starts now, where ``starting`` (B,)."""
        if self._filled and len(starting) == self._columns["ended"].shape[1]:
            self._columns["ended"][(self._next - 1) % self._rows] |= starting

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, gamma: float = 1.0) -> Batch:
        """``size`` transitions drawn uniformly with replacement, with returns over up to ``n`` steps each."""
        age = rng.integers(1, self._filled + 1, size)  # (S,) 1 is the latest row
        users = rng.integers(0, self._columns["rewards"].shape[1], size)  # (S,)
        steps = min(n, self._filled)
        ahead = np.arange(steps)[:, None]  # (n, 1)
        rows = (self._next - age + ahead) % self._rows  # (n, S)
        newest = ahead + 1 >= age  # (n, S) nothing follows the latest row yet: bootstrap from there
        returns, discounts, last = n_step_returns(
            self._columns["rewards"][rows, users],
            self._columns["ended"][rows, users] | newest,
            self._columns["terminated"][rows, users],
            gamma,
        )
        first, final = rows[0], rows[last, np.arange(size)]  # (S,)
        return Batch(
            {key: self._columns[f"observation/{key}"][first, users] for key in self._keys},
            self._columns["items"][first, users].astype(np.int64),
            returns,
            discounts,
            {key: self._columns[f"next/{key}"][final, users] for key in self._keys},
        )

    def _allocate(self, values: dict[str, np.ndarray]) -> None:
        self._rows = max(1, self._capacity // len(values["rewards"]))
        for name, value in values.items():
            self._columns[name] = np.zeros((self._rows, *value.shape), value.dtype)


def _compact(observation: np.ndarray) -> np.ndarray:
    """Item ids as int32, half of what the environment gives them."""
    return observation.astype(np.int32 if np.issubdtype(observation.dtype, np.integer) else np.float32)
