"""Fits a response model to a log: maximum likelihood, early stopping on held-out sessions, then calibration.

A fit that is interrupted, by Ctrl-C or by a killed machine, goes on from the end of its last finished pass when it is
started again with the same arguments. The checkpoint lies beside the target and is removed at the end.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.replaced import replaced_file
from recsim_hrl.simulator.coverage import log_coverage
from recsim_hrl.simulator.early_stopping import Best, is_stale, one_cycle, split_sessions
from recsim_hrl.simulator.gradients import Gradients, session_loss
from recsim_hrl.simulator.leave_fit import LeaveConfig, fit_leaving
from recsim_hrl.simulator.leaving import LEAVING_FILE
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.sequences import VISIT_WIDTH, Sequences, item_counts
from recsim_hrl.simulator.session_model import SessionModel
from recsim_hrl.simulator.store import Simulator, check_place, load_simulator, save_annex, save_simulator
from recsim_hrl.simulator.support import SUPPORT_FILE
from recsim_hrl.simulator.weights import ResponseConfig
from recsim_hrl.types import Catalogue

STEPS = 1700
"""Steps of the optimizer that a fit has, if its settings leave that open: a model that has seen a short log four times
in large batches has not yet learned it (docs/simulator.md)."""
PASSES, BATCH = (4, 40), (1250, 5000)
"""The fewest and the most passes, and places in a batch, that are taken for that."""
KINDS = (24, 128)
"""A model with fewer kinds than a catalogue has categories begins without them, and overpays who exploits it."""


@dataclass(frozen=True)
class FitConfig:
    """How a response model is fitted."""

    passes: int | None = None
    """Passes over the training sessions at the most; without, 4, and up to 40 for logs below 400,000
    impressions."""
    patience: int | None = None
    """Passes without improvement on held-out sessions after which the fit stops; without, half of all."""
    learning_rate: float = 4e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    batch: int | None = None
    """Places in a batch: impressions of its sessions, of the ends of the visits before, and padding; without, 5000,
    and down to 1250 for logs below 1.5 million impressions."""
    held_out: float = 0.05
    """Share of sessions held out for early stopping and calibration."""
    pool: int = 4000
    """Initial users kept with the simulator."""
    kinds: int | None = None
    """Item kinds of the response model; without, one for each category of the catalogue, if there are 24 to 128 of
    them, and otherwise 24."""
    hidden: int = 64
    """Width of the response model."""
    seed: int = 0
    """Draws the initial weights, the batches and the held-out sessions."""

    def __post_init__(self) -> None:
        for name in ("passes", "patience", "batch", "pool", "kinds", "hidden"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"fit {name}: got {value}, allowed 1 or more")
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"fit held_out: got {self.held_out}, allowed between 0 and 1, both excluded")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"fit: got learning_rate={self.learning_rate}, weight_decay={self.weight_decay}, "
                "allowed a positive rate and a decay of 0 or more"
            )


def settled(config: FitConfig, sequences: Sequences, catalogue: Catalogue) -> FitConfig:
    """``config`` with numbers for what it leaves open, by the length of the log and the categories of the catalogue."""
    training, _ = split_sessions(len(sequences), config)
    places = int((sequences.lengths[training] + VISIT_WIDTH).sum())  # and some padding
    batch = config.batch or int(np.clip(places * PASSES[0] // STEPS, *BATCH))
    passes = config.passes or int(np.clip(math.ceil(STEPS * batch / places), *PASSES))
    categories = len(catalogue.categories.unique())
    kinds = config.kinds or (categories if KINDS[0] <= categories <= KINDS[1] else KINDS[0])
    patience = config.patience or max(1, passes // 2)
    return dataclasses.replace(config, passes=passes, patience=patience, batch=batch, kinds=kinds)


def load_sequences(log: InteractionLog) -> Sequences:
    """The sessions of ``log`` in memory; without timestamps, sessions count as ordered in time."""
    table = log.load()
    times = table.start_seconds if table.start_seconds is not None else np.arange(len(table))
    return Sequences.build(table.item_index, table.response, table.offsets, table.user_ids, times)


@torch.no_grad()
def log_loss(model: SessionModel, embeddings: Tensor, sequences: Sequences, sessions: np.ndarray) -> float:
    """Mean negative log-likelihood per impression of ``sessions``."""
    total = sum(float(session_loss(model, embeddings, batch)) for batch in sequences.batches(sessions, 40_000, None))
    return total / int(sequences.lengths[sessions].sum())


class _Checkpoint:
    """What a fit needs to go on; written beside and renamed, and read as tensors only."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key

    def load(self) -> dict | None:
        if self.path is None or not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, weights_only=True)
        except Exception as error:  # torch names no common base for the errors of a damaged file
            raise ValueError(f"{self.path}: damaged checkpoint; delete it to start the fit anew") from error
        return state if state.get("key") == self.key else None

    def save(self, state: dict) -> None:
        if self.path is None:
            return
        with replaced_file(self.path) as beside:
            torch.save(state | {"key": self.key}, beside)


