"""From impressions, visit after visit, to logs: rare items go, visits become sessions, items get vectors.

What the steps are, and why, is in ``docs/datasets/events.md``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsim_hrl.data.blocks import Block, run_starts, whole_runs
from recsim_hrl.data.item_vectors import item_vectors
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_store import EventStore, StoreConfig
from recsim_hrl.data.sources.log_rows import LogForm, fill_sessions, write_logs
from recsim_hrl.data.sources.sessions import cut_into_sessions
from recsim_hrl.types import Catalogue

NO_LABEL = -1
"""The label of an event that tells no category of its item."""

_LOWEST = {
    "session_length": 1,
    "min_item_impressions": 1,
    "max_items": 1,
    "embedding_dim": 2,
    "gap_seconds": 0,
}


@dataclass(frozen=True)
class VisitConfig(StoreConfig):
    """How visits become sessions and embeddings."""

    session_length: int = 50
    """A visit of L items becomes round(L / session_length) sessions of equal length, at least one."""
    min_item_impressions: int = 5
    """Items with fewer impressions are dropped, with their impressions."""
    max_items: int = 100_000
    """Items at most; those with the most impressions stay."""
    embedding_dim: int = 50
    """Width of the item embedding: factors of who was seen with whom, and how often the item was seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in asdict(self).items():
            if name in _LOWEST and value < _LOWEST[name]:
                raise ValueError(f"reader {name}: got {value}, allowed {_LOWEST[name]} or more; raise it")


@dataclass(frozen=True)
class VisitData:
    """What becomes of the impressions of one data set."""

    name: str
    source: str
    """The data set and the file that it was read from, for the metadata."""
    labels: Callable[[np.ndarray], np.ndarray]
    """(n,) ascending item ids to (n,) category labels, NO_LABEL for none."""
    boundary: Callable[[np.ndarray], int] | None
    """(S,) ascending starts of sessions to the first moment at which no session is a training session any more; None
    where all sessions of the first part are."""
    form: LogForm
    always_kept: str = "false"
    """Condition (SQL) on impressions whose items are never dropped."""
    warnings: tuple[str, ...] = ()
    """What a user of the log has to know before anything else, in sentences."""


def fill_impressions(store: EventStore, form: LogForm, visits: Iterable[Block]) -> dict[str, int]:
    """Fill the table ``impressions``, visit after visit.

    Args:
        store: Where the table is made.
        form: Of the logs.
        visits: Blocks of whole visits: ``visit``, from 0 in each block; ``part``, the place of the log among the
            form's; ``user``; ``item``; ``moment``; ``response``; and the extras.

    Returns:
        How many ``visits`` there are, and impressions in the ``longest_visit``.
    """
    count = longest = 0
    numbers = [f"{name} BIGINT" for name in ("visit", "user", "item", "moment")]
    with store.filled("impressions", form.columns(*numbers, "part TINYINT", "response TINYINT")) as add:
        for block in visits:
            longest = max(longest, int(np.bincount(block["visit"]).max()))
            add(block | {"visit": block["visit"] + count})
            count += int(block["visit"][-1]) + 1
    return {"visits": count, "longest_visit": longest}


def write_visits(
    store: EventStore, data: VisitData, path: Path, config: VisitConfig, reading: dict[str, int]
) -> list[InteractionLog]:
    """Write the table ``impressions`` as logs and open them.

    The metadata of each tells ``reading`` with what was dropped, the categories' labels, and the ``boundary`` in
    seconds before which a session is a training session.

    Args:
        store: The store with the table.
        data: What becomes of it.
        path: The folder of the log, or of the folders of the logs; a log that is there is replaced.
        config: How visits become sessions and embeddings.
        reading: What was read and dropped on the way to the table.

    Raises:
        LogError: nothing is left of the impressions, or ``path`` is in use.
    """
    kept, dropped = _kept_items(store, data.always_kept, config, path)
    starts = _cut(store, data.form, kept, config)
    ordered = np.sort(starts)
    boundary = data.boundary and int(data.boundary(ordered))
    labels = data.labels(kept)
    found = np.unique(labels)
    categories = np.searchsorted(found, labels)  # (I,)
    training = "part = 0 AND once" + ("" if boundary is None else f" AND start < {boundary}")

    def training_sessions() -> Iterator[Block]:
        yield from whole_runs(store.blocks(f"SELECT session, item_index FROM log_rows WHERE {training}"), "session")

    vectors = item_vectors(training_sessions, categories, config.embedding_dim)
    catalogue = Catalogue(*map(torch.from_numpy, (kept, vectors, categories)), torch.zeros(len(kept)))
    metadata: dict[str, Any] = {
        "name": data.name,
        "source": data.source,
        "reader": asdict(config),
        "reading": reading | dropped,
        "categories": ["unknown" if label == NO_LABEL else str(label) for label in found],
    }
    if data.warnings:
        metadata["warnings"] = list(data.warnings)
    if boundary is not None:
        metadata["boundary"] = boundary / 1000
        metadata["training_sessions"] = int(np.searchsorted(ordered, boundary))
    return write_logs(store, data.form, starts, catalogue, path, metadata)


