"""The command that turns the log of a shop into an environment."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.commands.simulators import Evaluate, Fit
from recsim_hrl.data.own.importer import dry_run, import_log
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.own.report import ImportReport
from recsim_hrl.data.splits import SPLITS
from recsim_hrl.simulator.core import SessionConfig
from recsim_hrl.simulator.fit import FitConfig
from recsim_hrl.simulator.store import check_place


@dataclass(frozen=True)
class ImportLog:
    """Turn the log of a shop into an environment: an interaction log, split in time, and a simulator of each half.

    `--dry-run` reads everything, says what was understood, what is suspicious and what would be dropped, and writes
    nothing; the same command without it does just that. What is not finished is gone on with when the command is given
    again.
    """

    source: Positional[Path]
    """The shop's log: a .parquet or .csv file, or a folder of them."""
    mapping: OmitArgPrefixes[ColumnMapping]
    out: Path | None = None
    """Folder of the two simulators, OUT/train and OUT/test; the log and its halves go to OUT-log."""
    dry_run: bool = False
    """Only tell; write nothing."""
    json: bool = False
    """Tell as a JSON object; with `--dry-run` only."""
    fit: bool = True
    """Fit the simulators; `--no-fit` ends with the log in OUT-log/all."""
    evaluate: bool = False
    """Hold the train simulator against the test half: OUT-validity."""
    processes: Literal[1, 2] = 2 if (os.cpu_count() or 1) > 1 else 1
    """Processes that share a fit; the simulator is the same."""
    cleaning: OmitArgPrefixes[CleaningConfig] = field(default_factory=CleaningConfig)
    config: OmitArgPrefixes[FitConfig] = field(default_factory=FitConfig)

    def run(self) -> None:
        if self.json and not self.dry_run:
            raise ValueError("json: got --json without --dry-run, allowed with it only; add --dry-run or drop --json")
        if self.dry_run:
            report = dry_run(self.source, self.mapping, self.cleaning)
            print(report.to_json() if self.json else report)
            return
        if self.out is None:
            raise ValueError(
                "out: got none, allowed a folder for the simulators; give --out, or --dry-run to look first"
            )
        logs = self.out.with_name(f"{self.out.name}-log")
        for side in SPLITS if self.fit else ():
            check_place(self.out / side)
        log, report = import_log(self.source, logs / "all", self.mapping, self.cleaning, must_split=self.fit)
        print(report)
        if not self.fit:
            print(f"wrote {log.path}; see `recsim-hrl report {log.path}`")
            return
        Fit(log.path, self.out, split="both", halves=logs, processes=self.processes, config=self.config).run()
        if self.evaluate:
            Evaluate(str(self.out), log=logs / "test", out=self.out.with_name(f"{self.out.name}-validity")).run()
        print("the environment of your shop:")
        print(f"  {_make_line(self.out, report)}")


def _make_line(out: Path, report: ImportReport) -> str:
    """The code that makes the environment; no item is shown twice, so a small shop has shorter sessions."""
    short = f", session_length={report.kept.items}" if report.kept.items < SessionConfig.session_length else ""
    return f'gymnasium.make("RecSession-v0", simulator="{out}"{short})'
