"""Files of public data sets: found in a folder, an archive or by name, streamed, every value checked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from recsim_hrl.data.archives import DOWNLOAD, READ_ERRORS, is_tar, members_of, open_member
from recsim_hrl.data.schema import LogError, Origin
from recsim_hrl.data.sources.event_fields import Field

_BLOCK_BYTES = 2 << 20
"""Bytes of a file that are read at a time; no line may be longer."""
_PACKED = (".7z", ".rar", ".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class TextTable:
    """The form of one file: rows of fields."""

    file: str
    """Its name, as the publisher ships it."""
    fields: tuple[Field, ...]
    is_headed: bool
    """Whether the first line names the fields."""
    delimiter: str = ","
    """The character between two fields."""
    is_quoted: bool = False
    """Whether a field may stand in double quotes, and then hold the delimiter."""

    @property
    def names(self) -> list[str]:
        """Names of the fields."""
        return [field.name for field in self.fields]


@dataclass(frozen=True)
class Place:
    """Where a file lies: on disk, or in an archive."""

    path: Path
    """The file or the archive."""
    member: str | None = None
    """Name inside the archive."""

    @property
    def label(self) -> str:
        """What error messages call the file."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The content as a stream of bytes."""
        with self.path.open("rb") if self.member is None else open_member(self.path, self.member) as file:
            yield file


def find_files(source: Path, names: Sequence[str], data_set: str, archives: Sequence[str] = ()) -> dict[str, Place]:
    """Find the files called ``names`` wherever the publisher's download left them.

    Args:
        source: A folder with the files in it or below it, each as it is or as ``NAME.zip``; a zip or tar archive; or
            one of the files or ``archives``, with the others beside it.
        names: The files, all of them required; one that other files share their name with has its folder before it.
        data_set: Its name, for error messages.
        archives: Archives in the folder that may hold files that are not in it.

    Raises:
        LogError: a file is missing or there twice, or an archive is damaged or of another kind.
    """
    found = find_some(source, names, data_set, archives)
    missing = [name for name in names if name not in found]
    if missing:
        held = sorted(path.name for path in source.iterdir()) if source.is_dir() else sorted(found) or [source.name]
        raise LogError(
            f"not all of {data_set}: {missing} missing; got {held[:10]}, required {list(names)}; "
            "add what is missing, or pass the publisher's archive or its folder",
            source,
        )
    return found


def find_some(source: Path, names: Sequence[str], data_set: str, archives: Sequence[str] = ()) -> dict[str, Place]:
    """Those of the files that are there; arguments and errors are those of ``find_files``."""
    if not source.exists():
        raise LogError(f"no such file or folder; check the path, or download {data_set} there", source)
    if source.is_dir() or source.name in (*names, *archives):
        return _in_folder(source if source.is_dir() else source.parent, names, archives)
    if source.suffix in _PACKED and not is_tar(source):
        raise LogError(f"got a {source.suffix} file, allowed .zip and .tar.gz; extract it and pass the folder", source)
    return _in_archive(source, names)


def _in_folder(folder: Path, names: Sequence[str], archives: Sequence[str]) -> dict[str, Place]:
    found = {name: Place(folder / name) for name in names if (folder / name).is_file()}
    if len(found) < len(names):
        below = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        found |= {name: Place(folder / inside) for name, inside in _among(sorted(below), names, folder).items()}
    for archive in (*(f"{name}.zip" for name in names), *archives):
        missing = [name for name in names if name not in found]
        if missing and (folder / archive).is_file():
            found |= _in_archive(folder / archive, missing)
    return found


def _in_archive(archive: Path, names: Sequence[str]) -> dict[str, Place]:
    inside = _among(members_of(archive), names, archive)
    return {name: Place(archive, member) for name, member in inside.items()}


def _among(paths: Sequence[str], names: Sequence[str], where: Path) -> dict[str, str]:
    """By name, the one of the ``paths`` that ends with it; the shortest way is right where it is the name alone."""
    found = {}
    for name in names:
        same = [path for path in paths if path == name] or [path for path in paths if path.endswith(f"/{name}")]
        if len(same) > 1:
            raise LogError(f"got {name} as {same}, allowed once; pass one folder with the files", where)
        if same:
            found[name] = same[0]
    return found


