"""What single environments of every task share: a batch of one user, and its rendering."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from recsim_hrl.render import SessionTrace, Window, picture
from recsim_hrl.vector.shell import check_render_mode
from recsim_hrl.vector.users import UserBatch, check_options

_FIRST = np.zeros(1, dtype=np.int64)


class UserEnv(gym.Env):
    """One user; a subclass makes ``_batch``, a batch of one, and calls ``_begin`` before."""

    metadata = {"render_modes": ["ansi", "rgb_array", "human"], "render_fps": 4}
    _batch: UserBatch

    def _begin(self, render_mode: str | None) -> None:
        """Take over what is drawn; nobody plays yet."""
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self._window = Window() if render_mode == "human" else None
        self._trace: SessionTrace | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a session; ``options={"user": k}`` picks the user of the pool."""
        super().reset(seed=seed)
        user = check_options(options, ("user",)).get("user")
        self._batch.start(_FIRST, [seed], [user], self.np_random)
        info = _first(self._batch.whose())
        if self.render_mode is not None:
            self._trace = self._batch.new_trace(info["user"])
            self._show()
        return self._observe(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Show what the ``action`` asks for."""
        reward, terminated, truncated, step_info = self._batch.advance(np.asarray(action)[None])
        info = _first(step_info)
        if terminated[0] or truncated[0]:
            info["session"] = _first(self._batch.session_info())
        if self._trace is not None:
            self._batch.add_to(self._trace, step_info, 0)
            self._show()
        return self._observe(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def _observe(self) -> Any:
        observation = self._batch.observe()
        if isinstance(observation, dict):
            return {name: value[0] for name, value in observation.items()}
        return observation[0]

    def _show(self) -> None:
        if self._window is not None:
            self._window.show(picture(self._trace), self.metadata["render_fps"])

    def render(self) -> Any:
        """The session so far: text ("ansi") or a picture ("rgb_array"); "human" shows its window by itself."""
        if self.render_mode is None:
            gym.logger.warn("render() draws nothing without a render_mode; pass one to gym.make")
            return None
        if self._trace is None:
            raise ResetNeeded("there is no session to render yet; call reset() first")
        if self.render_mode == "human":
            return None
        return str(self._trace) if self.render_mode == "ansi" else picture(self._trace)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()


def _first(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is said of the first user: plain numbers, or arrays where there are several of a user."""
    return {name: value[0] if value.ndim > 1 else value.item() for name, value in values.items()}
