"""The zoo: trained agents that come with the package, for the items of the default simulator.

Folders in ``zoo/`` are saved agents without the slow copies of networks that only learning needs. ``agent.json`` also
tells how they were made. ``python -m benchmarks.zoo`` makes them.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recsim_hrl_agents import storage
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.registry import load_agent

ZOO = Path(__file__).parent / "zoo"


def pretrained_names() -> list[str]:
    """Names of the agents in the zoo."""
    return sorted(folder.parent.name for folder in ZOO.glob("*/agent.json"))


def load_pretrained(name: str, env: Any, device: torch.device | str | None = None) -> Agent:
    """A trained agent of the zoo, ready to act.

    Args:
        name: One of :func:`pretrained_names`.
        env: The environment it will act in, or its :class:`Market`; its items must be those that it was trained on.
        device: As in :func:`recsim_hrl_agents.registry.make_agent`.

    Raises:
        ValueError: If there is no such agent, or the items are others.
    """
    if name not in pretrained_names():
        raise ValueError(f"pretrained agent: got {name!r}, allowed {', '.join(pretrained_names())}; pass one of these")
    market = env if isinstance(env, Market) else Market.of(env)
    items = storage.load(ZOO / name)[0]["items"]
    if items != items_digest(market):
        raise ValueError(
            f"{name}: got an environment with the items {items_digest(market)}, allowed those that the agent "
            f"was trained on, {items}; make the environment with simulator='default', or train an agent on yours"
        )
    return load_agent(ZOO / name, market, device)


def save_for_the_zoo(agent: Agent, folder: Path, provenance: dict[str, Any]) -> Path:
    """Write ``agent`` as the zoo keeps it, with the ``provenance`` that ``agent.json`` tells; returns ``folder``."""
    about = {"agent": agent.name, "config": asdict(agent.config), "items": items_digest(agent.market)}
    return storage.save(folder, about | {"provenance": provenance}, _without_slow_copies(agent.tensors()))


def _without_slow_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    def is_slow(name: str) -> bool:
        return any(part.partition("_")[0] == "target" for part in name.split("."))

    return {name: tensor for name, tensor in tensors.items() if not is_slow(name)}


def items_digest(market: Market) -> str:
    """16 hexadecimal digits that name a catalogue by its embeddings."""
    return hashlib.sha256(market.item_embeddings.tobytes()).hexdigest()[:16]
