"""A tiny environment with the interface of RecSession whose every number can be worked out by hand."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

torch.set_num_threads(1)

ITEMS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.6, 0.8], [0.8, -0.6]], np.float32)  # (I, D), unit length
WINDOW = 3


class Shelf(gym.Env):
    """Six items in the plane; showing item i at step s pays ``10 * (s + 1) + i``; odd items count as clicked.

    Session ``k`` after a seed lasts ``lengths[k % len(lengths)]`` steps; the user leaves (terminated) if ``leaves``.
    """

    metadata = {"render_modes": []}

    def __init__(self, lengths=(6,), leaves=False, action="embedding"):
        self.item_embeddings = ITEMS
        self.lengths, self.leaves, self.sessions = lengths, leaves, -1
        window = spaces.Box(-1, 1, (WINDOW, 2), np.float32)
        self.observation_space = spaces.Dict({key: window for key in ("browsed", "clicked", "ordered")})
        self.action_space = spaces.Box(-1, 1, (2,), np.float32) if action == "embedding" else spaces.Discrete(6)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sessions = 0 if seed is not None else self.sessions + 1
        self.place = 0
        self.windows = {key: np.zeros((WINDOW, 2), np.float32) for key in ("browsed", "clicked", "ordered")}
        return self._observe(), {"user": self.sessions}

    def step(self, action):
        item = int(action) if isinstance(self.action_space, spaces.Discrete) else int(np.argmax(ITEMS @ action))
        for key in ("browsed", "clicked") if item % 2 else ("browsed",):
            self.windows[key] = np.concatenate([self.windows[key][1:], ITEMS[None, item]])
        self.place += 1
        over = self.place == self.lengths[self.sessions % len(self.lengths)]
        info = {"item": item, "user": self.sessions}
        if over:
            info["session"] = {"length": self.place}
        return self._observe(), 10.0 * self.place + item, over and self.leaves, over and not self.leaves, info

    def _observe(self):
        return {key: window.copy() for key, window in self.windows.items()}


@pytest.fixture
def shelf():
    """Makes one ``Shelf``."""
    return Shelf


@pytest.fixture
def shelves():
    """Makes a SAME_STEP vector environment of shelves, one per entry of ``lengths``."""

    def make(*lengths, **kwargs):
        makers = [lambda one=one: Shelf(one, **kwargs) for one in lengths]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)

    return make
