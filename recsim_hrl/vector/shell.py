"""What the environments of RecSession share around the core: users with their seeds, spaces, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete, Space
from gymnasium.vector.utils import batch_space

from recsim_hrl.render import Impression
from recsim_hrl.simulator.core import HISTORIES, Outcome, SessionConfig, SessionCore, session_totals
from recsim_hrl.simulator.ensemble import EnsembleCore
from recsim_hrl.simulator.folder import SimulatorData, load_data
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.types import CLICK, ORDER, Catalogue, R
from recsim_hrl.vector.support import SupportReport

if TYPE_CHECKING:
    from recsim_hrl.simulator.store import Simulator

SEED_BITS = (1 << 63) - 1
Arrays = dict[str, np.ndarray]


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
    if simulators is None:
        return SessionCore(_load(simulator, split), config, threads)
    if not isinstance(simulators, (list, tuple)):
        raise ValueError(f"simulators: got {simulators!r}, allowed a list of names or folders; put it in brackets")
    if simulator != "default":
        raise ValueError(f"simulators: got them beside simulator={simulator!r}, allowed one of the two; leave one out")
    return EnsembleCore.of([_load(one, split) for one in simulators], config, threads)


def _load(simulator: str | Path | Simulator | SimulatorData, split: str) -> SimulatorData:
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


class SessionBatch:
    """``size`` users with their seeds and episode numbers: what the vector and the single environment share.

    Args:
        core: The task.
        size: Number of users.
        report_support: Whether the info of a step tells how much of it the log covers.
    """

    def __init__(self, core: SessionCore, size: int, report_support: bool = False) -> None:
        self.core, self.size = core, size
        self.support = SupportReport(core, size) if report_support else None
        self.state: SessionState | None = None
        self.seeds = np.full(size, -1, dtype=np.int64)  # (B,) -1 before the first reset
        self.episodes = np.zeros(size, dtype=np.int64)  # (B,)
        self._ended = False  # whether a session is at its end
        # The reward parts (R,) that a response brings.
        parts = {"click_reward": CLICK, "order_reward": ORDER}
        self._parts = {name: core.rewards * (np.arange(R) == response) for name, response in parts.items()}

    def start(
        self,
        rows: np.ndarray,
        seeds: Sequence[int | None],
        users: Sequence[int | None],
        entropy: np.random.Generator,
    ) -> None:
        """Begin a session in the ``rows`` (b,) of the batch.

        Args:
            rows: Indices into the batch.
            seeds: One per row; a seed begins its episode 0, None goes on to the next episode of the seed before.
            users: One per row, an index into the pool of users, or None for one drawn from seed and episode.
            entropy: Source of seeds for rows that never had one.
        """
        new_seeds, new_episodes = self.seeds.copy(), self.episodes.copy()  # kept only if every argument is valid
        for row, seed in zip(rows, seeds, strict=True):
            if seed is None and self.seeds[row] >= 0:
                new_episodes[row] += 1
            else:
                new_seeds[row] = entropy.integers(SEED_BITS) if seed is None else check_seed(seed)
                new_episodes[row] = 0
        chosen = np.array([self._check_user(user) for user in users], np.int64)  # (b,)
        self._place(rows, new_seeds, new_episodes, chosen)

    def go_on(self, rows: np.ndarray) -> None:
        """Begin the next session of the same seeds in the ``rows`` (b,), which have played one."""
        episodes = self.episodes.copy()
        episodes[rows] += 1
        self._place(rows, self.seeds, episodes, None)

    def _place(self, rows: np.ndarray, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None) -> None:
        if len(rows) == self.size and self.state is None:
            self.state = self.core.initial(seeds, episodes, users)
        else:
            self.core.begin(self._running(), rows, seeds[rows], episodes[rows], users)
        self.seeds, self.episodes = seeds, episodes
        self._ended = np.count_nonzero(self.core.terminal(self.state)) > 0

    def resume(self, state: SessionState) -> None:
        """Go on from the ``state`` of users in the middle of their sessions."""
        self.state, self.seeds, self.episodes = state, state.seed.copy(), state.episode.copy()
        self._ended = False

    def _check_user(self, user: int | None) -> int:
        if user is None:
            return -1
        if isinstance(user, bool) or not isinstance(user, (int, np.integer)) or not 0 <= user < self.core.users:
            raise ValueError(
                f"reset option user: got {user!r}, allowed 0 to {self.core.users - 1}; pass an index into the pool"
            )
        return int(user)

    def _running(self) -> SessionState:
        if self.state is None:
            raise ResetNeeded("the environment has not started a session; call reset() for all users first")
        return self.state

    def advance(self, actions: Any) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """Play one step: rewards (B,) float64, truncated (B,) bool, and the step's info as arrays (B,)."""
        state = self._running()
        if self._ended:
            raise ResetNeeded("a session has ended; call reset() before the next step()")
        outcome = self.core.step(state, self._read(actions))
        truncated = self.core.terminal(state)
        self._ended = np.count_nonzero(truncated) > 0  # a third of the time of any()
        return outcome.reward, truncated, self._info(outcome)

    def _read(self, actions: Any) -> np.ndarray:
        """The actions as an array of the core's, if they have the kind and shape of the action space."""
        array = np.asarray(actions)
        if self.core.config.action == "item":
            kinds, name, shape, dtype = "iu", "whole numbers", (self.size,), np.int64
        else:
            width = self.core.catalogue.embeddings.shape[1]
            kinds, name, shape, dtype = "fiu", "numbers", (self.size, width), np.float32
        if array.dtype.kind not in kinds or array.shape != shape:
            raise ValueError(
                f"{self.core.config.action} action: got {array.dtype} of shape {array.shape}, allowed {name} of shape "
                f"{shape} (the first {self.size} is the number of users); pass an element of the action space"
            )
        return array.astype(dtype)

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

    def whose(self) -> Arrays:
        """Whose sessions these are, as arrays (B,); see :meth:`recsim_hrl.simulator.core.SessionCore.whose`."""
        return self.core.whose(self._running())

    def session_info(self) -> Arrays:
        """Totals of the sessions so far, as arrays (B,)."""
        state = self._running()
        return session_totals(state.responses.copy(), self.core.rewards, state.step.copy())

    def observe(self) -> Arrays | np.ndarray:
        """Observations of all users."""
        return self.core.observe(self._running())


