"""From the events of a shop (views, carts, orders) to an interaction log, in bounded memory; the way of all readers.

What the steps are, and why, is in ``docs/datasets/events.md``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsim_hrl.data.blocks import Block, whole_runs
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_store import EventStore, event_store
from recsim_hrl.data.sources.log_rows import LogForm
from recsim_hrl.data.sources.sessions import collapse
from recsim_hrl.data.sources.visit_log import (
    VisitConfig,
    VisitData,
    fill_impressions,
    kept_report,
    most_told,
    write_visits,
)
from recsim_hrl.data.splits import boundary_of

_MOST_OUTSIDE = 0.01
"""Share of events outside the data set's days above which the file must be another one."""


@dataclass(frozen=True)
class EventConfig(VisitConfig):
    """How events become sessions, impressions and embeddings."""

    gap_seconds: int = 1800
    """A user who does nothing for longer than this has left: the next event begins a new visit."""
    return_is_click: bool = False
    """Whether an item that the user comes back to in the same visit, after another item, counts as clicked."""
    training_fraction: float = 0.5
    """Share of the sessions, earliest first, that the embeddings may use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.training_fraction < 1.0:
            raise ValueError(
                f"reader training_fraction: got {self.training_fraction}, allowed above 0 and below 1; change it"
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
    path, form = Path(path), LogForm()
    form.check(path)
    with event_store(path, config.memory_mb) as store:
        reading = _load(data, store)
        reading |= _collapse(store, form, config)
        visits = VisitData(
            data.name,
            data.source,
            labels=data.labels or (lambda kept: most_told(store, "events", kept)),
            boundary=lambda starts: boundary_of(starts, config.training_fraction),
            form=form,
        )
        (log,) = write_visits(store, visits, path, config, reading)
        return log


def reading_report(log: InteractionLog) -> str:
    """What the reader of an event log read and dropped, in lines."""
    reading: dict[str, Any] = log.metadata["reading"]
    return "\n".join(
        [
            f"read {reading['rows']:,} events (the publisher states {reading['published_rows']:,})",
            f"  outside the days  {reading['rows_outside_days']:,} events, dropped",
            f"  of one item       {reading['events']:,} events became {reading['impressions']:,} impressions",
            f"  not viewed first  {reading['begun_by_response']:,} items begin with a cart or an order",
            *kept_report(reading),
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


def _collapse(store: EventStore, form: LogForm, config: EventConfig) -> dict[str, int]:
    """Fill the table ``impressions``: each item once a visit, visit after visit."""
    counts = {"impressions": 0, "begun_by_response": 0}

    def visits() -> Iterator[Block]:
        events = store.blocks("SELECT user, milliseconds, item, response FROM events ORDER BY ALL")
        for block in whole_runs(events, "user"):
            found = collapse(block, config.gap_seconds * 1000, config.return_is_click)
            counts["begun_by_response"] += int(found.pop("begins_with_response").sum())
            counts["impressions"] += len(found["visit"])
            part = np.zeros(len(found["visit"]), dtype=np.int8)
            found["moment"] = found.pop("milliseconds")
            yield found | {"part": part}

    return counts | fill_impressions(store, form, visits())
