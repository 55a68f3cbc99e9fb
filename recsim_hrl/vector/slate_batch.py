"""What the environments of RecSlate share around the core: users with their seeds, spaces, and checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiBinary, MultiDiscrete, Space

from recsim_hrl.render import Impression, SessionTrace
from recsim_hrl.simulator.nearest import ROUNDING
from recsim_hrl.simulator.slate_core import TOKEN_BOUND, SlateConfig, SlateCore, SlateOutcome, slate_totals
from recsim_hrl.types import CLICK, ORDER
from recsim_hrl.vector.shell import load_simulator_data, observation_space
from recsim_hrl.vector.users import Arrays, UserBatch

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


def load_slate_core(
    simulator: str | Path | Simulator | SimulatorData,
    split: str,
    config: SlateConfig,
    semantic_ids: SemanticIds | None = None,
    threads: int | None = None,
) -> SlateCore:
    """The core of a task over a simulator, or over one loaded by name or folder."""
    codes = None if semantic_ids is None else np.asarray(semantic_ids.codes)
    return SlateCore(load_simulator_data(simulator, split), config, codes, threads)


def slate_action_space(core: SlateCore) -> Space:
    """Action space of one user."""
    slots, width = core.config.slate_size, core.catalogue.embeddings.shape[1]
    match core.config.action:
        case "items":
            return MultiDiscrete(np.full(slots, len(core.stock)))
        case "embeddings":
            return Box(-core.bound, core.bound, (slots, width), np.float32)
        case "query":
            return Box(-core.bound, core.bound, (width,), np.float32)
    levels, tokens = core.codes.shape[1], int(core.codes.max()) + 1
    return Box(-TOKEN_BOUND, TOKEN_BOUND, (levels, tokens), np.float32)


def slate_observation_space(core: SlateCore) -> Dict:
    """Observation space of one user."""
    histories = observation_space(core.session)
    return Dict(
        {**histories.spaces, "available": MultiBinary(len(core.stock)), "request": Box(0.0, 1.0, (1,), np.float32)}
    )


class SlateBatch(UserBatch):
    """``size`` users of RecSlate: what the vector and the single environment share."""

    core: SlateCore

    def advance(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
        """Play one request: rewards (B,) float64, terminated and truncated (B,) bool, and the step's info as arrays."""
        state = self._playing()
        outcome = self.core.step(state, self._read(actions))
        terminated = state.left.copy()
        truncated = self.core.terminal(state) & ~terminated
        self._ended = bool((terminated | truncated).any())
        return outcome.reward, terminated, truncated, self._info(outcome)

    def _read(self, actions: Any) -> np.ndarray:
        """The actions as an array of the core's, if they are elements of the action space."""
        array, space = np.asarray(actions), slate_action_space(self.core)
        kind, shape = self.core.config.action, (self.size, *space.shape)
        kinds, name = ("iu", "whole numbers") if kind == "items" else ("fiu", "numbers")
        if array.dtype.kind not in kinds or array.shape != shape:
            raise ValueError(
                f"{kind} action: got {array.dtype} of shape {array.shape}, allowed {name} of shape {shape} (the first "
                f"{self.size} is the number of users); pass an element of the action space"
            )
        if kind == "items":
            low, high, slack = 0, len(self.core.stock) - 1, 0.0
        else:
            low, high, slack = float(space.low.min()), float(space.high.max()), ROUNDING
        wrong = ~((array >= low - slack) & (array <= high + slack))
        if wrong.any():
            fix = "check the policy for NaN" if np.isnan(array[wrong]).any() else "clip it to the action space"
            raise ValueError(f"{kind} action: got an entry {array[wrong][0]:.7g}, allowed {low:g} to {high:g}; {fix}")
        return np.ascontiguousarray(array, np.int64 if kind == "items" else np.float32)

    def _info(self, outcome: SlateOutcome) -> Arrays:
        catalogue, seen = self.core.catalogue, outcome.is_seen
        paid = self.core.rewards[outcome.response] * seen  # (B, K)
        return {
            "response": outcome.response,
            "is_seen": seen,
            "item": outcome.item,
            "item_id": catalogue.item_ids[outcome.item],
            "category": catalogue.categories[outcome.item],
            "click_reward": (paid * (outcome.response == CLICK)).sum(1),
            "order_reward": (paid * (outcome.response == ORDER)).sum(1),
            **self.whose(),
        }

    def session_info(self) -> Arrays:
        """Totals of the sessions so far, as arrays (B,)."""
        return slate_totals(self._running(), self.core.rewards)


def trace_slate(trace: SessionTrace, core: SlateCore, info: Arrays, row: int) -> None:
    """Add to a user's ``trace`` what of the last slate it saw."""
    for slot in np.flatnonzero(info["is_seen"][row]):
        item, response = info["item"][row, slot], int(info["response"][row, slot])
        price, category = core.catalogue.prices[item].item(), int(core.catalogue.categories[item])
        reward = float(core.rewards[response])
        trace.impressions.append(Impression(int(info["item_id"][row, slot]), category, price, response, reward))