def most_told(store: EventStore, table: str, kept: np.ndarray) -> np.ndarray:
    """(I,) the label that most rows of a table tell of each of the ``kept`` items (I,), the smallest of equals."""
    with store.filled("kept", "item BIGINT, item_index BIGINT") as add:
        add({"item": kept, "item_index": np.arange(len(kept))})
    told = store.blocks(
        f"SELECT item_index, label, count(*) AS n FROM {table} JOIN kept USING (item) "
        f"WHERE label <> {NO_LABEL} GROUP BY item_index, label ORDER BY n, label DESC"
    )
    labels = np.full(len(kept), NO_LABEL, dtype=np.int64)
    for block in told:  # the last label of an item is the one that stays
        labels[block["item_index"]] = block["label"]
    return labels


def kept_report(reading: dict[str, int]) -> list[str]:
    """What ``write_visits`` dropped, in lines."""
    return [
        f"  rare items        {reading['items_dropped']:,} of {reading['items']:,} items dropped, with "
        f"{reading['impressions_dropped']:,} impressions",
        f"  longest visit     {reading['longest_visit']:,} items",
    ]


def _kept_items(
    store: EventStore, always_kept: str, config: VisitConfig, path: Path
) -> tuple[np.ndarray, dict[str, int]]:
    """(I,) ascending ids of the items that are frequent enough, and what goes with the others."""
    # In SQL, since a data set may have more items than memory holds.
    counted = f"SELECT item, count(*) AS n, bool_or({always_kept}) AS always FROM impressions GROUP BY item"
    kept = store.whole(f"SELECT item, n FROM ({counted}) ORDER BY always DESC, n DESC, item LIMIT {config.max_items}")
    sums = "count(*) AS items, sum(n)::BIGINT AS impressions, max(n) AS most, count(*) FILTER (always) AS always"
    total = {name: int(value[0]) for name, value in store.whole(f"SELECT {sums} FROM ({counted})").items()}
    always = total["always"]
    frequent = (kept["n"] >= config.min_item_impressions) | (np.arange(len(kept["n"])) < always)
    if not frequent.any():
        raise LogError(
            f"no item has min_item_impressions={config.min_item_impressions} impressions, the most frequent one has "
            f"{total['most']}; lower it, or check that the files are whole",
            path,
        )
    if always > config.max_items:
        raise LogError(
            f"max_items={config.max_items} is less than the {always} items that have to stay; raise it", path
        )
    dropped = {
        "items": total["items"],
        "items_dropped": total["items"] - int(frequent.sum()),
        "impressions_dropped": total["impressions"] - int(kept["n"][frequent].sum()),
    }
    return np.sort(kept["item"][frequent]), dropped


def _cut(store: EventStore, form: LogForm, kept: np.ndarray, config: VisitConfig) -> np.ndarray:
    """Fill the table ``log_rows`` with the impressions of the log, session after session; (S,) their starts."""
    sessions = cut_into_sessions(_kept_visits(store, kept), config.session_length)
    told = (block | {"once": _first_times(block["session"], block["item_index"])} for block in sessions)
    return fill_sessions(store, form, told, "once BOOLEAN")


def _kept_visits(store: EventStore, kept: np.ndarray) -> Iterator[Block]:
    """The impressions of the ``kept`` items (I,), in blocks of whole visits."""
    for block in whole_runs(store.blocks("SELECT * FROM impressions"), "visit"):
        place = np.searchsorted(kept, block["item"]).clip(max=len(kept) - 1)
        stays = kept[place] == block["item"]
        if stays.any():
            yield {name: values[stays] for name, values in (block | {"item_index": place}).items() if name != "item"}


def _first_times(session: np.ndarray, item_index: np.ndarray) -> np.ndarray:
    """(n,) bool: the first time that a session shows an item."""
    order = np.lexsort((item_index, session))  # which keeps the order in time of equals
    once = np.empty(len(order), dtype=bool)
    once[order] = run_starts(session[order], item_index[order])
    return once
