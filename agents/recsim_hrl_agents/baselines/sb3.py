"""A native Gymnasium vector environment as a stable-baselines3 ``VecEnv``, without a Python loop over users.

stable-baselines3 takes no Gymnasium vector environment, and nothing published adapts a native one. This one gives
bit for bit what ``DummyVecEnv`` of ``Monitor``-wrapped single environments gives (``tests/agents/test_sb3.py``).
"""

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from recsim_hrl.wrappers.infos import require_same_step


class NativeVecEnv(VecEnv):
    """Adapter; sub-environment i is seeded as SB3 seeds it, with seed + i.

    Args:
        env: Vector environment under SAME_STEP autoreset.
        observation_space: Of the observations that are passed on; None: all.
    """

    def __init__(self, env: VectorEnv, observation_space: spaces.Dict | None = None) -> None:
        require_same_step(env)
        self.env = env
        self._keys = None if observation_space is None else tuple(observation_space)
        super().__init__(env.num_envs, observation_space or env.single_observation_space, env.single_action_space)
        self._actions: np.ndarray | None = None
        self._returns = np.zeros(env.num_envs)  # (B,)
        self._lengths = np.zeros(env.num_envs, np.int64)  # (B,)
        self._started = time.time()

    def reset(self) -> VecEnvObs:
        """Start all sessions; seeds given by :meth:`seed` are used once."""
        if any(self._options):
            raise ValueError(
                f"NativeVecEnv reset options: got {self._options}, allowed none; reset the vector environment itself"
            )
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        observations, infos = self.env.reset(seed=seeds)
        self.reset_infos = split_infos(infos, self.num_envs)
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        return self._passed_on(observations)

    def _passed_on(self, observations: Any) -> Any:
        """Those of the ``observations`` that were asked for."""
        return observations if self._keys is None else {key: observations[key] for key in self._keys}

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One step in SB3's form: the end of a session is in its info, as ``Monitor`` and ``DummyVecEnv`` put it."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        ended = terminated | truncated  # (B,)
        self._returns += rewards
        self._lengths += 1
        final = infos.pop("final_info", None)
        separate = split_infos(infos, self.num_envs)
        if ended.any():
            ended_infos = split_infos(final, self.num_envs)
        for index in range(self.num_envs):
            if ended[index]:
                self.reset_infos[index] = separate[index]
                separate[index] = ended_infos[index]
                separate[index]["episode"] = self._episode(index)
                separate[index]["terminal_observation"] = self._passed_on(infos["final_obs"][index])
            separate[index]["TimeLimit.truncated"] = bool(truncated[index] and not terminated[index])
        return self._passed_on(observations), rewards.astype(np.float32), ended, separate

    def _episode(self, index: int) -> dict[str, float]:
        episode = {
            "r": round(float(self._returns[index]), 6),
            "l": int(self._lengths[index]),
            "t": round(time.time() - self._started, 6),
        }
        self._returns[index] = 0.0
        self._lengths[index] = 0
        return episode

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the vector environment, once per sub-environment asked for."""
        value = getattr(self.env.unwrapped, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Not possible: sub-environments of a native vector environment are rows of arrays."""
        raise ValueError(f"set_attr: got {attr_name!r}, allowed nothing; pass the setting to gym.make_vec instead")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Not possible: sub-environments of a native vector environment are rows of arrays."""
        raise ValueError(f"env_method: got {method_name!r}, allowed nothing; call the vector environment itself")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Rows of arrays are not wrapped, but episodes are recorded as ``Monitor`` does it."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Frames of the sub-environments."""
        return list(self.env.render())


def split_infos(infos: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """One dict per sub-environment out of Gymnasium's arrays with ``_key`` masks; ``final_obs`` is left out."""
    separate: list[dict[str, Any]] = [{} for _ in range(size)]
    for key, values in infos.items():
        if key == "final_obs" or (key.startswith("_") and (key[1:] in infos or key == "_final_info")):
            continue
        present = infos.get(f"_{key}", np.ones(size, bool))
        if isinstance(values, dict):
            values = split_infos(values, size)
        elif values.dtype != object and values.ndim == 1:
            values = values.tolist()
        for index in np.flatnonzero(present).tolist():
            separate[index][key] = values[index]
    return separate
