"""The commands of ``recsim-hrl``; the flags of each are the fields of its dataclass and of the configs in it."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from threadpoolctl import threadpool_limits
from tqdm import tqdm
from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.event_log import reading_report
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.movielens import MovielensConfig, read_movielens
from recsim_hrl.data.own.importer import dry_run, import_log
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.own.report import ImportReport
from recsim_hrl.data.retailrocket import RetailrocketConfig, read_retailrocket
from recsim_hrl.data.splits import SPLITS, split_by_session, split_by_time
from recsim_hrl.data.taobao import TaobaoConfig, read_taobao
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.data.yoochoose import YoochooseConfig, read_yoochoose
from recsim_hrl.simulator.core import SessionConfig
from recsim_hrl.simulator.evaluate import EvaluationConfig, Target, evaluate_simulator
from recsim_hrl.simulator.fidelity import FidelityConfig
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.folder import simulator_folder
from recsim_hrl.simulator.store import Simulator, check_place, load_simulator
from recsim_hrl.simulator.validity_report import VALIDITY_JSON, write_validity

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Generate:
    """Write a log of the synthetic market: users with taste, interest, intent and trust, whose truth is known.

    The log is a folder of Parquet files; it also tells which world it comes from, so that `evaluate` can hold a
    simulator against the true users.
    """

    out: Path
    """Folder of the log; a log that is there is replaced."""
    impressions: int = 4_000_000
    """Impressions, rounded up to whole sessions; 8_600_000 is the size of the paper's log."""
    items: int = WorldConfig.items
    """Items of the catalogue; the paper's has 553_156."""
    world_seed: int = WorldConfig.seed
    """Draws the items and the users."""
    seed: int = 0
    """Draws the visits: who comes, what is shown, how they respond."""
    confounded: bool = False
    """Let the logging policy follow the users' hidden taste: what is then learned from the log is wrong (see
    docs/simulator.md)."""

    def run(self) -> None:
        _at_least("impressions", self.impressions, 1)
        world = World(WorldConfig(items=self.items, seed=self.world_seed))
        write_log(world, self.out, self.impressions, self.seed, BehaviourConfig(confounded=self.confounded))
        print(InteractionLog.open(self.out).report())


@dataclass(frozen=True)
class Movielens:
    """Turn MovieLens-100k into a log: ratings in time order; 1 to 3 stars are a skip, 4 a click, 5 an order."""

    source: Positional[Path]
    """The publisher's ml-100k.zip or its folder, a folder with RecBole's atomic files, or RecBole's wheel."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[MovielensConfig] = field(default_factory=MovielensConfig)

    def run(self) -> None:
        print(read_movielens(self.source, self.out, self.config).report())


@dataclass(frozen=True)
class Retailrocket:
    """Turn RetailRocket into a log: a view is a skip, an item put into the cart a click, an order an order."""

    source: Positional[Path]
    """The publisher's archive, the folder with its four files, or events.csv with the others beside it."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[RetailrocketConfig] = field(default_factory=RetailrocketConfig)

    def run(self) -> None:
        _tell(read_retailrocket(self.source, self.out, self.config))


@dataclass(frozen=True)
class Taobao:
    """Turn Taobao UserBehavior into a log: a view is a skip, cart and favourites a click, a purchase an order."""

    source: Positional[Path]
    """The publisher's UserBehavior.csv.zip, UserBehavior.csv, or its folder."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[TaobaoConfig] = field(default_factory=TaobaoConfig)

    def run(self) -> None:
        _tell(read_taobao(self.source, self.out, self.config))


@dataclass(frozen=True)
class Yoochoose:
    """Turn YooChoose (RecSys Challenge 2015) into a log: opened is a skip, come back to a click, bought an order."""

    source: Positional[Path]
    """The folder with yoochoose-clicks.dat and yoochoose-buys.dat, a zip archive of them, or one of the two."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[YoochooseConfig] = field(default_factory=YoochooseConfig)

    def run(self) -> None:
        _tell(read_yoochoose(self.source, self.out, self.config))


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


@dataclass(frozen=True)
class Report:
    """Check every row of a log and count what it holds: impressions, click rate, orders, sessions, users, items."""

    log: Positional[Path]
    """The log: a folder, or one interactions file (.parquet, .csv)."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    json: bool = False
    """Print a JSON object."""

    def run(self) -> None:
        log = InteractionLog.open(self.log, self.items)
        log.validate()
        found = log.report()
        print(found.to_json() if self.json else found)


@dataclass(frozen=True)
class SplitLog:
    """Split a log into two, OUT/train and OUT/test, never inside a session."""

    log: Positional[Path]
    """The log to split; it stays as it is."""
    out: Path
    """Folder for the two logs."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    by: Literal["time", "session"] = "time"
    """Cut at a moment, so that train lies before test, or assign sessions at random."""
    fraction: float = 0.5
    """Share of the sessions that goes to train."""
    seed: int = 0
    """Draws the sessions of a split by session."""

    def run(self) -> None:
        log = InteractionLog.open(self.log, self.items)
        if self.by == "time":
            parts = split_by_time(log, self.out, self.fraction)
        else:
            parts = split_by_session(log, self.out, self.fraction, self.seed)
        for part in parts:
            print(part.report())


