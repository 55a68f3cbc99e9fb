"""Agents by name. Modules are imported when an agent is made, so nobody waits for a library that is not used."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import torch

from recsim_hrl_agents import storage
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.market import HISTORIES, Market, device_of

_AGENTS = {
    "random": "recsim_hrl_agents.baselines.random:RandomAgent",
    "popularity": "recsim_hrl_agents.baselines.popularity:Popularity",
    "greedy": "recsim_hrl_agents.baselines.greedy:Greedy",
    "cf": "recsim_hrl_agents.baselines.cf:CF",
    "fm": "recsim_hrl_agents.baselines.fm:FM",
    "wide-deep": "recsim_hrl_agents.baselines.wide_deep:WideDeep",
    "gru": "recsim_hrl_agents.baselines.gru:GRU",
    "ddpg": "recsim_hrl_agents.flat.ddpg:DDPG",
    "deers": "recsim_hrl_agents.flat.deers:DEERS",
    "mahrl": "recsim_hrl_agents.hierarchical.mahrl:MaHRL",
    "goal-q": "recsim_hrl_agents.hierarchical.goal_q:GoalQ",
    "sb3-dqn": "recsim_hrl_agents.baselines.sb3_agents:DQNAgent",
    "sb3-ppo": "recsim_hrl_agents.baselines.sb3_agents:PPOAgent",
    "sb3-td3": "recsim_hrl_agents.baselines.sb3_agents:TD3Agent",
    "sb3-sac": "recsim_hrl_agents.baselines.sb3_agents:SACAgent",
}

_SLATE_AGENTS = {
    "slate-random": "recsim_hrl_agents.slates.random:RandomSlates",
    "slate-supervised": "recsim_hrl_agents.slates.supervised:SlateSupervised",
    "slate-supervised-online": "recsim_hrl_agents.slates.supervised:SlateSupervisedOnline",
    "slate-a2c": "recsim_hrl_agents.slates.sb3:SlateA2C",
    "slate-ddpg": "recsim_hrl_agents.slates.sb3:SlateDDPG",
    "slate-td3": "recsim_hrl_agents.slates.sb3:SlateTD3",
    "hac": "recsim_hrl_agents.slates.hac:HAC",
    "pg-ra": "recsim_hrl_agents.slates.pg_ra:PGRA",
    "slate-dqn": "recsim_hrl_agents.slates.dqn:SlateDQN",
    "slateq": "recsim_hrl_agents.slates.slateq:SlateQ",
    "hsrl": "recsim_hrl_agents.slates.hsrl:HSRL",
}
"""Agents of RecSlate, which answer with slates."""

_ANCHORED = {"c": 20, "alpha": 0.5, "products": True, "realised": False, "knows_internal": True, "from_goal": True}
_ANCHORED |= {"high_histories": HISTORIES}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "hrl-i": ("mahrl", {"histories": ("clicked",), "high_histories": ("clicked",)}),
    "hrl-s": ("mahrl", {"guide": "state"}),
    "hrl-g": ("mahrl", {"M": 1}),
    "mahrl-anchored": ("mahrl", _ANCHORED),
    "mahrl-items": ("mahrl", _ANCHORED | {"search": 100, "temperature": 0.3}),
}
"""Names for an agent with settings: MaHRL reading clicks alone, guiding by the state alone, with one goal (4.1.2); and
two of ours, with a low level that starts from its goal, the second with items as goals, drawn by their values."""

_SHORT = {"c": 4, "n_step": 2, "gamma": 0.9, "high_gamma": 0.7, "noise": 0.5, "final_noise": 0.2}
_SLATE_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "slate-mahrl": ("mahrl", _SHORT),
    "slate-mahrl-items": ("mahrl", _ANCHORED | {"search": 100, "temperature": 0.3} | _SHORT),
    "slate-goal-q": ("goal-q", {"c": 1, "gamma": 0.9, "warmup_steps": 2_000, "steps_per_update": 64}),
    "hsrl-independent": ("hsrl", {"autoregressive": False}),
    "hsrl-item-by-item": ("hsrl", {"together": False}),
    "hsrl-no-residual": ("hsrl", {"residual": False}),
    "hsrl-single-critic": ("hsrl", {"multi_level": False}),
    "hsrl-no-entropy": ("hsrl", {"entropy": 0.0}),
    "hsrl-no-supervised": ("hsrl", {"supervised": 0.0}),
    "hsrl-flat": ("hsrl", {"flat": True}),
}
"""Names for an agent with settings for slates, where steps are requests, of which a session has few; and HSRL without a
part."""


def agent_names() -> list[str]:
    """Every registered name, in the order of the tables; a variant is another agent with settings, and saved so."""
    return [*_AGENTS, *_VARIANTS]


def slate_agent_names() -> list[str]:
    """The same of the agents of RecSlate."""
    return [*_SLATE_AGENTS, *_SLATE_VARIANTS]


def _base(name: str) -> tuple[str, dict[str, Any]]:
    """The agent that ``name`` stands for, and its settings."""
    return (_VARIANTS | _SLATE_VARIANTS).get(name, (name, {}))


def agent_class(name: str) -> type[Agent]:
    """The class registered under ``name``; its ``learns_from`` and ``config_class`` say how to use it."""
    base, _ = _base(name)
    known = _AGENTS | _SLATE_AGENTS
    if base not in known:
        allowed = ", ".join([*agent_names(), *slate_agent_names()])
        raise ValueError(f"agent: got {name!r}, allowed {allowed}; pass one of these names")
    module, _, attribute = known[base].partition(":")
    return getattr(importlib.import_module(module), attribute)


def agent_config(name: str, **overrides: Any) -> Any:
    """The config of the agent registered under ``name``, its defaults but for ``overrides``."""
    kind, (_, own) = agent_class(name), _base(name)
    fields = [field.name for field in dataclasses.fields(kind.config_class)]
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise ValueError(f"agent {name}: got unknown settings {unknown}, allowed {fields}; correct the name")
    return kind.config_class(**own | overrides)


def make_agent(name: str, env: Any, seed: int = 0, device: torch.device | str | None = None, **overrides: Any) -> Agent:
    """Make an agent for an environment.

    Args:
        name: One of :func:`agent_names`.
        env: The environment (single or vector) it will act in, or its :class:`Market`.
        seed: Seeds the agent's weights and draws.
        device: Where it learns; None: where the environment is, if that gives tensors, or else the processor.
        overrides: Fields of the agent's config that differ from the defaults.
    """
    kind, config = agent_class(name), agent_config(name, **overrides)
    market = env if isinstance(env, Market) else Market.of(env)
    if kind.takes_tensors:
        return kind(market, config, seed, device or device_of(env) or "cpu")
    if device is not None and torch.device(device).type != "cpu":
        raise ValueError(f"agent {name}: got device {device}, allowed cpu, as it computes on arrays; leave device out")
    return kind(market, config, seed)


def load_agent(path: str | Path, env: Any, device: torch.device | str | None = None) -> Agent:
    """The agent saved at ``path``, with its settings and weights, for an environment or :class:`Market`; ``device`` as
    in :func:`make_agent`."""
    description, _ = storage.load(path)
    config = {key: tuple(value) if isinstance(value, list) else value for key, value in description["config"].items()}
    agent = make_agent(description["agent"], env, device=device, **config)
    agent.load(path)
    return agent
