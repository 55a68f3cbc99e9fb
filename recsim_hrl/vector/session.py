"""The native vector environment of RecSession: a batch of users, with autoreset and Gymnasium's infos around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_hrl.simulator.core import Action, Observation, Search, SessionConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.autoreset import UserVectorEnv
from recsim_hrl.vector.shell import Restocked, SessionBatch, VectorOffer, load_core
from recsim_hrl.vector.users import check_num_envs

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
        self._begin(render_mode)
        self.num_envs = check_num_envs(num_envs)
        core = load_core(simulator, split, config, threads, simulators)
        self._batch = SessionBatch(core, num_envs, report_support)
        self._stock(core)
