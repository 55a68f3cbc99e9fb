"""Does a fit hold on the log of another world? Worlds unlike the default one, each fitted and judged alike.

For every world ``python -m benchmarks.other_worlds`` does what a user does with a log and nothing else: it fits a
simulator with the default settings and evaluates it on other visits. The settings were worked out on the default world,
so these worlds say more about a log of one's own than that one does. Each of them is a job whose result is kept: stop
it whenever you like, the same command goes on.
"""

import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from benchmarks.aggregate import write_csv, write_text
from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.pools import check_workers
from benchmarks.records import package_versions
from benchmarks.tables import Table, aligned, grid
from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.fidelity import POLICIES, FidelityConfig, PolicyValue

LOG_SEED, HELD_OUT_SEED = 41, 42
"""Of the visits in the two logs of a world."""


@dataclass(frozen=True)
class Setting:
    """A world, and the shop that writes its log."""

    world: WorldConfig
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)

    def __str__(self) -> str:
        """What is not as usual."""
        pairs = ((self.world, WorldConfig()), (self.behaviour, BehaviourConfig()))
        told = [
            f"`{name}={value}`"
            for ours, usual in pairs
            for name, value in asdict(ours).items()
            if value != asdict(usual)[name]
        ]
        return ", ".join(told) or "as usual"


WORLDS: dict[str, Setting] = {
    "default": Setting(WorldConfig()),
    "small shop": Setting(WorldConfig(items=2000, categories=8, embedding_dim=16, seed=11)),
    "many categories": Setting(WorldConfig(items=20_000, categories=40, embedding_dim=64, seed=12)),
    "click-happy": Setting(WorldConfig(click_bias=-0.6, click_cap=0.8, seed=13)),
    "rare orders": Setting(WorldConfig(order_bias=-8.0, seed=14)),
    "no trust": Setting(WorldConfig(click_trust=0.0, order_trust=0.0, seed=15), BehaviourConfig(trust_leaving=0.0)),
    "soon tired, short visits": Setting(
        WorldConfig(presence_half=1.0, fatigue_decay=0.9, fatigue_free=3.0, interest_decay=0.85, seed=16),
        BehaviourConfig(leave_rate=0.08),
    ),
}
"""By name; other seeds draw other items and users."""


@dataclass(frozen=True)
class Scale:
    """How large a preset is."""

    impressions: int
    """Of the logs that are fitted."""
    held_out: int
    """Impressions of the log that is judged on."""
    policies: FidelityConfig
    """Size of the comparison of policy values."""


SCALES = {
    "quick": Scale(2000, 500, FidelityConfig(lengths=(4,), impressions=80, candidates=20, workers=1)),
    "full": Scale(400_000, 60_000, FidelityConfig(lengths=(50,), impressions=20_000, candidates=400, workers=1)),
}


