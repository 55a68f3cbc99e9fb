"""Which response model to simulate with: three forms, fitted and judged alike: ``benchmarks.response_models``.

Each form has the same tuning, the same passes over the same log of the synthetic world, and is judged on a log of other
visits: how well it foretells the next response, and whether policies earn in it what they earn from the true users.
Everything that takes long is a job whose result is kept: stop it whenever you like, the same command goes on.
"""

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from benchmarks.aggregate import write_csv, write_text
from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.pools import check_workers
from benchmarks.tables import Table, aligned, grid
from benchmarks.tasks import default_log
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.alternatives.attention import AttentionModel
from recsim_hrl.simulator.alternatives.factorisation import FactorisationMachine
from recsim_hrl.simulator.alternatives.window import WindowMarket
from recsim_hrl.simulator.fit import (
    FitConfig,
    fit_response_model,
    load_sequences,
    recurrent_model,
    simulator_of,
)
from recsim_hrl.simulator.market import Market, SimulatorMarket
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.session_model import SessionModel
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.evaluate import world_of
from recsim_hrl.simulator.validity.fidelity import POLICIES, Fidelity, FidelityConfig, PolicyValue, policy_value
from recsim_hrl.simulator.validity.measures import measure, predict_log
from recsim_hrl.simulator.validity.metrics import log_loss

FORMS: dict[str, Callable[[int, FitConfig], SessionModel]] = {
    "recurrent": recurrent_model,
    "attention": lambda width, config: AttentionModel(width, config.hidden),
    "factorisation": lambda width, config: FactorisationMachine(width, config.kinds, config.hidden // 4),
}
"""By name: how each begins."""
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)
"""Learning rates that are tried with each form."""
LOG_SEED, HELD_OUT_SEED = 31, 32
"""Of the visits in the two logs."""
FIDELITY = FidelityConfig(lengths=(50,), impressions=20_000, candidates=400, workers=1)
"""Size of the comparison of policy values."""
HEADER = (
    "model",
    "parameters",
    "seconds of fit",
    "log-loss",
    "gap closed",
    "calibration error, click",
    "calibration error, order",
    "mean value error",
    "largest value error",
    "Kendall tau",
)


