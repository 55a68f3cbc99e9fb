"""Fields of a public data set: which text each may hold, and the values that become of it, a column at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

_LONGEST_NUMBER = 18
"""Digits that fit into 64 bits whatever they are."""
_NO_NUMBER = pa.scalar(None, pa.int64())
_NO_TEXT = pa.scalar(None, pa.string())
_DECIMAL = "-?[0-9]+([.][0-9]+)?(e[+-]?[0-9]{1,3})?"


@dataclass(frozen=True)
class Field:
    """One field of the rows of a file."""

    name: str
    allowed: str
    """The allowed texts in words; error messages end with it."""
    convert: Callable[[pa.Array], pa.Array]
    """Texts (rows,) to values, int64 unless its maker says otherwise, null where the text is not allowed; it may
    raise ArrowInvalid instead."""


def whole(name: str, allowed: str = "a whole number of 0 or more", low: int = 0, high: int = 10**18) -> Field:
    """A whole number from ``low`` (0 or more) to ``high``, written in digits alone."""
    return Field(name, allowed, lambda texts: _within(_whole(texts), low, high))


def pointed(field: Field) -> Field:
    """The same field, where a whole number may also be written as 3.0."""
    return replace(field, convert=lambda texts: field.convert(pc.replace_substring_regex(texts, "[.]0*$", "")))


def signed(name: str) -> Field:
    """A whole number that may be negative, short enough to be multiplied by 1000."""

    def convert(texts: pa.Array) -> pa.Array:
        return _matching(texts, "^-?[0-9]{1,15}$").cast(pa.int64())

    return Field(name, "a whole number of at most 15 digits", convert)


def optional_whole(name: str, absent: str = "") -> Field:
    """A whole number or the text ``absent``, which becomes -1."""

    def convert(texts: pa.Array) -> pa.Array:
        return pc.if_else(pc.equal(texts, absent), -1, _whole(texts))

    return Field(name, f"a whole number of 0 or more, or {absent or 'nothing'}", convert)


def word(name: str, words: Sequence[str]) -> Field:
    """One of ``words``; the value is its place among them."""
    return Field(name, " or ".join(words), lambda texts: pc.index_in(texts, pa.array(words)).cast(pa.int64()))


def flag(name: str) -> Field:
    """0 or 1."""
    return word(name, ("0", "1"))


def utc_time(name: str, allowed: str, low: int, high: int, form: str = "{date}T{time}Z") -> Field:
    """A moment as in 2014-04-07T10:51:09.277Z; the value is milliseconds since 1970, from ``low`` to ``high``.

    ``form`` tells what stands between and after date and time of day, as a regular expression.
    """
    shape = form.format(date="[0-9]{4}-[0-9]{2}-[0-9]{2}", time="[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?")

    def convert(texts: pa.Array) -> pa.Array:
        microseconds = _matching(texts, f"^{shape}$").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return _within(pc.divide(microseconds, 1000), low, high)

    return Field(name, allowed, convert)


def decimal(name: str, allowed: str, low: float, high: float) -> Field:
    """A number from ``low`` to ``high``, with or without a point or an exponent; the value is float64."""

    def convert(texts: pa.Array) -> pa.Array:
        values = _matching(texts, f"^{_DECIMAL}$").cast(pa.float64())
        inside = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
        return pc.if_else(inside, values, pa.scalar(None, pa.float64()))

    return Field(name, allowed, convert)


def whole_list(name: str, size: int) -> Field:
    """``size`` whole numbers of 0 or more between commas; the value is a list of int64."""
    return _list(name, size, "[0-9]{1,18}", pa.int64(), f"{size} whole numbers of 0 or more between commas")


def decimal_list(name: str, size: int) -> Field:
    """``size`` numbers between commas; the value is a list of float64."""
    return _list(name, size, _DECIMAL, pa.float64(), f"{size} numbers between commas")


def text(name: str) -> Field:
    """Any text, kept as it is."""
    return Field(name, "any text", lambda texts: texts)


def _list(name: str, size: int, entry: str, kind: pa.DataType, allowed: str) -> Field:
    def convert(texts: pa.Array) -> pa.Array:
        lists = pc.split_pattern(_matching(texts, f"^({entry},){{{size - 1}}}{entry}$"), ",")
        return lists if lists.null_count else pa.FixedSizeListArray.from_arrays(lists.flatten().cast(kind), size)

    return Field(name, allowed, convert)


def _matching(texts: pa.Array, shape: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, shape), texts, _NO_TEXT)


def _whole(texts: pa.Array) -> pa.Array:
    good = pc.and_(pc.ascii_is_decimal(texts), pc.less_equal(pc.binary_length(texts), _LONGEST_NUMBER))
    return pc.if_else(good, texts, _NO_TEXT).cast(pa.int64())


def _within(values: pa.Array, low: int, high: int) -> pa.Array:
    return pc.if_else(pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)), values, _NO_NUMBER)
