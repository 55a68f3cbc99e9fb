"""How well a simulator predicts a log that it was not fitted to, and how much of what can be predicted it predicts.

All measures are taken one step ahead: the model sees the real session so far and predicts the next response. For a
log of the synthetic world the exact Bayes predictive is computed on the same impressions; no model can do better.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from recsim_hrl import random
from recsim_hrl.data.bayes import BayesFilter
from recsim_hrl.data.world import World
from recsim_hrl.simulator.sequences import Sequences, SessionBatch
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.metrics import auc, calibration_bins, expected_calibration_error, log_loss, pr_auc
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, Visits

_SMOOTHING = 60.0  # impressions that the base rate counts for in a per-item rate
POSITION_EDGES = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400)
LAST_RESPONSES = 10  # responses looked back at in "response given the clicks among the last k"

COUNTS_SHOWN = 20  # clicks or orders per session from which on sessions are counted together


@dataclass(frozen=True)
class Predictions:
    """One-step-ahead predictions on a log, one row an impression."""

    session: np.ndarray  # (n,)
    step: np.ndarray  # (n,)
    item: np.ndarray  # (n,)
    response: np.ndarray  # (n,)
    probs: np.ndarray  # (n, R) of the simulator
    bayes: np.ndarray | None  # (n, R) of the exact Bayes predictive


@dataclass(frozen=True)
class Prediction:
    """Measures of one response (clicks include orders)."""

    rate: float
    auc: float
    pr_auc: float
    calibration_error: float
    calibration: list[list[float]]  # rows of mean prediction, frequency, weight


@dataclass(frozen=True)
class Validity:
    """What a simulator predicts of a log."""

    impressions: int
    sessions: int
    log_loss_base_rate: float
    log_loss_item_rate: float
    log_loss_simulator: float
    log_loss_bayes: float | None
    gap_closed: float | None
    click: Prediction
    order: Prediction
    session_statistics: dict

    def to_json(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.impressions:,} impressions in {self.sessions:,} sessions",
            "log-loss per impression, one step ahead (lower is better)",
            f"  base rate           {self.log_loss_base_rate:.5f}",
            f"  per-item rate       {self.log_loss_item_rate:.5f}",
            f"  simulator           {self.log_loss_simulator:.5f}",
        ]
        if self.log_loss_bayes is not None:
            lines += [
                f"  exact Bayes         {self.log_loss_bayes:.5f}   (the best possible)",
                f"  gap closed          {self.gap_closed:.1%}   (from per-item rate to exact Bayes)",
            ]
        for name, part in (("click", self.click), ("order", self.order)):
            lines.append(
                f"{name:6s} rate {part.rate:.4f}  AUC {part.auc:.3f}  PR-AUC {part.pr_auc:.4f}  "
                f"calibration error {part.calibration_error:.4f}"
            )
        real, drawn = self.session_statistics["real"], self.session_statistics["simulated"]
        for name in ("clicks", "orders"):
            lines.append(
                f"{name} per session: real {real[name]['mean']:.3f} (sd {real[name]['sd']:.3f}), "
                f"simulated {drawn[name]['mean']:.3f} (sd {drawn[name]['sd']:.3f})"
            )
        return "\n".join(lines)


@torch.no_grad()
def predict_log(
    simulator: Simulator, sequences: Sequences, world: World | None = None, sessions: np.ndarray | None = None
) -> Predictions:
    """Predict every impression from the session before it; with ``world``, also by exact Bayes.

    Args:
        simulator: Predicts.
        sequences: The log.
        world: The true market behind the log, if it is known.
        sessions: (S,) positions of the sessions to predict; None for all.
    """
    bayes = BayesFilter(world) if world else None
    columns: list[tuple[np.ndarray, ...]] = []
    chosen = np.arange(len(sequences)) if sessions is None else sessions
    rows = int(sequences.lengths[chosen].sum())
    with tqdm(total=rows, desc="predicting", unit_scale=True, disable=None, leave=False) as bar:
        for part in sequences.cuts(chosen, 60_000, None):
            batch = sequences.batch(part)
            embeddings = simulator.catalogue.embeddings[batch.items]
            logits = simulator.model.session_logits(embeddings, batch.responses, batch.present, batch.border)
            here = batch.weights > 0  # (B, T)
            session = torch.from_numpy(part).unsqueeze(1).expand_as(here)
            step = torch.arange(here.shape[1]).expand_as(here)
            found = (session, step, batch.items[:, batch.border :], batch.targets, torch.softmax(logits, -1))
            if bayes:
                found += (_bayes_probs(bayes, batch),)
            columns.append(tuple(column[here].numpy() for column in found))
            bar.update(int(here.sum()))
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    return Predictions(*joined, *([] if bayes else [None]))


def _bayes_probs(bayes: BayesFilter, batch: SessionBatch) -> torch.Tensor:
    items = torch.where(batch.present > 0, batch.items, NO_ITEM)[:, : batch.border]
    visits = Visits(torch.zeros(len(items), dtype=torch.int64), items, batch.responses[:, : batch.border])
    belief, probs = bayes.initial(visits), []
    for place in range(batch.border, batch.items.shape[1]):
        probs.append(bayes.predict(belief, batch.items[:, place]))
        belief = bayes.update(belief, batch.items[:, place], batch.responses[:, place])
    return torch.stack(probs, 1)  # (B, T, R)


def measure(predictions: Predictions, item_counts: np.ndarray, seed: int = 0) -> Validity:
    """All measures of ``predictions``.

    Args:
        predictions: One-step-ahead predictions on a log.
        item_counts: (I, R) responses to each item in the log that the simulator was fitted to, for the base rate
            and the per-item rate.
        seed: Draws the simulated responses of the session statistics.
    """
    base = item_counts.sum(0) / item_counts.sum()  # (R,)
    per_item = item_rates(item_counts) + 1e-9  # (I, R)
    response, probs = predictions.response, predictions.probs
    item_loss = log_loss(per_item[predictions.item], response)
    own_loss = log_loss(probs, response)
    bayes_loss = None if predictions.bayes is None else log_loss(predictions.bayes, response)
    return Validity(
        impressions=len(response),
        sessions=len(np.unique(predictions.session)),
        log_loss_base_rate=log_loss(np.broadcast_to(base + 1e-9, probs.shape), response),
        log_loss_item_rate=item_loss,
        log_loss_simulator=own_loss,
        log_loss_bayes=bayes_loss,
        gap_closed=None if bayes_loss is None else (item_loss - own_loss) / (item_loss - bayes_loss),
        click=_one_response(response >= CLICK, 1.0 - probs[:, 0]),
        order=_one_response(response == ORDER, probs[:, ORDER]),
        session_statistics=session_statistics(predictions, seed),
    )


def item_rates(item_counts: np.ndarray) -> np.ndarray:
    """(I, R) share of each response to each item, drawn towards that of all items; ``item_counts`` (I, R)."""
    base = item_counts.sum(0) / item_counts.sum()  # (R,)
    return (item_counts + _SMOOTHING * base) / (item_counts.sum(1, keepdims=True) + _SMOOTHING)


def _one_response(happened: np.ndarray, probability: np.ndarray) -> Prediction:
    return Prediction(
        rate=float(happened.mean()),
        auc=auc(happened, probability),
        pr_auc=pr_auc(happened, probability),
        calibration_error=expected_calibration_error(happened, probability),
        calibration=calibration_bins(happened, probability).tolist(),
    )


def session_statistics(predictions: Predictions, seed: int = 0) -> dict:
    """Statistics of the real responses, and of responses drawn from the predictions, on the same impressions.

    Drawn one step ahead of the real session, so that they are comparable whatever the behaviour policy was.
    """
    key = random.mix(random.mix(torch.tensor(seed), 31), torch.from_numpy(predictions.session.astype(np.int64)))
    draws = random.uniform(random.mix(key, torch.from_numpy(predictions.step.astype(np.int64))))
    drawn = random.sample(torch.from_numpy(predictions.probs), draws).numpy()
    order = np.lexsort((predictions.step, predictions.session))
    session, step = predictions.session[order], predictions.step[order]
    real = predictions.response[order]
    recent = _recent_clicks(session, real)
    return {
        "real": _statistics(session, step, real, recent),
        "simulated": _statistics(session, step, drawn[order], recent),
    }


def _recent_clicks(session: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(n,) real clicks among the last ten responses of the session before each impression; rows in log order."""
    running = np.concatenate([[0], np.cumsum(response >= CLICK)])
    starts = np.flatnonzero(np.diff(session, prepend=session[:1] - 1))
    start = np.repeat(starts, np.diff(np.append(starts, len(session))))
    here = np.arange(len(session))
    return running[here] - running[np.maximum(start, here - LAST_RESPONSES)]


