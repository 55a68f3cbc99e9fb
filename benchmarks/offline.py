"""Ranks held-out sessions with the benchmark's agents, as MaHRL's Table 2 does: ``python -m benchmarks.offline``.

The agents are those that ``benchmarks.run`` trains and saves. Runs that are not there are done first, whole, so that
``benchmarks.run`` finds them. Stop it whenever you like: the same command goes on from what is finished.
"""

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, job_key, keep_jobs
from benchmarks.records import agent_path, run_file
from benchmarks.run import Plan, SweepConfig, plan_of
from benchmarks.tasks import Run, held_out_log


@dataclass(frozen=True)
class OfflineConfig(SweepConfig):
    """Rank held-out sessions with the agents of a preset: MAP, NDCG@20 and NDCG@40, as in MaHRL's Table 2.

    Uses the agents that benchmarks.run has saved in OUT/PRESET/agents, and trains those that are missing. Prints the
    tables and leaves offline.csv and offline.md in OUT/PRESET.
    """


def offline(config: OfflineConfig) -> str:
    """Rank what is missing of a preset and write all results; returns the tables.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have, or a log is missing, or
            scikit-learn is.
        RuntimeError: If runs or rankings failed; the others are kept.
    """
    command = f"python -m benchmarks.offline --preset {config.preset}"
    return rank_plan(plan_of(config), Workers(config.workers, config.ray), command)


def rank_plan(plan: Plan, where: Workers, command: str) -> str:
    """Do the wanted runs that are missing, rank with their agents, and write the results of all that are finished.

    Args:
        plan: Runs, and where they leave what they make.
        where: Processes or Ray.
        command: What a reader types to make the results again.

    Raises:
        ValueError: If a log is missing, or scikit-learn is.
        RuntimeError: If runs or rankings failed; the others are kept.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ValueError(
            "offline: got no scikit-learn, allowed with it, as it measures the rankings; pip install -e '.[offline]'"
        )
    # Imported here: --help should not wait for torch.
    from recsim_hrl_agents.registry import agent_class

    from benchmarks.offline_table import write_offline
    from benchmarks.ranking import Ranking

    agents = {entry.agent for entry in plan.preset.entries}
    silent = sorted(agent for agent in agents if not agent_class(agent).can_score())
    plan = plan.without(silent)
    plan.sweep(where.workers, where.ray)
    folder, jobs = plan.folder / "offline", _jobs(plan)
    wanted = [jobs[key] for _, key in plan.wanted]
    try:
        keep_jobs(wanted, folder, rank, where, _map, "rankings", shared=(plan.logs, plan.agents))
    finally:
        paths = [folder / job.file for job in jobs.values()]
        rankings = [Ranking.load(path) for path in paths if path.exists()]
        tables = write_offline(rankings, silent, command, plan.folder) if rankings else ""
    return tables


def _jobs(plan: Plan) -> dict[str, Job]:
    """The ranking of every run, by the key of the run."""
    from recsim_hrl_agents import storage
    from recsim_hrl_agents.logged import LoggedSessions

    from benchmarks.ranking import fingerprint
    from recsim_hrl.data.log import InteractionLog

    paths = {task: held_out_log(task, plan.logs) for task in plan.preset.tasks}
    contents = {path: fingerprint(LoggedSessions.of(InteractionLog.open(path))) for path in set(paths.values())}
    jobs = {}
    for run, key in plan.every:
        own = job_key({"run": key, "log": contents[paths[run.task]]})
        cost = 1 if storage.is_saved(agent_path(run, key, plan.agents)) else 1 + run.entry.steps
        jobs[key] = Job(run.name, run_file(run, own), (run, key), cost)
    return jobs


def rank(logs: Path, agents: Path, run: Run, key: str) -> bytes:
    """A job: how well the agent of ``run`` ranks the held-out sessions of its task.

    Args:
        logs: Folder of the logs.
        agents: Folder of the saved agents; one that is not there is trained.
        run: Task, agent and seed.
        key: Of the run.
    """
    import torch
    from recsim_hrl_agents.market import Market

    from benchmarks.ranking import HeldOut, Ranking, measure, score_sessions
    from benchmarks.training import logged_sessions, make_env, trained_agent

    torch.set_num_threads(1)  # other jobs work beside this one
    env, path = make_env(run, "train"), held_out_log(run.task, logs)
    try:
        market = Market.of(env)
        held_out = HeldOut.of(logged_sessions(path, market), market.history)
        agent = trained_agent(run, key, env, logs, agents)
    finally:
        env.close()
    metrics = measure(held_out.gains, score_sessions(agent, held_out))
    log = path.relative_to(logs).as_posix()
    values = {name: tuple(metric.tolist()) for name, metric in metrics.items()}
    return Ranking(run.task.name, run.entry.agent, run.seed, key, log, held_out.counts, values).content()


def _map(content: bytes) -> str:
    values = json.loads(content)["metrics"]["map"]
    return f"MAP {sum(values) / len(values):.4f}"


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(OfflineConfig, prog="python -m benchmarks.offline")

    def work() -> str:
        return f"{offline(config)}\n\nWritten to {config.out / config.preset}: offline.csv, offline.md"

    return finish(work, "Finished runs and rankings are")


if __name__ == "__main__":
    sys.exit(main())
