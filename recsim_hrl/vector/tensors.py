"""RecSession for agents that train on an accelerator: actions and observations are tensors and stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from recsim_hrl.simulator.core import HISTORIES, Action, Observation, SessionConfig
from recsim_hrl.simulator.tensor_core import TensorCore
from recsim_hrl.types import CLICK, DEFAULT_REWARDS, ORDER
from recsim_hrl.vector.shell import VectorOffer, load_core
from recsim_hrl.vector.state import TASK, check_state, require_started, task_digest
from recsim_hrl.vector.users import SEED_BITS, check_num_envs, check_seed

if TYPE_CHECKING:
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSessionTensorEnv(VectorOffer, VectorEnv):
    """``num_envs`` RecSession users on one ``device``, all at the same step of their sessions.

    The task is that of :class:`recsim_hrl.envs.session.RecSessionEnv`: the same seeds and actions give the same items,
    responses and observations. ``step`` takes a tensor (or an array) and gives tensors: observations, rewards
    (float32), ``terminated`` and ``truncated``. As everyone is at the same step, all sessions end together, and new
    ones follow in the same step (``AutoresetMode.SAME_STEP``): ``info["final_obs"]`` then holds the last observations
    of all users in one batch, and ``info["session"]`` the totals of their sessions.

    A device is never asked whether an action was valid, which would stall it: an action outside its space is brought
    inside, and the step in which the session ends raises the ``ValueError``. :meth:`check` asks at once.

    Args:
        num_envs: Number of users.
        device: "cuda" or any other device of torch.

    The other arguments are those of the single environment.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cuda",
        *,
        session_length: int = 50,
        simulator: str | Path | Simulator | SimulatorData = "default",
        split: str = "train",
        action: Action = "embedding",
        observation: Observation = "embeddings",
        candidates: int | None = 1000,
        history: int = 10,
        response_noise: float = 0.0,
        rewards: tuple[float, float, float] = DEFAULT_REWARDS,
        flat: bool = False,
    ) -> None:
        config = SessionConfig(
            session_length=session_length,
            action=action,
            observation=observation,
            candidates=candidates,
            history=history,
            response_noise=response_noise,
            rewards=rewards,
            flat=flat,
        )
        self.num_envs, self.device, self.render_mode = check_num_envs(num_envs), torch.device(device), None
        self._offer(load_core(simulator, split, config))
        self._users: TensorCore | None = None

    @torch.no_grad()
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Tensor] | Tensor, dict[str, Any]]:
        """Begin new sessions: those of the users ``seed``, ``seed`` + 1, ..., or everyone's next one."""
        if options:
            raise ValueError(f"reset options: got {sorted(options)}, allowed none; use RecSessionVectorEnv for them")
        super().reset(seed=None if seed is None else check_seed(seed))
        if seed is not None or self._users is None:
            first = self.np_random.integers(SEED_BITS - self.num_envs) if seed is None else check_seed(seed)
            self._users = TensorCore(self.core, np.arange(first, first + self.num_envs), self.device)
        else:
            self._users.episode += 1
            self._users.begin()
        return self._observe(), {"user": self._users.user}

    @torch.no_grad()
    def step(
        self, actions: Tensor | np.ndarray
    ) -> tuple[dict[str, Tensor] | Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Show one item to every user."""
        users = self._users
        if users is None:
            raise ResetNeeded("the environment has not started a session; call reset() first")
        chosen = users.choose(self._read(actions))  # (B,)
        response = users.play(chosen)  # (B,)
        reward = users.reward(response)
        info: dict[str, Any] = {
            "response": response,
            "item": users.item(chosen),
            "click_reward": reward * (response == CLICK),
            "order_reward": reward * (response == ORDER),
        }
        observation, ended = self._observe(), users.step == self.core.config.session_length
        if ended:
            info["final_obs"], info["session"] = observation, users.session()
            users.episode += 1
            users.begin()
            observation = self._observe()
            self.check()
        truncated = torch.full_like(response, ended, dtype=torch.bool)
        return observation, reward, torch.zeros_like(truncated), truncated, info | {"user": users.user}

    def check(self) -> None:
        """Raise a ``ValueError`` if an action since the last session's end was outside the action space."""
        if self._users is not None and bool(self._users.wrong):
            self._users.wrong.zero_()
            raise ValueError(
                f"{self.core.config.action} action: got one outside the action space {self.single_action_space} in "
                "this session, or NaN; check the policy for NaN and clip its actions"
            )

    def state_dict(self) -> dict[str, np.ndarray]:
        """Where all users stand, as arrays by name: another environment of the same arguments can go on from there.

        Raises:
            ResetNeeded: Before the first reset.
        """
        return {TASK: task_digest(self.core)} | require_started(self._users).state()

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state_dict` gave, on any device.

        Raises:
            ValueError: If the arrays are damaged, or of another task or number of users.
        """
        users = TensorCore(self.core, np.arange(self.num_envs), self.device)
        check_state(state, {TASK: task_digest(self.core)} | users.state())
        users.resume(state)
        self._users = users

    def _read(self, actions: Tensor | np.ndarray) -> Tensor:
        tensor = torch.as_tensor(actions, device=self.device)
        item = self.core.config.action == "item"
        if tensor.shape != self.action_space.shape or tensor.is_floating_point() == item or tensor.dtype == torch.bool:
            kind = "whole numbers" if item else "numbers with a fraction"
            raise ValueError(
                f"{self.core.config.action} action: got {tensor.dtype} of shape {tuple(tensor.shape)}, allowed {kind} "
                f"of shape {self.action_space.shape}; pass an element of the action space for every user"
            )
        return tensor

    def _observe(self) -> dict[str, Tensor] | Tensor:
        seen = self._users.observe()  # (B, 3, N) or (B, 3, N, D)
        return seen.flatten(1) if self.core.config.flat else dict(zip(HISTORIES, seen.unbind(1), strict=True))
