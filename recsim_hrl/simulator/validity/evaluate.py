"""The validity of a simulator: predictions against a log, policy values against the true world, coverage, targets.

The true world is known where the log's metadata tell its configuration; a log of real users has none.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.simulator.coverage import log_coverage
from recsim_hrl.simulator.fit import FitConfig, fit_key, load_sequences
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.criteria import Criterion, criteria_of
from recsim_hrl.simulator.validity.disagreement import PlayConfig
from recsim_hrl.simulator.validity.evidence import Evidence, gather
from recsim_hrl.simulator.validity.fidelity import Fidelity, FidelityConfig, compare_values
from recsim_hrl.simulator.validity.log_sample import sample_of
from recsim_hrl.simulator.validity.measures import Validity, measure, predict_log
from recsim_hrl.types import Catalogue

_TOLERANCE = 1e-3  # embeddings made again on another machine differ by rounding
_MEANINGS = {
    "gap": ("prediction", "The simulator has learned most of what can be known of the next response."),
    "calibration": ("prediction", "Where it says 10%, it happens in about 10% of the cases."),
    "tau": ("policy-values", "A better policy in the simulator is a better policy in the true world."),
    "mean value": ("policy-values", "What policies earn in the simulator is about what they earn in the true world."),
    "largest value": ("policy-values", "No policy, not even one that exploits the simulator, is far overpaid."),
    "policy values": ("policy-values", "Whole sessions of policies are worth the same in the simulator and in truth."),
}
"""Section of the report and meaning of each target, by a part of its name."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What a validity report covers."""

    sessions: int = 20_000
    """Sessions of the log to predict at the most; a random choice of them, the same each time."""
    fidelity: bool = True
    """Compare policy values with the true world, where the log tells of one."""
    details: bool = True
    """Look at segments, trajectories, a classifier, off-policy values and where the simulator does not know."""
    seed: int = 0
    """Draws the sessions and the simulated responses of the session statistics."""

    def __post_init__(self) -> None:
        if self.sessions < 1:
            raise ValueError(f"evaluate sessions: got {self.sessions}, allowed 1 or more")


@dataclass(frozen=True)
class Target:
    """One named target of the report."""

    name: str
    value: float
    limit: float
    at_least: bool
    """Whether the limit is a floor and not a ceiling."""

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign, verdict = ">=" if self.at_least else "<=", "met" if self.is_met else "MISSED"
        return f"{verdict:6s}  {self.name}: {self.value:.4g} ({sign} {self.limit:g})"

    def to_json(self) -> dict[str, Any]:
        """The fields and the verdict."""
        return dataclasses.asdict(self) | {"is_met": self.is_met}

    def criterion(self, reason: str = "") -> Criterion:
        """The target as a row of the verdict; ``reason`` says why it cannot be judged."""
        section, meaning = next(about for name, about in _MEANINGS.items() if name in self.name)
        is_share = not any(word in self.name for word in ("tau", "calibration"))
        return Criterion(self.name, section, self.value, self.limit, self.at_least, meaning, reason, is_share)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Target":
        """The target that ``to_json`` gave, where a value that is not a finite number has become null."""
        value = math.nan if content["value"] is None else content["value"]
        return cls(content["name"], value, content["limit"], content["at_least"])


