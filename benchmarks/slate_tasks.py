"""Tasks of slates, the agents that enter, and presets that put both together: what ``benchmarks.tasks`` is for slates.

A step is a request, and a session has at most 20. Session j of an evaluation is the same user with the same luck for
every agent, every seed and every bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from recsim_hrl_agents.registry import agent_class, slate_agent_names
from recsim_hrl_agents.slates.base import SlateAgent

from benchmarks.slate_settings import SLATE_ABLATED, slate_settings
from benchmarks.tasks import MOVIELENS, Entry, Preset, PresetName, Setting, Task
from recsim_hrl.simulator.slate_config import Leave, RewardRule

SLATE_SIZE = 9
"""Items of a slate, as in HSRL."""
MAX_REQUESTS = 20
"""Of a session, in the published tasks and in ours."""
QUICK_AGENTS = ("slate-supervised", "slate-ddpg", "slate-dqn", "hac", "hsrl")
"""Of the quick preset: one that ranks, one flat in actions, one in items, and two that act in a space of their own."""
STEPS: dict[PresetName, int] = {"quick": 25_600, "full": 102_400, "movielens": 51_200}
"""Requests of a training, counted over all parallel users."""


@dataclass(frozen=True)
class SlateTask(Task):
    """RecSlate, and how agents are judged in it; ``session_length`` counts requests."""

    slate_size: int = SLATE_SIZE
    """Items of a slate."""
    leave: Leave = "learned"
    """When users leave, see RecSlate-v0."""
    reward: RewardRule = "responses"
    """What a request pays, see RecSlate-v0."""
    stock: int | None = None
    """Items that are ever on offer; None: those that are on offer at a time."""
    turnover: float = 0.0
    """Share of the items on offer that is replaced from session to session."""
    sessions_later: int = 0
    """Sessions for which the catalogue has changed."""

    @property
    def users_leave(self) -> bool:
        """See :class:`Task`."""
        return self.leave == "learned"

    def arguments(self) -> dict[str, Any]:
        """See :class:`Task`."""
        return {
            "slate_size": self.slate_size,
            "max_requests": self.session_length,
            "candidates": self.candidates,
            "stock": self.stock,
            "catalog_turnover": self.turnover,
            "catalog_start": self.sessions_later,
            "leave": self.leave,
            "reward": self.reward,
            "history": self.history,
        }


def slates_task(**changes: Any) -> SlateTask:
    """Users who leave as the log's did, and pay by what they click and order; with ``changes`` of its fields."""
    fields = {"session_length": MAX_REQUESTS, "sessions": 400, "parallel": 64, "history": 20}
    return SlateTask("slates", "RecSlate-v0", **fields | changes)


def temper_task(**changes: Any) -> SlateTask:
    """The published rules of HAC, HSRL and KuaiSim, of leaving and of reward."""
    return replace(slates_task(**changes), name="temper", leave="temper", reward="clicks")


def slate_entry(agent: str, steps: int, **changes: Setting) -> Entry:
    """An agent with a budget of ``steps`` requests and the settings that won its tuning, but for ``changes``."""
    return entry_with(agent, steps, slate_settings(agent) | changes)


def entry_with(agent: str, steps: int, settings: Mapping[str, Setting]) -> Entry:
    """An agent that makes ``steps`` requests, or reads as many slates' impressions of the log, with these settings."""
    kind = agent_class(agent)
    reads = kind.learns_from == "log"
    named = dict(settings) | ({"impressions": steps * SLATE_SIZE} if reads else {})
    # Agents made for slates name the items; others give one embedding, whose nearest items are shown.
    action = "items" if issubclass(kind, SlateAgent) else "query"
    return Entry(agent, steps, tuple(named.items()), action=action, needs_log=reads)


def slate_learners() -> list[str]:
    """Agents of slates that learn, in the order of the tables."""
    return [agent for agent in slate_agent_names() if agent_class(agent).learns_from != "nothing"]


def slate_preset(name: PresetName, steps: int | None = None) -> Preset:
    """The frozen preset ``name`` of the benchmark of slates.

    quick is for a look, in under 2 minutes on 2 cores; in full all agents enter, from five seeds, ablations under
    learned leaving alone; movielens is full without ablations on the simulators that ``benchmarks.movielens`` makes,
    with half the steps and three seeds.

    Args:
        name: Of the preset.
        steps: Requests of each training, if not the preset's.
    """
    agents = slate_learners()
    if name == "quick":
        agents = [agent for agent in agents if agent in QUICK_AGENTS]
    elif name == "movielens":
        agents = [agent for agent in agents if agent not in SLATE_ABLATED]
    sizes: dict[str, dict[str, Any]] = {
        "quick": {"sessions": 100, "log_impressions": 200_000},
        "full": {"sessions": 400},
        "movielens": {"sessions": 200, "simulator": str(MOVIELENS / "simulators" / "movielens")},
    }
    tasks = (slates_task(**sizes[name]), temper_task(**sizes[name]))
    entries = tuple(slate_entry(agent, steps or STEPS[name]) for agent in agents)
    skipped = frozenset(("temper", agent) for agent in SLATE_ABLATED)
    return Preset(f"slates-{name}", tasks, entries, {"quick": 1, "full": 5, "movielens": 3}[name], skipped)
