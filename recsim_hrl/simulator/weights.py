"""What a fitted response model is made of, without torch: its shape, its weights, and its codes of items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsim_hrl.types import R

SURPRISES = R - 1
"""A surprise is kept for every response but the skip."""
PROBABILITY_GRID = 2.0**12
"""Surprises are taken from probabilities rounded to this grid: so they are the same bit for bit in every batch,
although a matrix product of one row and of a thousand rows round differently."""


@dataclass(frozen=True)
class ResponseConfig:
    """Shape of a response model."""

    embedding_dim: int = 50
    """Width of an item embedding."""
    kinds: int = 24
    """Item kinds that traces are kept for."""
    values: int = 4
    """Learned item values that what an impression adds depends on."""
    half_lives: tuple[float, ...] = (1.5, 4.0, 8.0, 16.0, 40.0, 400.0)
    """Initial half-lives of the traces in impressions; learned from there."""
    traces: int = 4
    """Traces per kind and time scale, beside those of the surprises."""
    hidden: int = 64
    """Width of the two hidden layers."""
    item_features: int = 16
    """Learned features of the candidate itself."""

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "kinds", "traces", "hidden", "item_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"response model {name}: got {getattr(self, name)}, allowed 1 or more")
        if not self.half_lives or min(self.half_lives) <= 0:
            raise ValueError(f"response model half_lives: got {self.half_lives}, allowed one or more positive numbers")

    @property
    def time_scales(self) -> int:
        return len(self.half_lives)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight by its name."""
        written, marks = self.time_scales * self.traces, R * (1 + self.values)
        surprised, hidden = self.time_scales * SURPRISES, self.hidden
        layers = {
            "to_kinds": (self.kinds, self.embedding_dim),
            "to_values": (self.values, self.embedding_dim),
            "to_features": (self.item_features, self.embedding_dim),
            "read_item": (hidden, self.item_features),
            "middle": (hidden, hidden),
            "head": (R, hidden),
        }
        shapes = {"decay_logits": (self.time_scales,), "carry_logits": (self.time_scales,)}
        shapes |= {"logit_scale": (1,), "logit_shift": (R,)}
        shapes |= {f"{name}.weight": shape for name, shape in layers.items()}
        shapes |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
        for part in ("own", "all"):
            shapes |= {f"write_{part}.weight": (written, marks), f"read_{part}.weight": (hidden, written)}
            shapes |= {f"wonder_{part}.weight": (hidden, surprised)}
        return shapes


@dataclass(frozen=True)
class ItemCodes:
    """What the model knows of items, computed once per catalogue."""

    kinds: np.ndarray  # (I,) int64, the kind that each item is most likely of
    values: np.ndarray  # (I, 1 + V), the first is 1
    features: np.ndarray  # (I, F)

    def __getitem__(self, index: np.ndarray) -> ItemCodes:
        return ItemCodes(self.kinds[index], self.values[index], self.features[index])


@dataclass(frozen=True)
class ResponseWeights:
    """The weights of a fitted model under their names in :class:`recsim_hrl.simulator.response.ResponseModel`."""

    config: ResponseConfig
    arrays: dict[str, np.ndarray]

    @cached_property
    def exact(self) -> dict[str, np.ndarray]:
        """The weights in float64."""
        return {name: np.asarray(value, np.float64) for name, value in self.arrays.items()}

    def check(self) -> None:
        """Raise a ``ValueError`` where the names or shapes of the weights are not those of the configuration."""
        allowed = self.config.shapes
        if missing := sorted(allowed.keys() ^ self.arrays.keys()):
            raise ValueError(f"weights {', '.join(missing)} are missing or unknown")
        for name, shape in allowed.items():
            if self.arrays[name].shape != shape:
                raise ValueError(f"weights {name}: got shape {self.arrays[name].shape}, allowed {shape}")

    @property
    def decays(self) -> np.ndarray:
        """(H,) float64, what one impression leaves of the older traces."""
        return _sigmoid(self.exact["decay_logits"])

    @property
    def carry(self) -> np.ndarray:
        """(H,) float64, what the border between two visits leaves of the traces."""
        return _sigmoid(self.exact["carry_logits"])

    @property
    def units(self) -> np.ndarray:
        """(H,) float64, brings traces of every time scale near 1 before they enter the network."""
        return np.maximum(1.0 - self.decays, 0.02) * 2.0

    def encode(self, embeddings: np.ndarray) -> ItemCodes:
        """Codes of items with ``embeddings`` (I, D): those of the fitted model, in float64."""
        kinds, values, features = (self._linear(name, embeddings) for name in ("kinds", "values", "features"))
        values = np.concatenate([np.ones_like(values[:, :1]), np.tanh(values)], 1)
        return ItemCodes(kinds.argmax(1), values, features)

    def _linear(self, name: str, embeddings: np.ndarray) -> np.ndarray:
        return embeddings.astype(np.float64) @ self.exact[f"to_{name}.weight"].T + self.exact[f"to_{name}.bias"]


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits))