@dataclass(frozen=True)
class Fit:
    """Fit a simulator to a log: a response model, by maximum likelihood with early stopping, then calibrated.

    A fit that was interrupted goes on when it is started again with the same arguments. With `--split both` the log
    is cut in time into two halves, and OUT/train and OUT/test become two simulators on disjoint sessions: agents
    learn on the first and are judged on the second.
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

    def run(self) -> None:
        log, name = InteractionLog.open(self.log, self.items), self.name or self.out.resolve().name
        if self.split == "none":
            fit_simulator(log, self.out, self.config, name, tqdm.write, self.processes)
            print(f"wrote {self.out}; see `recsim-hrl inspect {self.out}`")
            return
        halves = self.halves or self.out.with_name(f"{self.out.name}-log")
        for side, part in zip(SPLITS, split_by_time(log, halves), strict=True):
            print(f"{side}: {part.rows:,} impressions")
            fit_simulator(part, self.out / side, self.config, f"{name}-{side}", tqdm.write, self.processes)
        print(f"wrote {self.out}; hold it against the other half of the log with")
        print(f"  recsim-hrl evaluate {self.out} --log {halves / 'test'} --out {self.out}-validity")


@dataclass(frozen=True)
class Evaluate:
    """Hold a simulator against a log that it was not fitted to, and write OUT/validity.md, .json and .png.

    Where the log comes from `generate`, the true users are known: the report then also has the best possible
    prediction (exact Bayes) and compares what ten policies earn in the true world and in the simulator.
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
    config: OmitArgPrefixes[EvaluationConfig] = field(default_factory=EvaluationConfig)
    policies: FidelityConfig = field(default_factory=FidelityConfig)

    def run(self) -> None:
        simulator, log = load_simulator(self.simulator, self.split), InteractionLog.open(self.log, self.items)
        evaluation = evaluate_simulator(simulator, log, self.config, self.policies, tqdm.write)
        write_validity(evaluation, self.out)
        for target in evaluation.targets:
            print(target)
        print(f"wrote {self.out / 'validity.md'}")


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
        about = _about(simulator, simulator_folder(self.simulator, self.split))
        print(json.dumps(about, indent=2) if self.json else "\n".join(_lines(about)))


_CLASSES = {
    "generate": Generate,
    "movielens": Movielens,
    "retailrocket": Retailrocket,
    "taobao": Taobao,
    "yoochoose": Yoochoose,
    "import": ImportLog,
    "report": Report,
    "split": SplitLog,
    "fit": Fit,
    "evaluate": Evaluate,
    "inspect": Inspect,
}


def run(command: str, arguments: Sequence[str]) -> None:
    """Run ``command`` with its ``arguments``; exits with status 2 where they cannot be understood."""
    chosen = tyro.cli(_CLASSES[command], prog=f"recsim-hrl {command}", args=list(arguments))
    # Small tensors: a second thread only waits, for minutes where another program holds the other core.
    with threadpool_limits(1):
        chosen.run()


def _tell(log: InteractionLog) -> None:
    """Print what a reader of events dropped, and what the log holds."""
    print(reading_report(log))
    print(log.report())


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name}: got {value}, allowed {low} or more")


def _about(simulator: Simulator, folder: Path) -> dict[str, Any]:
    catalogue, config, provenance = simulator.catalogue, simulator.model.config, simulator.provenance
    about: dict[str, Any] = {
        "name": simulator.name,
        "folder": str(folder),
        "items": len(catalogue),
        "embedding_dim": catalogue.embeddings.shape[1],
        "categories": len(catalogue.categories.unique()),
        "users": len(simulator.visits),
        "impressions_before_a_session": simulator.visits.items.shape[1],
        "parameters": sum(weights.numel() for weights in simulator.model.parameters()),
        "kinds": config.kinds,
        "hidden": config.hidden,
        "half_lives": [round(math.log(0.5) / math.log(decay), 2) for decay in simulator.model.decays.tolist()],
        "provenance": provenance,
    }
    path = folder / VALIDITY_JSON
    if path.is_file():
        try:
            validity = json.loads(path.read_text(encoding="utf-8"))
            if validity["simulator"]["data_sha256"] == provenance.get("data_sha256"):
                about["targets"] = [str(Target.from_json(target)) for target in validity["targets"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: damaged report; evaluate the simulator again") from error
    return about


def _lines(about: dict[str, Any]) -> list[str]:
    provenance = about["provenance"]
    lives = ", ".join(f"{life:g}" for life in about["half_lives"])
    lines = [
        f"{about['name']}  ({about['folder']})",
        f"  catalogue   {about['items']:,} items, {about['categories']} categories, embedding {about['embedding_dim']}",
        f"  users       {about['users']:,}, each known by up to {about['impressions_before_a_session']} impressions",
        f"  model       {about['parameters']:,} parameters, {about['kinds']} kinds, width {about['hidden']}",
        f"  memory      half-lives of {lives} impressions",
    ]
    if "history" not in provenance:
        return [*lines, f"  source      {provenance.get('source', 'unknown')}"]
    log, history = provenance["log"], provenance["history"]
    lines += [
        f"  fitted to   {log['name']}, {log['impressions']:,} impressions",
        f"  fit         {', '.join(f'{name} {value}' for name, value in provenance['fit'].items())}",
    ]
    for entry in history["passes"]:
        losses = f"log-loss {entry['train_log_loss']:.5f}, held out {entry['held_out_log_loss']:.5f}"
        lines.append(f"    pass {entry['pass']}: {losses}")
    lines.append(f"    calibrated: held out {history['held_out_log_loss']:.5f}")
    if "targets" not in about:
        return [*lines, f"  validity    no {VALIDITY_JSON} of it in its folder; see recsim-hrl evaluate --help"]
    return [*lines, "  validity", *(f"    {target}" for target in about["targets"])]
