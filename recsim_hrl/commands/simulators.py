"""Commands that fit a simulator, hold it against a log and tell what it is."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tqdm import tqdm
from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.commands.about import about_simulator, lines_about
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import SPLITS, is_own_boundary, split_by_time
from recsim_hrl.simulator.fit import FitConfig, add_leaving, add_support, fit_simulator
from recsim_hrl.simulator.folder import simulator_folder
from recsim_hrl.simulator.leave_fit import LeaveConfig
from recsim_hrl.simulator.leaving import LEAVING_FILE
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.simulator.support import ENOUGH, SUPPORT_FILE
from recsim_hrl.simulator.validity.disagreement import PlayConfig
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.fidelity import FidelityConfig
from recsim_hrl.simulator.validity.report import write_validity

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Fit:
    """Fit a simulator to a log: a response model, by maximum likelihood with early stopping, then calibrated.

    A fit that was interrupted goes on when it is started again with the same arguments. With `--split both` the log
    is cut in time into two halves, and OUT/train and OUT/test become two simulators on disjoint sessions: agents
    learn on the first and are judged on the second. A log whose metadata tell a `boundary`, up to which its item
    vectors know sessions, is cut there.
    """

    log: Positional[Path]
    """The log to learn from."""
    out: Path
    """Folder of the simulator; a simulator that is there is replaced."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    split: Literal["none", "both"] = "none"
    """Fit one simulator to the whole log, or one to each half."""
    halves: Path | None = None
    """Where `--split both` puts the two halves of the log; OUT-log without."""
    name: str | None = None
    """Name of the simulator; the folder's without."""
    processes: Literal[1, 2] = 2 if (os.cpu_count() or 1) > 1 else 1
    """Processes that share the work; the simulator is the same."""
    config: OmitArgPrefixes[FitConfig] = field(default_factory=FitConfig)
    leaving: LeaveConfig = field(default_factory=LeaveConfig)

    def run(self) -> None:
        log, name = InteractionLog.open(self.log, self.items), self.name or self.out.resolve().name
        if self.split == "none":
            fit_simulator(log, self.out, self.config, name, tqdm.write, self.processes, self.leaving)
            print(f"wrote {self.out}; see `recsim-hrl inspect {self.out}`")
            return
        halves = self.halves or self.out.with_name(f"{self.out.name}-log")
        parts = split_by_time(log, halves)
        if is_own_boundary(log, parts[0]):
            print(f"cut at {log.metadata['boundary']:.0f}, the boundary of the log: item vectors know what was before")
        for side, part in zip(SPLITS, parts, strict=True):
            print(f"{side}: {part.rows:,} impressions")
            of_side = (self.config, f"{name}-{side}", tqdm.write, self.processes, self.leaving)
            fit_simulator(part, self.out / side, *of_side)
        print(f"wrote {self.out}; hold it against the other half of the log with")
        print(f"  recsim-hrl evaluate {self.out} --log {halves / 'test'} --out {self.out}-validity")


@dataclass(frozen=True)
class _OfItsLog:
    """A simulator, or two, and the log of the fit."""

    simulator: Positional[Path]
    """Folder of the simulator, or with `--split both` of the two."""
    log: Path
    """The log that it was fitted to."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    split: Literal["none", "both"] = "none"
    """Add to one simulator, or to each of two that were fitted to the halves of the log."""
    halves: Path | None = None
    """Where `--split both` puts the two halves of the log; SIMULATOR-log without."""

    def pairs(self) -> Iterator[tuple[Path, InteractionLog]]:
        """Each simulator's folder with its log."""
        log, folders = InteractionLog.open(self.log, self.items), [self.simulator]
        logs: Iterable[InteractionLog] = [log]
        if self.split == "both":
            folders = [self.simulator / side for side in SPLITS]
            logs = split_by_time(log, self.halves or self.simulator.with_name(f"{self.simulator.name}-log"))
        return zip(folders, logs, strict=True)


@dataclass(frozen=True)
class Support(_OfItsLog):
    """Add to a simulator what its log covers, so that environments can tell where they leave it.

    For simulators of a release that did not count it. The log must be the one of the fit; with `--split both` it is
    cut as `fit --split both` cut it. Nothing else of the simulator changes.
    """

    def run(self) -> None:
        for folder, part in self.pairs():
            support = add_support(folder, part).support
            covered = int(support.counts[support.counts >= ENOUGH].sum()) / int(support.counts.sum())
            print(f"wrote {folder / SUPPORT_FILE}: {covered:.2%} of the log's impressions are of sorts that it covers")


@dataclass(frozen=True)
class Leaving(_OfItsLog):
    """Add to a simulator a model of when users leave, fitted to where the sessions of its log end.

    For simulators of a release that did not fit it. The log must be the one of the fit; with `--split both` it is cut
    as `fit --split both` cut it. Nothing else of the simulator changes.
    """

    config: OmitArgPrefixes[LeaveConfig] = field(default_factory=LeaveConfig)

    def run(self) -> None:
        for folder, part in self.pairs():
            add_leaving(folder, part, self.config, tqdm.write)
            print(f"wrote {folder / LEAVING_FILE}")


@dataclass(frozen=True)
class Evaluate:
    """Hold a simulator against a log that it was not fitted to, and write OUT/validity.html, .md, .json and .png.

    The HTML file is the whole report with its figures in it: it opens offline, on a phone too. Where the log comes from
    `generate`, the true users are known: the report then also has the best possible prediction (exact Bayes) and
    compares what ten policies earn in the true world and in the simulator.
    """

    simulator: Positional[str]
    """Folder of a simulator, or the name of one that comes with the package."""
    log: Path
    """A log over the same items, usually the half that the simulator was not fitted to."""
    out: Path
    """Folder of the report."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    split: Split = "train"
    """Which simulator of a folder that holds two."""
    ensemble: tuple[Path, ...] = ()
    """Folders of simulators fitted to other sessions of the same items, to see where they disagree with this one."""
    config: OmitArgPrefixes[EvaluationConfig] = field(default_factory=EvaluationConfig)
    play: PlayConfig = field(default_factory=PlayConfig)
    policies: FidelityConfig = field(default_factory=FidelityConfig)

    def run(self) -> None:
        simulator, log = load_simulator(self.simulator, self.split), InteractionLog.open(self.log, self.items)
        others = [load_simulator(folder, self.split) for folder in self.ensemble]
        config, report = (self.config, self.policies), tqdm.write
        evaluation = evaluate_simulator(simulator, log, *config, report, others=others, play=self.play)
        write_validity(evaluation, self.out)
        for criterion in evaluation.criteria:
            print(criterion)
        print(f"wrote {self.out / 'validity.html'}")


@dataclass(frozen=True)
class Inspect:
    """Tell what a simulator is: its catalogue, its model, its users, what it was fitted to and how well."""

    simulator: Positional[str] = "default"
    """Folder of a simulator, or the name of one that comes with the package."""
    split: Split = "train"
    """Which simulator of a folder that holds two."""
    json: bool = False
    """Print a JSON object."""

    def run(self) -> None:
        simulator = load_simulator(self.simulator, self.split)
        about = about_simulator(simulator, simulator_folder(self.simulator, self.split))
        print(json.dumps(about, indent=2) if self.json else "\n".join(lines_about(about)))
