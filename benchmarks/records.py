"""Finished runs on disk: one JSON file each, complete or absent, named by what was run.

The key of a run is a hash of what decides its outcome: the task, the entry, the seed, all settings of the agent, the
versions of the two packages and the tensors of both simulators. Change one of them and the run is done again; change
nothing and it is found.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jobs import job_key, keep_file
from benchmarks.tasks import Run

PACKAGES = ("recsim-hrl", "recsim-hrl-agents", "gymnasium", "stable-baselines3", "torch", "numpy")
_KEYED = ("recsim-hrl", "recsim-hrl-agents")
"""Packages whose version changes what a run means; the others are recorded, and do not invalidate a sweep."""


@dataclass(frozen=True)
class RunRecord:
    """What one run left: its rewards by evaluation session, and how it came about."""

    key: str
    """Hash of the run, see :func:`run_key`."""
    task: str
    agent: str
    seed: int
    steps: int
    """Environment steps of training."""
    train_seconds: float
    evaluate_seconds: float
    click_rewards: tuple[float, ...]
    """(U,) click reward of each evaluation session."""
    order_rewards: tuple[float, ...]
    """(U,) order reward of each evaluation session, in the same order."""
    curve: tuple[tuple[int, float], ...] = ()
    """(environment step, mean session reward of the checkpoint) pairs."""
    versions: tuple[tuple[str, str], ...] = ()
    """(package, version) pairs that the run was made with."""
    sessions: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """(measure, (U,) value of each evaluation session) pairs, of tasks whose sessions tell more than two rewards."""
    measures: tuple[tuple[str, float], ...] = ()
    """(measure, value) pairs of all evaluation sessions together, of such tasks."""
    depth_curve: tuple[tuple[int, float], ...] = ()
    """(environment step, mean requests of a session of the checkpoint) pairs, of such tasks."""

    def __post_init__(self) -> None:
        if len(self.click_rewards) != len(self.order_rewards) or not self.click_rewards:
            raise ValueError(
                f"record {self.task}/{self.agent}/{self.seed}: got {len(self.click_rewards)} click rewards and "
                f"{len(self.order_rewards)} order rewards, allowed one of each for every session"
            )

    @property
    def total_rewards(self) -> np.ndarray:
        """(U,) total reward of each evaluation session: its clicks' and orders', where nothing else is told."""
        told = dict(self.sessions).get("total_reward")
        return np.add(self.click_rewards, self.order_rewards) if told is None else np.array(told)

    @property
    def file_name(self) -> str:
        return record_name(self.task, self.agent, self.seed, self.key)


def package_versions() -> tuple[tuple[str, str], ...]:
    """(package, version) of everything that shapes a result; "absent" where a package is not installed."""

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "absent"

    return tuple((package, installed(package)) for package in PACKAGES)


def run_key(run: Run, fingerprint: str, config: dict[str, Any]) -> str:
    """What a run is filed under.

    Args:
        run: Task, agent and seed.
        fingerprint: Of its simulators, see :func:`simulator_fingerprint`.
        config: All settings of the agent, defaults included.

    Returns:
        16 hexadecimal digits: a hash of the arguments and of our packages' versions.
    """
    about = {
        "run": dataclasses.asdict(run),
        "versions": [pair for pair in package_versions() if pair[0] in _KEYED],
        "simulators": fingerprint,
        "config": config,
    }
    return job_key(about)


def simulator_fingerprint(simulator: str, with_leaving: bool = False) -> str:
    """Hash of all tensors of the ``train`` and ``test`` simulators of a market; of their leave models too, if asked."""
    from recsim_hrl.simulator.store import load_simulator

    digest = hashlib.sha256()
    for split in ("train", "test"):
        market = load_simulator(simulator, split)
        tensors = [*market.model.state_dict().values(), market.recall_order]
        tensors += [getattr(market.catalogue, field.name) for field in dataclasses.fields(market.catalogue)]
        tensors += [getattr(market.visits, field.name) for field in dataclasses.fields(market.visits)]
        for tensor in tensors:
            digest.update(tensor.contiguous().numpy().tobytes())
        if with_leaving and market.leaving is not None:
            for weights in vars(market.leaving).values():
                digest.update(weights.tobytes())
    return digest.hexdigest()[:16]


def record_name(task: str, agent: str, seed: int, key: str) -> str:
    """File name of a finished run."""
    return f"{task}-{agent}-{seed}-{key}.json"


def run_file(run: Run, key: str) -> str:
    """File name of what a run left, under a key of it."""
    return record_name(run.task.name, run.entry.agent, run.seed, key)


def agent_path(run: Run, key: str, agents: Path) -> Path:
    """Where in the folder ``agents`` the agent that a run trained is saved."""
    return agents / Path(run_file(run, key)).stem


def record_bytes(record: RunRecord) -> bytes:
    """The file of a finished run."""
    return json.dumps(dataclasses.asdict(record)).encode()


def save_record(record: RunRecord, folder: Path) -> Path:
    """Keep a finished run, whole or not at all."""
    return keep_file(folder / record.file_name, record_bytes(record))


def read_record(content: bytes) -> RunRecord:
    """The record that :func:`record_bytes` wrote."""
    about = json.loads(content)
    for name in ("click_rewards", "order_rewards"):
        about[name] = tuple(float(value) for value in about[name])
    for name in ("curve", "versions", "measures", "depth_curve"):
        about[name] = tuple((first, second) for first, second in about.get(name, ()))
    about["sessions"] = tuple((name, tuple(map(float, values))) for name, values in about.get("sessions", ()))
    return RunRecord(**about)


def load_record(path: Path) -> RunRecord:
    """Read one finished run.

    Raises:
        ValueError: If the file is not a run record.
    """
    try:
        return read_record(path.read_bytes())
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: is not a record of a run ({error}); delete it, and the run is done again") from error


def finished_records(keys: Iterable[tuple[Run, str]], folder: Path) -> list[RunRecord]:
    """Records of those of the (run, key) pairs that are finished, in the given order."""
    paths = [folder / run_file(run, key) for run, key in keys]
    return [load_record(path) for path in paths if path.exists()]
