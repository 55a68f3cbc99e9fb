"""The low level as an environment: a goal in the observation and an internal reward for following it (MaHRL 3.2)."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from recsim_hrl.wrappers.goals import internal_reward
from recsim_hrl.wrappers.infos import (
    final_observations,
    put_step_values,
    require_same_step,
    seeds_of,
    split_rows,
    step_values,
)
from recsim_hrl.wrappers.policies import policy_from
from recsim_hrl.wrappers.schedule import (
    HIGH_LEVEL_KEYS,
    LOW_LEVEL_KEYS,
    GoalSchedule,
    GoalSetting,
    GoalSource,
    Observation,
    RandomGoals,
)


def item_embeddings_of(env: gym.Env | VectorEnv) -> NDArray[np.float32]:
    """The item table (I, D) of an environment, single or vector.

    Raises:
        ValueError: if it has none.
    """
    table = getattr(env.unwrapped, "item_embeddings", None)
    if table is None and hasattr(env.unwrapped, "get_attr"):
        table = env.unwrapped.get_attr("item_embeddings")[0]
    if table is None:
        raise ValueError(f"{env}: has no `item_embeddings` (I, D), which goals are compared with; wrap a RecSession")
    return np.asarray(table, np.float32)


def goal_space(action_space: spaces.Space, item_embeddings: NDArray[np.float32]) -> spaces.Box:
    """Box (D,) of a goal: the bound of embedding actions, or of the item table where actions are items."""
    bound = action_space.high.max() if isinstance(action_space, spaces.Box) else np.abs(item_embeddings).max()
    return spaces.Box(-bound, bound, (item_embeddings.shape[1],), np.float32)


class GoalReward:
    """What both forms of the wrapper share: setting, spaces, and the reward."""

    setting: GoalSetting

    def _prepare(self, env: gym.Env | VectorEnv, size: int, source: Any, setting: GoalSetting) -> spaces.Dict:
        """Set up goals for ``size`` sessions; returns the observation space of one."""
        space = getattr(env, "single_observation_space", env.observation_space)
        actions = getattr(env, "single_action_space", env.action_space)
        needed = sorted({*HIGH_LEVEL_KEYS, *LOW_LEVEL_KEYS})
        if not isinstance(space, spaces.Dict) or not set(needed) <= set(space):
            raise ValueError(
                f"observation space: got {space}, expected a Dict with the keys {needed}; wrap RecSession-v0, and put "
                "gymnasium.wrappers.FlattenObservation around the outermost wrapper if you need one Box"
            )
        if setting.compare == "action" and not isinstance(actions, spaces.Box):
            raise ValueError(f"compare='action': got actions {actions}, allowed with embeddings only; use 'item'")
        self.setting = setting
        self._items = item_embeddings_of(env)  # (I, D)
        box = goal_space(actions, self._items)
        source = self._choose_source(source, vector=isinstance(env, VectorEnv))
        self._schedule = GoalSchedule(source, setting, size, box.shape[0], float(box.high.max()))
        self._keys = tuple(space) if setting.observe == "all" else LOW_LEVEL_KEYS
        goal_keys = ("achieved_goal", "desired_goal") if setting.hindsight else ("goal",)
        return spaces.Dict({key: space[key] for key in self._keys} | dict.fromkeys(goal_keys, box))

    def _choose_source(self, source: Any, vector: bool) -> GoalSource | None:
        if source == "hold":
            return None
        if source == "random":
            return RandomGoals(self._items, self.setting.M)
        policy = policy_from(source, vector=vector)
        return policy if vector else _OneUser(policy)

    def _with_goal(self, observation: Observation, goal: NDArray, achieved: NDArray) -> dict[str, NDArray]:
        """The observation that the low level sees."""
        seen = {key: observation[key] for key in self._keys}
        if self.setting.hindsight:
            return seen | {"achieved_goal": achieved, "desired_goal": goal}
        return seen | {"goal": goal}

    def compute_reward(
        self,
        achieved_goal: NDArray[np.float32],
        desired_goal: NDArray[np.float32],
        info: dict[str, Any] | Sequence[dict[str, Any]],
    ) -> NDArray[np.float64] | np.float64:
        """Reward of a step had its goal been another one (MaHRL Eq. 10), as hindsight replay asks for it.

        Args:
            achieved_goal: (..., D) ``achieved_goal`` of the observation after the step.
            desired_goal: (..., D) goal that guided the step, from the observation before it.
            info: The info of the step, or a sequence of infos (B,); ``external_reward`` is read.

        Returns:
            (...) external + alpha * internal reward.

        Raises:
            ValueError: if an info has no ``external_reward``.
        """
        try:
            external = info["external_reward"] if isinstance(info, dict) else [one["external_reward"] for one in info]
        except KeyError:
            raise ValueError(
                "compute_reward info: got one without 'external_reward', which the reward is made of; pass "
                "replay_buffer_kwargs={'copy_info_dict': True} to stable-baselines3's HerReplayBuffer"
            ) from None
        return np.asarray(external, np.float64) + self.setting.alpha * internal_reward(desired_goal, achieved_goal)


class _OneUser:
    """A goal source for one user, called with the batch of one that a schedule of size one makes."""

    def __init__(self, policy: GoalSource) -> None:
        self.policy = policy

    def __call__(self, observation: Observation, rngs: Sequence[np.random.Generator]) -> NDArray:
        goals = self.policy({key: value[0] for key, value in observation.items()}, rngs[0])  # (M, D)
        return np.asarray(goals)[None]


class GoalConditioned(gym.Wrapper, GoalReward):
    """Adds the goal to follow to the observation, and pays external + alpha * internal reward (MaHRL Eq. 10-11).

    Every ``c`` steps the goal source names ``M`` goals from the high-level observation (clicked, ordered); each guides
    ``c // M`` steps, the last one also the rest. The observation is the low level's (browsed, clicked) plus ``goal``
    (D,), the goal of the next step. The internal reward is the cosine of the goal and the embedding of the item that
    was shown. ``info`` adds ``external_reward`` and ``internal_reward``. A session starts with goals of its own; the
    last observation of a session carries the goal that would come next, so a truncated one can be bootstrapped.

    Args:
        env: RecSession-v0, or an environment with its observation keys, ``info["item"]`` and ``item_embeddings``.
        goal_source: ``"random"`` (embeddings of random items); ``"hold"`` (whatever ``set_goals`` was given, zeros
            before); or a high-level policy: a callable ``(observation, rng) -> (M, D)``, a stable-baselines3 model,
            or one of our agents. ``rng`` depends on (seed, session, period) only.
        alpha: Weight of the internal reward.
        c: Low-level steps in a period.
        M: Goals in a period.
        compare: ``"item"``, or ``"action"`` to compare the goal with the virtual action before it became an item.
        observe: ``"low"``, or ``"all"`` to keep every key of ``env``.
        hindsight: Give ``desired_goal`` and ``achieved_goal`` (what was shown last, zeros before the first step)
            instead of ``goal``; with ``compute_reward`` this is what HerReplayBuffer wants.
    """

    def __init__(
        self,
        env: gym.Env,
        goal_source: Any = "random",
        *,
        alpha: float = 0.5,
        c: int = 10,
        M: int = 2,
        compare: str = "item",
        observe: str = "low",
        hindsight: bool = False,
    ) -> None:
        super().__init__(env)
        setting = GoalSetting(alpha, c, M, compare, observe, hindsight)
        self.observation_space = self._prepare(env, 1, goal_source, setting)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start a session; see the class."""
        self._last, info = self.env.reset(seed=seed, options=options)
        self._achieved = np.zeros_like(self._items[0])  # (D,)
        self._schedule.begin(np.ones(1, bool), [seed], _batch(self._last))
        return self._observe(), info

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Show one item; see the class."""
        goal = self._schedule.active[0]  # (D,)
        self._last, external, terminated, truncated, info = self.env.step(action)
        shown = action if self.setting.compare == "action" else self._items[info["item"]]
        self._achieved = np.array(shown, np.float32)  # (D,)
        info["external_reward"] = float(external)
        info["internal_reward"] = float(internal_reward(goal, self._achieved))
        reward = float(self.compute_reward(self._achieved, goal, info))
        self._schedule.advance(_batch(self._last))
        return self._observe(), reward, terminated, truncated, info

    def set_goals(self, goals: NDArray[np.floating]) -> dict[str, NDArray]:
        """Follow ``goals`` (M, D) from now on, as a new period; returns the current observation with them.

        Raises:
            ValueError: if they have another shape, are not finite, or leave the bounds of actions.
        """
        self._schedule.hold(np.asarray(goals)[None])
        return self._observe()

    @property
    def high_level_observation(self) -> dict[str, NDArray]:
        """What a high-level policy sees now."""
        return {key: self._last[key] for key in HIGH_LEVEL_KEYS}

    def _observe(self) -> dict[str, NDArray]:
        return self._with_goal(self._last, self._schedule.active[0], self._achieved)


class GoalConditionedVector(VectorWrapper, GoalReward):
    """``GoalConditioned`` for a vector environment with SAME_STEP autoreset; sub-environment i equals the single one.

    A goal source is called with the rows that need goals, ``(observations (n, ...), generators [n]) -> (n, M, D)``.
    ``external_reward`` and ``internal_reward`` are in ``infos`` for every sub-environment, and where the session
    ended also in ``final_info``; ``final_obs`` carries the goal that would have come next.

    Args:
        env: A vector environment of RecSession-v0.
        goal_source: As in ``GoalConditioned``, batched.
        alpha: Weight of the internal reward.
        c: Low-level steps in a period.
        M: Goals in a period.
        compare: As in ``GoalConditioned``.
        observe: As in ``GoalConditioned``.
        hindsight: As in ``GoalConditioned``.
    """

    def __init__(
        self,
        env: VectorEnv,
        goal_source: Any = "random",
        *,
        alpha: float = 0.5,
        c: int = 10,
        M: int = 2,
        compare: str = "item",
        observe: str = "low",
        hindsight: bool = False,
    ) -> None:
        super().__init__(env)
        require_same_step(env)
        setting = GoalSetting(alpha, c, M, compare, observe, hindsight)
        self.single_observation_space = self._prepare(env, env.num_envs, goal_source, setting)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._achieved = np.zeros((env.num_envs, self._items.shape[1]), np.float32)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict, dict]:
        """Start sessions, in the sub-environments of ``options["reset_mask"]`` (B,) only if it is given."""
        rows = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))  # (B,)
        self._last, infos = self.env.reset(seed=seed, options=options)
        self._next = self._last
        self._achieved = np.where(rows[:, None], np.float32(0), self._achieved)  # (B, D)
        self._schedule.begin(rows, seeds_of(seed, self.num_envs), self._last)
        return self._observe(), infos

    def step(self, actions: Any) -> tuple[dict, NDArray, NDArray, NDArray, dict]:
        """Show one item to every user; see the class."""
        goal = self._schedule.active  # (B, D)
        self._last, external, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated  # (B,)
        shown = actions if self.setting.compare == "action" else self._items[step_values(infos, "item", ended)]
        achieved = np.array(shown, np.float32)  # (B, D)
        external = np.asarray(external, np.float64)  # (B,)
        internal = internal_reward(goal, achieved)  # (B,)
        put_step_values(infos, ended, external_reward=external, internal_reward=internal)
        self._next = final_observations(self._last, infos, ended)
        self._schedule.advance(self._next)
        if ended.any():
            infos["final_obs"] = split_rows(self._with_goal(self._next, self._schedule.active, achieved), ended)
            self._schedule.begin(ended, [None] * self.num_envs, self._last)
        self._achieved = np.where(ended[:, None], np.float32(0), achieved)  # (B, D)
        return self._observe(), external + self.setting.alpha * internal, terminated, truncated, infos

    def set_goals(self, goals: NDArray[np.floating]) -> dict[str, NDArray]:
        """Follow ``goals`` (B, M, D) from now on, as a new period; returns the current observation with them.

        Raises:
            ValueError: if they have another shape, are not finite, or leave the bounds of actions.
        """
        self._schedule.hold(goals)
        return self._observe()

    @property
    def high_level_observation(self) -> dict[str, NDArray]:
        """What a high-level policy sees now, (B, ...) each."""
        return {key: self._last[key] for key in HIGH_LEVEL_KEYS}

    @property
    def high_level_next(self) -> dict[str, NDArray]:
        """What the last step led to for a high-level policy, before any autoreset, (B, ...) each."""
        return {key: self._next[key] for key in HIGH_LEVEL_KEYS}

    def _observe(self) -> dict[str, NDArray]:
        return self._with_goal(self._last, self._schedule.active, self._achieved)


def _batch(observation: Observation) -> Observation:
    return {key: observation[key][None] for key in HIGH_LEVEL_KEYS}
