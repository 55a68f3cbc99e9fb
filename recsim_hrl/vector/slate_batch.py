"""What the environments of RecSlate share around the core: users with their seeds, spaces, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiBinary, MultiDiscrete, Space

from recsim_hrl.render import Impression, SessionTrace
from recsim_hrl.simulator.nearest import ROUNDING
from recsim_hrl.simulator.slate_config import SlateConfig
from recsim_hrl.simulator.slate_core import SlateCore, SlateOutcome, slate_totals
from recsim_hrl.types import CLICK, ORDER
from recsim_hrl.vector.shell import Offer, load_simulators, observation_space
from recsim_hrl.vector.support import SupportReport
from recsim_hrl.vector.users import Arrays, UserBatch

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator

TOKEN_BOUND = 10.0
"""Logits of tokens lie between this and its negative."""


def load_slate_core(
    simulator: str | Path | Simulator | SimulatorData,
    split: str,
    config: SlateConfig,
    semantic_ids: SemanticIds | str | Path | None = None,
    threads: int | None = None,
    simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
) -> SlateCore:
    """The core of a task; for the simulators see :func:`recsim_hrl.vector.shell.load_core`."""
    if isinstance(semantic_ids, (str, Path)):
        from recsim_hrl.semantic_ids import load_semantic_ids  # needed where actions are tokens alone

        semantic_ids = load_semantic_ids(semantic_ids)
    return SlateCore(load_simulators(simulator, split, simulators), config, semantic_ids, threads)


def slate_action_space(core: SlateCore) -> Space:
    """Action space of one user."""
    slots, width = core.config.slate_size, core.catalogue.embeddings.shape[1]
    match core.config.action:
        case "items":
            return MultiDiscrete(np.full(slots, len(core.candidates)))
        case "embeddings":
            return Box(-core.bound, core.bound, (slots, width), np.float32)
        case "query":
            return Box(-core.bound, core.bound, (width,), np.float32)
    return Box(-TOKEN_BOUND, TOKEN_BOUND, core.token_shape, np.float32)


def slate_observation_space(core: SlateCore) -> Dict:
    """Observation space of one user."""
    histories, stock = observation_space(core.session), len(core.candidates)
    return Dict({**histories.spaces, "available": MultiBinary(stock), "request": Box(0.0, 1.0, (1,), np.float32)})


class SlateBatch(UserBatch):
    """``size`` users of RecSlate: what the vector and the single environment share.

    Args:
        core: The task.
        size: Number of users.
        report_support: Whether the info of a step tells how much of it the log covers.
    """

    core: SlateCore

    def __init__(self, core: SlateCore, size: int, report_support: bool = False) -> None:
        super().__init__(core, size)
        self.support = SupportReport(core.session, size) if report_support else None
        space = slate_action_space(core)
        self._shape = (size, *space.shape)
        if core.config.action == "items":
            self._low, self._high, self._slack = 0.0, float(space.nvec[0] - 1), 0.0
        else:
            self._low, self._high, self._slack = float(space.low.min()), float(space.high.max()), ROUNDING

    def advance(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
        """Play one request: rewards (B,) float64, terminated and truncated (B,) bool, and the step's info as arrays."""
        state = self._playing()
        outcome = self.core.step(state, self._read(actions))
        ended, terminated = self.core.terminal(state), state.left.copy()
        self._ended = np.count_nonzero(ended) > 0
        return outcome.reward, terminated, ended & ~terminated, self._info(outcome)

    def _read(self, actions: Any) -> np.ndarray:
        """The actions as an array of the core's, if they are elements of the action space."""
        kind = self.core.config.action
        is_whole = kind == "items"
        array = self._as_form(actions, kind, self._shape, is_whole)
        low, high = self._low, self._high
        wrong = ~((array >= low - self._slack) & (array <= high + self._slack))
        if wrong.any():
            fix = "check the policy for NaN" if np.isnan(array[wrong]).any() else "clip it to the action space"
            raise ValueError(f"{kind} action: got an entry {array[wrong][0]:.7g}, allowed {low:g} to {high:g}; {fix}")
        return np.ascontiguousarray(array, np.int64 if is_whole else np.float32)

    def _info(self, outcome: SlateOutcome) -> Arrays:
        catalogue, response, seen = self.core.catalogue, outcome.response, outcome.is_seen
        paid = self.core.rewards[response] * seen  # (B, K)
        return {
            "response": response,
            "is_seen": seen,
            "item": outcome.item,
            "item_id": catalogue.item_ids[outcome.item],
            "category": catalogue.categories[outcome.item],
            "click_reward": (paid * (response == CLICK)).sum(1),
            "order_reward": (paid * (response == ORDER)).sum(1),
            **self.whose(),
            **({} if self.support is None else self._told(outcome)),
        }

    def _told(self, outcome: SlateOutcome) -> Arrays:
        """What the log holds of such impressions, (B, K) each; nothing of those that were not seen."""
        session = self.state.session
        before = session.step - outcome.is_seen.sum(1)  # (B,) impressions before the request
        slots = [
            self.support.tell(self.core.session, session._replace(step=before + slot + 1), outcome.response[:, slot])
            for slot in range(outcome.response.shape[1])
        ]
        return {name: np.stack([slot[name] for slot in slots], 1) * outcome.is_seen for name in slots[0]}

    def session_info(self) -> Arrays:
        """Totals of the sessions so far, as arrays (B,)."""
        return slate_totals(self._running(), self.core.rewards)

    def new_trace(self, user: int) -> SessionTrace:
        """What a rendering tells of a session of ``user`` that begins."""
        return SessionTrace(user, self.core.config.session_length, slate_size=self.core.config.slate_size)

    def add_to(self, trace: SessionTrace, info: Arrays, row: int) -> None:
        """Add to the ``trace`` of the user in a ``row`` what it saw of the slate that ``info`` tells of.

        What a published reward pays is noted with the last item, as it is no sum over the items.
        """
        core, (response, seen) = self.core, (info[name][row : row + 1] for name in ("response", "is_seen"))
        rewards = core.rewards[response[0]]  # (K,)
        slots = np.flatnonzero(seen[0])
        if core.config.reward != "responses":
            rewards = np.where(np.arange(len(rewards)) == slots[-1], core.reward(response, seen), 0.0)
        for slot in slots:
            item, price = int(info["item_id"][row, slot]), core.catalogue.prices[info["item"][row, slot]].item()
            category, answer = int(info["category"][row, slot]), int(response[0, slot])
            trace.impressions.append(Impression(item, category, price, answer, float(rewards[slot])))


class SlateOffer(Offer):
    """What an environment of slates offers to agents."""

    def _offer(self, core: SlateCore) -> None:
        super()._offer(core)
        self.slate_size = core.config.slate_size

    @staticmethod
    def _spaces(core: SlateCore) -> tuple[Space, Space]:
        return slate_action_space(core), slate_observation_space(core)
