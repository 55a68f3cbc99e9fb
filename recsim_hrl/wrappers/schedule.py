"""Who follows which goal now: the clock and the goals of ``B`` sessions that run side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from recsim_hrl.wrappers.goals import active_goal, check_goals, check_period

HIGH_LEVEL_KEYS = ("clicked", "ordered")
LOW_LEVEL_KEYS = ("browsed", "clicked")
_GOAL_STREAM = 0x60A15
"""Sets the draws of goals apart from every other use of the same seed."""

Observation = Mapping[str, NDArray[Any]]
GoalSource = Callable[[Observation, Any], NDArray[np.floating]]


@dataclass(frozen=True)
class GoalSetting:
    """How goals enter the observation and the reward."""

    alpha: float = 0.5
    """Weight of the internal reward (MaHRL Eq. 10)."""
    c: int = 10
    """Low-level steps in a period, for which one set of goals holds."""
    M: int = 2
    """Goals in a period, each for ``c // M`` steps."""
    compare: str = "item"
    """What the internal reward compares with the goal: the ``"item"`` shown, or the virtual ``"action"``."""
    observe: str = "low"
    """Observation keys that stay: ``"low"`` (browsed, clicked) or ``"all"``."""
    hindsight: bool = False
    """Give the goal as ``desired_goal`` beside ``achieved_goal``, as hindsight replay wants them."""

    def __post_init__(self) -> None:
        check_period(self.c, self.M)
        if not np.isfinite(self.alpha) or self.alpha < 0:
            raise ValueError(f"alpha: got {self.alpha}, allowed 0 or more; 0 pays the external reward alone")
        for name, allowed in (("compare", ("item", "action")), ("observe", ("low", "all"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, allowed {allowed}")


@dataclass(frozen=True)
class RandomGoals:
    """A goal source that draws the embeddings of random items, so goals are where items are."""

    item_embeddings: NDArray[np.float32]
    """(I, D)"""
    M: int
    """Goals in a period."""

    def __call__(self, observation: Observation, rng: np.random.Generator | Sequence[np.random.Generator]) -> NDArray:
        """Goals (M, D) for one generator, (B, M, D) for a sequence of them; the observation does not matter."""
        if isinstance(rng, np.random.Generator):
            return self.item_embeddings[rng.integers(len(self.item_embeddings), size=self.M)]
        return np.stack([self(observation, one) for one in rng])


@dataclass
class GoalSchedule:
    """Clock and goals of ``size`` sessions; every draw depends on (seed, session number, period) and nothing else."""

    source: GoalSource | None
    """Asked for ``(observation rows, generators) -> (rows, M, D)``; None holds what ``hold`` was given."""
    setting: GoalSetting
    size: int
    width: int
    """Width D of a goal."""
    bound: float
    """Largest absolute entry of a goal."""
    goals: NDArray[np.float32] = field(init=False)  # (B, M, D)
    position: NDArray[np.int64] = field(init=False)  # (B,) steps taken in the current period
    period: NDArray[np.int64] = field(init=False)  # (B,) periods begun in the session before the current one
    session: NDArray[np.int64] = field(init=False)  # (B,) sessions since the seed was given
    entropy: list[int | None] = field(init=False)  # (B,) the seeds

    def __post_init__(self) -> None:
        self.goals = np.zeros((self.size, self.setting.M, self.width), np.float32)
        self.position = np.zeros(self.size, np.int64)
        self.period = np.zeros(self.size, np.int64)
        self.session = np.full(self.size, -1)
        self.entropy = [None] * self.size

    @property
    def active(self) -> NDArray[np.float32]:
        """(B, D) the goal that guides the next low-level step of each session."""
        return self.goals[np.arange(self.size), active_goal(self.position, self.setting.c, self.setting.M)]

    def begin(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], observation: Observation) -> None:
        """Start a session in ``rows`` (B,) from its first ``observation`` (B, ...); no goal of the last one stays."""
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self.entropy[row], self.session[row] = int(seeds[row]), -1
            elif self.entropy[row] is None:
                self.entropy[row] = int(np.random.SeedSequence().entropy)
        self.session[rows] += 1
        self.period[rows] = 0
        self.position[rows] = 0
        self.goals[rows] = 0.0
        self._renew(rows, observation)

    def advance(self, observation: Observation) -> None:
        """Count one low-level step, which led to ``observation`` (B, ...), and change goals where a period is over."""
        self.position += 1
        over = self.position == self.setting.c  # (B,)
        if over.any():
            self.position[over] = 0
            self.period[over] += 1
            self._renew(over, observation)

    def hold(self, goals: NDArray[np.floating]) -> None:
        """Take ``goals`` (B, M, D) from outside and begin a period with them in every session.

        Raises:
            ResetNeeded: before the first session.
            ValueError: for goals that ``check_goals`` refuses.
        """
        if (self.session < 0).any():
            raise ResetNeeded("the environment has not started a session; call reset() before setting goals")
        self.goals = check_goals(goals, self.goals.shape, self.bound)
        self.position[:] = 0

    def _renew(self, rows: NDArray[np.bool_], observation: Observation) -> None:
        if self.source is None:
            return
        index = np.flatnonzero(rows)
        seen = {key: observation[key][index] for key in HIGH_LEVEL_KEYS}  # (rows, ...) each
        words = [(self.entropy[row], _GOAL_STREAM, int(self.session[row]), int(self.period[row])) for row in index]
        goals = self.source(seen, [np.random.default_rng(word) for word in words])
        self.goals[index] = check_goals(goals, (len(index), *self.goals.shape[1:]), self.bound)
