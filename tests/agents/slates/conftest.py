"""Small markets of slates whose best policies are known, in Gymnasium's vector form."""

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_hrl.types import CLICK, ORDER

REWARDS = np.array([0.0, 1.0, 5.0])
HISTORIES = ("browsed", "clicked", "ordered")


class ToySlateEnv(VectorEnv):
    """``responses[context, item]`` answers each item of a slate; the context is the first item of the window browsed.

    No item is shown twice in a session, and those ``never`` (indices) are never available; a slate with an item that
    is not available fails, so that every training with it is a test of that. Users look at the first ``sees`` slots,
    the others bring nothing. With ``alike`` observations tell nothing but what can be shown. Sessions have ``length``
    requests; then users leave, if ``leaves``, or they are truncated.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs,
        responses,
        embeddings,
        *,
        slate_size,
        length=1,
        history=6,
        leaves=True,
        never=(),
        sees=None,
        alike=False,
        action="items",
    ):
        self.num_envs, self.responses, self.length, self.leaves = num_envs, responses, length, leaves
        self.slate_size, self.sees = slate_size, slate_size if sees is None else sees
        self.alike = alike
        self.item_embeddings = embeddings.astype(np.float32)
        self.candidate_items = np.arange(len(embeddings))
        self.offered = ~np.isin(self.candidate_items, never)  # (P,)
        bound = float(np.abs(embeddings).max())
        window = spaces.Box(0, len(embeddings), (history,), np.int64)
        self.single_observation_space = spaces.Dict(
            {key: window for key in HISTORIES}
            | {"available": spaces.MultiBinary(len(embeddings)), "request": spaces.Box(0.0, 1.0, (1,), np.float32)}
        )
        self.single_action_space = (
            spaces.MultiDiscrete(np.full(slate_size, len(embeddings)))
            if action == "items"
            else spaces.Box(-bound, bound, (embeddings.shape[1],), np.float32)
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = None

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            seeds = seed if isinstance(seed, list) else [seed + i for i in range(self.num_envs)]
            self._rngs = [np.random.default_rng(s) for s in seeds]
        size, history = self.num_envs, self.single_observation_space["browsed"].shape[0]
        self._windows = {key: np.zeros((size, history), np.int64) for key in HISTORIES}
        self._contexts, self._requests = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._available = np.zeros((size, len(self.candidate_items)), bool)
        self._start(np.ones(size, bool))
        return self._observe(), {}

    def _start(self, rows):
        for row in np.flatnonzero(rows):
            self._contexts[row] = self._rngs[row].integers(len(self.item_embeddings))
        for window in self._windows.values():
            window[rows] = 0
        self._windows["browsed"][rows, -1] = self._contexts[rows] + 1
        self._requests[rows] = 0
        self._available[rows] = self.offered

    def _observe(self):
        windows = {key: window.copy() for key, window in self._windows.items()}
        share = (self._requests / self.length).astype(np.float32)[:, None]  # (B, 1)
        told = {name: value * (not self.alike) for name, value in (windows | {"request": share}).items()}
        return told | {"available": self._available.astype(np.int8)}

    def step(self, actions):
        actions = np.asarray(actions)
        slates = (
            actions if actions.shape[1:] == (self.slate_size,) and actions.dtype.kind == "i" else self._near(actions)
        )
        users = np.arange(self.num_envs)[:, None]
        assert self._available[users, slates].all(), "an item was shown that is not available"
        self._available[users, slates] = False
        is_seen = np.tile(np.arange(self.slate_size) < self.sees, (self.num_envs, 1))  # (B, K)
        response = self.responses[self._contexts[:, None], slates] * is_seen  # (B, K)
        for key, least in zip(HISTORIES, (0, CLICK, ORDER), strict=True):
            for row, slot in np.argwhere((response >= least) & is_seen):
                self._windows[key][row] = np.append(self._windows[key][row, 1:], slates[row, slot] + 1)
        self._requests += 1
        ended = self._requests >= self.length
        info = {
            "item": slates,
            "response": response,
            "is_seen": is_seen,
            "click_reward": (response == CLICK).sum(1) * 1.0,
            "order_reward": (response == ORDER).sum(1) * 5.0,
        }
        info |= {f"_{key}": np.ones(self.num_envs, bool) for key in list(info)}
        final = {}
        if ended.any():
            last, rows = self._observe(), np.full(self.num_envs, None, object)
            for row in np.flatnonzero(ended):
                rows[row] = {key: value[row] for key, value in last.items()}
            final = {"final_obs": rows, "_final_obs": ended, "final_info": info, "_final_info": ended}
            self._start(ended)
        terminated = ended if self.leaves else np.zeros_like(ended)
        return self._observe(), REWARDS[response].sum(1), terminated, ended & ~terminated, info | final

    def _near(self, queries):
        """(B, K) the available items most similar to each query (B, D)."""
        directions = self.item_embeddings / np.linalg.norm(self.item_embeddings, axis=-1, keepdims=True)
        similarity = np.where(self._available, queries @ directions.T, -np.inf)  # (B, P)
        return np.argsort(-similarity, axis=1, kind="stable")[:, : self.slate_size]


@pytest.fixture
def circle() -> Callable[..., ToySlateEnv]:
    """12 items around a circle, slates of 3: the item opposite the context is ordered, its two neighbours are clicked.

    The best slate brings 7, a random one 3 * 7 / 12 = 1.75.
    """

    def make(num_envs: int = 32, **kwargs) -> ToySlateEnv:
        angles = np.arange(12) * np.pi / 6
        embeddings = np.stack([np.cos(angles), np.sin(angles)], -1)
        distance = (np.arange(12)[None] - np.arange(12)[:, None] - 6) % 12
        responses = np.select([distance == 0, np.isin(distance, (1, 11))], [ORDER, CLICK], 0)
        return ToySlateEnv(num_envs, responses, embeddings, **({"slate_size": 3} | kwargs))

    return make


@pytest.fixture
def all_clicked() -> Callable[..., ToySlateEnv]:
    """8 items, slates of 2, everything is clicked: each request pays 2 and every value is a geometric sum."""

    def make(num_envs: int = 8, **kwargs) -> ToySlateEnv:
        embeddings = np.random.default_rng(0).normal(size=(8, 3))
        return ToySlateEnv(num_envs, np.full((8, 8), CLICK), embeddings, **({"slate_size": 2} | kwargs))

    return make
