"""What every agent is: methods to act, learn, rank, save and load; and the transitions that agents learn from."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents import storage
from recsim_hrl_agents.logged import LoggedSessions
from recsim_hrl_agents.market import Market

Array = np.ndarray | Tensor
"""What an environment gives and takes: arrays, or tensors on its device."""
Observations = dict[str, Array]
"""A batch of observations: each history window (B, N, D) float32, or (B, N) integers with item ids."""


@dataclass(frozen=True)
class Transitions:
    """One step of ``B`` users. Where a session ended, ``next_observations`` holds *its own* final observation."""

    observations: Observations
    actions: Array  # (B, D) float32 or (B,) int64, as sent to the environment; of slates also (B, K) or (B, K, D)
    items: Array  # (B,) int64 catalogue index of the item that was shown; (B, K) of slates
    rewards: Array  # (B,) float32
    next_observations: Observations
    terminated: Array  # (B,) bool, the user left: nothing follows, so no bootstrap
    truncated: Array  # (B,) bool, the length limit was reached: bootstrap from the final observation
    responses: Array | None = None  # (B, K) int64 answers to the items of slates, a skip where the user did not look
    is_seen: Array | None = None  # (B, K) bool, whether the user looked; None where single items are shown

    @property
    def ended(self) -> Array:
        """(B,) bool: the next transition of this sub-environment belongs to another session."""
        return self.terminated | self.truncated

    @property
    def seen_items(self) -> Array:
        """The ``items``, of slates with -1 where the user did not look: what one can learn from."""
        return self.items if self.is_seen is None else np.where(self.is_seen, self.items, -1)


def as_asked(actions: Tensor, observations: Observations) -> Array:
    """``actions`` as tensors, if the ``observations`` are tensors, or else as an array."""
    return actions if isinstance(next(iter(observations.values())), Tensor) else actions.numpy(force=True)


class Agent(ABC):
    """A recommendation policy over a :class:`Market`; subclasses say what they learn from and how.

    Args:
        market: Items and spaces that the agent acts in.
        config: Settings; an instance of ``config_class``.
        seed: Seeds the weights and every draw of the agent. No global generator is touched.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]
    learns_from: ClassVar[Literal["nothing", "log", "environment"]]
    """Whether the agent is ready as made, wants ``fit(log)``, or wants :func:`recsim_hrl_agents.loop.train`."""
    takes_tensors: ClassVar[bool] = False
    """Whether it can stay on a device, with an environment that gives tensors there; made with ``device``."""

    def __init__(self, market: Market, config: Any, seed: int = 0) -> None:
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"config of {self.name}: got {type(config).__name__}, allowed {self.config_class.__name__}; "
                f"build it with {self.config_class.__name__}(...)"
            )
        self.market = market
        self.config = config
        self.seed = seed

    @abstractmethod
    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """Choose what to show to ``B`` users.

        Args:
            observations: Batch of observations of the market's form.
            explore: Whether to try things out; without it the choice is the agent's best.

        Returns:
            (B, D) float32 embeddings or (B,) int64 candidate indices, as the market's ``action`` says; tensors if the
            observations are.
        """

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """Told before the first step of sessions, for agents that remember something within a session.

        Args:
            starting: (B,) bool, which sub-environments are at the start of a session.
            seeds: (B,) int64, in evaluation: draws of an agent depend on these alone, so that a session's result
                does not depend on how many run beside it.
        """
        return None

    def update(self, transitions: Transitions) -> dict[str, float | Tensor]:
        """Learn from one step of ``B`` users; returns metrics (empty when nothing was updated), as numbers or as
        tensors of one number that nobody has waited for."""
        return {}

    def fit(self, log: LoggedSessions) -> dict[str, float]:
        """Learn from logged sessions; returns metrics."""
        raise ValueError(
            f"agent {self.name}: it learns from {self.learns_from}, not from a log; allowed for fit are agents whose "
            "learns_from is 'log'"
        )

    def score(self, observations: Observations, items: Array) -> Array:
        """Rank given items for ``B`` users, whether or not they are candidates; nothing about the agent changes.

        Args:
            observations: Batch of observations of the market's form.
            items: (B, n) catalogue indices of the items that each user could be shown.

        Returns:
            (B, n) scores, in the agent's own unit: an item of higher score belongs before one of lower; tensors if the
            observations are.

        Raises:
            ValueError: If the agent has no scores, or an item is not in the catalogue.
        """
        users, size = len(next(iter(observations.values()))), len(self.market.item_embeddings)
        items = (
            items if isinstance(items, Tensor) else torch.from_numpy(np.ascontiguousarray(items, np.int64))
        )  # (B, n)
        if items.dim() != 2 or len(items) != users:
            raise ValueError(
                f"items to score: got shape {tuple(items.shape)}, allowed ({users}, n): n items for each of the "
                f"{users} users; pass items[None] for the same of one user"
            )
        if items.numel() and not 0 <= int(items.min()) <= int(items.max()) < size:
            raise ValueError(
                f"items to score: got catalogue indices from {int(items.min())} to {int(items.max())}, allowed 0 to "
                f"{size - 1}; pass indices, which are item ids of observations less 1"
            )
        with torch.no_grad():
            return as_asked(self._scores(observations, items), observations)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """What :meth:`score` gives, (B, n), for agents that can tell."""
        raise ValueError(
            f"agent {self.name}: got a class without scores of items, allowed are those that can_score(); give it a "
            "method _scores(observations, items)"
        )

    @classmethod
    def can_score(cls) -> bool:
        """Whether agents of this class have scores of items."""
        return cls._scores is not Agent._scores

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, by name."""

    @abstractmethod
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what :meth:`tensors` of an agent of the same config gave."""

    def save(self, path: str | Path) -> Path:
        """Write the agent as a folder: JSON and safetensors, replaced atomically."""
        return storage.save(path, {"agent": self.name, "config": asdict(self.config)}, self.tensors())

    def load(self, path: str | Path) -> None:
        """Take over the weights of a saved agent of the same name and config.

        A setting that the saved agent does not name is younger than it; its default stands for it.

        Raises:
            ValueError: If the folder is damaged, or holds another agent or other settings.
        """
        described, tensors = storage.load(path)
        mine = storage.plain({"agent": self.name, "config": asdict(self.config)})
        if isinstance(described.get("config"), dict):
            described["config"] = storage.plain(asdict(self.config_class())) | described["config"]
        for key, value in mine.items():
            if described.get(key) != value:
                raise ValueError(
                    f"{path}: got {key} {described.get(key)}, allowed {value}; "
                    "use recsim_hrl_agents.load_agent, which builds the agent that was saved"
                )
        try:
            self.load_tensors(tensors)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"{path}: weights do not fit this market ({error}); load the agent with an environment whose item "
                "embeddings have the width it was trained with"
            ) from error