@dataclass(frozen=True)
class ResponseModelsConfig:
    """Compare response models: log-loss, calibration and policy-value fidelity, in OUT/response_models.csv and .md."""

    out: Path = Path("runs/response_models")
    """Folder of the results; the two logs go beside it, into the folder `logs`."""
    impressions: int = 1_000_000
    """Size of the log that the models are fitted to."""
    held_out: int = 100_000
    """Size of the log that they are judged on."""
    tuning: int = 100_000
    """Impressions, of the first, that learning rates are tried on."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(passes=4, patience=2, batch=5000, kinds=24))
    """Of all models, for the short log of the trials too; the learning rate is the one that each did best with."""
    policies: FidelityConfig = FIDELITY
    """Size of the comparison of policy values."""
    workers: int = os.cpu_count() or 1
    """Jobs at a time."""

    def __post_init__(self) -> None:
        check_workers(self.workers)
        if not 0 < self.tuning <= self.impressions or self.held_out < 1:
            raise ValueError(
                f"response models: got impressions={self.impressions}, held_out={self.held_out}, tuning={self.tuning}, "
                "allowed 1 or more, and no more for tuning than there are"
            )


@dataclass(frozen=True)
class Judged:
    """What a fitted model, or the bound, makes of the held-out log."""

    log_loss: float
    item_log_loss: float
    """Of a rate per item, from the log of the fit."""
    click_calibration: float = math.nan
    order_calibration: float = math.nan


def compare(config: ResponseModelsConfig) -> str:
    """Do what is missing and write the table; returns it for a terminal.

    Raises:
        RuntimeError: If jobs failed; the others are kept.
    """
    logs = config.out.with_name("logs")
    log = default_log(logs / f"default-fit-{config.impressions}", config.impressions, LOG_SEED)
    held_out = default_log(logs / f"default-judge-{config.held_out}", config.held_out, HELD_OUT_SEED)
    about = dataclasses.asdict(config) | {"out": "", "workers": 1, "rates": RATES, "logs": (LOG_SEED, HELD_OUT_SEED)}
    with parts_folder(config.out, job_key(about)) as parts:

        def done(jobs: list[Job], work: Callable[..., bytes], noun: str) -> list[bytes]:
            keep_jobs(jobs, parts, work, Workers(config.workers), noun=noun, shared=(config, log, held_out))
            return [(parts / job.file).read_bytes() for job in jobs]

        trials = [(form, rate) for form in FORMS for rate in RATES]
        losses = done([Job(f"{a} at {b}", f"tune-{a}-{b}.json", (a, b)) for a, b in trials], _tune, "trials")
        tried = dict(zip(trials, (json.loads(loss) for loss in losses), strict=True))
        rates = {form: min(RATES, key=lambda rate: tried[form, rate]) for form in FORMS}
        fits = [Job(form, f"fit-{form}-{rate}.safetensors", (form, rate)) for form, rate in rates.items()]
        fitted = dict(zip(rates, done(fits, _fit, "fits"), strict=True))
        made = {form: (parts / job.file).resolve() for form, job in zip(rates, fits, strict=True)}
        judges = [Job(form, f"judge-{form}.json", (form, made[form])) for form in FORMS]
        judges.append(Job("exact Bayes", "judge-bayes.json", (None, None), 2))
        judged = [Judged(**json.loads(content)) for content in done(judges, _judge, "judgements")]
        pairs = [(form, policy) for form in FORMS for policy in reversed(POLICIES)]
        values = done([Job(f"{a}, {b}", f"value-{a}-{b}.json", (a, made[a], b)) for a, b in pairs], _value, "values")
        found = [(form, PolicyValue(**json.loads(value))) for (form, _), value in zip(pairs, values, strict=True)]
        of_form = {form: Fidelity(tuple(value for name, value in found if name == form)) for form in FORMS}
        rows = [
            (form, *_about(fitted[form]), rates[form], mine, of_form[form])
            for form, mine in zip(FORMS, judged, strict=False)
        ]
        return write_comparison(rows, judged[-1], config)


def _sequences(log: Path, impressions: int | None = None) -> tuple[InteractionLog, Sequences]:
    """A log, and its sessions: the first with so many ``impressions``, or all."""
    opened = InteractionLog.open(log)
    table = load_sequences(opened)
    size = len(table) if impressions is None else int(np.searchsorted(table.offsets, impressions))
    # Sessions come in order of time, so the visit before a session is among those before it.
    ends = table.offsets[: size + 1]
    parts = (table.items[: ends[-1]], table.responses[: ends[-1]], ends, table.user_ids[:size])
    return opened, Sequences.build(*parts, np.arange(size)) if size < len(table) else table


def _tune(config: ResponseModelsConfig, log: Path, _: Path, form: str, rate: float) -> bytes:
    """A job: the held-out log-loss of a short fit."""
    torch.set_num_threads(1)
    opened, sequences = _sequences(log, config.tuning)
    fit = dataclasses.replace(config.fit, learning_rate=rate)
    _, history = fit_response_model(sequences, opened.items, fit, log=_silent, make=FORMS[form])
    return json.dumps(history["held_out_log_loss"]).encode()


def _fit(config: ResponseModelsConfig, log: Path, _: Path, form: str, rate: float) -> bytes:
    """A job: a fitted model, with the seconds of this process that it took."""
    torch.set_num_threads(1)
    opened, sequences = _sequences(log)
    started = time.process_time()
    fit = dataclasses.replace(config.fit, learning_rate=rate)
    model, _ = fit_response_model(sequences, opened.items, fit, log=_silent, make=FORMS[form])
    seconds, size = time.process_time() - started, sum(parameter.numel() for parameter in model.parameters())
    return dump_tensors(model.state_dict() | {_ABOUT: torch.tensor([size, seconds], dtype=torch.float64)})


_ABOUT = "about"


def _about(content: bytes) -> tuple[int, float]:
    """Parameters and seconds of a fit."""
    size, seconds = load_tensors(content)[_ABOUT].tolist()
    return int(size), seconds


def _simulator(config: ResponseModelsConfig, log: Path, form: str, file: Path) -> Simulator:
    """The fitted model in ``file`` with its users."""
    opened, sequences = _sequences(log)
    model = FORMS[form](opened.items.embeddings.shape[1], config.fit)
    state = load_tensors(file.read_bytes())
    model.load_state_dict({name: value for name, value in state.items() if name != _ABOUT})
    model.eval().requires_grad_(False)
    return simulator_of(form, model, sequences, opened.items, config.fit)


def _judge(config: ResponseModelsConfig, log: Path, held_out: Path, form: str | None, file: Path | None) -> bytes:
    """A job: what a model foretells of the held-out log; without a ``form``, what exact Bayes does."""
    torch.set_num_threads(1)
    opened, sequences = _sequences(held_out)
    if form is None:
        fitted_to = _sequences(log)[1]
        untrained = recurrent_model(opened.items.embeddings.shape[1], config.fit).eval()
        simulator = simulator_of("untrained", untrained, fitted_to, opened.items, config.fit)
        world = world_of(opened.metadata, opened.items, str(held_out))
        predictions = predict_log(simulator, sequences, world)
        found = measure(predictions, simulator.item_counts.numpy())
        judged = Judged(log_loss(predictions.bayes, predictions.response), found.log_loss_item_rate)
    else:
        simulator = _simulator(config, log, form, file)
        found = measure(predict_log(simulator, sequences), simulator.item_counts.numpy())
        errors = (found.click.calibration_error, found.order.calibration_error)
        judged = Judged(found.log_loss_simulator, found.log_loss_item_rate, *errors)
    return json.dumps(dataclasses.asdict(judged)).encode()


def _value(config: ResponseModelsConfig, log: Path, _: Path, form: str, file: Path, policy: str) -> bytes:
    """A job: what a policy earns in the true world and in a model."""
    simulator = _simulator(config, log, form, file)
    opened = InteractionLog.open(log)
    world, length = world_of(opened.metadata, opened.items, str(log)), config.policies.lengths[0]
    value = policy_value(simulator, world, config.policies, None, policy, length, _market)
    return json.dumps(dataclasses.asdict(value)).encode()


def _market(simulator: Simulator, steps: int) -> Market:
    if simulator.name == "recurrent":
        return SimulatorMarket(simulator, steps)
    return WindowMarket(simulator.model, simulator.catalogue, simulator.visits)


def _silent(_: str) -> None:
    """Takes the lines of a fit."""


Row = tuple[str, int, float, float, Judged, Fidelity]
"""Form, parameters, seconds of fit, learning rate, and what was found."""


def write_comparison(rows: list[Row], bayes: Judged, config: ResponseModelsConfig) -> str:
    """Write response_models.csv, values.csv and response_models.md; returns the table for a terminal."""
    length, floor = config.policies.lengths[0], bayes.item_log_loss - bayes.log_loss
    lines, table, values = [], [HEADER], []
    for form, size, seconds, rate, judged, fidelity in rows:
        numbers = (
            judged.log_loss,
            (judged.item_log_loss - judged.log_loss) / floor,
            judged.click_calibration,
            judged.order_calibration,
            fidelity.mean_error(length),
            fidelity.worst_error(length),
            fidelity.kendall_tau(length),
        )
        lines.append((form, size, f"{seconds:.0f}", f"{rate:g}", *(f"{number:.6f}" for number in numbers)))
        shapes = ("{:.5f}", "{:.1%}", "{:.4f}", "{:.4f}", "{:.1%}", "{:.1%}", "{:.2f}")
        cells = (shape.format(number) for shape, number in zip(shapes, numbers, strict=True))
        table.append((form, f"{size:,}", f"{seconds:.0f}", *cells))
        values += [(form, *_cells(value)) for value in fidelity.values[::-1]]
    empty = ("",) * (len(HEADER) - 5)
    table.append(("per-item rate", "", "", f"{bayes.item_log_loss:.5f}", "0.0%", *empty))
    table.append(("exact Bayes", "", "", f"{bayes.log_loss:.5f}", "100.0%", *empty))
    bounds = (("per-item rate", bayes.item_log_loss, 0.0), ("exact Bayes", bayes.log_loss, 1.0))
    lines += [(name, "", "", "", f"{loss:.6f}", f"{share:.6f}", *empty) for name, loss, share in bounds]
    names = ("model", "parameters", "fit_seconds", "learning_rate", "log_loss", "gap_closed", "click_calibration")
    names += ("order_calibration", "mean_value_error", "largest_value_error", "kendall_tau")
    write_csv(config.out / "response_models.csv", names, lines)
    of_values = ("model", "policy", "world", "world_error", "simulator", "simulator_error", "relative_error")
    write_csv(config.out / "values.csv", of_values, values)
    text = _page(table, config)
    write_text(config.out / "response_models.md", text)
    return aligned("Response models", table)


def _cells(value: PolicyValue) -> tuple[str, ...]:
    numbers = (value.world, value.world_error, value.simulator, value.simulator_error, value.relative_error)
    return (value.policy, *(f"{number:.6g}" for number in numbers))


def _page(table: Table, config: ResponseModelsConfig) -> str:
    """The table with what it is of, as Markdown."""
    policies, length = config.policies, config.policies.lengths[0]
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    note = (
        f"Fitted to {config.impressions:,} impressions with at most {config.fit.passes} passes, judged on "
        f"{config.held_out:,} of other visits. Each form tried the learning rates {rates} "
        f"on {config.tuning:,} impressions. Seconds are of one core. Gap closed is from the per-item rate to exact "
        f"Bayes. Value errors are of {len(POLICIES)} policies in sessions of {length} items, "
        f"{policies.impressions // length} users each, {policies.candidates} candidates, against the true world."
    )
    given, usual = (_flags(one) for one in (config, ResponseModelsConfig()))
    asked = [f"{flag} {value}" for flag, value in given.items() if value != usual[flag]]
    command = " ".join(["python -m benchmarks.response_models", *asked])
    return f"{grid(table)}\n\n{note}\n\nMade by `{command}`.\n"


def _flags(config: ResponseModelsConfig) -> dict[str, str]:
    """What a reader types to say all that decides the numbers."""
    flags = {f"--{name.replace('_', '-')}": getattr(config, name) for name in ("impressions", "held_out", "tuning")}
    for name in ("fit", "policies"):
        about = dataclasses.asdict(getattr(config, name)) | {"workers": 1}
        flags |= {f"--{name}.{part.replace('_', '-')}": value for part, value in about.items()}
    return {
        flag: " ".join(map(str, value)) if isinstance(value, tuple) else str(value) for flag, value in flags.items()
    }


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(ResponseModelsConfig, prog="python -m benchmarks.response_models", description=__doc__)
    return finish(lambda: f"{compare(config)}\n\nWritten to {config.out}", "Finished jobs are")


if __name__ == "__main__":
    sys.exit(main())
