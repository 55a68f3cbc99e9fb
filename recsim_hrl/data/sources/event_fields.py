"""Fields of a public event log: which text each may hold, and the values that become of it, a column at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

_LONGEST_NUMBER = 18
"""Digits that fit into 64 bits whatever they are."""
_NO_NUMBER = pa.scalar(None, pa.int64())
_NO_TEXT = pa.scalar(None, pa.string())


@dataclass(frozen=True)
class Field:
    """One field of the rows of a file."""

    name: str
    allowed: str
    """The allowed texts in words; error messages end with it."""
    convert: Callable[[pa.Array], pa.Array]
    """Texts (rows,) to int64 values (``text`` keeps them), null where the text is not allowed; it may raise
    ArrowInvalid instead."""


def whole(name: str, allowed: str = "a whole number of 0 or more", low: int = 0, high: int = 10**18) -> Field:
    """A whole number from ``low`` (0 or more) to ``high``, written in digits alone."""
    return Field(name, allowed, lambda texts: _within(_whole(texts), low, high))


def pointed(field: Field) -> Field:
    """The same field, where a whole number may also be written as 3.0."""
    return replace(field, convert=lambda texts: field.convert(pc.replace_substring_regex(texts, "[.]0*$", "")))


def signed(name: str) -> Field:
    """A whole number that may be negative, short enough to be multiplied by 1000."""

    def convert(texts: pa.Array) -> pa.Array:
        good = pc.match_substring_regex(texts, "^-?[0-9]{1,15}$")
        return pc.if_else(good, texts, _NO_TEXT).cast(pa.int64())

    return Field(name, "a whole number of at most 15 digits", convert)


def optional_whole(name: str, absent: str = "") -> Field:
    """A whole number or the text ``absent``, which becomes -1."""

    def convert(texts: pa.Array) -> pa.Array:
        return pc.if_else(pc.equal(texts, absent), -1, _whole(texts))

    return Field(name, f"a whole number of 0 or more, or {absent or 'nothing'}", convert)


def word(name: str, words: Sequence[str]) -> Field:
    """One of ``words``; the value is its place among them."""
    return Field(name, " or ".join(words), lambda texts: pc.index_in(texts, pa.array(words)).cast(pa.int64()))


def utc_time(name: str, allowed: str, low: int, high: int) -> Field:
    """A moment as in 2014-04-07T10:51:09.277Z; the value is milliseconds since 1970, from ``low`` to ``high``."""

    def convert(texts: pa.Array) -> pa.Array:
        shape = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,3})?Z$"
        texts = pc.if_else(pc.match_substring_regex(texts, shape), texts, _NO_TEXT)
        return _within(texts.cast(pa.timestamp("ms", "UTC")).cast(pa.int64()), low, high)

    return Field(name, allowed, convert)


def text(name: str) -> Field:
    """Any text, kept as it is."""
    return Field(name, "any text", lambda texts: texts)


def _whole(texts: pa.Array) -> pa.Array:
    good = pc.and_(pc.ascii_is_decimal(texts), pc.less_equal(pc.binary_length(texts), _LONGEST_NUMBER))
    return pc.if_else(good, texts, _NO_TEXT).cast(pa.int64())


def _within(values: pa.Array, low: int, high: int) -> pa.Array:
    return pc.if_else(pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)), values, _NO_NUMBER)