def _statistics(session: np.ndarray, step: np.ndarray, response: np.ndarray, recent: np.ndarray) -> dict:
    _, place = np.unique(session, return_inverse=True)
    result: dict = {}
    for name, happened in (("clicks", response >= CLICK), ("orders", response == ORDER)):
        counts = np.bincount(place, weights=happened)
        quantiles = np.quantile(counts, (0.5, 0.9, 0.99)).tolist()
        capped = np.minimum(counts.astype(np.int64), COUNTS_SHOWN)
        shares = np.bincount(capped, minlength=COUNTS_SHOWN + 1) / len(counts)
        result[name] = {
            "mean": float(counts.mean()),
            "sd": float(counts.std()),
            "quantiles_50_90_99": quantiles,
            "shares": shares.tolist(),
        }
        by_position = np.digitize(step, POSITION_EDGES[1:-1])
        result[f"{name}_by_position"] = _rates(by_position, happened, len(POSITION_EDGES) - 1)
        result[f"{name}_by_recent_clicks"] = _rates(np.minimum(recent, 6), happened, 7)
    return result


def _rates(group: np.ndarray, happened: np.ndarray, groups: int) -> list[float | None]:
    totals = np.bincount(group, minlength=groups)
    hits = np.bincount(group, weights=happened, minlength=groups)
    return [float(hit / total) if total else None for hit, total in zip(hits, totals, strict=True)]
