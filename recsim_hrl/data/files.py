"""Files of a log: where they lie, how they are streamed in bounded memory, and how files and folders are replaced
atomically."""

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recsim_hrl.data import textfile
from recsim_hrl.data.schema import LogError, Origin

FORMAT = "recsim-hrl-log"
VERSION = 1
METADATA = "metadata.json"
BATCH_ROWS = 262_144
"""Rows of one block in memory and of one Parquet row group."""

_SUFFIXES = (".parquet", ".csv")
_READ_ERRORS = (pa.ArrowException, OSError, UnicodeError)
_STREAM_BYTES = 1 << 20
"""Of a Parquet column, read at a time."""
_WHOLE_BYTES = 16 << 20
"""Of a row group, all columns: with no more than these each column is read at once."""


@dataclass(frozen=True)
class LogFiles:
    """The files of one log."""

    interactions: tuple[Path, ...]
    items: Path
    metadata: dict[str, Any]
    """Contents of metadata.json; empty where there is none."""


def locate(path: Path, items: Path | None) -> LogFiles:
    """Find the files of the log at ``path``: a folder, or an interactions file with its ``items`` file."""
    if path.is_dir():
        shards = _shards(path, items)
        return LogFiles(shards, items or _one_of(path, "items"), read_metadata(path))
    if not path.exists():
        raise LogError("no such file or folder; check the path, or write a log there with LogWriter", path)
    _check_suffix(path)
    items = items or _one_of(path.parent, "items")
    if not items.is_file():
        raise LogError("no such item table; pass the path of the file that holds the items", items)
    return LogFiles((path,), items, {})


def _shards(folder: Path, items: Path | None) -> tuple[Path, ...]:
    """The interactions files in ``folder``: in a folder of their own, a single one, or all that are not the items."""
    inner = folder / "interactions"
    single = [folder / f"interactions{suffix}" for suffix in _SUFFIXES if (folder / f"interactions{suffix}").exists()]
    if not inner.is_dir():
        given = items and items.resolve()
        shards = tuple(path for path in tables(folder) if path.stem != "items" and path.resolve() != given)
        return (_one_of(folder, "interactions"),) if single or not shards else shards
    shards = tables(inner)
    if not shards:
        raise LogError("the folder holds no .parquet and no .csv file; put the shards of the log there", inner)
    if single:
        raise LogError(f"{inner} is there too, allowed one of them; remove the one that is out of date", single[0])
    return shards


def tables(folder: Path) -> tuple[Path, ...]:
    """The tables in ``folder``, hidden files left out; part-2 comes before part-10."""
    found = (path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.name[0] not in "._")
    return tuple(sorted(found, key=_counting))


def _counting(path: Path) -> list[str | int]:
    """Sorts names by the numbers in them; every second part of the split is a number."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", path.name))]


def _one_of(folder: Path, stem: str) -> Path:
    found = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    if len(found) != 1:
        names = " or ".join(f"{stem}{suffix}" for suffix in _SUFFIXES)
        got = [path.name for path in found] or sorted(path.name for path in folder.iterdir())[:10]
        raise LogError(f"got {got}, allowed exactly one {names}; add the file or remove the other", folder)
    return found[0]


def _check_suffix(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise LogError(f"got a {path.suffix or 'nameless'} file, allowed .parquet or .csv; convert it", path)


def read_metadata(folder: Path) -> dict[str, Any]:
    """Contents of the folder's metadata.json, or {} where there is none."""
    path = folder / METADATA
    if not path.exists():
        return {}
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LogError(f"not readable as JSON ({error}); restore the file or remove it", path) from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise LogError(f"not the metadata of a log, allowed format {FORMAT!r}; choose another folder", path)
    if metadata.get("version") != VERSION:
        raise LogError(
            f"got format version {metadata.get('version')!r}, allowed {VERSION}; "
            "write the log again with this version of the package",
            path,
        )
    return metadata


def column_names(path: Path) -> list[str]:
    """Names of the columns of a Parquet or CSV file."""
    _check_suffix(path)
    if path.suffix == ".parquet":
        with _open_parquet(path) as file:
            return file.schema_arrow.names
    try:
        first = next(textfile.numbered_rows(path), None)
    except OSError as error:
        raise LogError(f"not readable ({error}); check the file", path) from None
    if first is None:
        raise LogError("the file is empty, allowed a header line and rows; write it again", path)
    if not textfile.is_utf8(first[2]):
        raise LogError("the header is not UTF-8 text; save the file as UTF-8", path)
    return textfile.fields_of(first[2])


