"""The native vector environment of RecSession: a batch of users, with autoreset and Gymnasium's infos around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_hrl.render import SessionTrace
from recsim_hrl.simulator.core import Action, Observation, Search, SessionConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.autoreset import UserVectorEnv
from recsim_hrl.vector.shell import Restocked, SessionBatch, VectorOffer, check_render_mode, impression, load_core
from recsim_hrl.vector.state import put_state, take_state
from recsim_hrl.vector.users import Arrays, check_num_envs

if TYPE_CHECKING:
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSessionVectorEnv(Restocked, VectorOffer, UserVectorEnv):
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
        self._begin(check_render_mode(render_mode, self.metadata["render_modes"]))
        self.num_envs = check_num_envs(num_envs)
        core = load_core(simulator, split, config, threads, simulators)
        self._batch = SessionBatch(core, num_envs, report_support)
        self._stock(core)

    def _trace(self, trace: SessionTrace, step_info: Arrays, row: int) -> None:
        trace.impressions.append(impression(self.core, step_info, row))

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
