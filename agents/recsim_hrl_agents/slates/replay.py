"""What agents of slates learn from: requests with the slate, its answers, and what followed."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Transitions
from recsim_hrl_agents.buffers import Ring
from recsim_hrl_agents.slates.state import STATE_KEYS

AVAILABLE = "available"
"""Observation (B, P) of what can be shown."""


@dataclass(frozen=True)
class Requests:
    """Sampled requests."""

    observations: dict[str, Tensor]  # (S, ...) of the state's keys
    actions: Tensor  # (S, ...) as sent to the environment
    items: Tensor  # (S, K) int64 catalogue indices of the slate
    responses: Tensor  # (S, K) int64
    is_seen: Tensor  # (S, K) bool
    rewards: Tensor  # (S,)
    next_observations: dict[str, Tensor]  # (S, ...)
    terminated: Tensor  # (S,) bool, the user left: nothing is bootstrapped
    next_available: Tensor | None  # (S, P) bool, where it was asked for


class SlateReplay:
    """The latest requests of all users.

    Args:
        capacity: Requests kept.
        keeps_available: Whether what can be shown next is kept: an eighth of a byte for each item of the stock.
    """

    def __init__(self, capacity: int, keeps_available: bool = False) -> None:
        self._ring = Ring(capacity, torch.device("cpu"))
        self._keeps_available = keeps_available
        self._stock = 0

    def __len__(self) -> int:
        """Requests held."""
        return len(self._ring)

    def add(self, transitions: Transitions) -> None:
        """Append one step of all users."""
        values = {
            "actions": transitions.actions,
            "items": transitions.items,
            "responses": transitions.responses,
            "is_seen": transitions.is_seen,
            "rewards": transitions.rewards,
            "terminated": transitions.terminated,
        }
        for key in STATE_KEYS:
            values[f"observation/{key}"] = transitions.observations[key]
            values[f"next/{key}"] = transitions.next_observations[key]
        if self._keeps_available:
            available = np.asarray(transitions.next_observations[AVAILABLE]).astype(bool)  # (B, P)
            self._stock, values[AVAILABLE] = available.shape[1], np.packbits(available, axis=1)
        self._ring.add({name: torch.as_tensor(value) for name, value in values.items()}, len(transitions.rewards))

    def sample(self, size: int, generator: torch.Generator) -> Requests:
        """``size`` requests drawn uniformly with replacement."""
        drawn = self._ring.sample(size, generator)
        available = None
        if self._keeps_available:
            bits = np.unpackbits(drawn[AVAILABLE].numpy(), axis=1, count=self._stock)
            available = torch.from_numpy(bits.astype(bool))  # (S, P)
        return Requests(
            {key: drawn[f"observation/{key}"] for key in STATE_KEYS},
            drawn["actions"],
            drawn["items"].long(),
            drawn["responses"].long(),
            drawn["is_seen"],
            drawn["rewards"],
            {key: drawn[f"next/{key}"] for key in STATE_KEYS},
            drawn["terminated"],
            available,
        )
