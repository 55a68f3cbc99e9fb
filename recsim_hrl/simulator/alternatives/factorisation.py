"""A factorisation machine with counts: strong for its simplicity, and without any notion of order but "of late".

Its features are the candidate's embedding and kind, and counts of what was shown, clicked and ordered, of the
candidate's kind and of all, in the session, of late, and in the visit before; each count falls into one of a few bins.
Every pair of features has an interaction, the product of two learned vectors (Rendle, ICDM 2010), for each response.
"""

import torch
from torch import Tensor, nn

from recsim_hrl.simulator.alternatives.window import Codes, WindowModel
from recsim_hrl.simulator.session_model import let_kinds_be_categories
from recsim_hrl.types import R

LATE = (10, 20)
"""Impressions that count as of late."""
_EDGES = (1, 2, 3, 5, 8, 13, 21, 34)
BINS = len(_EDGES) + 1
COUNTS = R * (2 + len(LATE))
"""Counts of each response or more: in the session, in the visit before, and of late on each scale."""


class FactorisationMachine(WindowModel):
    """Softmax over the responses, by a factorisation machine.

    Args:
        embedding_dim: Width D of an item embedding.
        kinds: Item kinds K; they begin as the catalogue's categories and stay what they are.
        factors: Width of a feature's vector, for each response.
    """

    def __init__(self, embedding_dim: int, kinds: int = 24, factors: int = 16) -> None:
        super().__init__()
        self.kinds, self.factors = kinds, factors
        self.to_kinds = nn.Linear(embedding_dim, kinds).requires_grad_(False)
        width = R * (1 + factors)  # of each feature and response: a weight, and a vector
        self.of_embedding = nn.Parameter(torch.randn(embedding_dim, width) * 0.02)
        self.of_kind = nn.Parameter(torch.randn(kinds, width) * 0.02)
        self.of_count = nn.Parameter(torch.randn(2 * COUNTS, BINS, width) * 0.02)  # of the kind's, then of all

    def begin_with_categories(self, embeddings: Tensor, categories: Tensor) -> None:
        """See :meth:`SessionModel.begin_with_categories`."""
        let_kinds_be_categories(self.to_kinds, embeddings, categories)

    def encode(self, embeddings: Tensor) -> Codes:
        """Kind (..., 1), and sums (..., width) over the item's own features, of their parameters and of the squares."""
        kind = self.to_kinds(embeddings).argmax(-1)  # (...,)
        sums = embeddings @ self.of_embedding + self.of_kind[kind]
        squares = embeddings.square() @ self.of_embedding.square() + self.of_kind[kind].square()
        return kind.unsqueeze(-1), sums, squares

    def remember(
        self, codes: Codes, responses: Tensor, present: Tensor, border: int, first: int
    ) -> tuple[Tensor, Tensor]:
        """Bins (B, P, K, COUNTS) of the counts of each kind, and (B, P, 1, COUNTS) of all; see
        :meth:`WindowModel.remember`."""
        kinds = nn.functional.one_hot(codes[0].squeeze(-1), self.kinds)  # (B, L, K)
        inside = (responses.unsqueeze(-1) >= torch.arange(R)) & (present > 0).unsqueeze(-1)  # (B, L, R)
        edges = torch.tensor(_EDGES)
        found = []
        for which in (kinds, torch.ones_like(kinds[..., :1])):
            happened = (which.unsqueeze(-1) * inside.unsqueeze(2)).int()  # (B, L, K, R)
            reached = nn.functional.pad(happened.cumsum(1, dtype=torch.int32), (0, 0, 0, 0, 1, 0))  # (B, L + 1, K, R)
            now, before = reached[:, first:], reached[:, border : border + 1]  # (B, P, K, R), (B, 1, K, R)
            counts = [now - before, before.expand_as(now)]
            for late in LATE:  # which may reach into the visit before
                earlier = (torch.arange(first, reached.shape[1]) - late).clamp_min(0)
                counts.append(now - reached[:, earlier])
            found.append(torch.bucketize(torch.cat(counts, -1), edges, right=True))
        return tuple(found)

    def judge(self, memory: tuple[Tensor, Tensor], codes: Codes) -> Tensor:
        """See :meth:`WindowModel.judge`."""
        kind, sums, squares = codes
        of_kind, of_all = memory  # (B, P, K, COUNTS), (B, P, 1, COUNTS)
        size, places = of_kind.shape[:2]
        kind = kind.squeeze(-1).expand(size, places, -1)  # (B, P, C)
        # Where candidates outnumber kinds, each kind is looked up once and not each candidate.
        by_kind = kind.shape[2] > self.kinds
        bins = of_kind if by_kind else of_kind.gather(2, kind.unsqueeze(-1).expand(-1, -1, -1, COUNTS))
        counted, squared = self._looked_up(bins, self.of_count[:COUNTS])  # (B, P, K or C, width) each
        if by_kind:
            rows = kind.unsqueeze(-1).expand(-1, -1, -1, counted.shape[-1])
            counted, squared = counted.gather(2, rows), squared.gather(2, rows)
        everything, everything_squared = self._looked_up(of_all, self.of_count[COUNTS:])  # (B, P, 1, width) each
        total = (sums + counted + everything).unflatten(-1, (R, -1))  # (B, P, C, R, 1 + factors)
        parts = (squares + squared + everything_squared).unflatten(-1, (R, -1))
        return total[..., 0] + 0.5 * (total[..., 1:].square() - parts[..., 1:]).sum(-1)

    def _looked_up(self, bins: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (..., width) of what ``table`` (COUNTS, BINS, width) holds for ``bins`` (..., COUNTS), and squared."""
        index = (bins + BINS * torch.arange(COUNTS)).flatten(0, -2)  # (n, COUNTS)
        flat = table.flatten(0, 1)
        found = (nn.functional.embedding_bag(index, values, mode="sum") for values in (flat, flat.square()))
        return tuple(part.view(*bins.shape[:-1], -1) for part in found)
