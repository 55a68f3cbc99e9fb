"""Response models that read a user's past anew at every step, and the market that is made of one.

Such a model is written in two parts: what it remembers before each place of a session, and how it judges candidates by
that. The fit judges each place's own item; the market judges many candidates at the last place.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recsim_hrl.simulator.session_model import SessionModel
from recsim_hrl.types import NO_ITEM, Catalogue, Visits

Codes = tuple[Tensor, ...]
"""What a model knows of items, (..., width) each."""


class WindowModel(SessionModel):
    """A model of what it remembers and how it judges."""

    def encode(self, embeddings: Tensor) -> Codes:
        """Codes of items with ``embeddings`` (..., D)."""
        raise NotImplementedError

    def remember(self, codes: Codes, responses: Tensor, present: Tensor, border: int, first: int) -> tuple[Tensor, ...]:
        """What is known before each place from ``first`` on, and after the last: (B, P, ...) each, P = L + 1 - first.

        Args:
            codes: Of the items, (B, L, ...).
            responses: (B, L) what the user did.
            present: (B, L) float, 0 where there is no impression.
            border: Places that belong to the previous visit.
            first: From ``border`` to L.
        """
        raise NotImplementedError

    def judge(self, memory: tuple[Tensor, ...], codes: Codes) -> Tensor:
        """(B, P, C, R) logits, before the calibration, of candidates whose ``codes`` broadcast to (B, P, C, ...)."""
        raise NotImplementedError

    def session_logits(self, embeddings: Tensor, responses: Tensor, present: Tensor, border: int) -> Tensor:
        """See :meth:`SessionModel.session_logits`."""
        codes = self.encode(embeddings)
        memory = tuple(part[:, :-1] for part in self.remember(codes, responses, present, border, border))
        own = tuple(part[:, border:].unsqueeze(2) for part in codes)  # (B, T, 1, ...)
        return self.calibrated(self.judge(memory, own).squeeze(2))


@dataclass
class Past:
    """What users were shown and did, the visit before and this session."""

    items: Tensor  # (B, L) catalogue indices, 0 where absent
    responses: Tensor  # (B, L)
    present: Tensor  # (B, L) float
    memory: tuple[Tensor, ...] | None = None  # of the model, once it was asked for


class WindowMarket:
    """Users who answer as a window model says: :class:`recsim_hrl.simulator.market.Market`.

    Args:
        model: Fitted, in evaluation mode.
        catalogue: The items.
        visits: The pool of users.
    """

    def __init__(self, model: WindowModel, catalogue: Catalogue, visits: Visits) -> None:
        self.model, self.catalogue, self._visits = model, catalogue, visits

    @cached_property
    def _codes(self) -> Codes:
        with torch.no_grad():
            return self.model.encode(self.catalogue.embeddings)

    def initial(self, users: Tensor) -> Past:
        """See :class:`recsim_hrl.simulator.market.Market`."""
        visits = self._visits.take(users)
        return Past(visits.items.clamp_min(0), visits.responses, (visits.items != NO_ITEM).float())

    @torch.no_grad()
    def probs(self, state: Past, items: Tensor) -> Tensor:
        """See :class:`recsim_hrl.simulator.market.Market`."""
        if state.memory is None:
            past = (self._of(state.items), state.responses, state.present)
            state.memory = self.model.remember(*past, self._visits.items.shape[1], state.items.shape[1])
        codes = self._of(items if items.ndim == 2 else items.unsqueeze(0))
        logits = self.model.judge(state.memory, tuple(part.unsqueeze(1) for part in codes))  # (B, 1, C, R)
        return self.model.calibrated(logits[:, 0]).softmax(-1)

    def update(self, state: Past, items: Tensor, responses: Tensor) -> Past:
        """See :class:`recsim_hrl.simulator.market.Market`."""
        columns = ((state.items, items), (state.responses, responses), (state.present, torch.ones(len(items))))
        return Past(*(torch.cat([old, new.unsqueeze(1)], 1) for old, new in columns))

    def _of(self, items: Tensor) -> Codes:
        return tuple(part[items] for part in self._codes)
