"""From the events of a shop (views, carts, orders) to an interaction log, in bounded memory; the way of all readers.

What the steps are, and why, is in ``docs/datasets/events.md``.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsim_hrl.data import files
from recsim_hrl.data.blocks import Block, whole_runs
from recsim_hrl.data.item_vectors import item_vectors
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_store import EventStore, event_store
from recsim_hrl.data.sources.log_rows import cut_into_sessions, write_sessions
from recsim_hrl.data.sources.sessions import collapse
from recsim_hrl.data.splits import boundary_of
from recsim_hrl.types import Catalogue

NO_LABEL = -1
"""The label of an event that tells no category of its item."""

_MOST_OUTSIDE = 0.01
"""Share of events outside the data set's days above which the file must be another one."""


@dataclass(frozen=True)
class EventConfig:
    """How events become sessions, impressions and embeddings."""

    gap_seconds: int = 1800
    """A user who does nothing for longer than this has left: the next event begins a new visit."""
    session_length: int = 50
    """A visit of L items becomes round(L / session_length) sessions of equal length, at least one."""
    return_is_click: bool = False
    """Whether an item that the user comes back to in the same visit, after another item, counts as clicked."""
    min_item_impressions: int = 5
    """Items with fewer impressions are dropped, with their impressions."""
    max_items: int = 100_000
    """Items at most; those with the most impressions stay."""
    training_fraction: float = 0.5
    """Share of the sessions, earliest first, that the embeddings may use."""
    embedding_dim: int = 50
    """Width of the item embedding: factors of who was seen with whom, and how often the item was seen."""
    memory_mb: int = 512
    """MiB that sorting may take; what does not fit waits on disk, beside the log."""

    def __post_init__(self) -> None:
        lowest = {"gap_seconds": 0, "embedding_dim": 2, "memory_mb": 64}
        lowest |= dict.fromkeys(("session_length", "min_item_impressions", "max_items"), 1)
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"event log {name}: got {getattr(self, name)}, allowed {low} or more; raise it")
        if not 0.0 < self.training_fraction < 1.0:
            raise ValueError(
                f"event log training_fraction: got {self.training_fraction}, allowed above 0 and below 1; change it"
            )


@dataclass(frozen=True)
class EventData:
    """The events of one data set."""

    name: str
    source: str
    """The data set and the file that it was read from, for the metadata."""
    published_rows: int
    """Rows of events that the publisher states, so that a file that was cut is noticed."""
    blocks: Iterator[Block]
    """Events in any order: int64 columns (rows,) ``user``, ``item``, ``milliseconds`` since 1970, ``response``, and
    ``label``, the category that the event tells of its item or NO_LABEL."""
    days: tuple[int, int] | None = None
    """Milliseconds of the first moment and of the first one that is too late; events outside are dropped."""
    labels: Callable[[np.ndarray], np.ndarray] | None = None
    """(n,) ascending item ids to (n,) category labels; None takes the label that most events of an item tell."""


def write_event_log(data: EventData, path: str | Path, config: EventConfig) -> InteractionLog:
    """Write events as a log and open it.

    The log's metadata tells under ``reading`` what was read and what was dropped, the categories' labels, and the
    ``boundary`` in seconds before which a session is a training session.

    Args:
        data: The events.
        path: The folder to write; a log that is there is replaced.
        config: How events become sessions, impressions and embeddings.

    Raises:
        LogError: the events are not those of the data set, nothing is left of them, ``path`` is in use, or DuckDB is
            not installed.
    """
    path = Path(path)
    files.check_replaceable(path)  # now, and not after the work
    with event_store(path, config.memory_mb) as store:
        reading = _load(data, store)
        reading |= _collapse(store, config)
        kept, dropped = _kept_items(store, config, path)
        starts = cut_into_sessions(store, _kept_visits(store, kept), config.session_length)
        boundary = int(boundary_of(starts, config.training_fraction))
        labels = data.labels(kept) if data.labels else _most_told(store, kept)
        found = np.unique(labels)
        categories = np.searchsorted(found, labels)  # (I,)

        def training_sessions() -> Iterator[Block]:
            rows = store.blocks(f"SELECT session, item_index FROM log_rows WHERE start < {boundary}")
            return whole_runs(rows, "session")

        vectors = item_vectors(training_sessions, categories, config.embedding_dim)
        catalogue = Catalogue(*map(torch.from_numpy, (kept, vectors, categories)), torch.zeros(len(kept)))
        metadata = {
            "name": data.name,
            "source": data.source,
            "reader": asdict(config),
            "reading": reading | dropped,
            "boundary": boundary / 1000,
            "training_sessions": int(np.searchsorted(starts, boundary)),
            "categories": ["unknown" if label == NO_LABEL else str(label) for label in found],
        }
        write_sessions(store, catalogue, path, metadata)
    return InteractionLog.open(path)


