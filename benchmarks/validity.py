"""The validity report of a simulator, its policy values found side by side: ``python -m benchmarks.validity``.

The report is that of ``recsim-hrl evaluate``, to the digit. Its policy values are jobs, one for each policy and
session length, in processes of this machine or on Ray; those that are found stay found when the command is stopped.
"""

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm
from tyro.conf import OmitArgPrefixes, Positional

from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.records import package_versions, simulator_fingerprint
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World
from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.store import Simulator, load_simulator
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.fidelity import Fidelity, FidelityConfig, PolicyValue, comparisons, policy_value
from recsim_hrl.simulator.validity.report import write_validity


@dataclass(frozen=True)
class ValidityConfig:
    """Hold a simulator against a log that it was not fitted to, and write OUT/validity.html, .md, .json and .png."""

    simulator: Positional[str]
    """Folder of a simulator, or the name of one that comes with the package."""
    log: Path
    """A log over the same items, usually the half that the simulator was not fitted to."""
    out: Path
    """Folder of the report."""
    split: Literal["train", "test"] = "train"
    """Which simulator of a folder that holds two."""
    evaluation: OmitArgPrefixes[EvaluationConfig] = field(default_factory=EvaluationConfig)
    policies: FidelityConfig = field(default_factory=lambda: FidelityConfig(workers=os.cpu_count() or 1))
    ray: str | None = None
    """Find the policy values on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""


def compare_in_jobs(
    simulator: Simulator,
    world: World,
    config: FidelityConfig,
    log: Callable[[str], None],
    coverage: Coverage | None,
    parts: Path,
    where: Workers,
) -> Fidelity:
    """What ``compare_values`` finds, kept value by value in the folder ``parts``."""
    # The planner's search takes several times as long as all else that is done for a value.
    jobs = [
        Job(f"{policy} at {length} items", f"{policy}-{length}.json", (policy, length), _cost(policy, length))
        for policy, length in comparisons(config)
    ]
    shared = (simulator, world, config, coverage)
    keep_jobs(jobs, parts, _value, where, noun="policy values", shared=shared)
    values = tuple(PolicyValue(**json.loads((parts / job.file).read_bytes())) for job in jobs)
    for value in values:
        log(str(value))
    return Fidelity(values)


def _cost(policy: str, length: int) -> int:
    return length * (10 if policy == "simulator_planner" else 1)


def _value(
    simulator: Simulator, world: World, config: FidelityConfig, coverage: Coverage | None, policy: str, length: int
) -> bytes:
    return json.dumps(dataclasses.asdict(policy_value(simulator, world, config, coverage, policy, length))).encode()


def run(config: ValidityConfig) -> list[str]:
    """Write the report; returns a line for each target.

    Raises:
        ValueError: The log has other items than the simulator.
        RuntimeError: Policy values failed; the others are kept.
    """
    simulator, log = load_simulator(config.simulator, config.split), InteractionLog.open(config.log)
    asked = dataclasses.replace(config.policies, workers=1)  # what decides the numbers
    about = {"policies": dataclasses.asdict(asked), "log": [log.name, log.metadata], "versions": package_versions()}
    key = job_key(about | {"simulator": simulator.provenance, "tensors": simulator_fingerprint(config.simulator)})
    with parts_folder(config.out, key) as parts:
        compare = functools.partial(compare_in_jobs, parts=parts, where=Workers(config.policies.workers, config.ray))
        evaluation = evaluate_simulator(simulator, log, config.evaluation, config.policies, tqdm.write, compare)
        write_validity(evaluation, config.out)
    return [str(target) for target in evaluation.targets]


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(ValidityConfig, prog="python -m benchmarks.validity", description=__doc__)
    return finish(lambda: "\n".join([*run(config), f"wrote {config.out / 'validity.md'}"]), "Policy values found are")


if __name__ == "__main__":
    sys.exit(main())
