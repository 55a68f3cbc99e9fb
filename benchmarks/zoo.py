"""Makes the agents that come with ``recsim_hrl_agents``: ``python -m benchmarks.zoo``.

Each learns as in a run of the full benchmark, on the ``train`` simulator, from a few seeds. The seed that does best on
users of the ``train`` simulator whom nothing else has met is the one that is kept; the ``test`` simulator only tells
what it is worth. Stop it whenever you like: the same command goes on from there.
"""

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from recsim_hrl_agents import evaluate, load_agent, storage
from recsim_hrl_agents.pretrained import ZOO, save_for_the_zoo

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.commands import finish
from benchmarks.records import package_versions, run_key, simulator_fingerprint
from benchmarks.statistics import crossed_bootstrap
from benchmarks.tasks import Run, make_preset, training_log
from benchmarks.training import agent_config, make_env, trained_agent

ENTRIES = ("ddpg-short", "goal-q-long", "goal-q-short", "greedy-short", "mahrl-items-long", "mahrl-items-short")
"""What the zoo holds, as AGENT-TASK of the full preset."""
CHOICE_SEED = 30_000_000
"""Of the first user of the train simulator on whom seeds are compared."""
COLUMNS = ("agent", "seed", "train", "test", "low", "high")
"""Mean session reward on ``train``, and on ``test`` with its 95% interval over users."""


@dataclass(frozen=True)
class ZooConfig:
    """Which agents are made, and where they go."""

    entries: tuple[str, ...] = ENTRIES
    """Agents to make, as AGENT-TASK; the others stay as they are."""
    seeds: int = 3
    """Trainings of each agent, of which the best is kept."""
    out: Path = ZOO
    """Folder of the zoo."""
    table: Path = Path("benchmarks/results/zoo.csv")
    """What each agent is worth."""
    work: Path = Path("runs/zoo")
    """Folder of trainings, finished and not."""
    trained: Path = Path("runs/full/agents")
    """Agents of the full benchmark; those that are there need not be trained again, and others join them."""
    logs: Path = Path("runs/logs")
    """Folder of the log that greedy learns from."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"zoo seeds: got {self.seeds}, allowed 1 or more")


def zoo_run(name: str, seed: int) -> Run:
    """The run of the full preset that ``name``, AGENT-TASK, stands for."""
    preset = make_preset("full")
    entries = {f"{entry.agent}-{task.name}": (task, entry) for entry in preset.entries for task in preset.tasks}
    if name not in entries:
        raise ValueError(f"zoo entry: got {name!r}, allowed {', '.join(entries)}; pass some of these")
    return Run(*entries[name], seed)


def train_candidate(run: Run, config: ZooConfig) -> tuple[float, Path]:
    """Train and judge one agent on the train simulator, unless that was done; its mean session reward and folder."""
    key = run_key(run, simulator_fingerprint(run.task.simulator), agent_config(run.entry))
    folder = config.work / f"{run.entry.agent}-{run.task.name}-{run.seed}-{key}"
    if not storage.is_saved(folder):
        env = make_env(run, "train")
        try:
            agent = trained_agent(run, key, env, config.logs, config.trained, folder / "unfinished")
            reward = float(evaluate(agent, env, run.task.sessions, CHOICE_SEED).total_reward.mean())
        finally:
            env.close()
        save_for_the_zoo(agent, folder, _provenance(run, reward))
        shutil.rmtree(folder / "unfinished", ignore_errors=True)
    return storage.load(folder)[0]["provenance"]["train_reward"], folder


def _provenance(run: Run, reward: float) -> dict[str, Any]:
    return {
        "command": f"python -m benchmarks.zoo --entries {run.entry.agent}-{run.task.name}",
        "task": asdict(run.task),
        "steps": run.entry.steps,
        "seed": run.seed,
        "simulators": simulator_fingerprint(run.task.simulator),
        "train_reward": reward,
        "versions": dict(package_versions()),
    }


def make_entry(name: str, config: ZooConfig) -> list[object]:
    """Train, choose and keep one agent; returns its row of the table."""
    candidates = [train_candidate(zoo_run(name, seed), config) for seed in range(config.seeds)]
    reward, folder = max(candidates)
    provenance = storage.load(folder)[0]["provenance"]
    run = zoo_run(name, provenance["seed"])
    env = make_env(run, "test")
    try:
        agent = load_agent(folder, env)
        found = evaluate(agent, env, run.task.sessions, run.task.evaluation_seed).total_reward
    finally:
        env.close()
    save_for_the_zoo(agent, config.out / name, provenance)
    told = crossed_bootstrap(found[None])
    return [name, run.seed, *(f"{value:.3f}" for value in (reward, told.estimate, told.low, told.high))]


def main(config: ZooConfig) -> str:
    """Make what is asked for; returns the table."""
    torch.set_num_threads(1)
    runs = [zoo_run(name, 0) for name in config.entries]
    for task in {run.task for run in runs if run.entry.needs_log}:
        training_log(task, config.logs)
    rows = {row[0]: row for row in read_csv(config.table)} if config.table.exists() else {}
    for name in config.entries:
        rows[name] = make_entry(name, config)
        write_csv(config.table, COLUMNS, [rows[one] for one in sorted(rows)])
    return "\n".join(" ".join(map(str, row)) for row in [COLUMNS, *rows.values()])


if __name__ == "__main__":
    import tyro

    chosen = tyro.cli(ZooConfig, prog="python -m benchmarks.zoo")
    sys.exit(finish(lambda: main(chosen), "Finished trainings are"))