@dataclass(frozen=True)
class OtherWorldsConfig:
    """Fit and judge simulators of other worlds; leaves other_worlds.csv, values.csv and other_worlds.md in OUT."""

    preset: Literal["quick", "full"] = "quick"
    """quick: seconds, tells nothing. full: logs of 400,000 impressions, about 12 minutes of one core."""
    worlds: tuple[str, ...] = tuple(WORLDS)
    """Which of them."""
    impressions: tuple[int, ...] = ()
    """Of the logs that are fitted, one after the other; none for what the preset has."""
    out: Path = Path("runs/other_worlds")
    """Folder of the results."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Of all simulators."""
    workers: int = os.cpu_count() or 1
    """Jobs at a time, one core each."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""

    def __post_init__(self) -> None:
        check_workers(self.workers)
        if unknown := sorted(set(self.worlds) - set(WORLDS)):
            raise ValueError(f"worlds: got {unknown}, allowed {list(WORLDS)}; correct the name")


def other_worlds(config: OtherWorldsConfig) -> str:
    """Do what is missing and write the tables; returns the main one for a terminal.

    Raises:
        RuntimeError: If jobs failed; the others are kept.
    """
    scale = SCALES[config.preset]
    settings = {name: asdict(WORLDS[name]) for name in config.worlds}
    about = {"worlds": settings, "scale": asdict(scale), "fit": asdict(config.fit), "versions": package_versions()}
    pairs = [(name, size) for name in config.worlds for size in config.impressions or (scale.impressions,)]
    jobs = [
        Job(f"{name}, {size:,} impressions", f"{name.replace(' ', '_')}-{size}.json", (WORLDS[name], size), size)
        for name, size in pairs
    ]
    with parts_folder(config.out, job_key(about)) as parts:
        keep_jobs(jobs, parts, judge, Workers(config.workers, config.ray), noun="fits", shared=(scale, config.fit))
        found = [json.loads((parts / job.file).read_bytes()) for job in jobs]
        return write_tables([Row(*pair, content) for pair, content in zip(pairs, found, strict=True)], config)


def judge(scale: Scale, fit: FitConfig, setting: Setting, impressions: int) -> bytes:
    """A job: the report, as JSON, on a simulator that was fitted to so many ``impressions`` of a world."""
    torch.set_num_threads(1)  # other jobs work beside this one
    world = World(setting.world)
    with tempfile.TemporaryDirectory() as folder:
        logs = [
            InteractionLog.open(write_log(world, Path(folder) / name, size, seed, setting.behaviour))
            for name, size, seed in (("log", impressions, LOG_SEED), ("held-out", scale.held_out, HELD_OUT_SEED))
        ]
        simulator = fit_simulator(logs[0], Path(folder) / "simulator", fit, report=_silent)
        evaluation = evaluate_simulator(simulator, logs[1], EvaluationConfig(details=False), scale.policies, _silent)
    return json.dumps(evaluation.to_json()).encode()


def _silent(_: str) -> None:
    """Takes the lines of a fit."""


@dataclass(frozen=True)
class Row:
    """What was found of one fit."""

    world: str
    impressions: int
    found: dict[str, Any]
    """The report as JSON."""

    @property
    def values(self) -> list[PolicyValue]:
        """Of all policies."""
        entries = self.found["fidelity"]["values"]
        return [PolicyValue(**{k: v for k, v in entry.items() if k != "relative_error"}) for entry in entries]

    @property
    def noise(self) -> float:
        """Mean standard error of a relative value error, if luck in the two markets were independent."""
        errors = [math.hypot(one.world_error, one.simulator_error) / one.world for one in self.values]
        return sum(errors) / len(errors)

    @property
    def numbers(self) -> dict[str, float]:
        """Columns of the table."""
        validity, (fidelity,) = self.found["validity"], self.found["fidelity"]["summary"].values()
        return {
            "items_per_visit": validity["impressions"] / validity["sessions"],
            "click_rate": validity["click"]["rate"],
            "order_rate": validity["order"]["rate"],
            "log_loss_base_rate": validity["log_loss_base_rate"],
            "log_loss_item_rate": validity["log_loss_item_rate"],
            "log_loss_simulator": validity["log_loss_simulator"],
            "log_loss_bayes": validity["log_loss_bayes"],
            "gap_closed": validity["gap_closed"],
            "click_calibration_error": validity["click"]["calibration_error"],
            "order_calibration_error": validity["order"]["calibration_error"],
            "mean_value_error": fidelity["mean_absolute_error"],
            "largest_value_error": fidelity["worst_absolute_error"],
            "value_noise": self.noise,
            "kendall_tau": fidelity["kendall_tau"],
        }


HEADER = (
    "world",
    "impressions",
    "items a visit",
    "clicks",
    "orders",
    "log-loss: base rate",
    "simulator",
    "exact Bayes",
    "gap closed",
    "calibration error, click",
    "order",
    "mean value error",
    "largest",
    "noise",
    "Kendall tau",
)
_SHAPES = {
    "items_per_visit": "{:.1f}",
    "click_rate": "{:.1%}",
    "order_rate": "{:.2%}",
    "log_loss_base_rate": "{:.4f}",
    "log_loss_simulator": "{:.4f}",
    "log_loss_bayes": "{:.4f}",
    "gap_closed": "{:.1%}",
    "click_calibration_error": "{:.4f}",
    "order_calibration_error": "{:.4f}",
    "mean_value_error": "{:.1%}",
    "largest_value_error": "{:.1%}",
    "value_noise": "{:.1%}",
    "kendall_tau": "{:.2f}",
}
"""How the columns of :data:`HEADER`, behind the first two, are written."""


def write_tables(rows: Sequence[Row], config: OtherWorldsConfig) -> str:
    """Write other_worlds.csv, values.csv and other_worlds.md; returns the table for a terminal."""
    names = tuple(rows[0].numbers)
    lines = [(row.world, row.impressions, *(f"{value:.6g}" for value in row.numbers.values())) for row in rows]
    write_csv(config.out / "other_worlds.csv", ("world", "impressions", *names), lines)
    parts = ("world", "world_error", "simulator", "simulator_error", "relative_error")
    values = [
        (row.world, row.impressions, one.policy, *(f"{getattr(one, part):.6g}" for part in parts))
        for row in rows
        for one in row.values
    ]
    header = ("world", "impressions", "policy", "true_value", "true_error", *parts[2:])
    write_csv(config.out / "values.csv", header, values)
    table: Table = [HEADER]
    for row in rows:
        numbers = row.numbers
        cells = (shape.format(numbers[name]) for name, shape in _SHAPES.items())
        table.append((row.world, f"{row.impressions:,}", *cells))
    write_text(config.out / "other_worlds.md", _page(table, config))
    return aligned("Other worlds", table)


def _page(table: Table, config: OtherWorldsConfig) -> str:
    scale = SCALES[config.preset]
    users = scale.policies.impressions // scale.policies.lengths[0]
    worlds: Table = [("world", "what is not as in the default world"), *((n, str(WORLDS[n])) for n in config.worlds)]
    note = (
        f"Fitted with {'default settings' if config.fit == FitConfig() else 'the settings of the command'}, judged on "
        f"{scale.held_out:,} impressions of other visits. "
        f"Gap closed is from the per-item rate to exact Bayes. Value errors are of {len(POLICIES)} policies, in "
        f"sessions of {scale.policies.lengths[0]} items with {scale.policies.candidates} candidates, {users} users "
        "each, against the true world. Noise is the mean standard error of a value error; users have the same luck in "
        "both markets, so it is an upper estimate."
    )
    command = f"python -m benchmarks.other_worlds --preset {config.preset}"
    if config.worlds != tuple(WORLDS):
        command += " --worlds " + " ".join(f'"{name}"' for name in config.worlds)
    if config.impressions:
        command += " --impressions " + " ".join(map(str, config.impressions))
    changed = [f"--fit.{k.replace('_', '-')} {v}" for k, v in asdict(config.fit).items() if v != asdict(FitConfig())[k]]
    command = " ".join([command, *changed])
    return f"{grid(table)}\n\n{note}\n\n{grid(worlds)}\n\nMade by `{command}`.\n"


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(OtherWorldsConfig, prog="python -m benchmarks.other_worlds", description=__doc__)
    return finish(lambda: f"{other_worlds(config)}\n\nWritten to {config.out}", "Finished fits are")


if __name__ == "__main__":
    sys.exit(main())