def parquet_rows(path: Path) -> int:
    """Number of rows that the footer of a Parquet file states."""
    with _open_parquet(path) as file:
        return file.metadata.num_rows


def stream(path: Path, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[tuple[Origin, pa.RecordBatch]]:
    """Blocks of at most ``rows`` rows of ``columns``, never empty, with their place in the file."""
    blocks = _parquet_blocks if path.suffix == ".parquet" else _csv_blocks
    first = 1
    for block in blocks(path, list(columns), rows):
        for start in range(0, block.num_rows, rows):
            part = block.slice(start, rows)
            yield Origin(str(path), first), part
            first += part.num_rows


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        footer = pq.read_metadata(path)
        # A stream asks for as much memory as a damaged page claims to be long; what is read as a whole ends where it
        # does. But one large row group would be held in memory.
        buffer = _STREAM_BYTES if _largest_group(footer) > _WHOLE_BYTES else 0
        return pq.ParquetFile(
            path, metadata=footer, buffer_size=buffer, pre_buffer=False, page_checksum_verification=True
        )
    except _READ_ERRORS as error:
        raise _damaged(path, error) from None


def _largest_group(footer: pq.FileMetaData) -> int:
    """Bytes of the largest row group, as the footer states them; asked for a damaged column, Arrow would end Python."""
    return max((footer.row_group(place).total_byte_size for place in range(footer.num_row_groups)), default=0)


def _damaged(path: Path, error: Exception) -> LogError:
    reason = str(error).strip().splitlines()
    return LogError(
        f"not readable as Parquet ({reason[0] if reason else type(error).__name__}); "
        "the file is truncated, damaged or of another kind: copy or write it again",
        path,
    )


def _parquet_blocks(path: Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    with _open_parquet(path) as file:
        try:
            # ``columns`` names leaves for nested types, so the block is narrowed to the wanted columns again.
            yield from (block.select(columns) for block in file.iter_batches(rows, columns=columns))
        except _READ_ERRORS as error:
            raise _damaged(path, error) from None


def _csv_blocks(path: Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    options = pa_csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    reading = pa_csv.ReadOptions(use_threads=False, block_size=textfile.LONGEST_LINE)
    try:
        with pa_csv.open_csv(path, read_options=reading, convert_options=options) as reader:
            yield from reader
    except _READ_ERRORS as error:
        raise _broken_row(path, error) from None


def _broken_row(path: Path, error: Exception) -> LogError:
    """The error for the first row that is not CSV; found by a slow second look, since Arrow gives no line."""
    names: list[str] = []
    for _, row, text in textfile.numbered_rows(path):
        fields = textfile.fields_of(text)
        names = names or fields
        if len(text) >= textfile.LONGEST_LINE:
            message = f"the line is longer than the {textfile.LONGEST_LINE} characters allowed; correct or remove it"
            return LogError(message, path, row=row)
        if not textfile.is_utf8(text):
            at = next((place for place, field in enumerate(fields) if not textfile.is_utf8(field)), 0)
            return LogError("not UTF-8 text; save the file as UTF-8", path, names[at % len(names)], row)
        if len(fields) != len(names):
            column = names[min(len(fields), len(names) - 1)]
            return LogError(
                f"a broken row: got {len(fields)} fields, allowed {len(names)} ({', '.join(names[:12])}); "
                "correct or remove the row",
                path,
                column,
                row,
            )
    return LogError(f"not readable as CSV ({error}); write it again", path)


def check_replaceable(path: Path) -> None:
    """Raise LogError where a folder or file at ``path`` is not a log, so that replacing it could destroy it."""
    if path.is_dir():
        if any(path.iterdir()) and not (path / METADATA).exists():
            raise LogError("the folder exists and is not a log; choose another path or empty it first", path)
        read_metadata(path)
    elif path.exists():
        raise LogError("a file is in the way, allowed a new folder or a log to replace; choose another path", path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends well and vanishes otherwise.

    Raises:
        LogError: ``path`` exists and is neither empty nor a log, so replacing it could destroy foreign files.
    """
    path = path.resolve()
    check_replaceable(path)
    token = secrets.token_hex(4)
    staging = path.with_name(f".{path.name}.partial-{token}")
    previous = path.with_name(f".{path.name}.previous-{token}")
    try:
        staging.mkdir(parents=True)
        yield staging
        if path.exists():
            path.rename(previous)
        staging.rename(path)
    finally:
        if previous.exists() and not path.exists():
            previous.rename(path)
        shutil.rmtree(previous, ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)
