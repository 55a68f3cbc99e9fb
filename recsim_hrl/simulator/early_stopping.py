"""What every fit here does alike: sessions held out, one cycle of the learning rate, and when to stop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import nn


class Splits(Protocol):
    """A config that says which sessions are held out."""

    @property
    def held_out(self) -> float:
        """Share of the sessions."""

    @property
    def seed(self) -> int:
        """Draws them."""


def split_sessions(size: int, config: Splits) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the held-out sessions."""
    if size < 2:
        raise ValueError(f"fit: got {size} sessions, allowed 2 or more as one is held out; bring a longer log")
    order = np.random.default_rng(config.seed).permutation(size)
    cut = min(size - 1, max(1, round(size * config.held_out)))
    return np.sort(order[cut:]), np.sort(order[:cut])


def is_stale(history: list[dict], patience: int) -> bool:
    """Whether the last ``patience`` passes brought no improvement on the held-out sessions."""
    losses = [entry["held_out_log_loss"] for entry in history]
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


@dataclass
class Best:
    """The best weights so far by held-out loss."""

    loss: float = math.inf
    weights: dict | None = None

    def offer(self, loss: float, model: nn.Module) -> None:
        """Keep a copy of the weights of ``model`` if its ``loss`` is the lowest."""
        if self.weights is None or loss < self.loss:
            self.loss = loss
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}


def one_cycle(total: int) -> Callable[[int], float]:
    """Share of the peak learning rate at each step: a linear rise over the first tenth, then a cosine to zero."""
    rise = max(1, total // 10)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise)))) + 1e-3

    return share
