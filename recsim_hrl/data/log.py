"""The interaction log: who was shown what, in which order, and what they did; read as a stream, checked on the way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsim_hrl.data import files
from recsim_hrl.data.blocks import Block, whole_runs
from recsim_hrl.data.checks import LogCheck, session_spans
from recsim_hrl.data.items import ItemTable, read_items
from recsim_hrl.data.report import LogReport, summarise
from recsim_hrl.data.schema import REQUIRED, LogError, check_columns, column_of, in_order, to_numpy
from recsim_hrl.data.writer import RESERVED, Form, LogWriter
from recsim_hrl.types import Catalogue

Batch = Block
"""Columns (rows,) by name, with ``item_index`` beside ``item_id``."""


@dataclass(frozen=True)
class SessionTable:
    """A whole log in memory; session ``s`` holds the impressions ``offsets[s]`` to ``offsets[s + 1]``."""

    item_index: np.ndarray  # (rows,) int32 positions in the catalogue
    response: np.ndarray  # (rows,) int8
    offsets: np.ndarray  # (S + 1,) int64
    session_ids: np.ndarray  # (S,) int64
    user_ids: np.ndarray  # (S,) int64
    start_seconds: np.ndarray | None  # (S,) float64 timestamp of the first impression; None for a log without

    def __len__(self) -> int:
        return len(self.session_ids)

    @property
    def lengths(self) -> np.ndarray:
        """(S,) impressions of each session."""
        return np.diff(self.offsets)


class InteractionLog:
    """One log on disk: interactions in Parquet or CSV files and the table of their items.

    Opening checks names of columns and the whole item table; the rows are checked whenever they are read, and
    nothing that breaks the schema is passed over (``LogError`` names file, column, row and the fix). Only ``load``
    holds the log in memory; everything else keeps one block of rows, one session, and 8 bytes per session.

    The schema and the forms on disk are described in ``docs/data.md``.
    """

    def __init__(self, path: Path, log_files: files.LogFiles) -> None:
        self.path = path
        self._files = log_files
        self.columns = files.column_names(log_files.interactions[0])
        """Names of the columns of the interactions."""
        check_columns(self.columns, log_files.interactions[0])
        for shard in log_files.interactions[1:]:
            names = files.column_names(shard)
            if sorted(names) != sorted(self.columns):
                raise LogError(f"got columns {names}, allowed {self.columns} as in the first file; align them", shard)
        self.item_table: ItemTable = read_items(log_files.items)

    @classmethod
    def open(cls, path: str | Path, items: str | Path | None = None) -> "InteractionLog":
        """Open the log at ``path``.

        Args:
            path: A folder with ``items`` and ``interactions`` (.parquet or .csv), a plain folder of shards, or one
                interactions file.
            items: The item table, where it is not in the same folder under the name ``items``.

        Raises:
            LogError: files are missing, damaged or in the way of each other, or the item table is invalid.
        """
        path = Path(path)
        return cls(path, files.locate(path, Path(items) if items is not None else None))

    @classmethod
    def from_arrays(
        cls,
        columns: Mapping[str, Any],
        items: Catalogue | ItemTable,
        path: str | Path,
        metadata: Mapping[str, Any] | None = None,
    ) -> "InteractionLog":
        """Write arrays (rows,) as a log at ``path`` and open it; the arguments are those of ``LogWriter``."""
        with LogWriter(path, items, metadata) as writer:
            writer.append(columns)
        return cls.open(path)

    def __repr__(self) -> str:
        return f"InteractionLog({str(self.path)!r})"

    @property
    def items(self) -> Catalogue:
        """The catalogue that ``item_index`` counts in."""
        return self.item_table.catalogue

    @property
    def metadata(self) -> dict[str, Any]:
        """Contents of metadata.json; empty where there is none."""
        return self._files.metadata

    @property
    def name(self) -> str:
        """Name of the log; the file name unless the metadata says otherwise."""
        return str(self.metadata.get("name", self.path.stem))

    @cached_property
    def rows(self) -> int:
        """Number of impressions; a CSV log is read once to count them."""
        if all(path.suffix == ".parquet" for path in self._files.interactions):
            return sum(files.parquet_rows(path) for path in self._files.interactions)
        return sum(len(batch["step"]) for batch in self.batches(optional=()))

    def batches(self, rows: int = files.BATCH_ROWS, optional: Sequence[str] | None = None) -> Iterator[Batch]:
        """The rows in order, in checked blocks.

        Args:
            rows: Most rows in a block; a block never spans two files.
            optional: Optional columns to read; None reads all that the log has.

        Yields:
            Columns (rows,) by name: integers as int64, ``response`` as int8, other numbers as float64, and
            ``item_index`` (int32 position in the catalogue).
        """
        if rows < 1:
            raise ValueError(f"rows of a batch: got {rows}, allowed 1 or more; raise it")
        names = self._selected(optional)
        check = LogCheck(self.item_table)
        for path in self._files.interactions:
            for origin, block in files.stream(path, names, rows):
                batch = {name: to_numpy(block.column(name), column_of(name), origin) for name in names}
                batch["item_index"] = check(batch, origin)
                yield batch
        self._check_count(check.rows)

    def session_batches(self, rows: int = files.BATCH_ROWS, optional: Sequence[str] | None = None) -> Iterator[Batch]:
        """As ``batches``, but each block holds whole sessions: about ``rows`` rows, more where a session is longer."""
        yield from whole_runs(self.batches(rows, optional), "session_id")

    def validate(self) -> None:
        """Read everything once; LogError for the first row that breaks the schema."""
        for _ in self.batches():
            pass

    def load(self) -> SessionTable:
        """The whole log in memory: 5 bytes per impression (9 while loading) and 32 per session."""
        timed = "timestamp" in self.columns
        parts: list[list[np.ndarray]] = [[], [], [], [], [], []]
        for batch in self.session_batches(optional=("timestamp",) if timed else ()):
            first, lengths = session_spans(batch["session_id"])
            start_seconds = batch["timestamp"][first] if timed else np.zeros(0)
            ids = (batch["session_id"][first], batch["user_id"][first])
            columns = (batch["item_index"], batch["response"], lengths, *ids, start_seconds)
            for part, values in zip(parts, columns, strict=True):
                part.append(values)
        # Column by column, so that only one of them is ever there twice.
        item_index, response, lengths, session_ids, user_ids, start_seconds = (_emptied(part) for part in parts)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return SessionTable(item_index, response, offsets, session_ids, user_ids, start_seconds if timed else None)

    def report(self) -> LogReport:
        """Read everything once and count what the log holds."""
        return summarise(self.name, self.session_batches(optional=()), len(self.items))

    def to_parquet(self, path: str | Path) -> "InteractionLog":
        """Write the log as a folder of Parquet files at ``path`` and open it."""
        return self._copy(path, "parquet")

    def to_csv(self, path: str | Path) -> "InteractionLog":
        """Write the log as a folder of CSV files at ``path`` and open it."""
        return self._copy(path, "csv")

    def own_metadata(self) -> dict[str, Any]:
        """The metadata that a copy inherits: all but what its writer fills in."""
        return {"name": self.name} | {key: value for key, value in self.metadata.items() if key not in RESERVED}

    def _copy(self, path: str | Path, form: Form) -> "InteractionLog":
        with LogWriter(path, self.item_table, self.own_metadata(), form) as writer:
            for batch in self.batches():
                writer.append(without_index(batch))
        return InteractionLog.open(path)

    def _selected(self, optional: Sequence[str] | None) -> list[str]:
        if optional is None:
            return in_order(self.columns)
        for name in optional:
            if name not in self.columns:
                raise LogError(f"the column is missing; got {self.columns}; add it to the log", self.path, name)
        return in_order([*REQUIRED, *(name for name in optional if name not in REQUIRED)])

    def _check_count(self, rows: int) -> None:
        if not rows:
            raise LogError("the log holds no rows, allowed one or more; write it again", self._files.interactions[0])
        counts = self.metadata.get("counts")
        stated = counts.get("rows", rows) if isinstance(counts, dict) else rows
        if stated != rows:
            raise LogError(
                f"the files hold {rows} rows, but {files.METADATA} states {stated}; restore the missing file or rows, "
                f"or remove {files.METADATA} if the change was meant",
                self.path,
            )


def without_index(batch: Batch) -> Batch:
    """The columns of a batch as they stand in the file."""
    return {name: values for name, values in batch.items() if name != "item_index"}


def _emptied(parts: list[np.ndarray]) -> np.ndarray:
    """``parts`` joined; the list is empty afterwards."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
