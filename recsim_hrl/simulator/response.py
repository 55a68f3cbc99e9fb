"""The response model: probabilities of skip, click and order, given the session so far and a candidate item.

The user state is a table of *traces*: decayed sums over the impressions so far. Items are of learned *kinds*, and a
user has traces for each kind and traces for all kinds together, on several time scales, each with its own learned
decay. What an impression adds to them is learned too: it depends on the response and on a few learned values of the
item (what is good, what is loud). A candidate reads the traces of its own kind and those of all kinds, and a small
network turns them and the item's features into three logits.

Sums of what happened mistake a well-chosen item for a willing user: ten clicks on items that anyone would have clicked
tell nothing new. So some traces sum *surprises*: the response that came, less the probability that the model itself
gave it. That is how a rating is kept in chess, and to first order how Bayes' rule moves a belief. It also keeps the
model honest with itself: along a session of its own making the surprises are zero on average, whatever the policy, so
it cannot talk itself into believing in a better user than it started with.

A trace is attention to the impressions so far whose weights fall geometrically with age, so it has two equal forms:
sums over whole sessions at once, used to fit, here; and a linear recurrence, used to simulate, in
:mod:`recsim_hrl.simulator.recurrence`. Only the surprises have to be found one after the other.

At the border between two visits of a user each time scale keeps a learned share (``carry``): tiredness is forgotten,
taste is not.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.session_model import SessionModel, let_kinds_be_categories
from recsim_hrl.simulator.tables import Network
from recsim_hrl.simulator.weights import SURPRISES, ResponseConfig, ResponseWeights
from recsim_hrl.types import R


@dataclass(frozen=True)
class LearningCodes:
    """What the model knows of items while it learns; :class:`recsim_hrl.simulator.weights.ItemCodes` when it has."""

    kinds: Tensor  # (..., K) one-hot
    values: Tensor  # (..., 1 + V), the first is 1
    features: Tensor  # (..., F)


class ResponseModel(SessionModel):
    """Softmax over the responses, recurrent over the session."""

    def __init__(self, config: ResponseConfig) -> None:
        super().__init__()
        self.config = config
        half_lives = torch.tensor(config.half_lives)
        self.decay_logits = nn.Parameter(torch.logit(0.5 ** (1.0 / half_lives)))  # (H,)
        self.carry_logits = nn.Parameter(torch.linspace(-2.0, 3.0, config.time_scales))  # (H,)
        self.to_kinds = nn.Linear(config.embedding_dim, config.kinds)
        self.to_values = nn.Linear(config.embedding_dim, config.values)
        self.to_features = nn.Linear(config.embedding_dim, config.item_features)
        marks, traces = R * (1 + config.values), config.time_scales * config.traces
        self.write_own = nn.Linear(marks, traces, bias=False)
        self.write_all = nn.Linear(marks, traces, bias=False)
        for layer in (self.write_own, self.write_all):
            nn.init.normal_(layer.weight, std=marks**-0.5)
        self.read_own = nn.Linear(traces, config.hidden, bias=False)
        self.read_all = nn.Linear(traces, config.hidden, bias=False)
        self.wonder_own = nn.Linear(config.time_scales * SURPRISES, config.hidden, bias=False)
        self.wonder_all = nn.Linear(config.time_scales * SURPRISES, config.hidden, bias=False)
        self.read_item = nn.Linear(config.item_features, config.hidden)
        self.middle = nn.Linear(config.hidden, config.hidden)
        self.head = nn.Linear(config.hidden, R)

    @property
    def weights(self) -> ResponseWeights:
        """The weights as they are now, as arrays that share their memory."""
        return ResponseWeights(self.config, {name: value.numpy() for name, value in self.state_dict().items()})

    def begin_with_categories(self, embeddings: Tensor, categories: Tensor) -> None:
        """Let kind k begin as category k (see :func:`let_kinds_be_categories`); it is learned like all else from there.

        Args:
            embeddings: (I, D) of the catalogue.
            categories: (I,) of the catalogue.
        """
        let_kinds_be_categories(self.to_kinds, embeddings, categories)

    @property
    def decays(self) -> Tensor:
        """(H,) what one impression leaves of the older traces."""
        return torch.sigmoid(self.decay_logits)

    @property
    def carry(self) -> Tensor:
        """(H,) what the border between two visits leaves of the traces."""
        return torch.sigmoid(self.carry_logits)

    @property
    def units(self) -> Tensor:
        """(H,) brings traces of every time scale near 1 before they enter the network."""
        return (1.0 - self.decays).clamp_min(0.02) * 2.0

    def encode(self, embeddings: Tensor) -> LearningCodes:
        """Codes of items with ``embeddings`` (..., D).

        An item is of its most likely kind. While the model learns, the gradient is that of the likelihoods
        (straight-through), so that items can change sides.
        """
        likely = torch.softmax(self.to_kinds(embeddings), -1)  # (..., K)
        kinds = nn.functional.one_hot(likely.argmax(-1), self.config.kinds).to(likely.dtype)
        if self.training:
            kinds = kinds + likely - likely.detach()
        values = torch.tanh(self.to_values(embeddings))  # (..., V)
        values = torch.cat([torch.ones_like(values[..., :1]), values], -1)  # (..., 1 + V)
        return LearningCodes(kinds, values, self.to_features(embeddings))

    def session_logits(self, embeddings: Tensor, responses: Tensor, present: Tensor, border: int) -> Tensor:
        """See :meth:`SessionModel.session_logits`."""
        items = self.encode(embeddings)
        answers = nn.functional.one_hot(responses, R) * present.unsqueeze(-1)  # (B, L, R)
        marks = (answers.unsqueeze(-1) * items.values.unsqueeze(-2)).flatten(-2)  # (B, L, R (1 + V))
        everything = torch.ones_like(items.kinds[..., :1])  # (B, L, 1): one kind that all items are of
        own, whole = (_Fading(kinds, self.decays, self.carry, border) for kinds in (items.kinds, everything))
        units, scales = self.units.unsqueeze(-1), (self.config.time_scales, -1)  # (H, 1)
        hidden = self.read_item(items.features[:, border:])  # (B, T, hidden), T = L - border
        for fading, write, read in ((own, self.write_own, self.read_own), (whole, self.write_all, self.read_all)):
            traces = fading.sums(write(marks).unflatten(-1, scales))  # (B, T, H, traces)
            hidden = hidden + read((traces * units).flatten(-2))
        surprises = self._surprises(hidden.detach(), items.kinds[:, border:].argmax(-1), answers[:, border:])
        surprises = nn.functional.pad(surprises, (0, 0, border, 0)).unsqueeze(-2)  # (B, L, 1, SURPRISES)
        surprises = surprises.expand(-1, -1, self.config.time_scales, -1)  # (B, L, H, SURPRISES)
        for fading, wonder in ((own, self.wonder_own), (whole, self.wonder_all)):
            hidden = hidden + wonder((fading.sums(surprises) * units).flatten(-2))
        return self._respond(hidden)

    def _respond(self, hidden: Tensor) -> Tensor:
        """(..., R) calibrated logits from the first hidden layer (..., hidden)."""
        hidden = nn.functional.silu(hidden)
        deeper = nn.functional.silu(self.middle(hidden)) + hidden  # (..., hidden)
        return self.calibrated(self.head(deeper))

    @torch.no_grad()
    def _surprises(self, hidden: Tensor, kinds: Tensor, answers: Tensor) -> Tensor:
        """(B, T, SURPRISES) of every impression: one place after the other, as each depends on those before.

        No gradient flows through them: the model learns to foretell responses, not to be surprised usefully.

        Args:
            hidden: (B, T, hidden) of the first layer, all but the share of the surprises.
            kinds: (B, T) of the items.
            answers: (B, T, R) one-hot responses, zero where there is no impression.
        """
        units, decays = (part.repeat_interleave(SURPRISES).numpy() for part in (self.units, self.decays))  # (S,)
        wonder = np.concatenate([layer.weight.numpy() * units for layer in (self.wonder_own, self.wonder_all)], 1).T
        network = Network(
            np.ascontiguousarray(wonder),  # (2 S, hidden)
            np.zeros(self.config.hidden, np.float32),
            self.middle.weight.numpy().T.copy(),
            self.middle.bias.numpy(),
            (self.logit_scale * self.head.weight).numpy().T.copy(),
            (self.logit_scale * self.head.bias + self.logit_shift).numpy(),
        )
        found = np.zeros((*kinds.shape, SURPRISES), np.float32)  # (B, T, SURPRISES)
        present = answers.sum(-1) > 0
        responses = torch.where(present, answers.argmax(-1), -1).numpy()  # (B, T)
        left = decays ** np.arange(kinds.shape[1] + 1, dtype=np.float32)[:, None]  # (1 + T, S)
        kernels.surprise(network, left, self.config.kinds, hidden.contiguous().numpy(), kinds.numpy(), responses, found)
        return torch.from_numpy(found)


class _Fading:
    """Decayed sums over sessions (B, L), each place given those before it, apart for each kind of item.

    Sessions are cut into chunks as long as the border. A place finds what was written in its own chunk by a product
    over pairs of places, and all earlier chunks as one sum per kind, handed on from chunk to chunk.

    Args:
        kinds: (B, L, K) one-hot.
        decays: (H,)
        carry: (H,) what the border between visits leaves.
        border: Places that belong to the visit before.
    """

    def __init__(self, kinds: Tensor, decays: Tensor, carry: Tensor, border: int) -> None:
        self.border, self.length = border, kinds.shape[1] - border
        self.decays, self.carry = decays, carry
        self.kinds = self._chunks(kinds)  # (B, n, c, K)
        places = torch.arange(border, device=kinds.device)  # (c,)
        age = places.unsqueeze(1) - places - 1  # (c, c): impressions strictly between
        fading = torch.where(age >= 0, decays.view(-1, 1, 1) ** age.clamp_min(0), 0.0)  # (H, c, c)
        self.within = fading  # (H, c, c), or (B, n, H, c, c) where kinds differ
        if kinds.shape[2] > 1:
            self.within = (self.kinds @ self.kinds.transpose(2, 3)).unsqueeze(2) * fading
        self.at_end = decays ** (border - 1 - places).unsqueeze(1)  # (c, H) what the chunk's end finds of a place
        self.since = decays ** places.unsqueeze(1)  # (c, H) what a place finds of the chunk before

    def _chunks(self, values: Tensor) -> Tensor:
        """(B, n, c, ...) of ``values`` (B, L, ...)."""
        missing = (0, 0) * (values.ndim - 2) + (0, -self.length % self.border)
        return nn.functional.pad(values, missing).unflatten(1, (-1, self.border))

    def sums(self, written: Tensor) -> Tensor:
        """(B, L - border, H, m) what each impression of the session finds of what was ``written`` (B, L, H, m)."""
        width = written.shape[-1]
        chunks = self._chunks(written)  # (B, n, c, H, m)
        inside = torch.matmul(self.within, chunks.transpose(2, 3)).transpose(2, 3)  # (B, n, c, H, m)
        added = self.kinds.transpose(2, 3) @ (chunks * self.at_end.unsqueeze(-1)).flatten(3)  # (B, n, K, H m)
        left = (self.decays**self.border).repeat_interleave(width)  # (H m,)
        totals = [added[:, 0] * self.carry.repeat_interleave(width)]  # (B, K, H m) for each chunk of the session
        for chunk in added[:, 1:-1].unbind(1):
            totals.append(totals[-1] * left + chunk)
        before = self.kinds[:, 1:] @ torch.stack(totals, 1)  # (B, n - 1, c, H m)
        before = before.unflatten(-1, (-1, width)) * self.since.unsqueeze(-1)
        return (inside[:, 1:] + before).flatten(1, 2)[:, : self.length]
