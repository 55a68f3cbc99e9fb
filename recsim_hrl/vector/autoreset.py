"""Batches of users as vector environments: resets, and sessions that follow one another in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from recsim_hrl.render import SessionTrace, picture
from recsim_hrl.vector.shell import check_render_mode
from recsim_hrl.vector.state import put_state, take_state
from recsim_hrl.vector.users import UserBatch, check_options, check_seed


class UserVectorEnv(VectorEnv):
    """``num_envs`` users side by side; a subclass makes ``_batch``, and calls ``_begin`` before.

    A session that ends is followed by the next one in the same step (``AutoresetMode.SAME_STEP``):
    ``info["final_obs"]`` and ``info["final_info"]`` hold the end of the old one.
    """

    metadata = {
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }
    _batch: UserBatch
    _reset_options: tuple[str, ...] = ("reset_mask", "user", "users")

    def _begin(self, render_mode: str | None) -> None:
        """Take over what is drawn; nobody plays yet."""
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self._traces: list[SessionTrace] = []

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new sessions; see the class for ``seed`` and ``options``."""
        super().reset(seed=check_seed(seed) if isinstance(seed, (int, np.integer)) else None)
        options = check_options(options, self._reset_options)
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
        """Play one step with every user; sessions that end are followed by new ones in the same step."""
        reward, terminated, truncated, step_info = self._batch.advance(actions)
        for row, trace in enumerate(self._traces):
            self._batch.add_to(trace, step_info, row)
        observation = self._batch.observe()
        info: dict[str, Any] = {}
        ended = terminated | truncated
        if ended.any():
            final = _masked(step_info | {"session": _masked(self._batch.session_info(), ended)}, ended)
            info |= {"final_obs": _split(observation, ended), "_final_obs": ended.copy()}
            info |= {"final_info": final, "_final_info": ended.copy()}
            rows = ended.nonzero()[0]
            self._batch.go_on(rows)
            self._begin_traces(rows)
            observation = self._batch.observe()
        if not ended.all():
            info |= _masked(step_info, ~ended)
        everyone = np.ones(self.num_envs, dtype=np.bool_)
        info |= _masked(self._batch.whose(), everyone)
        return observation, reward, terminated, truncated, info

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

    def _begin_traces(self, rows: np.ndarray) -> None:
        if self.render_mode is None:
            return
        begun = [self._batch.new_trace(int(user)) for user in self._batch.whose()["user"]]
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
        if not everyone and not isinstance(value, dict):
            value = np.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, np.zeros_like(value))
        info[name] = value
        info[f"_{name}"] = mask.copy()
    return info


def _split(observation: Any, mask: np.ndarray) -> np.ndarray:
    """(B,) object array of single observations where ``mask`` holds, None elsewhere."""
    parts = np.full(len(mask), None, dtype=object)
    rows = mask.nonzero()[0]
    if isinstance(observation, dict):  # thousands end at once, so this is written for speed
        names, values = tuple(observation), (iter(value[rows]) for value in observation.values())
        parts[rows] = [dict(zip(names, one, strict=True)) for one in zip(*values, strict=True)]
    else:
        for row in rows:
            parts[row] = observation[row]
    return parts
