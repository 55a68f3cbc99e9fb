"""How well a simulator knows when users leave, where the truth is known: ``python -m benchmarks.leaving HALVES``.

The leave model of one simulator is held against sessions of the half of the log that it was not fitted to, beside
simpler hazards and the best prediction that there could be. Then visits are lived to the end under the log's own
behaviour and under single tactics, in the true world and with ends drawn from the models.
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm
from tyro.conf import Positional

from benchmarks.aggregate import write_csv, write_text
from benchmarks.commands import finish
from benchmarks.leaving_world import Market, TrueHazards
from benchmarks.tables import Table, aligned, grid
from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import SPLITS
from recsim_hrl.simulator.fit import load_sequences
from recsim_hrl.simulator.leave_fit import LeaveConfig, fit_leaving
from recsim_hrl.simulator.leave_log import Moments, Player, end_losses
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator, load_simulator

Hazards = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From traces (n, W) and impressions so far (n,) to the chance of leaving (n,)."""

QUANTILES = (0.1, 0.5, 0.9, 0.99)
_SHIPPED = "as shipped"
_HIDDEN = 16
"""Hidden units of the form that is compared with logistic regression."""
_BINS = 10
_PSEUDO = 100
"""Impressions at the constant hazard that the hazard of each step is averaged with."""


@dataclass(frozen=True)
class LeavingConfig:
    """Hold a leave model against a log, in OUT/leaving.md and CSV files."""

    halves: Positional[Path] = Path("runs/default-halves")
    """Folder of the two halves of a generated log, `train` and `test`; the simulators were fitted to one each."""
    simulator: str = "default"
    """Folder of the two simulators, or the name of a pair that comes with the package."""
    split: Literal["train", "test"] = "train"
    """The simulator that is judged, on the other half."""
    out: Path = Path("runs/leaving")
    """Folder of the results."""
    generated: int = 16_000_000
    """What `recsim-hrl generate --impressions` was asked for."""
    sessions: int = 20_000
    """Sessions that predictions are judged on."""
    visits: int = 2_000
    """Visits that are lived to the end, under each behaviour."""
    draws: int = 20
    """Ends that are drawn for each of them."""
    fit: LeaveConfig = field(default_factory=LeaveConfig)
    """Of the two forms that are compared; they differ in their hidden units."""

    def __post_init__(self) -> None:
        for name in ("generated", "sessions", "visits", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"leaving {name}: got {getattr(self, name)}, allowed 1 or more")


