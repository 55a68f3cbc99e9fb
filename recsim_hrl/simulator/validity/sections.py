"""The sections of a report on prediction, sessions, and policy values in the true world; and its beginning."""

import math
from collections.abc import Iterator

from recsim_hrl.simulator.validity import figures
from recsim_hrl.simulator.validity.criteria import MET, MISSED, UNKNOWN, Criterion
from recsim_hrl.simulator.validity.evaluate import Evaluation
from recsim_hrl.simulator.validity.evidence_sections import evidence_sections
from recsim_hrl.simulator.validity.fidelity import Fidelity
from recsim_hrl.simulator.validity.measures import Validity
from recsim_hrl.simulator.validity.report_content import Block, Chart, Section, Table, Warned


def introduction(evaluation: Evaluation) -> list[Block]:
    """What was measured on what, and what makes the numbers flatter than they are."""
    validity, log = evaluation.validity, evaluation.log
    blocks: list[Block] = [
        f"Measured on {validity.impressions:,} impressions in {validity.sessions:,} sessions of the log "
        f"“{log['name']}”{'' if log['is_fitted_to'] else ', which the simulator was not fitted to'}."
    ]
    if log["is_fitted_to"]:
        blocks.append(
            Warned(
                "The simulator was fitted to this very log, so the numbers flatter it; hold it against another log of "
                "the same items."
            )
        )
    if log["is_confounded"]:
        blocks.append(
            Warned(
                "The policy that wrote this log followed hidden tastes of the users (it is confounded): prediction can "
                "look perfect here while policy values are wrong."
            )
        )
    return blocks


def sections_of(evaluation: Evaluation) -> Iterator[Section]:
    """All sections, in order."""
    yield _verdict(evaluation.criteria)
    yield _prediction(evaluation.validity)
    yield _sessions(evaluation.validity)
    if evaluation.evidence is not None:
        yield from evidence_sections(evaluation.evidence)
    if evaluation.fidelity is not None:
        yield _fidelity(evaluation.fidelity)


def _verdict(criteria: list[Criterion]) -> Section:
    counts = {verdict: sum(one.verdict == verdict for one in criteria) for verdict in (MET, MISSED, UNKNOWN)}
    rows = []
    for one in criteria:
        says = {MET: one.meaning, MISSED: f"This does not hold: {one.meaning}", UNKNOWN: f"Not known: {one.reason}."}
        rows.append((one.verdict, one.name, "" if one.reason else one.told(one.value), one.bound, says[one.verdict]))
    return Section(
        "verdict",
        "Verdict",
        (
            f"Of {len(criteria)} criteria, met: {counts[MET]}, not met: {counts[MISSED]}, cannot be judged on this "
            f"log: {counts[UNKNOWN]}. They do not add up to a grade: read those that matter for what you train. A "
            "criterion that is not met says where not to trust an agent's reward.",
            "“Error shown” is the part of a difference that is beyond chance: how far the 95% interval stays away from "
            "no difference. If the log is too small to show an error of about the limit, the criterion cannot be "
            "judged.",
            Table(
                "Criteria",
                ("verdict", "criterion", "value", "limit", "what it says"),
                rows,
                texts=(1, 4),
                is_verdict=True,
            ),
        ),
    )


def _prediction(validity: Validity) -> Section:
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
    parts = {"click (orders included)": validity.click, "order": validity.order}
    measures = [
        (name, f"{part.rate:.4f}", f"{part.auc:.3f}", f"{part.pr_auc:.4f}", f"{part.calibration_error:.4f}")
        for name, part in parts.items()
    ]
    charts = [
        Chart(
            f"calibration-{name.split()[0]}",
            f"Predicted and observed frequency of {name.split()[0]}s. On the line is perfect.",
            f"Calibration of {name.split()[0]}s: points of predicted against observed frequency; the mean distance is "
            f"{part.calibration_error:.4f}.",
            lambda axes, part=part, name=name: figures.calibration(axes, part, f"Calibration of {name.split()[0]}s"),
        )
        for name, part in parts.items()
    ]
    return Section(
        "prediction",
        "Prediction, one step ahead",
        (
            "The simulator sees the real session so far and predicts the next response.",
            text + ".",
            Chart(
                "log-losses",
                "Log-loss of the simulator between simpler predictions and, where it is known, the best possible.",
                "Log-loss per impression: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses) + ".",
                lambda axes: figures.log_losses(axes, validity),
                height=2.4,
            ),
            Table("Log-loss", ("prediction", "log-loss"), [(name, f"{loss:.5f}") for name, loss in losses]),
            "The calibration error is the mean distance between predicted and observed frequency over 20 bins that "
            "hold equally many predictions.",
            *charts,
            Table("Measures", ("response", "rate", "AUC", "PR-AUC", "calibration error"), measures),
        ),
    )


def _sessions(validity: Validity) -> Section:
    real, drawn = validity.session_statistics["real"], validity.session_statistics["simulated"]
    rows = []
    for name in ("clicks", "orders"):
        for label, part in (("real", real[name]), ("simulated", drawn[name])):
            quantiles = " / ".join(f"{quantile:g}" for quantile in part["quantiles_50_90_99"])
            rows.append((f"{name} per session, {label}", f"{part['mean']:.3f}", f"{part['sd']:.3f}", quantiles))
    charts = [
        Chart(name, caption, f"{caption} Real and simulated lines for clicks and for orders.", draw)
        for name, caption, draw in (
            (
                "by-recent-clicks",
                "Share of impressions that are clicked or ordered, by how lively the user has been.",
                lambda axes: figures.by_recent_clicks(axes, validity),
            ),
            (
                "per-session",
                "How many sessions have n or more clicks or orders.",
                lambda axes: figures.per_session(axes, validity),
            ),
        )
    ]
    return Section(
        "sessions",
        "Sessions",
        (
            "Simulated responses are drawn on the same impressions, each after the real session before it.",
            Table("Per session", ("statistic", "mean", "standard deviation", "50 / 90 / 99% quantile"), rows),
            *charts,
        ),
    )


def _fidelity(fidelity: Fidelity) -> Section:
    blocks: list[Block] = [
        "The same policies serve the same users with the same luck in the true world and in the simulator; values "
        "are rewards per session ± standard error. Policies named simulator_... exploit the simulator itself. "
        "Coverage is the share of a policy's impressions in the simulator that are of a sort which the log holds "
        "often (category run, recent clicks, recent item quality, position): where it is low, the simulator guesses."
    ]
    for length in sorted({value.length for value in fidelity.values}):
        values = sorted(fidelity.at(length), key=lambda value: value.world)
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
            for value in values
        ]
        summary = (
            f"Kendall tau {fidelity.kendall_tau(length):.3f}, mean absolute error {fidelity.mean_error(length):.1%}, "
            f"largest {fidelity.worst_error(length):.1%}."
        )
        blocks += [
            Chart(
                f"policy-values-{length}",
                f"Reward per session of {length} items in the true world and in the simulator.",
                f"Values of ten policies in sessions of {length} items: {summary}",
                lambda axes, length=length: figures.policy_values(axes, fidelity, length),
                height=4.2,
            ),
            Table(
                f"Sessions of {length} items",
                ("policy", "world", "simulator", "error", "orders, world", "orders, simulator", "coverage"),
                rows,
            ),
            summary,
        ]
    return Section("policy-values", "Policy values", tuple(blocks))