class Offer:
    """What an environment offers to agents: the items and spaces of its ``core``."""

    def _offer(self, core: SessionCore) -> None:
        """Take over a core."""
        self.core = core
        self.item_embeddings = core.catalogue.embeddings  # (I, D)
        self.candidate_items = core.candidates  # (C,)
        self._set_spaces(action_space(core), observation_space(core))

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


def check_num_envs(num_envs: int) -> int:
    """The number of users, if it is one."""
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs: got {num_envs!r}, allowed are whole numbers from 1; pass e.g. num_envs=8")
    return num_envs


def check_seed(seed: int) -> int:
    """The seed as a whole number of 63 bits."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, allowed are whole numbers from 0; pass e.g. seed=0")
    return int(seed) & SEED_BITS


def impression(core: SessionCore, info: Arrays, reward: np.ndarray, row: int) -> Impression:
    """What user ``row`` saw and did in the step that ``info`` and ``reward`` tell of."""
    price = core.catalogue.prices[info["item"][row]].item()
    return Impression(
        int(info["item_id"][row]), int(info["category"][row]), price, int(info["response"][row]), float(reward[row])
    )


def check_render_mode(mode: str | None, allowed: list[str]) -> str | None:
    """The render mode, if there is such a one."""
    if mode is not None and mode not in allowed:
        raise ValueError(f"render_mode: got {mode!r}, allowed None or one of {allowed}; pass one of them")
    return mode


def check_options(options: dict[str, Any] | None, allowed: tuple[str, ...]) -> dict[str, Any]:
    """Options of ``reset``, if all of them are known."""
    unknown = set(options or {}) - set(allowed)
    if unknown:
        raise ValueError(f"reset options: got {sorted(unknown)}, allowed {list(allowed)}; remove or rename them")
    return options or {}