def recurrent_model(embedding_dim: int, config: FitConfig) -> ResponseModel:
    """The default response model as it begins."""
    return ResponseModel(ResponseConfig(embedding_dim=embedding_dim, kinds=config.kinds, hidden=config.hidden))


def fit_response_model(
    sequences: Sequences,
    catalogue: Catalogue,
    config: FitConfig,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = print,
    processes: int = 1,
    make: Callable[[int, FitConfig], SessionModel] = recurrent_model,
) -> tuple[SessionModel, dict]:
    """Fit a response model; returns it in evaluation mode with the history of the fit.

    Args:
        sequences: The sessions.
        catalogue: The items that the sessions speak of.
        config: How to fit.
        checkpoint: File that the fit resumes from, and that stays until the caller removes it; None for none.
        log: Receives one line per pass.
        processes: 1 or 2 share the work; see :class:`recsim_hrl.simulator.gradients.Gradients`.
        make: Makes the model that begins, from the width of an item embedding and ``config``; one of another form than
            the default can be judged, and drives no environment.
    """
    embeddings, config = catalogue.embeddings, settled(config, sequences, catalogue)
    training, held = split_sessions(len(sequences), config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = make(embeddings.shape[1], config)
    model.begin_with_categories(embeddings, catalogue.categories)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    batches = len(sequences.cuts(training, config.batch, np.random.default_rng(config.seed)))
    schedule = one_cycle(batches * config.passes)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    store = _Checkpoint(checkpoint, fit_key(sequences, embeddings, config))
    best, history, first = Best(), [], 0
    if state := store.load():
        for name, part in parts.items():
            part.load_state_dict(state[name])
        best = Best(state["best_loss"], state["best_model"])
        history, first = state["history"], len(state["history"])
        log(f"resuming after pass {first}")
    with Gradients(model, embeddings, sequences, processes) as gradients:
        for number in range(first, config.passes):
            # Asked before a pass and not after it, so that a fit that resumes here stops like one that never paused.
            if is_stale(history, config.patience):
                break
            train_loss = _one_pass(gradients, optimizer, scheduler, training, config, number)
            held_loss = log_loss(model.eval(), embeddings, sequences, held)
            history.append({"pass": number + 1, "train_log_loss": train_loss, "held_out_log_loss": held_loss})
            log(f"pass {number + 1}/{config.passes}: log-loss {train_loss:.5f}, held out {held_loss:.5f}")
            best.offer(held_loss, model)
            found = {"best_loss": best.loss, "best_model": best.weights, "history": history}
            store.save({name: part.state_dict() for name, part in parts.items()} | found)
    model.load_state_dict(best.weights)
    model.eval().requires_grad_(False)
    calibrate(model, embeddings, sequences, held)
    return model, {"passes": history, "held_out_log_loss": log_loss(model, embeddings, sequences, held)}


def _one_pass(gradients, optimizer, scheduler, training, config, number) -> float:
    gradients.model.train()
    sequences, generator = gradients.sequences, np.random.default_rng((config.seed, number))
    total, impressions = 0.0, int(sequences.lengths[training].sum())
    with tqdm(total=impressions, desc=f"pass {number + 1}", unit_scale=True, disable=None, leave=False) as bar:
        for sessions in sequences.cuts(training, config.batch, generator):
            total += gradients.descend(sessions)
            nn.utils.clip_grad_norm_(gradients.parameters, 1.0)
            optimizer.step()
            scheduler.step()
            bar.update(int(sequences.lengths[sessions].sum()))
    return total / impressions


_ANOTHER_PROCESSOR = 1e-3
"""Share of a log's responses that may differ where it is made again on another processor; 14 of 8 million did."""
CALIBRATION_ROUNDS = 3
"""A calibration changes the surprises, and with them the logits that it was made for: so it is made again."""


def calibrate(model: SessionModel, embeddings: Tensor, sequences: Sequences, sessions: np.ndarray) -> None:
    """Set the model's scale and shift of logits to the maximum likelihood on held-out ``sessions``."""
    for _ in range(CALIBRATION_ROUNDS):
        logits, targets = [], []
        with torch.no_grad():
            for batch in sequences.batches(sessions, 40_000, None):
                here = batch.weights > 0
                out = model.session_logits(embeddings[batch.items], batch.responses, batch.present, batch.border)
                logits.append(out[here])
                targets.append(batch.targets[here])
        scale, shift = _likeliest_scale_and_shift(torch.cat(logits).double(), torch.cat(targets))
        model.logit_shift.mul_(scale).add_(shift)
        model.logit_scale.mul_(scale)


def _likeliest_scale_and_shift(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Scale (1,) and shift (R,) of ``logits`` (n, R) under which ``targets`` (n,) are likeliest."""
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, shift], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        # The small penalty keeps the shift of a response that never occurs from running away.
        loss = nn.functional.cross_entropy(logits * scale + shift, targets) + 1e-6 * shift.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return scale.detach(), shift.detach()


def fit_key(sequences: Sequences, embeddings: Tensor, config: FitConfig) -> str:
    """Names the inputs of a fit, so that a checkpoint is never taken for another one's."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    for part in (sequences.items, sequences.responses, sequences.offsets, sequences.previous, embeddings.numpy()):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def fit_simulator(
    log: InteractionLog,
    path: str | Path,
    config: FitConfig | None = None,
    name: str | None = None,
    report: Callable[[str], None] = print,
    processes: int = 1,
    leaving: LeaveConfig | None = None,
) -> Simulator:
    """Fit a simulator to ``log`` and write it to the folder ``path``; 1 or 2 processes find the same.

    With what the log covers, and a model of when users leave, unless all sessions have the same length.
    """
    path, leaving = Path(path), leaving or LeaveConfig()
    check_place(path)  # now, and not after the work
    sequences = load_sequences(log)
    catalogue = log.items
    config = settled(config or FitConfig(), sequences, catalogue)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_name(f".{path.name}.fit")
    model, history = fit_response_model(sequences, catalogue, config, checkpoint, report, processes)
    leaves, leave_history = fit_leaving(model.weights, catalogue, sequences, leaving, report)
    provenance = {
        "log": {"name": log.name, "metadata": log.metadata, "impressions": len(sequences.items)},
        "data_sha256": fit_key(sequences, catalogue.embeddings, config),
        "fit": dataclasses.asdict(config),
        "history": history,
        "leaving": {"fit": dataclasses.asdict(leaving), "history": leave_history},
    }
    simulator = simulator_of(name or path.name, model, sequences, catalogue, config, provenance)
    support = log_coverage(simulator, sequences).support
    simulator = dataclasses.replace(simulator, support=support, leaving=leaves)
    save_simulator(simulator, path)
    checkpoint.unlink(missing_ok=True)
    return simulator


def simulator_of(
    name: str,
    model: SessionModel,
    sequences: Sequences,
    catalogue: Catalogue,
    config: FitConfig,
    provenance: dict | None = None,
) -> Simulator:
    """A ``model`` that was fitted to ``sequences``, with its catalogue and users: what is saved, or judged."""
    generator = np.random.default_rng((config.seed, 1))
    pool = np.sort(generator.permutation(len(sequences))[: config.pool])
    # A generator of its own: simulators fitted with one seed on halves of a log offer the same candidates, whatever
    # the number of sessions, so that an action means the same item in `train` and in `test`.
    order = torch.from_numpy(np.random.default_rng((config.seed, 2)).permutation(len(catalogue)))
    counts = torch.from_numpy(item_counts(sequences, len(catalogue)))
    return Simulator(name, catalogue, model, sequences.visits(pool), order, counts, provenance or {})


def add_support(folder: str | Path, log: InteractionLog) -> Simulator:
    """Put what ``log`` covers beside the simulator in ``folder``, which was fitted to it; its other files stay.

    A generated log that is made again on another processor may differ in a response or two for rounding, which is let
    pass: responses to items must agree but for a few in 10,000.

    Raises:
        ValueError: if the simulator was fitted to another log.
    """
    simulator, sequences = _with_its_log(folder, log)
    simulator = dataclasses.replace(simulator, support=log_coverage(simulator, sequences).support)
    save_annex(simulator.support, SUPPORT_FILE, folder)
    return simulator


def add_leaving(
    folder: str | Path,
    log: InteractionLog,
    config: LeaveConfig | None = None,
    report: Callable[[str], None] = print,
) -> Simulator:
    """Put a leave model that is fitted to ``log`` beside the simulator in ``folder``, as :func:`add_support` does.

    Raises:
        ValueError: if the simulator was fitted to another log, or no session of it ends by itself.
    """
    simulator, sequences = _with_its_log(folder, log)
    leaving, _ = fit_leaving(simulator.model.weights, simulator.catalogue, sequences, config or LeaveConfig(), report)
    if leaving is None:
        raise ValueError(
            f"{log.path}: all sessions have the length at which the log cut them, allowed a log in which users leave; "
            "pass a longer `longest` if they did leave then"
        )
    save_annex(leaving, LEAVING_FILE, folder)
    return dataclasses.replace(simulator, leaving=leaving)


def _with_its_log(folder: str | Path, log: InteractionLog) -> tuple[Simulator, Sequences]:
    """The simulator in ``folder``, and the sessions of ``log``, which it must have been fitted to."""
    simulator, sequences = load_simulator(folder), load_sequences(log)
    ours, theirs = simulator.item_counts.numpy(), item_counts(sequences, len(log.items))
    if ours.shape != theirs.shape or abs(ours - theirs).sum() > _ANOTHER_PROCESSOR * ours.sum():
        raise ValueError(
            f"{log.path}: holds other responses than the log that the simulator {simulator.name!r} was fitted to, "
            "allowed that log; `recsim-hrl inspect` tells which one it was"
        )
    return simulator, sequences
