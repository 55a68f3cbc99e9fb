"""The core of RecSession on tensors of any device: tens of thousands of users who are all at the same step.

What :mod:`recsim_hrl.simulator.kernels` decides in float32 and, near an edge, in float64, is decided in float64
throughout here: an accelerator has the arithmetic to spare, and needs no branches then. So items, responses and
observations are the same as on the processor, from the same tables; ``tests/simulator/test_tensor_core.py`` holds this
over whole sessions. Nothing here asks the device for a value, but for item actions that repeat an item.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import silu

from recsim_hrl import random
from recsim_hrl.simulator.core import SessionCore, session_totals
from recsim_hrl.simulator.kernels import NOISE_STREAM, RESPONSE_STREAM, USER_STREAM
from recsim_hrl.simulator.nearest import COSINE_GRID, ROUNDING
from recsim_hrl.simulator.weights import PROBABILITY_GRID
from recsim_hrl.types import R

_COSINES = 1 << 26
"""Cosines held at once: half a gigabyte of float64."""
_LAST = torch.iinfo(torch.int64).min
_USERS = ("user", "histories", "whole", "kinds", "written", "_shown", "responses", "wrong")
"""Tensors that say where users stand, beside their seeds, episodes and the step."""


class TensorCore:
    """``seeds`` (B,) users at the start of a session, and what happens to them.

    Args:
        core: The task's tables.
        seeds: (B,) int64.
        device: Where the tensors live.
    """

    def __init__(self, core: SessionCore, seeds: np.ndarray, device: str | torch.device) -> None:
        self.config, self.bound, self.device = core.config, core.bound, torch.device(device)
        network, codes = core.model.exact, core.codes
        self._first, self._first_bias, self._second, self._second_bias, self._head, self._head_bias = (
            self._place(layer) for layer in network
        )
        self._left, self._marks, self._surprises = (self._place(table) for table in core.model[2:])
        self._kind, self._values, self._features = (self._place(part) for part in codes)
        self._items, self._rewards = self._place(core.candidates), self._place(core.rewards)
        vectors = self._place(core.catalogue.embeddings[core.candidates]).double()
        self._directions = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-300)  # (C, D)
        self._gone = ~self._place(core.vectors.open)  # (C,)
        nothing = torch.zeros_like(self._place(core.catalogue.embeddings[:1]))
        self._table = torch.cat([nothing, self._place(core.catalogue.embeddings)])  # (1 + I, D)
        self._start = tuple(self._place(part) for part in (core.histories, core.start.whole, core.start.kinds))
        self._users, self._rows = core.users, torch.arange(len(seeds), device=self.device)
        self._width = core.start.whole.shape[1]
        self.seed = self._place(seeds)
        self.episode = torch.zeros_like(self.seed)
        self.wrong = torch.zeros((), dtype=torch.bool, device=self.device)  # whether any action was outside its space
        self.begin()

    def _place(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.device)

    def begin(self) -> None:
        """Put everyone at the start of a session; see :meth:`recsim_hrl.simulator.core.SessionCore.begin`."""
        self.step, size = 0, len(self.seed)
        key = random.mix(random.mix(self.seed, USER_STREAM), self.episode)
        self.user = random.integers(key, self._users)  # (B,)
        self.histories, self.whole, self.kinds = (part[self.user] for part in self._start)
        self.written = torch.zeros(self.kinds.shape[:2], dtype=torch.int64, device=self.device)  # (B, K)
        self._shown = torch.zeros((size, self.config.session_length), dtype=torch.int64, device=self.device)  # (B, T)
        self.responses = torch.zeros((size, R), dtype=torch.int64, device=self.device)
        self._response_key = random.mix(random.mix(self.seed, RESPONSE_STREAM), self.episode)
        self._noise_key = random.mix(random.mix(self.seed, NOISE_STREAM), self.episode)

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all that changes, as arrays."""
        parts = {name: getattr(self, name).cpu().numpy().copy() for name in ("seed", "episode", *_USERS)}
        return parts | {"step": np.array(self.step)}

    def resume(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` gave."""
        self.seed, self.episode = self._place(state["seed"]), self._place(state["episode"])
        self.begin()
        self.step = int(state["step"])
        for name in _USERS:
            setattr(self, name, self._place(state[name]))

    @property
    def shown(self) -> Tensor:
        """(B, step) candidates shown in this session."""
        return self._shown[:, : self.step]

    def observe(self) -> Tensor:
        """(B, 3, N) catalogue indices plus one, or (B, 3, N, D) embeddings."""
        return self._table[self.histories] if self.config.observation == "embeddings" else self.histories.clone()

    def choose(self, action: Tensor) -> Tensor:
        """The candidate (B,) that an action shows. One outside its space is noted in ``wrong`` and brought inside."""
        if self.config.action == "embedding":
            self.wrong |= ~(action.abs() <= self.bound + ROUNDING).all()
            return self._nearest(torch.nan_to_num(action).double(), self.shown)
        last = len(self._items) - 1
        self.wrong |= ((action < 0) | (action > last)).any()
        chosen = action.clamp(0, last).long()
        repeated = (self.shown == chosen[:, None]).any(1) | self._gone[chosen]
        repeated = repeated.nonzero()[:, 0]  # the one question to the device
        if len(repeated):
            chosen[repeated] = self._nearest(self._directions[chosen[repeated]], self.shown[repeated])
        return chosen

    def _nearest(self, vectors: Tensor, shown: Tensor) -> Tensor:
        """The candidate (b,) nearest to ``vectors`` (b, D) by cosine that is not ``shown`` (b, step)."""
        size, found = len(self._items), []
        order = torch.arange(size - 1, -1, -1, device=self.device)  # (C,) of two that tie, the first is larger
        for start in range(0, len(vectors), max(1, _COSINES // size)):
            part = slice(start, start + max(1, _COSINES // size))
            directions = vectors[part] / vectors[part].norm(dim=1, keepdim=True).clamp_min(1e-300)
            cosines = (directions @ self._directions.T * COSINE_GRID).round_().long()  # (b, C)
            ranks = cosines.mul_(size).add_(order).scatter_(1, shown[part], _LAST).masked_fill_(self._gone, _LAST)
            found.append(ranks.argmax(1))
        return torch.cat(found)

    def play(self, chosen: Tensor) -> Tensor:
        """Show the ``chosen`` candidates (B,), move on, and tell the responses (B,)."""
        kind, rows, width = self._kind[chosen], self._rows, self._width
        own = self.kinds[rows, kind] * self._left[self.step - self.written[rows, kind], :width]  # (B, W)
        seen = torch.cat([own, self.whole], 1)  # (B, 2 W)
        logits = self._logits(torch.cat([seen, self._features[chosen]], 1).double())  # (B, R)
        expected = (logits.softmax(1) * PROBABILITY_GRID).round().div(PROBABILITY_GRID).float()  # (B, R)
        response = self._draw(logits)  # (B,)

        marks, values = self._marks[response], self._values[chosen]  # (B, 1 + V, 2 W), (B, 1 + V)
        seen *= self._left[1]
        seen += marks[:, 0]
        for kept, place in enumerate(self._surprises, start=1):
            seen += ((response == kept).float() - expected[:, kept])[:, None] * place
        for v in range(1, values.shape[1]):
            seen += values[:, v, None] * marks[:, v]
        self.kinds[rows, kind], self.whole = seen[:, :width], seen[:, width:]
        self.written[rows, kind] = self.step + 1

        self._shown[:, self.step] = chosen
        later = torch.cat([self.histories[..., 1:], (self._items[chosen] + 1)[:, None, None].expand(-1, 3, 1)], 2)
        enters = response[:, None] >= torch.arange(3, device=self.device)  # (B, 3) browsed, clicked, ordered
        self.histories = torch.where(enters[..., None], later, self.histories)
        self.responses[rows, response] += 1
        self.step += 1
        return response

    def _logits(self, seen: Tensor) -> Tensor:
        """(B, R) from what is ``seen`` (B, 2 W + F)."""
        layer = silu(torch.addmm(self._first_bias, seen, self._first))
        deeper = silu(torch.addmm(self._second_bias, layer, self._second)) + layer
        return torch.addmm(self._head_bias, deeper, self._head)

    def _draw(self, logits: Tensor) -> Tensor:
        """Responses (B,) to ``logits`` (B, R) and this step's noise."""
        if self.config.response_noise > 0:
            key = random.mix(random.mix(self._noise_key, self.step)[:, None], torch.arange(R, device=self.device))
            first, second = random.uniform(random.mix(key, 1)).double(), random.uniform(random.mix(key, 2)).double()
            normal = (-2.0 * (-first).log1p()).sqrt() * (2.0 * math.pi * second).cos()
            deviation = torch.tensor(self.config.response_noise, dtype=torch.float32)
            logits = logits + (deviation * normal.float())
        edges = logits.softmax(1).cumsum(1)[:, : R - 1]  # (B, R - 1)
        number = random.uniform(random.mix(self._response_key, self.step)).double()  # (B,)
        return (number[:, None] >= edges).sum(1)

    def item(self, chosen: Tensor) -> Tensor:
        """(B,) catalogue indices of ``chosen`` candidates (B,)."""
        return self._items[chosen]

    def session(self) -> dict[str, Tensor]:
        """Totals (B,) of the sessions so far."""
        return session_totals(self.responses, self._rewards, torch.full_like(self.seed, self.step))

    def reward(self, response: Tensor) -> Tensor:
        """(B,) float32 of ``response`` (B,)."""
        return self._rewards[response].float()
