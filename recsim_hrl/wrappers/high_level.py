"""The high level as an environment: an action is M goals, a step is a period under a low-level policy (MaHRL 2.1)."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from recsim_hrl.wrappers.goal_conditioned import GoalConditioned, GoalConditionedVector
from recsim_hrl.wrappers.goals import assign_rewards, check_beta
from recsim_hrl.wrappers.infos import FINAL_KEYS, merge_rows, put_step_values, split_rows
from recsim_hrl.wrappers.policies import policy_from
from recsim_hrl.wrappers.schedule import HIGH_LEVEL_KEYS


def _spaces(space: spaces.Dict, low_level_space: spaces.Dict, M: int) -> tuple[spaces.Dict, spaces.Box]:
    """Observation and action space of a high level over an environment with ``space``."""
    goal = low_level_space["goal" if "goal" in low_level_space.spaces else "desired_goal"]
    goals = spaces.Box(goal.low.min(), goal.high.max(), (M, *goal.shape), np.float32)
    return spaces.Dict({key: space[key] for key in HIGH_LEVEL_KEYS}), goals


class HighLevel(gym.Wrapper):
    """A semi-MDP over periods: an action is ``M`` goals, a step runs ``c`` low-level steps under them.

    The reward is the sum of the external rewards of the period; a learner that discounts low-level steps by gamma
    discounts these by ``gamma ** info["steps"]``. A period stops where the session ends, so no goal crosses from one
    session into the next. The observation is the high level's (clicked, ordered). ``info`` is that of the last
    low-level step, with ``goal_rewards`` (M,) of MaHRL Eq. 13, ``goal_started`` (M,) (False for goals whose sub-period
    the session did not reach; their rewards are 0 and should not be learned from), ``external_rewards`` and
    ``internal_rewards`` (c,), zero from ``steps`` on, and ``steps``.

    Args:
        env: RecSession-v0, or an environment that ``GoalConditioned`` accepts.
        low_level: Policy of the low level: a callable from its observation to an action, a stable-baselines3 model,
            or one of our agents. It sees what ``GoalConditioned`` with the same ``observe`` and ``hindsight`` gives.
        c: Low-level steps in a period.
        M: Goals in a period.
        beta: High-level reward discount of Eq. 13.
        observe: ``"low"`` or ``"all"``: observation keys for the low level.
        hindsight: Whether the low level was trained with ``hindsight``.
    """

    def __init__(
        self,
        env: gym.Env,
        low_level: Any,
        *,
        c: int = 10,
        M: int = 2,
        beta: float = 1.0,
        observe: str = "low",
        hindsight: bool = False,
    ) -> None:
        check_beta(beta)
        super().__init__(GoalConditioned(env, "hold", alpha=0.0, c=c, M=M, observe=observe, hindsight=hindsight))
        self.c, self.M, self.beta = c, M, beta
        self.low_level = policy_from(low_level)
        self.observation_space, self.action_space = _spaces(env.observation_space, self.env.observation_space, M)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start a session; see the class."""
        _, info = self.env.reset(seed=seed, options=options)
        return self.env.high_level_observation, info

    def step(self, action: NDArray[np.floating]) -> tuple[dict, float, bool, bool, dict]:
        """Run one period under the goals ``action`` (M, D); see the class.

        Raises:
            ValueError: if the goals have another shape, are not finite, or leave the action space.
        """
        seen = self.env.set_goals(action)
        external, internal = np.zeros(self.c), np.zeros(self.c)  # (c,) each
        for step in range(self.c):
            seen, _, terminated, truncated, info = self.env.step(self.low_level(seen))
            external[step], internal[step] = info["external_reward"], info["internal_reward"]
            if terminated or truncated:
                break
        steps = step + 1
        goal_rewards, goal_started = assign_rewards(external, self.M, self.beta, steps)  # (M,) each
        info |= {
            "goal_rewards": goal_rewards,
            "goal_started": goal_started,
            "external_rewards": external,
            "internal_rewards": internal,
            "steps": steps,
        }
        return self.env.high_level_observation, float(external.sum()), terminated, truncated, info


