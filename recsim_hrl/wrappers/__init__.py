"""Wrappers that turn one environment into two levels; ``docs/hierarchy.md`` shows them at work."""

from recsim_hrl.wrappers.goal_conditioned import GoalConditioned, GoalConditionedVector
from recsim_hrl.wrappers.goals import active_goal, assign_rewards, internal_reward
from recsim_hrl.wrappers.high_level import HighLevel, HighLevelVector
from recsim_hrl.wrappers.policies import follow_goal, policy_from

__all__ = [
    "GoalConditioned",
    "GoalConditionedVector",
    "HighLevel",
    "HighLevelVector",
    "active_goal",
    "assign_rewards",
    "follow_goal",
    "internal_reward",
    "policy_from",
]
