"""What the environments of RecSession share around the core: users with their seeds, spaces, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space
from gymnasium.vector.utils import batch_space

from recsim_hrl.render import Impression, SessionTrace
from recsim_hrl.simulator.core import HISTORIES, Outcome, SessionConfig, SessionCore, session_totals
from recsim_hrl.simulator.ensemble import core_of
from recsim_hrl.simulator.folder import SimulatorData, load_data
from recsim_hrl.types import CLICK, ORDER, Catalogue, R
from recsim_hrl.vector.support import SupportReport
from recsim_hrl.vector.users import Arrays, UserBatch

if TYPE_CHECKING:
    from recsim_hrl.simulator.store import Simulator


def load_core(
    simulator: str | Path | Simulator | SimulatorData,
    split: str,
    config: SessionConfig,
    threads: int | None = None,
    simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
) -> SessionCore:
    """The core of a task over a simulator, or over one loaded by name or folder; or over an ensemble of ``simulators``.

    Raises:
        ValueError: If both are given, or the simulators do not fit together.
    """
    return core_of(load_simulators(simulator, split, simulators), config, threads)


def load_simulators(
    simulator: str | Path | Simulator | SimulatorData,
    split: str,
    simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
) -> SimulatorData | list[SimulatorData]:
    """One simulator as arrays, or all of the ``simulators`` of an ensemble.

    Raises:
        ValueError: If both are given.
    """
    if simulators is None:
        return load_simulator_data(simulator, split)
    if not isinstance(simulators, (list, tuple)):
        raise ValueError(f"simulators: got {simulators!r}, allowed a list of names or folders; put it in brackets")
    if simulator != "default":
        raise ValueError(f"simulators: got them beside simulator={simulator!r}, allowed one of the two; leave one out")
    return [load_simulator_data(one, split) for one in simulators]


def load_simulator_data(simulator: str | Path | Simulator | SimulatorData, split: str) -> SimulatorData:
    """A simulator as arrays: as given, or loaded by name or folder."""
    if isinstance(simulator, SimulatorData):  # asking for a Simulator would import torch
        return simulator
    return simulator.data if hasattr(simulator, "data") else load_data(simulator, split)


def action_space(core: SessionCore) -> Space:
    """Action space of one user."""
    if core.config.action == "item":
        return Discrete(len(core.candidates))
    return Box(-core.bound, core.bound, core.catalogue.embeddings.shape[1:], np.float32)


def observation_space(core: SessionCore) -> Space:
    """Observation space of one user."""
    length = core.config.history
    if core.config.observation == "item_ids":
        low, high, shape, dtype = 0, len(core.catalogue), (length,), np.int64
    else:
        width = core.catalogue.embeddings.shape[1]
        low, high, shape, dtype = -core.bound, core.bound, (length, width), np.float32
    if core.config.flat:
        return Box(low, high, (len(HISTORIES) * int(np.prod(shape)),), dtype)
    return Dict({name: Box(low, high, shape, dtype) for name in HISTORIES})


class SessionBatch(UserBatch):
    """``size`` users of RecSession: what the vector and the single environment share.

    Args:
        core: The task.
        size: Number of users.
        report_support: Whether the info of a step tells how much of it the log covers.
    """

    def __init__(self, core: SessionCore, size: int, report_support: bool = False) -> None:
        super().__init__(core, size)
        self.support = SupportReport(core, size) if report_support else None
        # The reward parts (R,) that a response brings.
        parts = {"click_reward": CLICK, "order_reward": ORDER}
        self._parts = {name: core.rewards * (np.arange(R) == response) for name, response in parts.items()}

    def advance(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
        """Play one step: rewards (B,) float64, terminated and truncated (B,) bool, and the step's info as arrays."""
        state = self._playing()
        outcome = self.core.step(state, self._read(actions))
        truncated = self.core.terminal(state)
        self._ended = np.count_nonzero(truncated) > 0  # a third of the time of any()
        return outcome.reward, np.zeros(self.size, dtype=np.bool_), truncated, self._info(outcome)

    def _read(self, actions: Any) -> np.ndarray:
        """The actions as an array of the core's, if they have the kind and shape of the action space."""
        kind = self.core.config.action
        if kind == "item":
            return self._as_form(actions, kind, (self.size,), is_whole=True).astype(np.int64)
        width = self.core.catalogue.embeddings.shape[1]
        return self._as_form(actions, kind, (self.size, width), is_whole=False).astype(np.float32)

    def _info(self, outcome: Outcome) -> Arrays:
        catalogue = self.core.catalogue
        return {
            "response": outcome.response,
            "item": outcome.item,
            "item_id": catalogue.item_ids[outcome.item],
            "category": catalogue.categories[outcome.item],
            **{name: part[outcome.response] for name, part in self._parts.items()},
            **self.whose(),
            **({} if self.support is None else self.support.tell(self.core, self.state, outcome.response)),
        }

    def session_info(self) -> Arrays:
        """Totals of the sessions so far, as arrays (B,)."""
        state = self._running()
        return session_totals(state.responses.copy(), self.core.rewards, state.step.copy())

    def new_trace(self, user: int) -> SessionTrace:
        """What a rendering tells of a session of ``user`` that begins."""
        return SessionTrace(user, self.core.config.session_length)

    def add_to(self, trace: SessionTrace, info: Arrays, row: int) -> None:
        """Add to the ``trace`` of the user in a ``row`` what the step showed that ``info`` tells of."""
        price, response = self.core.catalogue.prices[info["item"][row]].item(), int(info["response"][row])
        item, category, reward = (info["item_id"][row], info["category"][row], self.core.rewards[response])
        trace.impressions.append(Impression(int(item), int(category), price, response, float(reward)))


