"""The validity report on disk: ``validity.json`` (everything), ``validity.md`` (a page to read), ``validity.png``."""

import json
import math
from pathlib import Path

from recsim_hrl.simulator.evaluate import Evaluation
from recsim_hrl.simulator.fidelity import Fidelity
from recsim_hrl.simulator.figures import draw_validity
from recsim_hrl.simulator.validity import Validity

VALIDITY_JSON = "validity.json"


def write_validity(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write the three files to ``folder``, which may hold others."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(evaluation.to_json(), indent=2, allow_nan=False) + "\n"
    (folder / VALIDITY_JSON).write_text(content, encoding="utf-8")
    (folder / "validity.md").write_text(validity_page(evaluation), encoding="utf-8")
    draw_validity(evaluation.validity, evaluation.fidelity, folder / "validity.png")
    return folder


def validity_page(evaluation: Evaluation) -> str:
    """The page in Markdown; it refers to ``validity.png`` in the same folder."""
    parts = [
        f"# Validity of the simulator `{evaluation.simulator['name']}`",
        _introduction(evaluation),
        "![validity](validity.png)",
        "## Targets",
        _targets(evaluation),
        "## Prediction, one step ahead",
        _prediction(evaluation.validity),
        "## Sessions",
        _sessions(evaluation.validity),
    ]
    if evaluation.fidelity is not None:
        parts += ["## Policy values", _fidelity(evaluation.fidelity)]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _introduction(evaluation: Evaluation) -> str:
    validity, log = evaluation.validity, evaluation.log
    text = (
        f"Measured on {validity.impressions:,} impressions in {validity.sessions:,} sessions of the log `{log['name']}`"
    )
    if log["is_fitted_to"]:
        text += ". **The simulator was fitted to this very log**, so the numbers flatter it; hold it against another"
    else:
        text += ", which the simulator was not fitted to"
    text += "."
    if log["is_confounded"]:
        text += (
            " **The policy that wrote this log followed hidden tastes of the users** (it is confounded): prediction "
            "can look perfect here while policy values are wrong."
        )
    return text


def _targets(evaluation: Evaluation) -> str:
    rows = [
        (
            target.name,
            f"{target.value:.4g}",
            f"{'≥' if target.at_least else '≤'} {target.limit:g}",
            "met" if target.is_met else "**missed**",
        )
        for target in evaluation.targets
    ]
    met = sum(target.is_met for target in evaluation.targets)
    return f"{met} of {len(rows)} targets are met.\n\n" + _table(("target", "value", "limit", "verdict"), rows)


def _prediction(validity: Validity) -> str:
    losses = [
        ("base rate", validity.log_loss_base_rate),
        ("per-item rate", validity.log_loss_item_rate),
        ("simulator", validity.log_loss_simulator),
    ]
    text = "The log-loss is the mean negative log-likelihood of an impression's response (lower is better)"
    if validity.log_loss_bayes is not None:
        losses.append(("exact Bayes of the true world", validity.log_loss_bayes))
        text += (
            ". Exact Bayes knows the true world and integrates over what is hidden of each user, given the same "
            f"past; of the gap between the per-item rate and it, the simulator closes {validity.gap_closed:.1%}"
        )
    measures = [
        (
            name,
            f"{part.rate:.4f}",
            f"{part.auc:.3f}",
            f"{part.pr_auc:.4f}",
            f"{part.calibration_error:.4f}",
        )
        for name, part in (("click (orders included)", validity.click), ("order", validity.order))
    ]
    return "\n\n".join(
        [
            text + ".",
            _table(("prediction", "log-loss"), [(name, f"{loss:.5f}") for name, loss in losses]),
            "The calibration error is the mean distance between predicted and observed frequency over 20 bins that "
            "hold equally many predictions.",
            _table(("response", "rate", "AUC", "PR-AUC", "calibration error"), measures),
        ]
    )


def _sessions(validity: Validity) -> str:
    real, drawn = validity.session_statistics["real"], validity.session_statistics["simulated"]
    rows = []
    for name in ("clicks", "orders"):
        for label, part in (("real", real[name]), ("simulated", drawn[name])):
            quantiles = " / ".join(f"{quantile:g}" for quantile in part["quantiles_50_90_99"])
            rows.append((f"{name} per session, {label}", f"{part['mean']:.3f}", f"{part['sd']:.3f}", quantiles))
    return "Simulated responses are drawn on the same impressions, each after the real session before it.\n\n" + _table(
        ("statistic", "mean", "standard deviation", "50 / 90 / 99% quantile"), rows
    )


def _fidelity(fidelity: Fidelity) -> str:
    parts = [
        "The same policies serve the same users with the same luck in the true world and in the simulator; values "
        "are rewards per session ± standard error. Policies named `simulator_...` exploit the simulator itself. "
        "Coverage is the share of a policy's impressions in the simulator that are of a sort which the log holds "
        "often (category run, recent clicks, recent item quality, position): where it is low, the simulator guesses."
    ]
    for length in sorted({value.length for value in fidelity.values}):
        rows = [
            (
                value.policy,
                f"{value.world:.2f} ± {value.world_error:.2f}",
                f"{value.simulator:.2f} ± {value.simulator_error:.2f}",
                f"{value.relative_error:+.1%}",
                f"{value.world_orders:.2f}",
                f"{value.simulator_orders:.2f}",
                "" if math.isnan(value.coverage) else f"{value.coverage:.0%}",
            )
            for value in sorted(fidelity.at(length), key=lambda value: value.world)
        ]
        parts += [
            f"### Sessions of {length} items",
            _table(("policy", "world", "simulator", "error", "orders, world", "orders, simulator", "coverage"), rows),
            f"Kendall tau {fidelity.kendall_tau(length):.3f}, mean absolute error {fidelity.mean_error(length):.1%}, "
            f"largest {fidelity.worst_error(length):.1%}.",
        ]
    return "\n\n".join(parts)