def run(config: LeavingConfig) -> str:
    """Measure and write; returns the first table for a terminal.

    Raises:
        ValueError: The log tells of no world or is of another size, or the simulator has no leave model.
    """
    own, other = config.split, SPLITS[1 - SPLITS.index(config.split)]
    simulator, log = load_simulator(config.simulator, own), InteractionLog.open(config.halves / other)
    if simulator.leaving is None:
        raise ValueError(f"{config.simulator}: has no leave model; add one with `recsim-hrl leaving`")
    market, sequences, visits = Market.of(log, config.generated), load_sequences(log), log.load().session_ids
    models = _simple_hazards(load_sequences(InteractionLog.open(config.halves / own)), market.behaviour.max_length)
    models |= _forms(simulator, load_sequences(InteractionLog.open(config.halves / own)), config)
    drawn = np.sort(np.random.default_rng(0).permutation(len(sequences))[: config.sessions])
    player = Player(simulator.model.weights, simulator.catalogue, sequences, market.behaviour.max_length)
    moments, truth = player.play(drawn), market.hazards(sequences, drawn, visits[drawn])
    hazard = simulator.leaving.hazards(moments.whole, moments.steps)
    lived = drawn[:: max(1, len(drawn) // config.visits)][: config.visits]
    tables = {
        "Prediction": prediction(models, moments, truth),
        "Calibration": calibration(hazard, moments.ends),
        "Trust": by_trust(hazard, moments.ends, truth),
        "Lengths": _lengths(simulator, models, market, sequences, lived, visits[lived], config.draws),
    }
    for title, table in tables.items():
        write_csv(config.out / f"{title.lower()}.csv", table[0], table[1:])
    write_text(config.out / "leaving.md", _page(tables, config, len(moments.steps)))
    return aligned("Prediction", tables["Prediction"])


def _simple_hazards(sequences: Sequences, longest: int) -> dict[str, Hazards]:
    """Hazards that look at nothing or at the step, from a log that cuts sessions at ``longest``."""
    lengths, rate = sequences.lengths, np.count_nonzero(sequences.lengths < longest) / sequences.lengths.sum()
    every = np.arange(1, lengths.max() + 1)  # (T,)
    reached = len(lengths) - np.searchsorted(np.sort(lengths), every)  # (T,) sessions that came so far
    ended = np.bincount(lengths, minlength=len(every) + 1)[1:] * (every < longest)
    by_step = (ended + _PSEUDO * rate) / (reached + _PSEUDO)
    return {
        "constant": lambda _, steps: np.full(len(steps), rate),
        "by step alone": lambda _, steps: by_step[steps - 1],
    }


def _forms(simulator: Simulator, sequences: Sequences, config: LeavingConfig) -> dict[str, Hazards]:
    """The leave model of the simulator and one of the other form."""
    shipped, found = simulator.leaving.last.size, {}
    for hidden in sorted({shipped, 0, _HIDDEN}):
        leaving = simulator.leaving
        if hidden != shipped:
            fit = dataclasses.replace(config.fit, hidden=hidden)
            leaving, _ = fit_leaving(simulator.model.weights, simulator.catalogue, sequences, fit, tqdm.write)
        name = f"{hidden} hidden units" if hidden else "logistic regression"
        found[f"{name}, {_SHIPPED}" if hidden == shipped else name] = leaving.hazards
    return found


def prediction(models: dict[str, Hazards], moments: Moments, truth: TrueHazards) -> Table:
    """Log-loss of each model, and the share of the gap between the constant hazard and the best prediction."""
    chances = {name: hazards(moments.whole, moments.steps) for name, hazards in models.items()}
    chances |= {"best prediction": truth.foretold, "true hazard": truth.known}
    losses = {name: end_losses(chance, moments.ends).mean() for name, chance in chances.items()}
    worst, best = losses["constant"], losses["best prediction"]
    rows = [(name, f"{loss:.6f}", f"{(worst - loss) / (worst - best):.1%}") for name, loss in losses.items()]
    return [("hazard", "log-loss of an impression", "gap closed"), *rows]


def calibration(hazard: np.ndarray, ends: np.ndarray) -> Table:
    """Predicted and real share of impressions after which users leave, by tenths of the predicted hazard."""
    rows = []
    for number, part in enumerate(np.array_split(np.argsort(hazard, kind="stable"), _BINS), 1):
        rows.append((f"{number}", f"{len(part)}", f"{hazard[part].mean():.5f}", f"{ends[part].mean():.5f}"))
    return [("tenth", "impressions", "predicted", "left"), *rows]


def by_trust(hazard: np.ndarray, ends: np.ndarray, truth: TrueHazards) -> Table:
    """The same by tenths of how far trust has moved, beside the best prediction and the true hazard."""
    rows = []
    for part in np.array_split(np.argsort(truth.trust_shift, kind="stable"), _BINS):
        means = (values[part].mean() for values in (hazard, truth.foretold, truth.known, ends))
        rows.append((f"{truth.trust_shift[part].mean():+.3f}", *(f"{mean:.5f}" for mean in means)))
    return [("trust moved by", "predicted", "best prediction", "true hazard", "left"), *rows]


def _lengths(
    simulator: Simulator,
    models: dict[str, Hazards],
    market: Market,
    log: Sequences,
    places: np.ndarray,
    visits: np.ndarray,
    draws: int,
) -> Table:
    """Lengths of the same visits, in the true world and with ends drawn from each model, under several behaviours."""
    table: Table = [("behaviour", "ends", "mean", *(f"{share:.0%}" for share in QUANTILES))]
    for behaviour, config in _behaviours(market.behaviour).items():
        real = market.lengths(visits, config)
        table.append((behaviour, "true world", *_spread(real)))
        endless = market.endless(visits, config, log, places)
        player = Player(simulator.model.weights, simulator.catalogue, endless, None)
        moments = player.play(np.arange(len(log), len(endless)))
        for name, hazards in models.items():
            lengths = drawn_lengths(hazards(moments.whole, moments.steps), moments.ends, draws)
            table.append((behaviour, name, *_spread(lengths)))
    return table


def _behaviours(logged: BehaviourConfig) -> dict[str, BehaviourConfig]:
    """The log's own behaviour, and one tactic alone for each score of items, the sharpest."""
    found = {"as logged": logged}
    for score in ("good", "uniform", "popular"):
        sharpest = max((one for one in logged.tactics if one.score == score), key=lambda tactic: tactic.sharpness)
        found[f"{score} items only"] = dataclasses.replace(logged, tactics=(dataclasses.replace(sharpest, share=1.0),))
    return found


def drawn_lengths(hazard: np.ndarray, ends: np.ndarray, draws: int) -> np.ndarray:
    """(S draws,) how long sessions are whose users leave with ``hazard`` (n,) after each impression.

    ``ends`` (n,) marks the last impression of each session, which nobody lives beyond.
    """
    length = np.diff(np.concatenate([[-1], np.flatnonzero(ends)]))  # (S,)
    first = np.cumsum(length) - length
    found, generator = [], np.random.default_rng(0)
    for _ in range(draws):
        leaves = np.flatnonzero((generator.random(len(hazard)) < hazard) | ends)
        found.append(leaves[np.searchsorted(leaves, first)] - first + 1)
    return np.concatenate(found)


def _spread(lengths: np.ndarray) -> tuple[str, ...]:
    return (f"{lengths.mean():.1f}", *(f"{value:.0f}" for value in np.quantile(lengths, QUANTILES)))


def _page(tables: dict[str, Table], config: LeavingConfig, impressions: int) -> str:
    """The tables with what they are of, as Markdown."""
    notes = {
        "Prediction": f"Of {impressions:,} impressions of {config.sessions:,} sessions of the half that the simulator "
        f"`{config.split}` was not fitted to. The best prediction knows the world, how trust moved, and how patience "
        "is spread among those who stayed so long. The true hazard knows the patience of each visit, which no log has.",
        "Calibration": f"The same impressions, by tenths of the hazard that the model {_SHIPPED} predicts.",
        "Trust": "The same impressions, by tenths of how far the user's trust has moved in the visit.",
        "Lengths": f"{config.visits:,} of these visits, lived again under each behaviour: in the true world, and with "
        f"nobody leaving and ends drawn from each model, {config.draws} times each. More models are in `lengths.csv`.",
    }
    head, *lines = tables["Lengths"]
    kept = [line for line in lines if line[1] in ("true world", "constant") or line[1].endswith(_SHIPPED)]
    parts = [
        f"**{title}.** {notes[title]}\n\n{grid(table)}"
        for title, table in (tables | {"Lengths": [head, *kept]}).items()
    ]
    return "\n\n".join([*parts, f"Made by `{_command(config)}`."]) + "\n"


def _command(config: LeavingConfig) -> str:
    """What a reader types to make the page again; the halves may lie anywhere."""
    usual = LeavingConfig()
    names = ("split", "generated", "sessions", "visits", "draws")
    asked = [(f"--{name}", getattr(config, name)) for name in names if getattr(config, name) != getattr(usual, name)]
    changed = [(name, value) for name, value in vars(config.fit).items() if value != getattr(usual.fit, name)]
    asked += [(f"--fit.{name.replace('_', '-')}", value) for name, value in changed]
    return " ".join(["python -m benchmarks.leaving", *(f"{flag} {value}" for flag, value in asked)])


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(LeavingConfig, prog="python -m benchmarks.leaving", description=__doc__)
    return finish(lambda: f"{run(config)}\n\nWritten to {config.out}", "Nothing is")


if __name__ == "__main__":
    sys.exit(main())