class Offer:
    """What an environment offers to agents: the items and spaces of its ``core``."""

    def _offer(self, core: SessionCore) -> None:
        """Take over a core."""
        self.core = core
        self.item_embeddings = core.catalogue.embeddings  # (I, D)
        self.candidate_items = core.candidates  # (C,)
        self._set_spaces(*self._spaces(core))

    @staticmethod
    def _spaces(core: SessionCore) -> tuple[Space, Space]:
        """Spaces of one user's actions and observations."""
        return action_space(core), observation_space(core)

    def _set_spaces(self, action: Space, observation: Space) -> None:
        """Take over the spaces of one user; a vector environment has others."""
        self.action_space, self.observation_space = action, observation


class VectorOffer(Offer):
    """The same for ``num_envs`` users."""

    def _set_spaces(self, action: Space, observation: Space) -> None:
        self.single_action_space, self.single_observation_space = action, observation
        self.action_space = batch_space(action, self.num_envs)
        self.observation_space = batch_space(observation, self.num_envs)


class Restocked(Offer):
    """Items that come and go, for environments over a ``core`` and a ``_batch`` of its users."""

    def add_items(self, items: Catalogue) -> np.ndarray:
        """Add ``items`` (n,) to the candidates, also of running sessions; their candidate indices (n,).

        A space of item actions or item ids grows with them. An added item costs the same in any catalogue.
        """
        size = len(self.core.candidates)
        self._stock(self.core.with_items(items))
        return np.arange(size, len(self.core.candidates))

    def remove_items(self, candidates: np.ndarray) -> None:
        """Take ``candidates`` (n,) away, also from running sessions. Their indices stay empty: an action that names one
        stands for the most similar candidate that is there."""
        self._stock(self.core.without_items(candidates))

    def _stock(self, core: SessionCore) -> None:
        self._batch.core = core
        self._offer(core)


def check_render_mode(mode: str | None, allowed: list[str]) -> str | None:
    """The render mode, if there is such a one."""
    if mode is not None and mode not in allowed:
        raise ValueError(f"render_mode: got {mode!r}, allowed None or one of {allowed}; pass one of them")
    return mode
