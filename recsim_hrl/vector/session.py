"""The native vector environment of RecSession: a batch of users, with autoreset and Gymnasium's infos around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from recsim_hrl.render import SessionTrace, picture
from recsim_hrl.simulator.core import Action, Observation, Search, SessionConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.shell import (
    Restocked,
    SessionBatch,
    VectorOffer,
    check_num_envs,
    check_options,
    check_render_mode,
    check_seed,
    impression,
    load_core,
)
from recsim_hrl.vector.state import put_state, take_state

if TYPE_CHECKING:
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSessionVectorEnv(Restocked, VectorOffer, VectorEnv):
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
        simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
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
        report_support: bool = False,
        render_mode: str | None = None,
        threads: int | None = None,
    ) -> None:
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
        self.num_envs = check_num_envs(num_envs)
        core = load_core(simulator, split, config, threads, simulators)
        self._batch = SessionBatch(core, num_envs, report_support)
        self._stock(core)
        self._traces: list[SessionTrace] = []

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
        return self._batch.observe(), _masked(self._batch.whose(), mask)

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
        info |= _masked(self._batch.whose(), everyone)
        return observation, reward, np.zeros(self.num_envs, dtype=np.bool_), truncated, info

    def state_dict(self) -> dict[str, np.ndarray]:
        """Where all users stand, as arrays by name: another environment of the same arguments can go on from there.

        Raises:
            ResetNeeded: Before the first reset.
        """
        return take_state(self._batch)

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state_dict` gave: the same actions bring the same items, responses and observations.

        Pictures of sessions begin anew, and so does ``np_random``, which only resets without a seed ask.

        Raises:
            ValueError: If the arrays are damaged, or of another task or number of users.
        """
        put_state(self._batch, state)
        self._begin_traces(np.arange(self.num_envs))

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
        users, length = self._batch.whose()["user"], self.core.config.session_length
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
