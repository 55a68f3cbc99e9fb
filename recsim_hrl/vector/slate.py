"""The native vector environment of RecSlate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gymnasium.vector.utils import batch_space

from recsim_hrl.render import SessionTrace
from recsim_hrl.simulator.core import Observation
from recsim_hrl.simulator.slate_core import Leave, RewardRule, SlateAction, SlateConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.autoreset import UserVectorEnv
from recsim_hrl.vector.shell import check_render_mode
from recsim_hrl.vector.slate_batch import (
    SlateBatch,
    load_slate_core,
    slate_action_space,
    slate_observation_space,
    trace_slate,
)
from recsim_hrl.vector.users import Arrays, check_num_envs

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSlateVectorEnv(UserVectorEnv):
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
        semantic_ids: SemanticIds | None = None,
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
        self._begin(check_render_mode(render_mode, self.metadata["render_modes"]))
        self.num_envs = check_num_envs(num_envs)
        self.core = load_slate_core(simulator, split, config, semantic_ids, threads)
        self._batch = SlateBatch(self.core, num_envs)
        self.item_embeddings, self.candidate_items = self.core.catalogue.embeddings, self.core.stock
        self.slate_size = slate_size
        self.single_action_space = slate_action_space(self.core)
        self.single_observation_space = slate_observation_space(self.core)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def _trace(self, trace: SessionTrace, step_info: Arrays, row: int) -> None:
        trace_slate(trace, self.core, step_info, row)
