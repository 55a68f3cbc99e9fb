"""Slow, exact line numbers of a CSV file; used only to word an error."""

import csv
from collections.abc import Iterator
from pathlib import Path

LONGEST_LINE = 1 << 20
"""Characters in one line of a CSV file; also the block size of the reader, so that memory stays bounded."""


def numbered_rows(path: Path) -> Iterator[tuple[int, int, str]]:
    """(line, row, text) of every line that is not blank; the header is row 0; bytes that are not UTF-8 survive
    as lone surrogates."""
    row = -1
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=1):
            if text != "\n":
                row += 1
                yield line, row, text.removesuffix("\n")


def line_of_row(path: Path, row: int) -> int:
    """The physical line (1-based) of data row ``row``; blank lines do not count as rows."""
    return next((line for line, number, _ in numbered_rows(path) if number == row), row + 1)


def fields_of(text: str, separator: str = ",") -> list[str]:
    """The fields of one line; a line that is no CSV at all is one field."""
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return [text]


def is_utf8(text: str) -> bool:
    """Whether the bytes behind ``text`` (as read by ``numbered_rows``) were valid UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
