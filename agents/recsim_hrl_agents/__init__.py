"""Recommendation agents for RecSim-HRL environments.

``make_agent(name, env)`` makes one, ``train`` or ``agent.fit`` teaches it, ``evaluate`` measures it on common users.
"""

from recsim_hrl_agents.base import Agent, Transitions
from recsim_hrl_agents.logged import LoggedSessions
from recsim_hrl_agents.loop import Evaluation, evaluate, train
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.pretrained import load_pretrained, pretrained_names
from recsim_hrl_agents.registry import agent_class, agent_names, load_agent, make_agent

__all__ = [
    "Agent",
    "Evaluation",
    "LoggedSessions",
    "Market",
    "Transitions",
    "agent_class",
    "agent_names",
    "evaluate",
    "load_agent",
    "load_pretrained",
    "make_agent",
    "pretrained_names",
    "train",
]
