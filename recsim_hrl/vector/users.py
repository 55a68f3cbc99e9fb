"""Users side by side, each with its seed and the number of its session: what environments of every task share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded

SEED_BITS = (1 << 63) - 1
Arrays = dict[str, np.ndarray]


class UserBatch:
    """``size`` users with their seeds and episode numbers.

    A subclass says what a step is (``advance``), what sessions brought (``session_info``), and what is drawn of them
    (``new_trace``, ``add_to``).

    Args:
        core: The task: it has ``users``, ``initial``, ``begin``, ``terminal``, ``observe`` and ``whose``, as
            :class:`recsim_hrl.simulator.core.SessionCore` has.
        size: Number of users.
    """

    def __init__(self, core: Any, size: int) -> None:
        self.core, self.size = core, size
        self.state: Any = None
        self.seeds = np.full(size, -1, dtype=np.int64)  # (B,) -1 before the first reset
        self.episodes = np.zeros(size, dtype=np.int64)  # (B,)
        self._ended = False  # whether a session is at its end

    def start(
        self,
        rows: np.ndarray,
        seeds: Sequence[int | None],
        users: Sequence[int | None],
        entropy: np.random.Generator,
    ) -> None:
        """Begin a session in the ``rows`` (b,) of the batch.

        Args:
            rows: Indices into the batch.
            seeds: One per row; a seed begins its episode 0, None goes on to the next episode of the seed before.
            users: One per row, an index into the pool of users, or None for one drawn from seed and episode.
            entropy: Source of seeds for rows that never had one.
        """
        new_seeds, new_episodes = self.seeds.copy(), self.episodes.copy()  # kept only if every argument is valid
        for row, seed in zip(rows, seeds, strict=True):
            if seed is None and self.seeds[row] >= 0:
                new_episodes[row] += 1
            else:
                new_seeds[row] = entropy.integers(SEED_BITS) if seed is None else check_seed(seed)
                new_episodes[row] = 0
        chosen = np.array([self._check_user(user) for user in users], np.int64)  # (b,)
        self._place(rows, new_seeds, new_episodes, chosen)

    def go_on(self, rows: np.ndarray) -> None:
        """Begin the next session of the same seeds in the ``rows`` (b,), which have played one."""
        episodes = self.episodes.copy()
        episodes[rows] += 1
        self._place(rows, self.seeds, episodes, None)

    def _place(self, rows: np.ndarray, seeds: np.ndarray, episodes: np.ndarray, users: np.ndarray | None) -> None:
        if len(rows) == self.size and self.state is None:
            self.state = self.core.initial(seeds, episodes, users)
        else:
            self.core.begin(self._running(), rows, seeds[rows], episodes[rows], users)
        self.seeds, self.episodes = seeds, episodes
        self._ended = np.count_nonzero(self.core.terminal(self.state)) > 0

    def resume(self, state: Any, seeds: np.ndarray, episodes: np.ndarray) -> None:
        """Go on from the ``state`` of users in the middle of session ``episodes`` (B,) of ``seeds`` (B,)."""
        self.state, self.seeds, self.episodes = state, seeds.copy(), episodes.copy()
        self._ended = False

    def _check_user(self, user: int | None) -> int:
        if user is None:
            return -1
        if isinstance(user, bool) or not isinstance(user, (int, np.integer)) or not 0 <= user < self.core.users:
            raise ValueError(
                f"reset option user: got {user!r}, allowed 0 to {self.core.users - 1}; pass an index into the pool"
            )
        return int(user)

    def _running(self) -> Any:
        if self.state is None:
            raise ResetNeeded("the environment has not started a session; call reset() for all users first")
        return self.state

    def _playing(self) -> Any:
        """The state of users of whom none is at the end of a session."""
        state = self._running()
        if self._ended:
            raise ResetNeeded("a session has ended; call reset() before the next step()")
        return state

    def _as_form(self, actions: Any, kind: str, shape: tuple[int, ...], is_whole: bool) -> np.ndarray:
        """The ``actions`` as an array, if they are numbers, or whole numbers, of the ``shape`` of all users'.

        Raises:
            ValueError: If they are of another sort or shape; ``kind`` names the form of action.
        """
        array = np.asarray(actions)
        kinds, name = ("iu", "whole numbers") if is_whole else ("fiu", "numbers")
        if array.dtype.kind not in kinds or array.shape != shape:
            raise ValueError(
                f"{kind} action: got {array.dtype} of shape {array.shape}, allowed {name} of shape {shape} (the first "
                f"{self.size} is the number of users); pass an element of the action space"
            )
        return array

    def whose(self) -> Arrays:
        """Whose sessions these are, as arrays (B,); see :meth:`recsim_hrl.simulator.core.SessionCore.whose`."""
        return self.core.whose(self._running())

    def observe(self) -> Arrays | np.ndarray:
        """Observations of all users."""
        return self.core.observe(self._running())


def check_num_envs(num_envs: int) -> int:
    """The number of users, if it is one."""
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs: got {num_envs!r}, allowed are whole numbers from 1; pass e.g. num_envs=8")
    return num_envs


def check_seed(seed: int) -> int:
    """The seed as a whole number of 63 bits."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, allowed are whole numbers from 0; pass e.g. seed=0")
    return int(seed) & SEED_BITS


def check_options(options: dict[str, Any] | None, allowed: tuple[str, ...]) -> dict[str, Any]:
    """Options of ``reset``, if all of them are known."""
    unknown = set(options or {}) - set(allowed)
    if unknown:
        raise ValueError(f"reset options: got {sorted(unknown)}, allowed {list(allowed)}; remove or rename them")
    return options or {}
