"""The log schema: which columns a log may hold, what each may contain, and the error that a violation raises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data.textfile import line_of_row
from recsim_hrl.types import RESPONSES, R


class LogError(ValueError):
    """A log that breaks the schema; the message names file, column and row, what was found, and the fix.

    ``is_headed`` tells whether the first line of a CSV file is a header.

    Attributes:
        file: Path of the offending file, or None.
        column: Name of the offending column, or None.
        row: 1-based data row inside the file (the header of a CSV file is not counted), or None.
    """

    def __init__(
        self,
        message: str,
        file: str | Path | None = None,
        column: str | None = None,
        row: int | None = None,
        is_headed: bool = True,
    ) -> None:
        parts = [str(file) if file else "", f"column {column!r}" if column else "", f"row {row}" if row else ""]
        place = ", ".join(part for part in parts if part)
        if file and row and str(file).endswith(".csv") and Path(file).is_file():
            place += f" (line {line_of_row(Path(file), row if is_headed else row - 1)})"
        super().__init__(f"{place}: {message}" if place else message)
        self.file = str(file) if file else None
        self.column = column
        self.row = row


@dataclass(frozen=True)
class Origin:
    """Where a block of rows comes from, so that an error can name the row."""

    file: str
    first_row: int = 1
    is_headed: bool = True
    """Whether a CSV file begins with a header, which is no row."""

    def error(self, message: str, column: str | None = None, at: int | None = None) -> LogError:
        """The error for the row at position ``at`` of the block."""
        row = None if at is None else self.first_row + int(at)
        return LogError(message, self.file, column, row, self.is_headed)


def _any(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values), dtype=bool)


@dataclass(frozen=True)
class Column:
    """One column: its name, NumPy type, and which values it may hold."""

    name: str
    dtype: type
    allowed: str
    """The allowed values in words; error messages end with it."""
    valid: Callable[[np.ndarray], np.ndarray] = _any
    """(rows,) values to (rows,) bool."""
    required: bool = False


_INTEGER = "a 64-bit integer"
_RESPONSE = ", ".join(f"{code} or {word}" for code, word in enumerate(RESPONSES))

COLUMNS = {
    column.name: column
    for column in (
        Column("session_id", np.int64, _INTEGER, required=True),
        Column("step", np.int64, _INTEGER, required=True),
        Column("user_id", np.int64, _INTEGER, required=True),
        Column("item_id", np.int64, _INTEGER, required=True),
        Column("response", np.int8, _RESPONSE, lambda x: (x >= 0) & (x < R), required=True),
        Column("timestamp", np.float64, "a finite number of seconds since 1970", np.isfinite),
        Column("slate_id", np.int64, _INTEGER),
        Column("position", np.int64, "an integer of 0 or more", lambda x: x >= 0),
        Column("channel", np.int64, _INTEGER),
        Column("dwell_seconds", np.float64, "a finite number of 0 or more", lambda x: (x >= 0) & np.isfinite(x)),
        Column("propensity", np.float64, "a number above 0 and at most 1", lambda x: (x > 0) & (x <= 1)),
    )
}
"""The columns of the interactions in their order on disk; ``context_*`` columns follow."""

REQUIRED = tuple(name for name, column in COLUMNS.items() if column.required)

ITEM_COLUMNS = {
    column.name: column
    for column in (
        Column("item_id", np.int64, _INTEGER, required=True),
        Column("category", np.int64, _INTEGER, required=True),
        Column("price", np.float32, "a finite number", np.isfinite, required=True),
        Column("channel", np.int64, _INTEGER),
    )
}
"""The columns of the item table beside the embedding."""


def column_of(name: str) -> Column:
    """The column called ``name``, which ``check_columns`` has let through."""
    return COLUMNS.get(name) or Column(name, np.float64, "a finite number", np.isfinite)


def in_order(names: Sequence[str]) -> list[str]:
    """``names`` in their order on disk: the schema's columns, then ``context_*`` by name."""
    return [name for name in COLUMNS if name in names] + sorted(name for name in names if name not in COLUMNS)


def check_columns(names: Sequence[str], file: str | Path) -> None:
    """Raise LogError unless the interaction columns ``names`` hold all required ones and no unknown one."""
    for name in REQUIRED:
        if name not in names:
            raise LogError(
                f"the column is missing; got {list(names)}, required {list(REQUIRED)}; add or rename it", file, name
            )
    for name in names:
        if name not in COLUMNS and not name.startswith("context_"):
            raise LogError(
                f"not a column of the schema; allowed {list(COLUMNS)} and any context_*; "
                f"rename it to context_{name} or drop it",
                file,
                name,
            )
    check_distinct(names, file)


def check_distinct(names: Sequence[str], file: str | Path) -> None:
    """Raise LogError where two columns share a name."""
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise LogError("two columns have this name, allowed one; drop or rename one", file, twice)


def to_numpy(values: pa.Array, column: Column, origin: Origin) -> np.ndarray:
    """Values of one column as a fresh (rows,) array of ``column.dtype``; LogError names the first bad row."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.null_count:
        at = pc.index(pc.is_null(values), True).as_py()
        raise origin.error(f"got an empty value, allowed {column.allowed}; fill it in", column.name, at)
    try:
        array = _cast(values, column)
    except (pa.ArrowException, TypeError):
        at = _first_failure(values, column)
        got = _shorten(values[at].as_py())
        raise origin.error(
            f"got {got} ({values.type}), allowed {column.allowed}; correct it", column.name, at
        ) from None
    bad = ~column.valid(array)
    if bad.any():
        at = int(bad.argmax())
        got = _shorten(values[at].as_py())
        raise origin.error(f"got {got}, allowed {column.allowed}; correct it", column.name, at)
    return array.astype(column.dtype)


def _cast(values: pa.Array, column: Column) -> np.ndarray:
    """``values`` as NumPy int64 or floats, exactly; an Arrow error or TypeError where one has no such value."""
    kind = values.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_boolean(kind):
        raise TypeError("a truth value is not a number")
    if column.dtype is np.int8 and is_text:
        words = pa.array([str(code) for code in range(R)] + list(RESPONSES), kind)
        codes = pc.index_in(values, words)
        if codes.null_count:
            raise TypeError("not a response")
        return codes.to_numpy(zero_copy_only=False).astype(np.int64) % R
    if column.name == "timestamp" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return values.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6
    target = pa.from_numpy_dtype(column.dtype) if np.issubdtype(column.dtype, np.floating) else pa.int64()
    return values.cast(target, safe=not pa.types.is_floating(target)).to_numpy(zero_copy_only=False)


def _first_failure(values: pa.Array, column: Column) -> int:
    """Position of the first value that does not convert, by bisection over a prefix known to hold one."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(values[low:middle], column)
        except (pa.ArrowException, TypeError):
            high = middle
        else:
            low = middle
    return low


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
