"""More rows than memory holds, put aside on disk, counted and sorted there; needs the extra ``data`` (DuckDB)."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsim_hrl.data.blocks import Block, joined
from recsim_hrl.data.schema import LogError

Add = Callable[[Mapping[str, np.ndarray | pa.Array]], None]
"""Adds rows to a table, columns (rows,) by name."""

STREAM_ROWS = 262_144
"""Rows of one block that comes out of a store."""
_LEAST_MEMORY_MB = 64


@dataclass(frozen=True)
class StoreConfig:
    """How much is kept in memory."""

    memory_mb: int = 512
    """MiB that sorting may take; what does not fit waits on disk, beside the log."""

    def __post_init__(self) -> None:
        if self.memory_mb < _LEAST_MEMORY_MB:
            raise ValueError(f"reader memory_mb: got {self.memory_mb}, allowed {_LEAST_MEMORY_MB} or more; raise it")


class EventStore:
    """Tables on disk; made by ``event_store``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @contextmanager
    def filled(self, table: str, columns: str) -> Iterator[Add]:
        """Make a table with ``columns`` (SQL); the block's function adds rows to it.

        Rows come out in the order in which they went in, once the block has ended.
        """
        writer = self._connection.cursor()
        writer.execute(f"CREATE TABLE {table} ({columns})")

        def add(block: Mapping[str, np.ndarray | pa.Array]) -> None:
            # Each block is committed: DuckDB would hold the arrays of a longer transaction in memory to its end.
            writer.register("added", pa.table(block))
            writer.execute(f"INSERT INTO {table} BY NAME SELECT * FROM added")
            writer.unregister("added")

        yield add
        writer.close()

    def blocks(self, query: str) -> Iterator[Block]:
        """What ``query`` (SQL) finds, in blocks that are never empty."""
        cursor = self._connection.cursor()
        for batch in cursor.sql(query).to_arrow_reader(STREAM_ROWS):
            if batch.num_rows:
                yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}
        cursor.close()

    def whole(self, query: str) -> Block:
        """What ``query`` finds, in memory; it finds something."""
        return joined(list(self.blocks(query)))


@contextmanager
def event_store(beside: Path, memory_mb: int) -> Iterator[EventStore]:
    """A store in a temporary folder beside the path of a log, where there is room for it; gone afterwards.

    Args:
        beside: The log that is going to be written.
        memory_mb: What DuckDB may take, in MiB.

    Raises:
        LogError: DuckDB is not installed, or runs out of memory or disk.
    """
    try:
        import duckdb
    except ImportError as error:
        raise LogError(
            "logs of publishers are sorted with DuckDB, which is not installed; run `pip install recsim-hrl[data]`"
        ) from error
    parent = beside.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{beside.name}.sorting-", dir=parent) as folder:
        settings = {
            "memory_limit": f"{memory_mb}MiB",
            "temp_directory": str(Path(folder) / "spilled"),
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
        try:
            with duckdb.connect(str(Path(folder) / "events.duckdb"), config=settings) as connection:
                yield EventStore(connection)
        except (RuntimeError, duckdb.InterruptException) as error:
            if "interrupted" in str(error).lower():  # what DuckDB makes of Ctrl-C
                raise KeyboardInterrupt from error
            raise
        except duckdb.Error as error:
            raise LogError(
                f"sorting the events failed ({str(error).splitlines()[0]}); raise memory_mb (got {memory_mb}), or free "
                f"disk space in {parent}",
                beside,
            ) from error
