"""History windows as item ids, for agents that know items by identity, whatever form the observations have."""

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.base import Array, Observations
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import ItemTable


class ItemIds:
    """Turns history windows into ids: catalogue index + 1, 0 for an empty place.

    Embeddings are looked up in the catalogue, which is exact as long as no two items share one.

    Args:
        market: Says which form the observations have.
        agent: Who asks, for the errors.
    """

    def __init__(self, market: Market, agent: str) -> None:
        self._agent = agent
        self._items = len(market.item_embeddings)
        self._table = ItemTable(market.item_embeddings, market.observation)
        if not self._table.reads_ids:
            found = self._table.ids(self._table.table[None])[0]  # (I + 1,)
            unclear = int((found != torch.arange(self._items + 1)).sum())
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
        values = torch.as_tensor(window)  # (B, N) or (B, N, D)
        ids = self._table.ids(values)  # (B, N)
        if self._table.reads_ids:
            unknown = (ids < 0) | (ids > self._items)  # (B, N)
        else:
            unknown = (self._table.table[ids] != values).any(-1)  # (B, N)
        if unknown.any():
            raise ValueError(
                f"agent {self._agent}: got {int(unknown.sum())} items in the window {key!r} that are not in its "
                f"market's catalogue, allowed are the {self._items} items that the agent was made with, as they are; "
                "make the agent with the environment it acts in, and with observation='item_ids' if a wrapper changes "
                "embeddings"
            )
        return ids.numpy()


def stacked(windows: Observations) -> Tensor:
    """(B, H, N) of the H windows (B, N) of ids."""
    return torch.stack([torch.as_tensor(windows[key]) for key in HISTORIES], 1)
