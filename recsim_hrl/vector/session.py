"""The native vector environment of RecSession: the core, with seeds, spaces, checks and autoreset around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_hrl.render import Impression, SessionTrace, picture
from recsim_hrl.simulator.core import HISTORIES, Action, Observation, Outcome, Search, SessionConfig, SessionCore
from recsim_hrl.simulator.folder import SimulatorData, load_data
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.types import CLICK, DEFAULT_REWARDS, ORDER, Catalogue, R

if TYPE_CHECKING:
    from recsim_hrl.simulator.store import Simulator

SEED_BITS = (1 << 63) - 1
RESPONSE = np.arange(R)
Arrays = dict[str, np.ndarray]


def load_core(
    simulator: str | Path | Simulator | SimulatorData, split: str, config: SessionConfig, threads: int | None = None
) -> SessionCore:
    """The core of a task over a simulator, or over one loaded by name or folder."""
    if not isinstance(simulator, SimulatorData):  # asking for a Simulator would import torch
        simulator = simulator.data if hasattr(simulator, "data") else load_data(simulator, split)
    return SessionCore(simulator, config, threads)


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
    """``size`` users with their seeds and episode numbers: what the vector and the single environment share."""

    def __init__(self, core: SessionCore, size: int) -> None:
        self.core, self.size = core, size
        self.state: SessionState | None = None
        self.seeds = np.full(size, -1, dtype=np.int64)  # (B,) -1 before the first reset
        self.episodes = np.zeros(size, dtype=np.int64)  # (B,)
        self._ended = False  # whether a session is at its end
        # The reward parts (R,) that a response brings.
        rewards = np.array(core.config.rewards)
        self._parts = {"click_reward": rewards * (RESPONSE == CLICK), "order_reward": rewards * (RESPONSE == ORDER)}

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
        self._ended = bool(self.core.terminal(self.state).any())

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
        self._ended = bool(truncated.any())
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
            "item_id": catalogue.item_ids.take(outcome.item),
            "category": catalogue.categories.take(outcome.item),
            **{name: part.take(outcome.response) for name, part in self._parts.items()},
            "user": self.users(),
        }

    def users(self) -> np.ndarray:
        """(B,) pool indices of the users."""
        return self._running().user.copy()

    def session_info(self) -> Arrays:
        """Totals of the sessions so far, as arrays (B,)."""
        state = self._running()
        counts = state.responses.copy()
        return self.core.reward_parts(counts) | {
            "clicks": counts[:, CLICK],
            "orders": counts[:, ORDER],
            "length": state.step.copy(),
        }

    def observe(self) -> Arrays | np.ndarray:
        """Observations of all users."""
        return self.core.observe(self._running())


class Restocked:
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
        """Take over a core and what it offers."""
        self.core = self._batch.core = core
        self.item_embeddings = core.catalogue.embeddings  # (I, D)
        self.candidate_items = core.candidates  # (C,)
        self._set_spaces(action_space(core), observation_space(core))

    def _set_spaces(self, action: Space, observation: Space) -> None:
        raise NotImplementedError


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


class RecSessionVectorEnv(Restocked, VectorEnv):
    """``num_envs`` RecSession users side by side; see :class:`recsim_hrl.envs.session.RecSessionEnv` for the task.

    Sub-environment ``i`` of ``reset(seed=s)`` is the single environment of ``reset(seed=s + i)``. A session that ends
    is followed by the next one in the same step (``AutoresetMode.SAME_STEP``): ``info["final_obs"]`` and
    ``info["final_info"]`` hold the end of the old one. ``reset`` takes the options ``reset_mask`` ((B,) bool, which
    users to reset), ``users`` (B pool indices or None) and ``user`` (one pool index for all).

    Args:
        num_envs: Number of users.
        max_episode_steps: A shorter session length, if given; None or -1 for none.
        threads: Threads that share the users; None: one per core, for as many users as are worth it.

    The other arguments are those of the single environment.
    """

    metadata = {
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        *,
        session_length: int = 50,
        simulator: str | Path | Simulator | SimulatorData = "default",
        split: str = "train",
        action: Action = "embedding",
        observation: Observation = "embeddings",
        candidates: int | None = 1000,
        recall: int | None = None,
        search: Search = "exact",
        history: int = 10,
        response_noise: float = 0.0,
        rewards: tuple[float, float, float] = DEFAULT_REWARDS,
        flat: bool = False,
        render_mode: str | None = None,
        threads: int | None = None,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs: got {num_envs!r}, allowed are whole numbers from 1; pass e.g. num_envs=8")
        if max_episode_steps not in (None, -1):
            session_length = min(session_length, max_episode_steps)
        config = SessionConfig(
            session_length=session_length,
            action=action,
            observation=observation,
            candidates=candidates,
            recall=recall,
            search=search,
            history=history,
            response_noise=response_noise,
            rewards=rewards,
            flat=flat,
        )
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs = num_envs
        core = load_core(simulator, split, config, threads)
        self._batch = SessionBatch(core, num_envs)
        self._stock(core)
        self._traces: list[SessionTrace] = []

    def _set_spaces(self, action: Space, observation: Space) -> None:
        self.single_action_space, self.single_observation_space = action, observation
        self.action_space = batch_space(action, self.num_envs)
        self.observation_space = batch_space(observation, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new sessions; see the class for ``seed`` and ``options``."""
        super().reset(seed=check_seed(seed) if isinstance(seed, (int, np.integer)) else None)
        options = check_options(options, ("reset_mask", "user", "users"))
        mask = _check_mask(options.get("reset_mask"), self.num_envs)
        users = options.get("users", [options.get("user")] * self.num_envs)
        if seed is None or isinstance(seed, (int, np.integer)):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        for name, values in (("seed", seed), ("reset option users", users)):
            if len(values) != self.num_envs:
                raise ValueError(
                    f"{name}: got {len(values)} values, allowed {self.num_envs}, one per sub-environment; "
                    "pass None where there is nothing to say"
                )
        rows = mask.nonzero()[0]
        self._batch.start(rows, [seed[i] for i in rows], [users[i] for i in rows], self.np_random)
        self._begin_traces(rows)
        return self._batch.observe(), _masked({"user": self._batch.users()}, mask)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Show one item to every user; sessions that end are followed by new ones in the same step."""
        reward, truncated, step_info = self._batch.advance(actions)
        for row, trace in enumerate(self._traces):
            trace.impressions.append(impression(self.core, step_info, reward, row))
        observation = self._batch.observe()
        info: dict[str, Any] = {}
        if truncated.any():
            final = _masked(step_info | {"session": _masked(self._batch.session_info(), truncated)}, truncated)
            info |= {"final_obs": self._split(observation, truncated), "_final_obs": truncated.copy()}
            info |= {"final_info": final, "_final_info": truncated.copy()}
            rows = truncated.nonzero()[0]
            self._batch.go_on(rows)
            self._begin_traces(rows)
            observation = self._batch.observe()
        if not truncated.all():
            info |= _masked(step_info, ~truncated)
        everyone = np.ones(self.num_envs, dtype=np.bool_)
        info |= _masked({"user": self._batch.users()}, everyone)
        return observation, reward, np.zeros(self.num_envs, dtype=np.bool_), truncated, info

    def _split(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """(B,) object array of single observations where ``mask`` holds, None elsewhere."""
        parts = np.full(self.num_envs, None, dtype=object)
        rows = mask.nonzero()[0]
        if isinstance(observation, dict):  # thousands end at once, so this is written for speed
            names, values = tuple(observation), (iter(value[rows]) for value in observation.values())
            parts[rows] = [dict(zip(names, one, strict=True)) for one in zip(*values, strict=True)]
        else:
            for row in rows:
                parts[row] = observation[row]
        return parts

    def _begin_traces(self, rows: np.ndarray) -> None:
        if self.render_mode is None:
            return
        users, length = self._batch.users(), self.core.config.session_length
        begun = [SessionTrace(int(user), length) for user in users]
        self._traces = self._traces or begun
        for row in rows:
            self._traces[row] = begun[row]

    def render(self) -> tuple[Any, ...] | None:
        """One frame per user: text ("ansi") or a picture ("rgb_array")."""
        if self.render_mode is None:
            gym.logger.warn("render() draws nothing without a render_mode; pass one to gym.make_vec")
            return None
        return tuple(str(trace) if self.render_mode == "ansi" else picture(trace) for trace in self._traces)


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


def _check_mask(mask: Any, size: int) -> np.ndarray:
    if mask is None:
        return np.ones(size, dtype=np.bool_)
    array = np.asarray(mask)
    if array.shape != (size,) or array.dtype != np.bool_ or not array.any():
        raise ValueError(
            f"reset option reset_mask: got {array.dtype} of shape {array.shape} with {int(np.sum(array != 0))} set, "
            f"allowed is a bool array of shape ({size},) with at least one True; pass e.g. terminated | truncated"
        )
    return array


def _masked(values: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Vector info as Gymnasium writes it: zero where the mask is False, and beside each key its mask as ``_key``."""
    info: dict[str, Any] = {}
    everyone = bool(mask.all())
    for name, value in values.items():
        if name.startswith("_"):
            info[name] = value
            continue
        whole = everyone or isinstance(value, dict)
        info[name] = value if whole else np.where(mask, value, np.zeros_like(value))
        info[f"_{name}"] = mask.copy()
    return info