def reading_report(log: InteractionLog) -> str:
    """What the reader of an event log read and dropped, in lines."""
    reading: dict[str, Any] = log.metadata["reading"]
    return "\n".join(
        [
            f"read {reading['rows']:,} events (the publisher states {reading['published_rows']:,})",
            f"  outside the days  {reading['rows_outside_days']:,} events, dropped",
            f"  of one item       {reading['events']:,} events became {reading['impressions']:,} impressions",
            f"  rare items        {reading['items_dropped']:,} of {reading['items']:,} items dropped, with "
            f"{reading['impressions_dropped']:,} impressions",
            f"  not viewed first  {reading['begun_by_response']:,} items begin with a cart or an order",
            f"  longest visit     {reading['longest_visit']:,} items",
        ]
    )


def _load(data: EventData, store: EventStore) -> dict[str, int]:
    rows = outside = 0
    columns = "user BIGINT, item BIGINT, milliseconds BIGINT, response TINYINT, label BIGINT"
    with store.filled("events", columns) as add:
        for block in data.blocks:
            rows += len(block["user"])
            if data.days is not None:
                inside = (block["milliseconds"] >= data.days[0]) & (block["milliseconds"] < data.days[1])
                outside += int((~inside).sum())
                block = {name: values[inside] for name, values in block.items()}
            add(block)
    if outside > _MOST_OUTSIDE * rows:
        raise LogError(
            f"{outside} of {rows} events are outside the days of {data.name}, allowed {_MOST_OUTSIDE:.0%}; "
            f"the file is another one or its timestamps are no seconds: check the path ({data.source})"
        )
    return {"rows": rows, "published_rows": data.published_rows, "rows_outside_days": outside, "events": rows - outside}


def _collapse(store: EventStore, config: EventConfig) -> dict[str, int]:
    """Fill the table ``impressions``: each item once a visit, visit after visit."""
    visits = impressions = begun = longest = 0
    events = store.blocks("SELECT user, milliseconds, item, response FROM events ORDER BY ALL")
    columns = "visit BIGINT, user BIGINT, item BIGINT, milliseconds BIGINT, response TINYINT"
    with store.filled("impressions", columns) as add:
        for block in whole_runs(events, "user"):
            found = collapse(block, config.gap_seconds * 1000, config.return_is_click)
            begun += int(found.pop("begins_with_response").sum())
            longest = max(longest, int(np.bincount(found["visit"]).max()))
            impressions += len(found["visit"])
            found["visit"] = found["visit"] + visits
            visits = int(found["visit"][-1]) + 1
            add(found)
    return {"visits": visits, "impressions": impressions, "begun_by_response": begun, "longest_visit": longest}


def _kept_items(store: EventStore, config: EventConfig, path: Path) -> tuple[np.ndarray, dict[str, int]]:
    """(I,) ascending ids of the items that are frequent enough, and what goes with the others."""
    table = store.whole("SELECT item, count(*) AS n FROM impressions GROUP BY item ORDER BY n DESC, item")
    items, counts = table["item"], table["n"]
    size = min(int((counts >= config.min_item_impressions).sum()), config.max_items)
    if not size:
        raise LogError(
            f"no item has min_item_impressions={config.min_item_impressions} impressions, the most frequent one has "
            f"{counts[0]}; lower it, or check that the files are whole",
            path,
        )
    dropped = {
        "items": len(items),
        "items_dropped": len(items) - size,
        "impressions_dropped": int(counts[size:].sum()),
    }
    return np.sort(items[:size]), dropped


def _kept_visits(store: EventStore, kept: np.ndarray) -> Iterator[Block]:
    """The impressions of the ``kept`` items (I,), in blocks of whole visits."""
    for block in whole_runs(store.blocks("SELECT * FROM impressions"), "visit"):
        place = np.searchsorted(kept, block["item"]).clip(max=len(kept) - 1)
        stays = kept[place] == block["item"]
        if stays.any():
            yield {name: values[stays] for name, values in (block | {"item_index": place}).items() if name != "item"}


def _most_told(store: EventStore, kept: np.ndarray) -> np.ndarray:
    """(I,) the label that most events of each item tell, the smallest of equals."""
    with store.filled("kept", "item BIGINT, item_index BIGINT") as add:
        add({"item": kept, "item_index": np.arange(len(kept))})
    told = store.blocks(
        "SELECT item_index, label, count(*) AS n FROM events JOIN kept USING (item) "
        f"WHERE label <> {NO_LABEL} GROUP BY item_index, label ORDER BY n, label DESC"
    )
    labels = np.full(len(kept), NO_LABEL, dtype=np.int64)
    for block in told:  # the last label of an item is the one that stays
        labels[block["item_index"]] = block["label"]
    return labels
