"""Splits of a log into ``train`` and ``test``, written as two logs; a session is never cut."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsim_hrl.data.checks import session_spans
from recsim_hrl.data.log import Batch, InteractionLog, without_index
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.writer import LogWriter
from recsim_hrl.random import mix, uniform

SPLITS = ("train", "test")


def split_by_time(
    log: InteractionLog, path: str | Path, fraction: float | None = None, boundary: float | None = None
) -> tuple[InteractionLog, InteractionLog]:
    """Write the sessions that start before a moment to ``path/train`` and the others to ``path/test``.

    A session belongs where its first impression does. Keeps 8 bytes per session where the moment has to be found.

    Args:
        log: A log with the column ``timestamp``.
        path: The folder that holds both logs.
        fraction: Share of the sessions that goes to train, as near as sessions that start together allow.
        boundary: The moment in seconds since 1970, in place of ``fraction``. Without both it is the ``boundary`` in the
            metadata of the log, up to which its item vectors know sessions, if there are sessions on both sides of it;
            otherwise half of the sessions go to train.

    Raises:
        LogError: the log has no timestamps, or one side would be empty.
    """
    if "timestamp" not in log.columns:
        raise LogError("the column is missing, a split by time needs it; split by session", log.path, "timestamp")
    if boundary is None:
        share = 0.5 if fraction is None else fraction
        _check_fraction(share)
        batches = log.session_batches(optional=("timestamp",))
        starts = np.concatenate([_start_seconds(batch) for batch in batches])  # (S,)
        boundary = _known_until(log, starts) if fraction is None else None
        boundary = boundary_of(starts, share) if boundary is None else boundary

    def in_train(batch: Batch) -> np.ndarray:
        _, lengths = session_spans(batch["session_id"])
        return np.repeat(_start_seconds(batch) < boundary, lengths)

    return _write(log, Path(path), in_train, {"by": "time", "boundary": boundary})


def is_own_boundary(log: InteractionLog, half: InteractionLog) -> bool:
    """Whether ``half``, of a split by time of ``log``, was cut at the ``boundary`` in the metadata of ``log``."""
    return half.metadata["split"]["boundary"] == log.metadata.get("boundary")


def _known_until(log: InteractionLog, starts: np.ndarray) -> float | None:
    """The ``boundary`` in the metadata, where sessions with these ``starts`` (S,) lie on both sides of it."""
    boundary = log.metadata.get("boundary")
    if not isinstance(boundary, int | float) or not starts.min() < boundary <= starts.max():
        return None
    return float(boundary)


def boundary_of(start_seconds: np.ndarray, fraction: float = 0.5) -> float:
    """The moment that ``split_by_time`` finds for sessions with these starts (S,), one or more, in any order."""
    starts = np.sort(start_seconds)
    # The next larger start where sessions tie at the first one, so that train is not left empty.
    later = starts[min(max(1, round(fraction * len(starts))), len(starts) - 1) :]
    return float(next((start for start in later if start > starts[0]), starts[0]))


def split_by_session(
    log: InteractionLog, path: str | Path, fraction: float = 0.5, seed: int = 0
) -> tuple[InteractionLog, InteractionLog]:
    """Write about ``fraction`` of the sessions to ``path/train`` and the others to ``path/test``.

    The side of a session depends on its id and ``seed`` alone, so that it stays when the log grows.

    Args:
        log: The log.
        path: The folder that holds both logs.
        fraction: Share of the sessions that goes to train, above 0 and below 1.
        seed: Another seed gives another split.

    Raises:
        LogError: one side would be empty.
    """
    _check_fraction(fraction)

    def in_train(batch: Batch) -> np.ndarray:
        draws = uniform(mix(torch.tensor(seed), torch.from_numpy(batch["session_id"])))  # (rows,)
        return draws.numpy() < fraction

    return _write(log, Path(path), in_train, {"by": "session", "fraction": fraction, "seed": seed})


def _check_fraction(fraction: float) -> None:
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction of sessions in train: got {fraction}, allowed above 0 and below 1; change it")


def _start_seconds(batch: Batch) -> np.ndarray:
    first, _ = session_spans(batch["session_id"])
    return batch["timestamp"][first]


def _write(
    log: InteractionLog, path: Path, in_train: Callable[[Batch], np.ndarray], split: Mapping[str, Any]
) -> tuple[InteractionLog, InteractionLog]:
    """Write both sides in one pass; an error on the way leaves neither."""
    inherited = log.own_metadata()
    metadata = [
        inherited | {"name": f"{log.name}-{side}", "split": {**split, "side": side, "of": log.name}} for side in SPLITS
    ]
    counts = [0, 0]
    with (
        LogWriter(path / "train", log.item_table, metadata[0]) as train,
        LogWriter(path / "test", log.item_table, metadata[1]) as test,
    ):
        for batch in log.session_batches():
            chosen = in_train(batch)
            for side, (writer, mask) in enumerate(((train, chosen), (test, ~chosen))):
                writer.append({name: values[mask] for name, values in without_index(batch).items()})
                counts[side] += int(mask.sum())
        if 0 in counts:
            raise LogError(
                f"the split {dict(split)} leaves {SPLITS[counts.index(0)]} without sessions, allowed one or more on "
                "each side; change the boundary, fraction or seed",
                log.path,
            )
    return InteractionLog.open(path / "train"), InteractionLog.open(path / "test")