class HighLevelVector(VectorWrapper):
    """``HighLevel`` for a vector environment with SAME_STEP autoreset.

    Sub-environments move together, so a session that ends inside a period restarts before the others are through
    theirs. What happens next keeps every period within one session:

    - If all running sessions have ended, the period stops for everyone. Sessions of one length that were started
      together (all of RecSession) always do this: no step is lost, and sub-environment i equals the single
      ``HighLevel``.
    - Otherwise those that ended are parked: their restarted sessions get low-level actions until the period is over,
      none of that is rewarded or reported, and then they are restarted once more through
      ``options={"reset_mask": ...}``. The next period so begins with the first impression of a session. Parking
      skips a session of that sub-environment, so its later sessions have other numbers than in the single form.

    ``infos`` has the keys of ``HighLevel`` for every sub-environment, (B, ...) each, and where the session ended also
    in ``final_info``; ``final_obs`` is the high level's.

    Args:
        env: A vector environment of RecSession-v0.
        low_level: As in ``HighLevel``, on batches (B, ...).
        c: Low-level steps in a period.
        M: Goals in a period.
        beta: High-level reward discount of Eq. 13.
        observe: As in ``HighLevel``.
        hindsight: As in ``HighLevel``.
    """

    def __init__(
        self,
        env: VectorEnv,
        low_level: Any,
        *,
        c: int = 10,
        M: int = 2,
        beta: float = 1.0,
        observe: str = "low",
        hindsight: bool = False,
    ) -> None:
        check_beta(beta)
        super().__init__(GoalConditionedVector(env, "hold", alpha=0.0, c=c, M=M, observe=observe, hindsight=hindsight))
        self.c, self.M, self.beta = c, M, beta
        self.low_level = policy_from(low_level, vector=True)
        self.single_observation_space, self.single_action_space = _spaces(
            env.single_observation_space, self.env.single_observation_space, M
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict, dict]:
        """Start sessions; see the class."""
        _, infos = self.env.reset(seed=seed, options=options)
        return self.env.high_level_observation, infos

    def step(self, actions: NDArray[np.floating]) -> tuple[dict, NDArray, NDArray, NDArray, dict]:
        """Run one period under the goals ``actions`` (B, M, D); see the class.

        Raises:
            ValueError: if the goals have another shape, are not finite, or leave the action space.
        """
        period = _Period(self.num_envs, self.c)
        seen = self.env.set_goals(actions)
        for step in range(self.c):
            seen, _, terminated, truncated, infos = self.env.step(self.low_level(seen))
            period.add(step, terminated, truncated, infos, self.env.high_level_next)
            if not period.running.any():
                break
        infos = {key: value for key, value in infos.items() if key.lstrip("_") not in FINAL_KEYS}
        parked = period.ended & (period.steps <= step)  # (B,)
        if parked.any():
            _, restarted = self.env.reset(options={"reset_mask": parked})
            infos = merge_rows(infos, restarted, parked)
        goal_rewards, goal_started = assign_rewards(period.external, self.M, self.beta, period.steps)  # (B, M) each
        period.put_final(infos)
        put_step_values(
            infos,
            period.ended,
            goal_rewards=goal_rewards,
            goal_started=goal_started,
            external_rewards=period.external,
            internal_rewards=period.internal,
            steps=period.steps,
        )
        rewards = period.external.sum(1)  # (B,)
        return self.env.high_level_observation, rewards, period.terminated, period.truncated, infos


class _Period:
    """What one period of ``size`` sessions brought, up to the end of each."""

    def __init__(self, size: int, c: int) -> None:
        self.external = np.zeros((size, c))  # (B, c)
        self.internal = np.zeros((size, c))  # (B, c)
        self.steps = np.zeros(size, np.int64)  # (B,)
        self.terminated = np.zeros(size, bool)  # (B,)
        self.truncated = np.zeros(size, bool)  # (B,)
        self.final_obs = np.full(size, None, dtype=object)  # (B,)
        self.final_info: dict[str, Any] = {}

    @property
    def ended(self) -> NDArray[np.bool_]:
        """(B,) whose session has ended in this period."""
        return self.terminated | self.truncated

    @property
    def running(self) -> NDArray[np.bool_]:
        """(B,) whose session still goes on."""
        return ~self.ended

    def add(self, step: int, terminated: NDArray, truncated: NDArray, infos: dict, reached: dict) -> None:
        """Take in low-level step ``step`` of the sessions that are running; ``reached`` is what it led to."""
        running = self.running  # (B,)
        self.external[running, step] = infos["external_reward"][running]
        self.internal[running, step] = infos["internal_reward"][running]
        self.steps += running
        self.terminated |= running & terminated
        self.truncated |= running & truncated
        ending = running & self.ended  # (B,)
        if ending.any():
            self.final_obs[ending] = split_rows(reached, ending)[ending]
            merge_rows(self.final_info, infos["final_info"], ending)

    def put_final(self, infos: dict[str, Any]) -> None:
        """Write ``final_obs`` and ``final_info`` of the sessions that ended, in Gymnasium's form."""
        if self.ended.any():
            infos |= {"final_obs": self.final_obs, "_final_obs": self.ended}
            infos |= {"final_info": self.final_info, "_final_info": self.ended.copy()}
