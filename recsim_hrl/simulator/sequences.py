"""Sessions as the fit sees them: each preceded by the end of the user's visit before, cut into even batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.types import NO_ITEM, R, Visits

VISIT_WIDTH = 20
"""Impressions of the visit before that a session starts from."""
BLOCK = 500_000
"""Impressions that are counted at a time, where counting takes arrays much larger than the log."""


@dataclass(frozen=True)
class SessionBatch:
    """Sessions side by side; the first ``border`` places hold the visit before, right-aligned."""

    items: Tensor  # (B, L) item indices, 0 where absent
    responses: Tensor  # (B, L)
    present: Tensor  # (B, L) float
    border: int

    @classmethod
    def of_arrays(cls, items: np.ndarray, responses: np.ndarray, present: np.ndarray, border: int) -> Self:
        """The batch that ``to_arrays`` gave."""
        return cls(*map(torch.from_numpy, (items, responses, present)), border)

    def to_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Its fields as arrays, which can be sent to another process."""
        return self.items.numpy(), self.responses.numpy(), self.present.numpy(), self.border

    @property
    def targets(self) -> Tensor:
        """(B, L - border) responses to predict."""
        return self.responses[:, self.border :]

    @property
    def weights(self) -> Tensor:
        """(B, L - border) 1 for impressions of the session, 0 for padding."""
        return self.present[:, self.border :]


@dataclass(frozen=True)
class Sequences:
    """All sessions of a log, in memory: 5 bytes an impression and 32 a session."""

    items: np.ndarray  # (n,) int32 item indices in log order
    responses: np.ndarray  # (n,) int8
    offsets: np.ndarray  # (S + 1,) where each session starts
    user_ids: np.ndarray  # (S,)
    previous: np.ndarray  # (S,) the user's session before, -1 for none

    @staticmethod
    def build(
        items: np.ndarray, responses: np.ndarray, offsets: np.ndarray, user_ids: np.ndarray, start_times: np.ndarray
    ) -> "Sequences":
        """Link each session to the last earlier one of its user (by start time, then by order in the log)."""
        order = np.lexsort((start_times, user_ids))  # which keeps the order of equals
        previous = np.full(len(user_ids), -1)
        same = user_ids[order[1:]] == user_ids[order[:-1]]
        previous[order[1:][same]] = order[:-1][same]
        items, responses = items.astype(np.int32, copy=False), responses.astype(np.int8, copy=False)
        return Sequences(items, responses, offsets, user_ids, previous)

    def __len__(self) -> int:
        return len(self.user_ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(S,) impressions of each session."""
        return np.diff(self.offsets)

    def visits(self, sessions: np.ndarray) -> Visits:
        """What is known of the users of ``sessions`` (B,) when those sessions start."""
        before = self.previous[sessions]  # (B,)
        end = np.where(before >= 0, self.offsets[before + 1], 0)
        start = np.where(before >= 0, np.maximum(self.offsets[before], end - VISIT_WIDTH), 0)
        places = end[:, None] - VISIT_WIDTH + np.arange(VISIT_WIDTH)  # (B, P)
        absent = places < start[:, None]
        places = np.maximum(places, 0)
        items = np.where(absent, NO_ITEM, self.items[places])
        responses = np.where(absent, 0, self.responses[places])
        return Visits(
            torch.from_numpy(self.user_ids[sessions].astype(np.int64)),
            torch.from_numpy(items.astype(np.int64)),
            torch.from_numpy(responses.astype(np.int64)),
        )

    def batch(self, sessions: np.ndarray) -> SessionBatch:
        """``sessions`` (B,) side by side, with the visits before them."""
        visits = self.visits(sessions)
        lengths = self.lengths[sessions]
        places = np.arange(lengths.max())
        absent = places >= lengths[:, None]  # (B, T)
        index = np.where(absent, 0, self.offsets[sessions][:, None] + places)
        items = np.where(absent, 0, self.items[index]).astype(np.int64)
        responses = np.where(absent, 0, self.responses[index]).astype(np.int64)
        return SessionBatch(
            torch.cat([visits.items.clamp_min(0), torch.from_numpy(items)], 1),
            torch.cat([visits.responses, torch.from_numpy(responses)], 1),
            torch.cat([(visits.items != NO_ITEM).float(), torch.from_numpy(~absent).float()], 1),
            VISIT_WIDTH,
        )

    def batches(self, sessions: np.ndarray, size: int, generator: np.random.Generator | None) -> Iterator[SessionBatch]:
        """``sessions`` in batches of about ``size`` impressions, alike in length; shuffled with a generator."""
        return (self.batch(part) for part in self.cuts(sessions, size, generator))

    def cuts(self, sessions: np.ndarray, size: int, generator: np.random.Generator | None) -> list[np.ndarray]:
        """The sessions (positions) of each batch."""
        jitter = generator.uniform(0.9, 1.1, len(sessions)) if generator else 1.0
        by_length = sessions[np.argsort(self.lengths[sessions] * jitter, kind="stable")]
        lengths = self.lengths[by_length] + VISIT_WIDTH
        parts, start, widest = [], 0, 0
        for place, length in enumerate(lengths.tolist()):
            widest = max(widest, length)
            if place > start and (place + 1 - start) * widest > size:
                parts.append(by_length[start:place])
                start, widest = place, length
        parts.append(by_length[start:])
        if generator:
            generator.shuffle(parts)
        return parts


def item_counts(sequences: Sequences, items: int) -> np.ndarray:
    """(I, R) how often each item was answered in each way."""
    flat = np.zeros(items * R, np.int64)
    for start in range(0, len(sequences.items), BLOCK):
        block = slice(start, start + BLOCK)
        answers = sequences.items[block].astype(np.int64) * R + sequences.responses[block]
        flat += np.bincount(answers, minlength=len(flat))
    return flat.reshape(items, R).astype(np.int32)
