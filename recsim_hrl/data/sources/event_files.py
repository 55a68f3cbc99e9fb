"""Files of public event logs: found in a folder, an archive or by name, streamed, every value checked."""

import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from recsim_hrl.data.archives import DOWNLOAD, members_of
from recsim_hrl.data.schema import LogError, Origin
from recsim_hrl.data.sources.event_fields import Field

_BLOCK_BYTES = 2 << 20
"""Bytes of a file that are read at a time; no line may be longer."""
_PACKED = (".7z", ".rar", ".gz", ".bz2", ".xz", ".tar", ".tgz")
# RuntimeError and its kind NotImplementedError: an encrypted member, or an unknown compression.
READ_ERRORS = (pa.ArrowException, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class TextTable:
    """The form of one file: rows of fields between separators, without quotes."""

    file: str
    """Its name, as the publisher ships it."""
    fields: tuple[Field, ...]
    is_headed: bool
    """Whether the first line names the fields."""
    separator: str = ","
    """One character, or the same one several times."""
    headings: tuple[str, ...] = ()
    """What the first line calls the fields, where these are not their names."""

    @property
    def names(self) -> list[str]:
        """Names of the fields."""
        return [field.name for field in self.fields]

    @property
    def header(self) -> str:
        """The first line of a headed file."""
        return self.separator.join(self.headings or self.names)


@dataclass(frozen=True)
class Place:
    """Where a file lies: on disk, or in a zip archive."""

    path: Path
    """The file or the archive."""
    member: str | None = None
    """Name inside the archive."""

    @property
    def label(self) -> str:
        """What error messages call the file."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The content as a stream of bytes."""
        if self.member is None:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            yield file


def find_files(source: Path, names: Sequence[str], data_set: str, optional: Sequence[str] = ()) -> dict[str, Place]:
    """Find the files called ``names`` wherever the publisher's download left them.

    Args:
        source: A folder with the files, each as it is or as ``NAME.zip``; a zip archive; or one of the files, with
            the others beside it.
        names: The files, all of them required.
        data_set: Its name, for error messages.
        optional: Files that are found where they are there.

    Raises:
        LogError: a file is missing or there twice, or the archive is damaged or of another kind.
    """
    if not source.exists():
        raise LogError(f"no such file or folder; check the path, or download {data_set} there", source)
    wanted = [*names, *optional]
    if source.is_dir() or source.name in names:
        found = _in_folder(source if source.is_dir() else source.parent, wanted)
    elif source.suffix in _PACKED:
        raise LogError(f"got a {source.suffix} file, allowed .zip; extract it and pass the folder", source)
    else:
        found = _in_archive(source, wanted)
    missing = [name for name in names if name not in found]
    if missing:
        held = sorted(path.name for path in source.iterdir()) if source.is_dir() else sorted(found) or [source.name]
        raise LogError(
            f"not all of {data_set}: {missing} missing; got {held[:10]}, required {list(names)}; "
            "add what is missing, or pass the publisher's archive or its folder",
            source,
        )
    return found


def _in_folder(folder: Path, names: Sequence[str]) -> dict[str, Place]:
    found = {}
    for name in names:
        if (folder / name).is_file():
            found[name] = Place(folder / name)
        elif (folder / f"{name}.zip").is_file():
            found |= _in_archive(folder / f"{name}.zip", [name])
    return found


def _in_archive(archive: Path, names: Sequence[str]) -> dict[str, Place]:
    members, found = members_of(archive), {}
    for name in names:
        inside = [member for member in members if member.split("/")[-1] == name]
        if len(inside) > 1:
            raise LogError(f"got {name} as {inside}, allowed once; extract the archive and pass one folder", archive)
        if inside:
            found[name] = Place(archive, inside[0])
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
    columns = _columns(table)
    reading = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=columns)
    parsing = pa_csv.ParseOptions(delimiter=table.separator[0], quote_char=False)
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False, check_utf8=False
    )
    line = 1
    try:
        with place.open() as stream:
            file = pa.PythonFile(stream, mode="r")
            with pa_csv.open_csv(file, reading, parsing, options) as reader:
                for block in reader:
                    _check_gaps(block, line, place, table)
                    yield block
                    line += block.num_rows
    except (*READ_ERRORS, UnicodeDecodeError) as error:
        if "Empty CSV" in str(error):
            raise LogError(f"the file is empty, allowed one row or more; {DOWNLOAD}", place.label) from None
        broken = _first_broken(place, table) if isinstance(error, pa.ArrowInvalid) else None
        if broken is not None:
            raise broken from None
        raise LogError(f"not readable ({error}); the file is damaged: {DOWNLOAD}", place.label) from None


def _first_broken(place: Place, table: TextTable) -> LogError | None:
    """The error for the first row with another number of fields, None where each has as many.

    A slow second look, since Arrow tells no row that is not UTF-8.
    """
    line, marks = 0, len(_columns(table)) - 1
    with contextlib.suppress(*READ_ERRORS), place.open() as stream, io.TextIOWrapper(stream, "latin-1") as file:
        for text in iter(lambda: file.readline(_BLOCK_BYTES), ""):
            text = text.removesuffix("\n")
            line += bool(text)
            if text and text.count(table.separator[0]) != marks:
                return _broken_row(text.encode("latin-1").decode("utf-8", "backslashreplace"), line, place, table)
    return None


def _columns(table: TextTable) -> list[str]:
    """Columns as Arrow splits them, at one character: between two fields, a longer separator leaves empty ones."""
    gaps = len(table.separator) - 1
    spaced = [column for name in table.names for column in (name, *(f"after {name}, {gap}" for gap in range(gaps)))]
    return spaced[: len(spaced) - gaps]


def _check_gaps(block: pa.RecordBatch, first: int, place: Place, table: TextTable) -> None:
    """Raise LogError where text stands inside a separator; ``first`` is the line that the block begins with."""
    for name in block.schema.names:
        if name not in table.names:
            filled = pc.index(pc.equal(block.column(name), ""), False).as_py()
            if filled >= 0:
                text = table.separator[0].join(_shown(block.column(column), filled) for column in block.schema.names)
                raise _broken_row(text, first + filled, place, table)


def _broken_row(text: str, line: int, place: Place, table: TextTable) -> LogError:
    if table.is_headed and line == 1:
        return _wrong_header(text, place, table)
    fields = len(text.split(table.separator))
    return LogError(
        f"a broken row: got {fields} fields ({text[:80]!r}), allowed {len(table.fields)} "
        f"({', '.join(table.names)}) separated by {table.separator!r}; correct the row, or {DOWNLOAD}",
        place.label,
        table.names[min(fields, len(table.names) - 1)],
        line - table.is_headed,
        table.is_headed,
    )


def _check_header(names: list[str], place: Place, table: TextTable) -> None:
    got = table.separator.join(names)
    if got != table.header:
        raise _wrong_header(got, place, table)


def _wrong_header(got: str, place: Place, table: TextTable) -> LogError:
    return LogError(
        f"got the header {got[:80]!r}, allowed {table.header!r}; the file is another one or lost its first "
        f"line: check the path, or {DOWNLOAD}",
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
