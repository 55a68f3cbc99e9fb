"""How fast the environments step: ``python -m benchmarks.throughput``.

Every run of a case has a process of its own, and the cases take turns, so that a busy moment of the machine meets all
of them; the table gives the median rate in user-steps per second, the slowest and the fastest run, how long the
environment took to be ready, and the most memory that the process held. Sessions end and new users arrive as they do;
actions are drawn beforehand. If ``sardine-rec`` is installed, its fastest environment runs in the same table: a user
model by formula, in place of a learned one. So does CartPole, whose rate tells how fast the machine is: it has no users
at all. The machine is described in the file; compare ratios, not rates.
"""

import os
import platform
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.aggregate import write_csv, write_text
from benchmarks.floors import floor_rows
from benchmarks.throughput_cases import (
    KINDS,
    SARDINE,
    SLATES,
    STEP,
    Case,
    Timing,
    batch_cases,
    catalogue_cases,
    session_cases,
    slate_cases,
    time_case,
)
from benchmarks.throughput_figure import draw_scaling

COLUMNS = (
    "part", "case", "users", "threads", "catalogue", "session", "recall",
    "user_steps_per_s", "slowest", "fastest", "ready_s", "peak_memory_mib",
)  # fmt: skip
Part = Literal["batch", "catalogue", "session", "slates"]
NO_CATALOGUE = "1000 of 10000"


@dataclass(frozen=True)
class ThroughputConfig:
    """What is timed, and how long."""

    out: Path = Path("runs/throughput")
    """Folder of the table, the numbers and the figure."""
    only: Part | None = None
    """The part that is timed, without floors and figure; all of them without."""
    users: tuple[int, ...] = (64, 1024, 4096, 16384, 65536)
    """Sizes of the vector environment."""
    catalogues: tuple[int, ...] = (1000, 10_000, 100_000, 553_156)
    """Sizes of catalogues all of whose items are candidates. The largest is that of HRL-Rec's data."""
    sessions: tuple[int, ...] = (50, 200, 1000)
    """Session lengths."""
    slate_users: tuple[int, ...] = (64, 512)
    """Users who are shown slates."""
    at: int = 4096
    """Users when the session or the stages are looked at."""
    catalogue_users: int = 256
    """Users when the catalogue is."""
    seconds: float = 1.0
    """Least duration of a run."""
    repeats: int = 5
    """Runs of each case."""
    threads: int = 2
    """Threads of the vector environment; a single user gets one."""


def parts(config: ThroughputConfig) -> list[tuple[Part, Case]]:
    """All cases that are timed, each with the part of the benchmark that it belongs to."""
    cases = [("batch", case) for case in batch_cases(config.users, config.threads)]
    cases += [("catalogue", c) for c in catalogue_cases(config.catalogues, config.catalogue_users, config.threads)]
    cases += [("session", case) for case in session_cases(config.sessions, config.at, config.threads)]
    cases += [("slates", case) for case in slate_cases(config.slate_users, config.threads)]
    return [(part, case) for part, case in cases if config.only in (None, part)]


def measure(config: ThroughputConfig) -> list[list[object]]:
    """Rows of the table, in the order of the cases."""
    cases = parts(config)
    found: list[list[Timing]] = [[] for _ in cases]
    with tqdm(total=len(cases) * config.repeats, desc="runs", disable=None) as bar:
        for number in range(config.repeats):
            print(f"run {number + 1} of {config.repeats} of {len(cases)} cases", flush=True)
            for (_, case), timings in zip(cases, found, strict=True):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    timings.append(pool.submit(time_case, case, config.seconds).result())
                bar.update()
    return [_row(part, case, timings) for (part, case), timings in zip(cases, found, strict=True)]


def _row(part: str, case: Case, timings: list[Timing]) -> list[object]:
    rates = [timing.rate for timing in timings]
    ready = statistics.median(timing.ready_seconds for timing in timings)
    memory = max(timing.peak_memory_mib for timing in timings)
    numbers = (f"{number:.0f}" for number in (statistics.median(rates), min(rates), max(rates)))
    described = (case.name, case.users, case.threads, case.catalogue or NO_CATALOGUE, case.session, case.recall or "")
    return [part, *described, *numbers, f"{ready:.2f}", f"{memory:.0f}"]


