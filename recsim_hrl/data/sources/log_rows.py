"""The rows of logs, put aside in a store, and the logs over one catalogue that are written from them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recsim_hrl.data import files
from recsim_hrl.data.blocks import Block
from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_store import EventStore
from recsim_hrl.types import Catalogue


@dataclass(frozen=True)
class LogForm:
    """Which logs become of a data set, and which columns they have."""

    parts: tuple[str, ...] = ()
    """Names of logs over one catalogue, each in a folder of its name; none for a single log."""
    extras: Mapping[str, str] = field(default_factory=dict)
    """Optional columns of the schema beside ``timestamp``, with their types (SQL)."""
    is_timed: bool = True
    """Whether ``moment`` is milliseconds since 1970; otherwise it tells the order alone."""

    def columns(self, *names: str) -> str:
        """Columns of a table: ``names`` with their types (SQL), and the extras."""
        return ", ".join([*names, *(f"{name} {kind}" for name, kind in self.extras.items())])

    def folders(self, path: Path) -> list[Path]:
        """Where the logs are written."""
        return [path / part for part in self.parts] or [path]

    def check(self, path: Path) -> None:
        """Raise LogError where something that is no log would be replaced; before the work, and not after it."""
        for folder in self.folders(path):
            files.check_replaceable(folder)


def fill_sessions(store: EventStore, form: LogForm, sessions: Iterable[Block], *more: str) -> np.ndarray:
    """Fill the table ``log_rows`` (with ``more`` columns, in SQL) with the impressions of whole sessions.

    Args:
        store: The store.
        form: What becomes of it.
        sessions: Blocks of columns: ``session`` from 0; ``part``, the place of the log among the form's; ``start``, the
            moment of the session's first impression; ``step``; ``user``; ``item_index``; ``moment``; ``response``; the
            extras; and ``more``.

    Returns:
        (S,) start of each session by its number.
    """
    numbers = [f"{name} BIGINT" for name in ("session", "start", "step", "user", "item_index", "moment")]
    starts = []
    with store.filled("log_rows", form.columns(*numbers, "part TINYINT", "response TINYINT", *more)) as add:
        for block in sessions:
            add(block)
            starts.append(block["start"][block["step"] == 0])
    return np.concatenate(starts)


def write_logs(
    store: EventStore, form: LogForm, starts: np.ndarray, catalogue: Catalogue, path: Path, metadata: Mapping[str, Any]
) -> list[InteractionLog]:
    """Write the rows of the table ``log_rows`` in order of the sessions' starts; all logs appear, or none.

    Args:
        store: The store with the table.
        form: What is written.
        starts: (S,) start of each session by its number. Sessions are numbered anew in their order, so that one that
            has rows in two logs has the same ``session_id`` in both.
        catalogue: The items of all logs.
        path: The folder of the log, or of the folders of the logs.
        metadata: Of each log; ``name`` is followed by that of the part.
    """
    number = np.empty(len(starts), dtype=np.int64)  # (S,)
    number[np.argsort(starts, kind="stable")] = np.arange(len(starts))
    folders = form.folders(path)
    with ExitStack() as stack:
        for place, folder in enumerate(folders):
            named = dict(metadata)
            if form.parts:
                named["name"] += f"-{form.parts[place]}"
            writer = stack.enter_context(LogWriter(folder, catalogue, named))
            rows = 0
            for columns in _rows(store, form, place, number):
                writer.append(columns)
                rows += len(columns["step"])
            if not rows:  # now, or the other logs would have appeared
                raise LogError("nothing is left for this log; check that the files are whole", folder)
    return [InteractionLog.open(folder) for folder in folders]


def reading_report(log: InteractionLog) -> str:
    """What a reader of impressions read and dropped on the way to a log, in lines."""
    reading: dict[str, Any] = dict(log.metadata["reading"])
    published = reading.pop("published_rows", None)
    stated = "" if published is None else f" (the publisher states {published:,})"
    first = f"read {reading.pop('rows'):,} rows{stated}"
    width = max(map(len, reading))
    lines = [f"  {name.replace('_', ' '):{width}}  {count:,}" for name, count in reading.items()]
    return "\n".join([first, *lines, *log.metadata.get("warnings", [])])


def _rows(store: EventStore, form: LogForm, part: int, number: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for block in store.blocks(f"SELECT * FROM log_rows WHERE part = {part} ORDER BY start, session, step"):
        columns = {name: block[name] for name in ("step", "item_index", "response", *form.extras)}
        columns |= {"session_id": number[block["session"]], "user_id": block["user"]}
        if form.is_timed:
            columns["timestamp"] = block["moment"] / 1000
        yield columns
