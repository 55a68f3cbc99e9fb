"""Writing a log: blocks of columns in, checked as a reader would, a folder of Parquet shards or CSV out."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recsim_hrl.data import files
from recsim_hrl.data.checks import LogCheck
from recsim_hrl.data.items import ItemTable, as_item_table
from recsim_hrl.data.schema import LogError, Origin, check_columns, column_of, in_order, to_numpy
from recsim_hrl.types import CLICK, ORDER, Catalogue

RESERVED = ("format", "version", "columns", "counts")
"""Keys of metadata.json that the writer fills in."""

SHARD_ROWS = 4_194_304
"""Rows after which a new Parquet file is begun."""

Form = Literal["parquet", "csv"]


class LogWriter:
    """Streams a log into a folder that appears, whole and checked, when the ``with`` block ends.

    The folder is written beside ``path`` and takes its place at the end; after an error or Ctrl-C nothing is left of
    it, and a log that was at ``path`` before stays as it was.

    Args:
        path: The folder to write. A log that is there is replaced; any other folder that is not empty is refused.
        items: The catalogue or item table that the rows refer to.
        metadata: Kept in metadata.json (JSON values; ``name`` and ``source`` are usual). ``name`` defaults to the
            folder's name.
        form: "parquet" or "csv".
        shard_rows: Rows per Parquet file.

    Raises:
        LogError: from ``append`` for columns or rows that break the schema, from the end of the block for a log
            without rows, and for a path that must not be replaced.
    """

    def __init__(
        self,
        path: str | Path,
        items: Catalogue | ItemTable,
        metadata: Mapping[str, Any] | None = None,
        form: Form = "parquet",
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        if form not in ("parquet", "csv"):
            raise LogError(f"got form {form!r}, allowed 'parquet' or 'csv'; choose one", path)
        if shard_rows < 1:
            raise LogError(f"got shard_rows {shard_rows}, allowed 1 or more; raise it", path)
        self.path = Path(path)
        self._metadata = _checked_metadata(metadata or {}, self.path)
        self._items = as_item_table(items)
        self._items.check(Origin("item table"))
        self._check = LogCheck(self._items)
        self._form: Form = form
        self._shard_rows = shard_rows
        self._names: list[str] = []
        self._pending: list[dict[str, np.ndarray]] = []
        self._pending_rows = 0
        self._responses = np.zeros(3, dtype=np.int64)

    def __enter__(self) -> "LogWriter":
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(files.replaced_folder(self.path))
        self._sink: _ParquetShards | _CsvFile | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def append(self, columns: Mapping[str, Any]) -> None:
        """Add rows; a session may go on in the next call, but not come back after another one.

        Args:
            columns: Arrays (rows,) by column name: the required columns of the schema, where ``item_index``
                (position in the catalogue) may stand for ``item_id``, and any optional or ``context_*`` ones.
                Every call passes the same columns.
        """
        origin = Origin(f"rows appended to {self.path}", self._check.rows + 1)
        arrays = self._with_item_ids(dict(columns), origin)
        check_columns(list(arrays), origin.file)
        names = in_order(list(arrays))
        if self._names and names != self._names:
            raise LogError(f"got columns {names}, allowed {self._names} as in the first call; pass those", origin.file)
        self._names = names
        block = {name: _converted(arrays[name], name, origin) for name in names}
        sizes = {name: len(values) for name, values in block.items()}
        if len(set(sizes.values())) > 1:
            raise LogError(f"got columns of {sizes} rows, allowed equally many; pass equal lengths", origin.file)
        self._check(block, origin)
        self._responses += np.bincount(block["response"], minlength=3)
        self._pending.append(block)
        self._pending_rows += len(block["step"])
        if self._pending_rows >= files.BATCH_ROWS:
            self._flush()

    def attach(self, name: str, table: pa.Table) -> None:
        """Keep a table that is no part of the log in its folder, such as ``ids/users.parquet``; copies lose it."""
        path = self._folder / name
        if path.parent in (self._folder, self._folder / "interactions") or path.suffix != ".parquet":
            raise LogError(
                f"attach: got {name!r}, allowed a .parquet file in a folder of its own, as ids/users.parquet; rename",
                self.path,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **_PARQUET)

    def _with_item_ids(self, arrays: dict[str, Any], origin: Origin) -> dict[str, Any]:
        if "item_index" not in arrays:
            return arrays
        if "item_id" in arrays:
            raise LogError("item_id and item_index are both given, allowed one; drop one", origin.file, "item_index")
        index = np.asarray(arrays.pop("item_index"))
        if not np.issubdtype(index.dtype, np.integer):
            raise LogError(f"got type {index.dtype}, allowed integers; pass positions", origin.file, "item_index")
        bad = (index < 0) | (index >= len(self._items))
        if bad.any():
            at = int(bad.argmax())
            message = f"got {index[at]}, allowed 0 to {len(self._items) - 1}; correct it"
            raise origin.error(message, "item_index", at)
        return arrays | {"item_id": self._items.item_ids[index]}

    def _flush(self) -> None:
        if not self._pending_rows:
            return
        arrays = [pa.array(np.concatenate([block[name] for block in self._pending])) for name in self._names]
        batch = pa.RecordBatch.from_arrays(arrays, names=self._names)
        self._pending, self._pending_rows = [], 0
        if self._sink is None:
            if self._form == "parquet":
                self._sink = _ParquetShards(self._folder / "interactions", batch.schema, self._shard_rows)
            else:
                self._sink = _CsvFile(self._folder / "interactions.csv", batch.schema)
            self._stack.callback(self._sink.close)
        self._sink.write(batch)

    def _finish(self) -> None:
        self._flush()
        if not self._check.rows:
            raise LogError("no rows were appended, allowed one or more; a log holds at least one session", self.path)
        if self._form == "parquet":
            pq.write_table(self._items.to_table(numbered=False), self._folder / "items.parquet", **_PARQUET)
        else:
            pa_csv.write_csv(self._items.to_table(numbered=True), self._folder / "items.csv")
        counts = {
            "rows": self._check.rows,
            "sessions": self._check.sessions,
            "clicks": int(self._responses[CLICK] + self._responses[ORDER]),
            "orders": int(self._responses[ORDER]),
            "items": len(self._items),
            "embedding_dim": self._items.catalogue.embeddings.shape[1],
        }
        head = {"format": files.FORMAT, "version": files.VERSION}
        metadata = head | self._metadata | {"counts": counts, "columns": self._names}
        (self._folder / files.METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


# Checksums let a reader notice a flipped bit.
_PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}


class _ParquetShards:
    """Numbered Parquet files of about equal size in a folder."""

    def __init__(self, folder: Path, schema: pa.Schema, shard_rows: int) -> None:
        folder.mkdir()
        self._folder, self._schema, self._shard_rows = folder, schema, shard_rows
        self._shards = 0
        self._open_shard()

    def _open_shard(self) -> None:
        path = self._folder / f"part-{self._shards:05d}.parquet"
        self._writer = pq.ParquetWriter(path, self._schema, **_PARQUET)
        self._shards += 1
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            if self._rows == self._shard_rows:
                self._writer.close()
                self._open_shard()
            part = batch.slice(0, self._shard_rows - self._rows)
            self._writer.write_batch(part, row_group_size=files.BATCH_ROWS)
            self._rows += part.num_rows
            batch = batch.slice(part.num_rows)

    def close(self) -> None:
        self._writer.close()


class _CsvFile:
    """One CSV file with a header line."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa_csv.CSVWriter(path, schema, write_options=pa_csv.WriteOptions(batch_size=65_536))

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


def _converted(values: Any, name: str, origin: Origin) -> np.ndarray:
    try:
        array = pa.array(np.asarray(values))
    except (pa.ArrowException, TypeError, ValueError) as error:
        message = f"not a one-dimensional array of one type ({error}); pass a NumPy array"
        raise LogError(message, origin.file, name) from None
    return to_numpy(array, column_of(name), origin)


def _checked_metadata(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    reserved = [key for key in RESERVED if key in metadata]
    if reserved:
        raise LogError(f"metadata keys {reserved} are filled in by the writer; rename them", path)
    try:
        return {"name": path.resolve().name} | json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise LogError(f"the metadata is not JSON ({error}); use strings, numbers, lists and dicts", path) from None