@dataclass(frozen=True)
class Evaluation:
    """Everything that the report says."""

    simulator: dict[str, Any]
    """Name of the simulator and the hash of what it was fitted to."""
    log: dict[str, Any]
    """Name of the log, and whether the simulator was fitted to it, and whether its logger is confounded."""
    validity: Validity
    fidelity: Fidelity | None
    evidence: Evidence | None = None
    """The sections that need no true world; None where they were left out."""

    @property
    def criteria(self) -> list[Criterion]:
        """The verdict: the targets, what of them cannot be judged, and the criteria of the other sections."""
        found = [target.criterion() for target in self.targets]
        if self.validity.gap_closed is None:
            reason = "the true world behind the log is not known"
            found.append(Target("share of the gap to exact Bayes closed", math.nan, 0.85, True).criterion(reason))
        if self.fidelity is None:
            reason = "the true world behind the log is not known, or the comparison was left out"
            found.append(Target("policy values in the true world", math.nan, 0.1, False).criterion(reason))
        return found + (criteria_of(self.evidence) if self.evidence else [])

    @property
    def targets(self) -> list[Target]:
        """The targets that can be checked; those on the world are missing where there is none."""
        validity = self.validity
        targets = [
            Target("click calibration error", validity.click.calibration_error, 0.01, at_least=False),
            Target("order calibration error", validity.order.calibration_error, 0.01, at_least=False),
        ]
        if validity.gap_closed is not None:
            targets.insert(
                0, Target("share of the gap to exact Bayes closed", validity.gap_closed, 0.85, at_least=True)
            )
        if self.fidelity is None:
            return targets
        for length in sorted({value.length for value in self.fidelity.values}):
            mean_limit = 0.05 if length <= 50 else 0.10
            targets += [
                Target(f"Kendall tau of policy values, {length} items", self.fidelity.kendall_tau(length), 0.9, True),
                Target(f"mean value error, {length} items", self.fidelity.mean_error(length), mean_limit, False),
                Target(f"largest value error, {length} items", self.fidelity.worst_error(length), 0.25, False),
            ]
        return targets

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; what is not a finite number becomes null."""
        content = {
            "simulator": self.simulator,
            "log": self.log,
            "targets": [target.to_json() for target in self.targets],
            "validity": self.validity.to_json(),
            "fidelity": self.fidelity.to_json() if self.fidelity else None,
            "criteria": [criterion.to_json() for criterion in self.criteria],
        }
        if self.evidence:
            content |= self.evidence.to_json()
        return _finite(content)


def world_of(metadata: dict[str, Any], items: Catalogue, owner: str) -> World | None:
    """The true world behind a log, made again from the log's ``metadata``; None for a log of real users.

    Args:
        metadata: Of the log, or of the log that a simulator was fitted to.
        items: What the world must sell.
        owner: Whose items they are, for the error.
    """
    about = metadata.get("world")
    if about is None:
        return None
    try:
        config = WorldConfig(**about)
    except TypeError as error:
        raise ValueError(
            f"{owner}: the world in its metadata is not one of this release ({error}); generate the log again"
        ) from error
    world = World(config)
    _check_same_items(world.catalogue, items, f"{owner}: the world in its metadata", "generate the log again")
    return world


def evaluate_simulator(
    simulator: Simulator,
    log: InteractionLog,
    config: EvaluationConfig | None = None,
    fidelity: FidelityConfig | None = None,
    report: Callable[[str], None] = print,
    compare: Callable[..., Fidelity] = compare_values,
    others: Sequence[Simulator] = (),
    play: PlayConfig | None = None,
) -> Evaluation:
    """Hold ``simulator`` against ``log`` and, where the log tells of it, against the true world.

    Args:
        simulator: The simulator.
        log: A log over the same items; one that the simulator was not fitted to.
        config: What the report covers.
        fidelity: Size of the comparison of policy values.
        report: Receives lines of progress.
        compare: Finds the policy values, given the arguments of :func:`compare_values`: where one has more machines.
        others: Simulators of the same catalogue that were fitted to other sessions, to see where they disagree.
        play: How policies play in the simulator where that is looked at.

    Raises:
        ValueError: the log has other items than a simulator, or metadata of a world that cannot be made again.
    """
    config = config or EvaluationConfig()
    for one in (simulator, *others):
        _check_same_items(one.catalogue, log.items, f"the simulator {one.name!r}", "evaluate it on its own log")
    world = world_of(log.metadata, log.items, str(log.path))
    compares = config.fidelity and world is not None
    if compares:
        fidelity = fidelity or FidelityConfig()
        fidelity.check(len(simulator.catalogue))  # before the work and not after it
    sequences = load_sequences(log)
    everyone = np.random.default_rng(config.seed).permutation(len(sequences))
    predictions = predict_log(simulator, sequences, world, np.sort(everyone[: config.sessions]))
    validity = measure(predictions, simulator.item_counts.numpy(), config.seed)
    report(str(validity))
    compared = evidence = None
    coverage = log_coverage(simulator, sequences) if compares or config.details else None
    if compares:
        compared = compare(simulator, world, fidelity, report, coverage)
    if config.details:
        sample = sample_of(predictions, sequences, log)
        evidence = gather(simulator, sample, coverage, others, play, config.seed, report)
    return Evaluation(
        {"name": simulator.name, "data_sha256": simulator.provenance.get("data_sha256")},
        {
            "name": log.name,
            "is_fitted_to": _is_fitted_to(simulator, sequences),
            "is_confounded": bool(log.metadata.get("behaviour", {}).get("confounded", False)),
        },
        validity,
        compared,
        evidence,
    )


def _is_fitted_to(simulator: Simulator, sequences: Sequences) -> bool:
    fit, key = simulator.provenance.get("fit"), simulator.provenance.get("data_sha256")
    try:
        config = FitConfig(**fit)
    except TypeError:  # fitted by another release, or not at all
        return False
    return fit_key(sequences, simulator.catalogue.embeddings, config) == key


def _check_same_items(ours: Catalogue, logged: Catalogue, owner: str, fix: str) -> None:
    if not torch.equal(ours.item_ids, logged.item_ids):
        raise ValueError(
            f"{owner} has {len(ours)} items that are not the {len(logged)} of the log, allowed the same; {fix}"
        )
    if ours.embeddings.shape != logged.embeddings.shape or not torch.allclose(
        ours.embeddings, logged.embeddings, atol=_TOLERANCE
    ):
        raise ValueError(f"{owner} has other item embeddings than the log, allowed the same; {fix}")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
