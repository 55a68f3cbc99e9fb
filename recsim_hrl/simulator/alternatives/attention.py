"""Attention over the last items: the form that MaHRL gives its simulator, "similar to the low-level critic".

A user is three windows of N items: browsed, clicked and ordered. The candidate asks each window which of its items are
like it, in the model's own sense, and what follows from how long ago they came; a network of two layers turns the three
answers and the candidate into logits. The windows reach over the border between two visits, as in the environment.
"""

import torch
from torch import Tensor, nn

from recsim_hrl.simulator.alternatives.window import Codes, WindowModel
from recsim_hrl.types import R

WINDOWS = 3
"""Browsed, clicked, ordered: window w holds items whose response is w or more."""


class AttentionModel(WindowModel):
    """Softmax over the responses, by attention over three windows.

    Args:
        embedding_dim: Width D of an item embedding.
        hidden: Width of the two layers.
        window: Items N in a window.
        width: Width E of queries, keys and values.
    """

    def __init__(self, embedding_dim: int, hidden: int = 64, window: int = 10, width: int = 16) -> None:
        super().__init__()
        self.window, self.width = window, width
        self.to_query = nn.Linear(embedding_dim, WINDOWS * width)
        self.to_key = nn.Linear(embedding_dim, WINDOWS * width)
        self.to_value = nn.Linear(embedding_dim, WINDOWS * width)
        self.age = nn.Parameter(torch.zeros(WINDOWS, window))  # added to a key's likeness, the latest item first
        self.age_value = nn.Parameter(torch.zeros(WINDOWS, window, width))
        self.nothing = nn.Parameter(torch.zeros(WINDOWS))  # likeness of an empty place, which every window has one of
        self.read_past = nn.Linear(WINDOWS * (width + 1), hidden)
        self.read_item = nn.Linear(embedding_dim, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, R)

    def encode(self, embeddings: Tensor) -> Codes:
        """Query, key and value (..., WINDOWS E), and what the network reads of the item itself (..., hidden)."""
        return (
            self.to_query(embeddings) / self.width**0.5,
            self.to_key(embeddings),
            self.to_value(embeddings),
            self.read_item(embeddings),
        )

    def remember(
        self, codes: Codes, responses: Tensor, present: Tensor, border: int, first: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values (B, P, WINDOWS, N, E) of the windows, the latest item first, and which places are filled
        (B, P, WINDOWS, N); see :meth:`WindowModel.remember`. The border between visits makes no difference."""
        keys, values = (part.unflatten(-1, (WINDOWS, -1)) for part in codes[1:3])  # (B, L, WINDOWS, E)
        rows = torch.arange(len(present))[:, None, None]
        found = []
        for which in range(WINDOWS):
            inside = (present > 0) & (responses >= which)  # (B, L)
            places = torch.argsort((~inside).byte(), dim=1, stable=True)  # (B, L) those inside first, in their order
            before = nn.functional.pad(inside.long().cumsum(1), (1, 0))[:, first:]  # (B, P)
            back = before.unsqueeze(-1) - 1 - torch.arange(self.window)  # (B, P, N)
            place = places.gather(1, back.clamp_min(0).flatten(1)).view_as(back)
            found.append((keys[rows, place, which], values[rows, place, which], back >= 0))
        return tuple(torch.stack(parts, 2) for parts in zip(*found, strict=True))

    def judge(self, memory: tuple[Tensor, Tensor, Tensor], codes: Codes) -> Tensor:
        """See :meth:`WindowModel.judge`."""
        keys, values, filled = memory
        queries = codes[0].unflatten(-1, (WINDOWS, -1)).movedim(-2, -3)  # (B, P, WINDOWS, C, E)
        likeness = queries @ keys.transpose(-1, -2) + self.age.unsqueeze(-2)  # (B, P, WINDOWS, C, N)
        likeness = likeness.masked_fill(~filled.unsqueeze(-2), -torch.inf)
        nothing = self.nothing.view(-1, 1, 1).expand(*likeness.shape[:-1], 1)
        weights = torch.cat([likeness, nothing], -1).softmax(-1)  # (B, P, WINDOWS, C, N + 1)
        answers = weights[..., :-1] @ (values + self.age_value)  # (B, P, WINDOWS, C, E)
        past = torch.cat([answers, weights[..., -1:]], -1).movedim(-3, -2).flatten(-2)  # (B, P, C, WINDOWS (E + 1))
        hidden = nn.functional.silu(self.read_past(past) + codes[3])  # (B, P, C, hidden)
        deeper = nn.functional.silu(self.middle(hidden)) + hidden
        return self.head(deeper)