def to_text(rows: list[list[object]]) -> str:
    """The tables for people."""
    titles = {
        "batch": "| environment | users | threads | user-steps/s, median (slowest–fastest) | ready | peak memory |",
        "catalogue": "| candidates | own | users | user-steps/s, median (slowest–fastest) | ready | peak memory |",
        "session": "| session length | | users | user-steps/s, median (slowest–fastest) | ready | peak memory |",
    }
    titles["slates"] = titles["batch"]
    lines = []
    for part, title in titles.items():
        mine = [row for row in rows if row[0] == part]
        lines += ["", title, "|---|---:|---:|---:|---:|---:|"] if mine else []
        for row in mine:
            _, name, users, threads, catalogue, session, recall, median, slowest, fastest, ready, memory = row
            rate = f"{int(median):,} ({int(slowest):,}–{int(fastest):,})"
            first = {"catalogue": catalogue, "session": session}.get(part, name)
            by_users = f"{users:,} | {threads}"
            second = {"batch": by_users, "slates": by_users, "catalogue": f"{recall or 'all'} | {users:,}"}
            described = f"{first} | {second.get(part, f' | {users:,}')}"
            lines.append(f"| {described} | {rate} | {ready} s | {memory} MiB |")
    return "\n".join(lines[1:])


def against_sardine(rows: list[list[object]]) -> str:
    """What is to be said of our best rate and SARDINE's best, if it ran."""
    theirs = [int(row[7]) for row in rows if row[1] == SARDINE]
    if not theirs:
        return "SARDINE is not installed (`pip install sardine-rec`), so there is nothing to compare with."
    ours = max(int(row[7]) for row in rows if row[0] == "batch" and row[1] in KINDS)
    single = next(int(row[7]) for row in rows if row[1] == next(iter(KINDS)) and row[2] == 1)
    alone = next(int(row[7]) for row in rows if row[1] == SARDINE and row[2] == 1)
    return (
        f"Best against best, {ours / max(theirs):.0f} times as many user-steps per second as SARDINE; one user against "
        f"one, {single / alone:.2f} times."
    )


def against_steps(rows: list[list[object]]) -> str:
    """What a request costs, in steps of one item of the same run."""
    slates = [row for row in rows if row[0] == "slates"]
    sizes = list(dict.fromkeys(row[2] for row in slates))
    rates = {(row[1], row[2]): float(row[7]) for row in slates}
    lines = [
        "| a request costs so many steps of RecSession, item actions | "
        + " | ".join(f"{n} users" for n in sizes)
        + " |"
    ]
    lines.append("|---|" + "---:|" * len(sizes))
    for name in SLATES:
        lines.append(f"| {name} | " + " | ".join(f"{rates[STEP, n] / rates[name, n]:.1f}" for n in sizes) + " |")
    return "\n".join(lines)


def machine() -> str:
    """What the numbers were measured on."""
    import torch

    names = {line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")}
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{', '.join(sorted(names)) or platform.processor() or 'unknown processor'}, {os.cpu_count()} cores{device}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}"
    )


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def floors(config: ThroughputConfig) -> list[list[object]]:
    """Rows (environment, what, number) of the floors and stages."""
    rows: list[list[object]] = []
    for name, arguments in KINDS.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(floor_rows, arguments, config.at, config.seconds).result()
        rows += [[name, what, f"{number:.4g}"] for what, number in found]
    return rows


def floors_text(rows: list[list[object]]) -> str:
    """A column per environment."""
    names = list(dict.fromkeys(row[0] for row in rows))
    numbers = {(row[0], row[1]): row[2] for row in rows}
    lines = ["| one thread, per user-step | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for what in dict.fromkeys(row[1] for row in rows):
        unit = " (ns)" if what.startswith(("floor", "stage")) else ""
        lines.append(f"| {what}{unit} | " + " | ".join(f"{float(numbers[name, what]):,.4g}" for name in names) + " |")
    totals = [sum(float(n) for (one, what), n in numbers.items() if one == name and "stage" in what) for name in names]
    least = [max(float(numbers[name, f"floor: {one}"]) for one in ("arithmetic", "memory")) for name in names]
    lines.append("| all stages (ns) | " + " | ".join(f"{total:,.4g}" for total in totals) + " |")
    ratios = (f"{total / floor:.2f}" for total, floor in zip(totals, least, strict=True))
    lines.append("| **all stages / higher floor** | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def main(config: ThroughputConfig) -> None:
    """Time every case and write the tables."""
    everything = config.only is None
    stage_rows = floors(config) if everything else []
    rows = measure(config)
    write_csv(config.out / "throughput.csv", COLUMNS, rows)
    sections = [to_text(rows)]
    if config.only in (None, "slates"):
        sections.append(against_steps(rows))
    if everything:
        write_csv(config.out / "floors.csv", ("environment", "what", "number"), stage_rows)
        draw_scaling(rows, config.out / "scaling.png")
        sections += [against_sardine(rows), floors_text(stage_rows)]
    text = "\n\n".join(sections) + "\n"
    made_by = f"python -m benchmarks.throughput --repeats {config.repeats}" + (
        "" if everything else f" --only {config.only}"
    )
    write_text(config.out / "throughput.md", f"{text}\n\nMeasured on: {machine()}.\nMade by `{made_by}`.\n")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(ThroughputConfig, description=__doc__))
