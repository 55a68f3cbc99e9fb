"""The user as agents of slates see it: what was browsed, clicked and ordered, and how many requests were made."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.market import HISTORIES, REQUEST, Market
from recsim_hrl_agents.networks import DecayedMeans, ItemTable

Encoder = Literal["attention", "means"]
STATE_KEYS = (*HISTORIES, REQUEST)
"""Observations that make up a state."""
HALF_LIVES = (3.0, 10.0)
"""Of the means of each history, in items."""


class SlateState(nn.Module):
    """State (B, width) of a user, from the histories and the number of requests.

    Args:
        market: Items, and the length of the histories.
        kind: "attention": self-attention over the items of all histories, as in SASRec; "means": means that weigh
            recent items more, which has no weights to learn but the last layer, and takes a twentieth of the time.
        width: Of the state.
    """

    def __init__(self, market: Market, kind: Encoder, width: int) -> None:
        super().__init__()
        self.items = ItemTable(market.item_embeddings, market.observation)
        if kind == "attention":
            self.read: nn.Module = SelfAttention(market.embedding_dim, market.history, width)
            read = width
        else:
            self.read = DecayedMeans(HISTORIES, market.embedding_dim, market.history, HALF_LIVES)
            read = self.read.width
        self.merge = nn.Sequential(nn.Linear(read + 1, width), nn.LayerNorm(width))

    def forward(self, observations: dict[str, np.ndarray] | dict[str, Tensor]) -> Tensor:
        """(B, width) of a batch of observations with :data:`STATE_KEYS`."""
        request = torch.as_tensor(observations[REQUEST]).float()  # (B, 1)
        read = self.read(self.items, observations)  # (B, read)
        return self.merge(torch.cat([read, request], 1))  # (B, width)


class SelfAttention(nn.Module):
    """Two layers of self-attention over the items of all histories (Kang and McAuley, "Self-Attentive Sequential
    Recommendation", ICDM 2018), each item with its place and its history; their mean is the state.

    Args:
        embedding_dim: Width D of an item embedding.
        history: Length N of a history.
        width: Of the layers and of the state.
    """

    heads, layers = 4, 2

    def __init__(self, embedding_dim: int, history: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(embedding_dim, width)
        self.places = nn.Parameter(0.02 * torch.randn(len(HISTORIES), history, width))
        layer = nn.TransformerEncoderLayer(width, self.heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers_ = nn.TransformerEncoder(layer, self.layers, enable_nested_tensor=False)
        self.empty = nn.Parameter(torch.zeros(width))

    def forward(self, items: ItemTable, observations: dict[str, np.ndarray] | dict[str, Tensor]) -> Tensor:
        """(B, width) of the windows in ``observations``."""
        windows = items(observations, HISTORIES)
        stacked = torch.stack([windows[key] for key in HISTORIES], 1)  # (B, H, N, D)
        is_there = (stacked != 0).any(-1).flatten(1)  # (B, H N)
        tokens = (self.enter(stacked) + self.places).flatten(1, 2)  # (B, H N, width)
        # A token that is always there keeps the softmax of a new user's attention from being empty.
        first = self.empty.expand(len(tokens), 1, -1)  # (B, 1, width)
        is_there = torch.cat([torch.ones_like(is_there[:, :1]), is_there], 1)  # (B, 1 + H N)
        seen = self.layers_(torch.cat([first, tokens], 1), src_key_padding_mask=~is_there)  # (B, 1 + H N, width)
        share = is_there.float() / is_there.sum(1, keepdim=True)  # (B, 1 + H N)
        return (share.unsqueeze(1) @ seen).squeeze(1)  # (B, width)
