"""Files of public data sets: found in a folder, an archive or by name, streamed, every value checked."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from recsim_hrl.data.archives import DOWNLOAD, READ_ERRORS, is_tar, members_of, open_member
from recsim_hrl.data.schema import LogError, Origin
from recsim_hrl.data.sources.event_fields import Field
from recsim_hrl.data.textfile import fields_of

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
    separator: str = ","
    """Between two fields: one character, or the same one several times."""
    headings: tuple[str, ...] = ()
    """What the first line calls the fields, where these are not their names."""
    is_quoted: bool = False
    """Whether a field may stand in double quotes, and then hold the separator, which is one character."""

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


def find_files(
    source: Path,
    names: Sequence[str],
    data_set: str,
    archives: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> dict[str, Place]:
    """Find the files called ``names`` wherever the publisher's download left them.

    Args:
        source: A folder with the files in it or below it, each as it is or as ``NAME.zip``; a zip or tar archive; or
            one of the files or ``archives``, with the others beside it.
        names: The files, all of them required; one that other files share their name with has its folder before it.
        data_set: Its name, for error messages.
        archives: Archives in the folder that may hold files that are not in it.
        optional: Files that are found where they are there.

    Raises:
        LogError: a file is missing or there twice, or an archive is damaged or of another kind.
    """
    found = find_some(source, [*names, *optional], data_set, archives)
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
            _check_header(texts, place, table)
            texts, header_is_due = texts.slice(1), False
        _check_gaps(texts, rows + 1, place, table)
        if texts.num_rows:
            origin = Origin(place.label, rows + 1, table.is_headed)
            yield origin, {field.name: converted(texts.column(field.name), field, origin) for field in table.fields}
        rows += texts.num_rows
    if not rows:
        raise LogError(f"the file holds no rows, allowed one or more; {DOWNLOAD}", place.label)


def _text_blocks(place: Place, table: TextTable) -> Iterator[pa.RecordBatch]:
    columns = _columns(table)
    reading = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=columns)
    parsing = pa_csv.ParseOptions(delimiter=table.separator[0], quote_char='"' if table.is_quoted else False)
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False, check_utf8=False
    )
    try:
        with place.open() as stream:
            file = pa.PythonFile(stream, mode="r")
            with pa_csv.open_csv(file, reading, parsing, options) as reader:
                yield from reader
    except (pa.ArrowException, *READ_ERRORS) as error:
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
    row, allowed = -int(table.is_headed), len(_columns(table))
    with suppress(*READ_ERRORS), place.open() as stream, io.TextIOWrapper(stream, "latin-1") as file:
        for text in iter(lambda: file.readline(_BLOCK_BYTES), ""):
            text = text.removesuffix("\n")
            row += bool(text)
            if text and len(_split(text, table.separator[0], table)) != allowed:
                text = text.encode("latin-1").decode("utf-8", "backslashreplace")
                is_header = table.is_headed and not row
                return _wrong_header(text, place, table) if is_header else _broken_row(text, row, place, table)
    return None


def _columns(table: TextTable) -> list[str]:
    """Columns as Arrow splits them, at one character: between two fields, a longer separator leaves empty ones."""
    gaps = len(table.separator) - 1
    spaced = [column for name in table.names for column in (name, *(f"after {name}, {gap}" for gap in range(gaps)))]
    return spaced[: len(spaced) - gaps]


def _split(text: str, separator: str, table: TextTable) -> list[str]:
    return fields_of(text, separator) if table.is_quoted else text.split(separator)


def _check_gaps(texts: pa.RecordBatch, first_row: int, place: Place, table: TextTable) -> None:
    """Raise LogError where text stands inside a separator."""
    for name in texts.schema.names:
        if name not in table.names:
            filled = pc.index(pc.equal(texts.column(name), ""), False).as_py()
            if filled >= 0:
                raise _broken_row(_line(texts, filled, table), first_row + filled, place, table)


def _check_header(texts: pa.RecordBatch, place: Place, table: TextTable) -> None:
    got = _line(texts, 0, table)
    if got != table.header:
        raise _wrong_header(got, place, table)


def _line(texts: pa.RecordBatch, at: int, table: TextTable) -> str:
    """The line that became a row, but for quotes."""
    return table.separator[0].join(_shown(column, at) for column in texts.columns)


def _broken_row(text: str, row: int, place: Place, table: TextTable) -> LogError:
    fields = len(_split(text, table.separator, table))
    return LogError(
        f"a broken row: got {fields} fields ({text[:80]!r}), allowed {len(table.fields)} "
        f"({', '.join(table.names)}) separated by {table.separator!r}; correct the row, or {DOWNLOAD}",
        place.label,
        table.names[min(fields, len(table.names) - 1)],
        row,
        table.is_headed,
    )


def _wrong_header(got: str, place: Place, table: TextTable) -> LogError:
    return LogError(
        f"got the header {got[:80]!r}, allowed {table.header!r}; the file is another one or lost its first line: check "
        f"the path, or {DOWNLOAD}",
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
