"""History windows as item ids, for agents that know items by identity, whatever form the observations have."""

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Array, Observations
from recsim_hrl_agents.market import HISTORIES, Market


class ItemIds:
    """Turns history windows into ids: catalogue index + 1, 0 for an empty place.

    Embeddings are looked up in the catalogue bit by bit, which is exact as long as no two items share one.

    Args:
        market: Says which form the observations have.
        agent: Who asks, for the errors.
    """

    def __init__(self, market: Market, agent: str) -> None:
        self._agent = agent
        self._items = len(market.item_embeddings)
        self._ids: dict[bytes, int] | None = None
        if market.observation == "embeddings":
            rows = _rows(market.item_embeddings)
            self._ids = {_rows(np.zeros_like(market.item_embeddings[:1]))[0]: 0}
            self._ids.update(zip(rows, range(1, self._items + 1), strict=True))
            unclear = self._items + 1 - len(self._ids)
            if unclear:
                raise ValueError(
                    f"agent {agent}: got embedding observations of a catalogue with {unclear} embeddings that are zero "
                    "or another item's too, allowed distinct ones, as this agent knows items by identity; make the "
                    "environment with observation='item_ids'"
                )

    def __call__(self, observations: Observations) -> dict[str, np.ndarray]:
        """Windows (B, N) of ids."""
        return {key: self._window(key, observations[key]) for key in HISTORIES}

    def _window(self, key: str, window: Array) -> np.ndarray:
        values = np.asarray(window)  # (B, N) or (B, N, D)
        if self._ids is not None:
            ids = [self._ids.get(row, -1) for row in _rows(values.reshape(-1, values.shape[-1]))]
            values = np.array(ids, np.int64).reshape(values.shape[:-1])  # (B, N)
        unknown = (values < 0) | (values > self._items)
        if unknown.any():
            raise ValueError(
                f"agent {self._agent}: got {unknown.sum()} items in the window {key!r} that are not in its market's "
                f"catalogue, allowed are the {self._items} items that the agent was made with, as they are; make the "
                "agent with the environment it acts in, and with observation='item_ids' if a wrapper changes embeddings"
            )
        return values


def stacked(windows: Observations) -> Tensor:
    """(B, H, N) of the H windows (B, N) of ids."""
    return torch.stack([torch.as_tensor(windows[key]) for key in HISTORIES], 1)


def _rows(embeddings: np.ndarray) -> list[bytes]:
    """The bytes of each row of (n, D) embeddings; the two zeros of floating-point numbers count as one."""
    return [row.tobytes() for row in embeddings.astype(np.float32) + np.float32(0)]
