"""One calling convention for everybody's policies, so that any of them can be either level."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_hrl.wrappers.schedule import Observation

Policy = Callable[..., np.ndarray]


@dataclass(frozen=True)
class ModelPolicy:
    """Calls the ``predict`` or the ``act`` of a model as a policy; see ``policy_from``."""

    model: Any
    vector: bool = False
    deterministic: bool = True

    def __call__(self, observation: Observation, rng: Any = None) -> np.ndarray:
        """Actions for ``observation``; ``rng`` is taken so that the same object can serve as a goal source."""
        if not hasattr(self.model, "act"):
            return self.model.predict(dict(observation), deterministic=self.deterministic)[0]
        if self.vector:
            return np.asarray(self.model.act(dict(observation), explore=not self.deterministic))
        batch = {key: value[None] for key, value in observation.items()}  # (1, ...) each
        return np.asarray(self.model.act(batch, explore=not self.deterministic))[0]


def policy_from(model: Any, *, vector: bool = False, deterministic: bool = True) -> Policy:
    """Make a policy of a stable-baselines3 model, of one of our agents, or of any function.

    Args:
        model: An object with ``predict(observation, deterministic=...)`` that returns (action, state), as in
            stable-baselines3; an object with ``act(observations, explore=...)`` on batches, as in
            ``recsim_hrl_agents``; or a callable, which is returned as it is. A callable takes the observation; as a
            goal source it takes the observation and a NumPy generator.
        vector: True if observations will carry a leading axis of sub-environments.
        deterministic: Without exploration; a callable decides for itself.

    Raises:
        ValueError: if ``model`` is none of these.
    """
    if hasattr(model, "predict") or hasattr(model, "act"):
        return ModelPolicy(model, vector, deterministic)
    if callable(model):
        return model
    raise ValueError(
        f"policy: got {type(model).__name__}, allowed an object with .predict(observation, deterministic=...) or "
        ".act(observations, explore=...), or a callable; wrap its method in a function"
    )


def follow_goal(observation: Observation, rng: Any = None) -> np.ndarray:
    """The scripted low level that shows the item nearest to its goal: the goal itself is the action.

    For embedding actions, single or batched, with or without ``hindsight``.
    """
    return np.asarray(observation["goal"] if "goal" in observation else observation["desired_goal"])
