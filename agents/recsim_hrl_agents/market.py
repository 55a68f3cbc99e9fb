"""What an agent may know of an environment before it acts: the items, and the form of observations and actions."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

HISTORIES = ("browsed", "clicked", "ordered")
REQUEST = "request"
"""Observation (B, 1) of the share of the requests that were made, where slates are shown."""


@dataclass(frozen=True)
class Market:
    """Items and spaces of an environment, read once with :meth:`of`."""

    item_embeddings: np.ndarray  # (I, D) float32, the whole catalogue
    candidates: np.ndarray  # (C,) int64, catalogue indices that can be shown
    observation: Literal["embeddings", "item_ids"]
    """Form of the history windows: (N, D) float32 embeddings, or (N,) catalogue index + 1 with 0 for empty."""
    action: Literal["embedding", "item", "items", "embeddings", "query"]
    """Form of an action: a vector (D,) mapped to the most similar candidate, or an index into the candidates. Of
    slates: K indices, K vectors (K, D), or one vector (D,) whose K nearest candidates are shown."""
    action_bound: float
    """The bound B of every entry of an embedding action (MaHRL Eq. 7)."""
    history: int
    """Length N of the history windows."""
    categories: np.ndarray | None = None  # (I,) int64
    """Category of every item of the catalogue; None, if the environment tells none."""
    slate_size: int | None = None
    """Items K of a slate; None, where single items are shown."""

    @classmethod
    def of(cls, env: Any) -> "Market":
        """Read a market from an environment, single or vector.

        Raises:
            ValueError: If the environment does not expose what the agents need.
        """
        observation_space = getattr(env, "single_observation_space", env.observation_space)
        action_space = getattr(env, "single_action_space", env.action_space)
        if not isinstance(observation_space, spaces.Dict) or not set(HISTORIES) <= set(observation_space):
            raise ValueError(
                f"observation space: got {observation_space}, allowed a Dict with {', '.join(HISTORIES)}; "
                "make RecSession-v0 (or its Short and Long forms), not RecSessionFlat-v0"
            )
        window = observation_space["browsed"]
        embeddings = np.asarray(_attribute(env, "item_embeddings"), np.float32)  # (I, D)
        candidates = np.asarray(_attribute(env, "candidate_items"), np.int64)  # (C,)
        discrete = isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete)
        return cls(
            item_embeddings=embeddings,
            candidates=candidates,
            observation="item_ids" if np.issubdtype(window.dtype, np.integer) else "embeddings",
            action=_action_form(action_space, embeddings.shape[1], slate := _slate_size(env)),
            action_bound=float(np.abs(embeddings).max()) if discrete else float(np.max(action_space.high)),
            history=window.shape[0],
            categories=_categories(env),
            slate_size=slate,
        )

    @property
    def observation_space(self) -> spaces.Dict:
        """Space of one observation, without what can be shown."""
        if self.observation == "item_ids":
            window = spaces.Box(0, len(self.item_embeddings), (self.history,), np.int64)
        else:
            bound = float(np.abs(self.item_embeddings).max())
            window = spaces.Box(-bound, bound, (self.history, self.embedding_dim), np.float32)
        windows = {key: window for key in HISTORIES}
        if self.slate_size is None:
            return spaces.Dict(windows)
        return spaces.Dict({**windows, REQUEST: spaces.Box(0.0, 1.0, (1,), np.float32)})

    @property
    def action_space(self) -> spaces.Space:
        """Space of one action."""
        if self.action == "item":
            return spaces.Discrete(len(self.candidates))
        if self.action == "items":
            return spaces.MultiDiscrete(np.full(self.slate_size, len(self.candidates)))
        shape = (self.slate_size, self.embedding_dim) if self.action == "embeddings" else (self.embedding_dim,)
        return spaces.Box(-self.action_bound, self.action_bound, shape, np.float32)

    @property
    def embedding_dim(self) -> int:
        return self.item_embeddings.shape[1]

    @property
    def candidate_embeddings(self) -> np.ndarray:
        """(C, D) embeddings of the candidates."""
        return self.item_embeddings[self.candidates]

    def places(self, items: np.ndarray) -> np.ndarray:
        """Index into the candidates of catalogue indices, of any shape.

        Raises:
            ValueError: If an item is not among the candidates.
        """
        among = np.full(len(self.item_embeddings), -1)  # (I,)
        among[self.candidates] = np.arange(len(self.candidates))
        if (among[items] < 0).any():
            raise ValueError(
                f"items: got {int((among[items] < 0).sum())} that are not candidates, allowed the "
                f"{len(self.candidates)} candidates; make the environment with candidates=None, and all items are"
            )
        return among[items]

    def item_actions(self, choices: np.ndarray) -> np.ndarray:
        """Actions that show the candidates at ``choices`` (B,): those indices, or their embeddings (B, D)."""
        return choices if self.action == "item" else self.candidate_embeddings[choices]


def device_of(env: Any) -> Any:
    """Where an environment gives tensors and takes them; None, if it is one of arrays or a :class:`Market`."""
    return getattr(getattr(env, "unwrapped", None), "device", None)


def _attribute(env: Any, name: str) -> Any:
    """An attribute of the innermost environment; vector environments made of single ones are asked through ``call``."""
    inner = env.unwrapped
    if hasattr(inner, name):
        return getattr(inner, name)
    if hasattr(inner, "get_attr"):
        try:
            return inner.get_attr(name)[0]
        except AttributeError:
            pass
    raise ValueError(
        f"environment: got {type(inner).__name__} without the attribute {name!r}, which agents read; "
        "use an environment of recsim_hrl or give yours that attribute"
    )


def _slate_size(env: Any) -> int | None:
    """Items of a slate, where an environment shows slates."""
    try:
        return int(_attribute(env, "slate_size"))
    except ValueError:
        return None


def _action_form(space: spaces.Space, width: int, slate_size: int | None) -> str:
    """The form of the actions of a ``space``, where embeddings are (``width``,)."""
    match space, slate_size:
        case spaces.Discrete(), None:
            return "item"
        case spaces.Box(), None:
            return "embedding"
        case spaces.MultiDiscrete(), _:
            return "items"
    if space.shape in ((width,), (slate_size, width)):
        return "query" if space.shape == (width,) else "embeddings"
    raise ValueError(
        f"action space: got {space}, allowed for agents are slates of indices or of embeddings, or one embedding; make "
        "the environment with action='items', 'embeddings' or 'query'"
    )


def _categories(env: Any) -> np.ndarray | None:
    """(I,) what an environment of recsim_hrl tells of its items' categories; None for others."""
    try:
        return np.asarray(_attribute(env, "core").catalogue.categories, np.int64)
    except (AttributeError, ValueError):
        return None
