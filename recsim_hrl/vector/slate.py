"""The native vector environment of RecSlate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_hrl.simulator.core import Observation
from recsim_hrl.simulator.slate_config import Leave, RewardRule, SlateAction, SlateConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.autoreset import UserVectorEnv
from recsim_hrl.vector.shell import VectorOffer
from recsim_hrl.vector.slate_batch import SlateBatch, SlateOffer, load_slate_core
from recsim_hrl.vector.users import check_num_envs

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSlateVectorEnv(SlateOffer, VectorOffer, UserVectorEnv):
    """``num_envs`` RecSlate users side by side; see :class:`recsim_hrl.envs.slate.RecSlateEnv` for the task.

    Seeds, resets, autoreset and the options of ``reset`` are those of
    :class:`recsim_hrl.vector.session.RecSessionVectorEnv`.

    Args:
        num_envs: Number of users.
        max_episode_steps: Fewer requests, if given; None or -1 for none.
        threads: Threads that share the users; None: one per core, for as many users as are worth it.

    The other arguments are those of the single environment.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        *,
        slate_size: int = 9,
        max_requests: int = 20,
        simulator: str | Path | Simulator | SimulatorData = "default",
        simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
        split: str = "train",
        action: SlateAction = "items",
        observation: Observation = "embeddings",
        candidates: int | None = 1000,
        stock: int | None = None,
        catalog_turnover: float = 0.0,
        catalog_start: int = 0,
        leave: Leave = "learned",
        reward: RewardRule = "responses",
        history: int = 20,
        response_noise: float = 0.0,
        rewards: tuple[float, float, float] = DEFAULT_REWARDS,
        semantic_ids: SemanticIds | str | Path | None = None,
        report_support: bool = False,
        render_mode: str | None = None,
        threads: int | None = None,
    ) -> None:
        if max_episode_steps not in (None, -1):
            max_requests = min(max_requests, max_episode_steps)
        config = SlateConfig(
            slate_size=slate_size,
            max_requests=max_requests,
            action=action,
            observation=observation,
            candidates=candidates,
            stock=stock,
            catalog_turnover=catalog_turnover,
            catalog_start=catalog_start,
            leave=leave,
            reward=reward,
            history=history,
            response_noise=response_noise,
            rewards=rewards,
        )
        self._begin(render_mode)
        self.num_envs = check_num_envs(num_envs)
        core = load_slate_core(simulator, split, config, semantic_ids, threads, simulators)
        self._batch = SlateBatch(core, num_envs, report_support)
        self._offer(core)
