"""From a shop's log to an interaction log: a dry run that only tells, and the run that does what it told.

``docs/own_log.md`` shows both; ``recsim-hrl import`` is the same on the command line.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsim_hrl.data import files
from recsim_hrl.data.blocks import Block
from recsim_hrl.data.checks import session_spans
from recsim_hrl.data.item_vectors import item_vectors, standardised
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.own.plan import Plan
from recsim_hrl.data.own.report import ImportReport
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.writer import LogWriter
from recsim_hrl.types import CLICK, ORDER, SKIP, Catalogue

_RATES = 2
"""Last entries of a made item vector: rates of clicks (orders included) and of orders."""
_DAMPING = 60.0
"""Impressions' worth of the base rate that an item's rates start from, as in the validity report."""


def dry_run(source: str | Path, mapping: ColumnMapping, cleaning: CleaningConfig | None = None) -> ImportReport:
    """What ``import_log`` would do; writes nothing.

    Args:
        source: The shop's log: a .parquet or .csv file, or a folder of them.
        mapping: Which column is what.
        cleaning: What is kept; the defaults without.

    Raises:
        LogError: the log cannot be read as the mapping says; the message names file, column, row and the fix.
    """
    with Plan(source, mapping, cleaning or CleaningConfig()) as plan:
        return plan.report


def import_log(
    source: str | Path,
    path: str | Path,
    mapping: ColumnMapping,
    cleaning: CleaningConfig | None = None,
    must_split: bool = False,
) -> tuple[InteractionLog, ImportReport]:
    """Write a shop's log as an interaction log and open it.

    Beside the log, ``ids/users.parquet``, ``ids/items.parquet`` and ``ids/categories.parquet`` lead from its ids back
    to the shop's names, where these were not numbers. The log's metadata hold the ``boundary`` in seconds before
    which a session is a training session; it is that of ``split_by_time(log, path)``.

    Args:
        source: The shop's log: a .parquet or .csv file, or a folder of them.
        path: The folder to write; a log that is there is replaced.
        mapping: Which column is what.
        cleaning: What is kept; the defaults without.
        must_split: Refuse a log of which one half in time would have too few sessions for a simulator.

    Raises:
        LogError: as ``dry_run``, or ``path`` is in use; nothing is left at ``path`` then.
    """
    cleaning = cleaning or CleaningConfig()
    files.check_replaceable(Path(path))  # now, and not after the work
    with Plan(source, mapping, cleaning) as plan:
        if must_split and plan.report.finding("small_halves"):
            raise LogError(
                f"the split in time has {plan.report.halves} sessions on its sides, allowed two or more on each to fit "
                "simulators; bring a longer log, or write the log alone (--no-fit)",
                source,
            )
        codes = _codes(plan)
        writer = LogWriter(path, _catalogue(plan, codes), _metadata(plan))
        with writer:
            for records in plan.parts():
                writer.append(_columns(records, plan))
            for name, names in _tables(plan):
                writer.attach(f"ids/{name}.parquet", names)
        return InteractionLog.open(path), plan.report


def _codes(plan: Plan) -> np.ndarray:
    """(I,) codes of the items of the log: all of an item table, otherwise those that are shown."""
    if plan.mapping.items is not None:
        return np.arange(len(plan.items.names))
    shown = np.zeros(len(plan.items.names), dtype=bool)
    for records in plan.parts():
        shown[records["item"]] = True
    return np.flatnonzero(shown)


def _catalogue(plan: Plan, codes: np.ndarray) -> Catalogue:
    items = plan.items
    embeddings = _made_vectors(plan, codes) if items.embeddings is None else items.embeddings[codes]
    category_ids = items.category_names.ids() if len(items.category_names) else np.zeros(1, dtype=np.int64)
    return Catalogue(
        torch.from_numpy(plan.item_ids[codes]),
        torch.from_numpy(np.ascontiguousarray(embeddings)),
        torch.from_numpy(category_ids[items.categories[codes]]),
        torch.from_numpy(items.prices[codes]),
    )


def _made_vectors(plan: Plan, codes: np.ndarray) -> np.ndarray:
    """(I, D) float32 vectors of the items ``codes``, from the impressions of training sessions."""
    place = np.zeros(len(plan.items.names), dtype=np.int64)
    place[codes] = np.arange(len(codes))

    def sessions() -> Iterator[Block]:
        for records in plan.parts():
            training = _training(records, plan.boundary)
            pairs = np.unique(training["session"] * np.int64(len(codes)) + place[training["item"]])
            yield dict(zip(("session", "item_index"), np.divmod(pairs, len(codes)), strict=True))

    shown, *hits = np.zeros((3, len(codes)), dtype=np.int64)  # impressions, clicks and orders, orders
    for records in plan.parts():
        training = _training(records, plan.boundary)
        for counts, least in zip((shown, *hits), (SKIP, CLICK, ORDER), strict=True):
            counts += np.bincount(place[training["item"][training["response"] >= least]], minlength=len(codes))
    rates = np.stack([_standardised_rate(of_kind, shown) for of_kind in hits], axis=1)  # (I, 2)
    categories, cleaning = plan.items.categories[codes], plan.cleaning
    vectors = item_vectors(sessions, categories, cleaning.width - _RATES, cleaning.vector_seed)
    return np.concatenate([vectors, rates / np.sqrt(_RATES)], axis=1).astype(np.float32)


def _training(records: np.ndarray, boundary: float) -> np.ndarray:
    """The impressions of sessions that begin before ``boundary``."""
    first, lengths = session_spans(records["session"])
    return records[["session", "item", "response"]][np.repeat(records["time"][first] < boundary, lengths)]


def _standardised_rate(hits: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(I,) damped rate of ``hits`` of each item, both (I,), with mean 0 and standard deviation 1; zeros where all are
    equal."""
    base = hits.sum() / max(shown.sum(), 1)
    return standardised((hits + _DAMPING * base) / (shown + _DAMPING))


def _columns(records: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    """The columns of the log for some whole sessions."""
    first, lengths = session_spans(records["session"])
    columns = {
        "session_id": records["session"],
        "step": np.arange(len(records)) - np.repeat(first, lengths),
        "user_id": plan.user_ids[records["user"]],
        "item_id": plan.item_ids[records["item"]],
        "response": records["response"],
        "timestamp": records["time"],
    }
    optional = {"slate": "slate_id", "position": "position", "propensity": "propensity"}
    return columns | {name: records[role] for role, name in optional.items() if role in records.dtype.names}


def _tables(plan: Plan) -> Iterator[tuple[str, Any]]:
    """The names that became other ids, by what they name."""
    for name, names in (
        ("users", plan.users),
        ("items", plan.items.names),
        ("categories", plan.items.category_names),
    ):
        if not names.are_numbers:
            yield name, names.table()


def _metadata(plan: Plan) -> dict[str, Any]:
    mapping = asdict(plan.mapping)
    mapping["items"] = Path(plan.mapping.items).name if plan.mapping.items is not None else None
    return {
        "name": Path(plan.report.source).stem,
        "source": plan.report.source,
        "mapping": {name: value for name, value in mapping.items() if value},
        "cleaning": asdict(plan.cleaning),
        "rows": plan.report.rows,
        "merged": plan.report.merged,
        "dropped": {loss.reason: loss.rows for loss in plan.report.losses},
        "boundary": plan.boundary,
        "training_sessions": plan.report.halves[0],
    }