def read_table(place: Place, table: TextTable) -> Iterator[tuple[Origin, dict[str, pa.Array]]]:
    """Stream the rows of a file in blocks that are never empty, as values, with their place in the file.

    Blank lines are passed over and not counted as rows; line ends may be those of Unix or of Windows.

    Raises:
        LogError: at the first row that has another number of fields or a value that is not allowed, for a header
            that is another one, and for a file that is empty, damaged or cut.
    """
    rows, header_is_due = 0, table.is_headed
    for texts in _text_blocks(place, table):
        if header_is_due:
            _check_header([_shown(texts.column(name), 0) for name in table.names], place, table)
            texts, header_is_due = texts.slice(1), False
        if texts.num_rows:
            origin = Origin(place.label, rows + 1, table.is_headed)
            yield origin, {field.name: converted(texts.column(field.name), field, origin) for field in table.fields}
        rows += texts.num_rows
    if not rows:
        raise LogError(f"the file holds no rows, allowed one or more; {DOWNLOAD}", place.label)


def _text_blocks(place: Place, table: TextTable) -> Iterator[pa.RecordBatch]:
    broken: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        broken.append(row)
        return "error"

    reading = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=table.names)
    quotes = '"' if table.is_quoted else False
    parsing = pa_csv.ParseOptions(delimiter=table.delimiter, quote_char=quotes, invalid_row_handler=note)
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(table.names, pa.string()), strings_can_be_null=False, check_utf8=False
    )
    try:
        with place.open() as stream:
            file = pa.PythonFile(stream, mode="r")
            with pa_csv.open_csv(file, reading, parsing, options) as reader:
                yield from reader
    except (pa.ArrowException, *READ_ERRORS) as error:
        if broken:
            raise _broken_row(broken[0], place, table) from None
        if "Empty CSV" in str(error):
            raise LogError(f"the file is empty, allowed one row or more; {DOWNLOAD}", place.label) from None
        raise LogError(f"not readable ({error}); the file is damaged: {DOWNLOAD}", place.label) from None


def _broken_row(row: pa_csv.InvalidRow, place: Place, table: TextTable) -> LogError:
    if table.is_headed and row.number == 1:
        return _wrong_header(row.text, place, table)
    return LogError(
        f"a broken row: got {row.actual_columns} fields ({row.text[:80]!r}), allowed {row.expected_columns} "
        f"({', '.join(table.names)}) between {table.delimiter!r}; correct the row, or {DOWNLOAD}",
        place.label,
        table.names[min(row.actual_columns, len(table.names) - 1)],
        row.number - table.is_headed,
        table.is_headed,
    )


def _check_header(names: list[str], place: Place, table: TextTable) -> None:
    if names != table.names:
        raise _wrong_header(table.delimiter.join(names), place, table)


def _wrong_header(got: str, place: Place, table: TextTable) -> LogError:
    return LogError(
        f"got the header {got[:80]!r}, allowed {table.delimiter.join(table.names)!r}; the file is another one or lost "
        f"its first line: check the path, or {DOWNLOAD}",
        place.label,
    )


def converted(texts: pa.Array, field: Field, origin: Origin, rows: np.ndarray | None = None) -> pa.Array:
    """The values of texts of a block; LogError names the first text that is not allowed.

    Args:
        texts: (n,) texts.
        field: The field that they are of.
        origin: Where the block comes from.
        rows: (n,) places of the texts in the block, where they are not all of them.
    """
    values = _values(texts, field)
    if values is not None:
        return values
    at = _first_invalid(texts, field)
    raise origin.error(
        f"got {_shown(texts, at)[:60]!r}, allowed {field.allowed}; correct the row, or {DOWNLOAD}",
        field.name,
        at if rows is None else rows[at],
    )


def _first_invalid(texts: pa.Array, field: Field) -> int:
    """Place of the first text that does not convert, by bisection over a prefix known to hold one."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        if _values(texts[low:middle], field) is None:
            high = middle
        else:
            low = middle
    return low


def _values(texts: pa.Array, field: Field) -> pa.Array | None:
    """The values of the texts, None where one of them does not convert."""
    try:
        values = field.convert(texts)
    except pa.ArrowInvalid:
        return None
    return None if values.null_count else values


def _shown(texts: pa.Array, at: int) -> str:
    """The text at a place, whatever its bytes are."""
    return texts[at].cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")
