"""A small market whose best policy is known, in Gymnasium's vector form."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import CLICK, ORDER, SKIP
from recsim_hrl.vector.session import RecSessionVectorEnv

REWARDS = np.array([0.0, 1.0, 5.0])


class ToyVectorEnv(VectorEnv):
    """``responses[context, item]`` answers each item; the context is the first item of the window ``shows``.

    The window starts with the context alone, at the right, and shifts left with each item shown.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self, num_envs, responses, embeddings, *, length=1, history=1, action="embedding", leaves=False, shows="browsed"
    ):
        self.num_envs, self.responses, self.length, self.leaves = num_envs, responses, length, leaves
        self.shows = shows
        self.item_embeddings = embeddings.astype(np.float32)
        self.candidate_items = np.arange(len(embeddings))
        bound = float(np.abs(embeddings).max())
        window = spaces.Box(0, len(embeddings), (history,), np.int64)
        self.single_observation_space = spaces.Dict({key: window for key in ("browsed", "clicked", "ordered")})
        self.single_action_space = (
            spaces.Discrete(len(embeddings))
            if action == "item"
            else spaces.Box(-bound, bound, (embeddings.shape[1],), np.float32)
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = None

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            seeds = seed if isinstance(seed, list) else [seed + i for i in range(self.num_envs)]
            self._rngs = [np.random.default_rng(s) for s in seeds]
        self._windows = {key: np.zeros((self.num_envs, *box.shape), np.int64) for key, box in self._boxes()}
        self._contexts = np.zeros(self.num_envs, np.int64)
        self._steps = np.zeros(self.num_envs, np.int64)
        self._start(np.ones(self.num_envs, bool))
        return self._observe(), {}

    def _boxes(self):
        return self.single_observation_space.items()

    def _start(self, rows):
        for row in np.flatnonzero(rows):
            self._contexts[row] = self._rngs[row].integers(len(self.item_embeddings))
        for window in self._windows.values():
            window[rows] = 0
        self._windows[self.shows][rows, -1] = self._contexts[rows] + 1
        self._steps[rows] = 0

    def _observe(self):
        return {key: window.copy() for key, window in self._windows.items()}

    def step(self, actions):
        items = actions
        if actions.ndim == 2:
            directions = self.item_embeddings / np.linalg.norm(self.item_embeddings, axis=-1, keepdims=True)
            items = (actions @ directions.T).argmax(-1)
        response = self.responses[self._contexts, items]
        for key, least in (("browsed", 0), ("clicked", CLICK), ("ordered", ORDER)):
            rows = response >= least
            self._windows[key][rows] = np.roll(self._windows[key][rows], -1, axis=1)
            self._windows[key][rows, -1] = items[rows] + 1
        self._steps += 1
        ended = self._steps >= self.length
        info = {
            "item": items,
            "click_reward": np.where(response == CLICK, 1.0, 0.0),
            "order_reward": np.where(response == ORDER, 5.0, 0.0),
        }
        info |= {f"_{key}": np.ones(self.num_envs, bool) for key in list(info)}
        final = {}
        if ended.any():
            last = self._observe()
            rows = np.full(self.num_envs, None, object)
            for row in np.flatnonzero(ended):
                rows[row] = {key: value[row] for key, value in last.items()}
            final = {"final_obs": rows, "_final_obs": ended, "final_info": info, "_final_info": ended}
            self._start(ended)
        terminated = ended if self.leaves else np.zeros_like(ended)
        return self._observe(), REWARDS[response], terminated, ended & ~terminated, info | final


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def circle() -> Callable[..., ToyVectorEnv]:
    """8 items around a circle; the one opposite the context is ordered, its two neighbours are clicked."""

    def make(num_envs: int = 32, **kwargs) -> ToyVectorEnv:
        angles = np.arange(8) * np.pi / 4
        embeddings = np.stack([np.cos(angles), np.sin(angles)], -1)
        distance = (np.arange(8)[None] - np.arange(8)[:, None] - 4) % 8
        responses = np.select([distance == 0, np.isin(distance, (1, 7))], [ORDER, CLICK], 0)
        return ToyVectorEnv(num_envs, responses, embeddings, **kwargs)

    return make


@pytest.fixture
def one_item() -> Callable[..., ToyVectorEnv]:
    """A single item, always clicked: every step pays 1 and every value is a geometric sum."""

    def make(num_envs: int = 8, **kwargs) -> ToyVectorEnv:
        return ToyVectorEnv(num_envs, np.array([[CLICK]]), np.array([[1.0, 0.5]]), **kwargs)

    return make


@pytest.fixture
def three_items() -> Callable[..., ToyVectorEnv]:
    """Two steps of three items, of which one is always ordered, one clicked and one skipped; then the user leaves."""

    def make(num_envs: int = 8, **kwargs) -> ToyVectorEnv:
        embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        responses = np.tile([ORDER, CLICK, SKIP], (3, 1))
        return ToyVectorEnv(num_envs, responses, embeddings, **({"length": 2, "leaves": True, "history": 3} | kwargs))

    return make


@pytest.fixture(scope="session")
def simulator():
    """The library's own tiny untrained simulator."""
    return random_simulator(items=60, embedding_dim=6, users=16, categories=4, seed=3)


@pytest.fixture
def session_env(simulator) -> Callable[..., RecSessionVectorEnv]:
    """RecSession over the tiny simulator."""

    def make(num_envs: int = 4, **kwargs) -> RecSessionVectorEnv:
        return RecSessionVectorEnv(num_envs, simulator=simulator, **({"session_length": 7, "history": 4} | kwargs))

    return make
