"""What a column of a shop's log holds, turned into NumPy; values that cannot be are marked and not guessed at."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data.schema import Origin

_EMPTY = ("", "nan", "null", "none")
"""What programs write where they have no value, in lower case."""
_TRUE, _FALSE = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")
_UNITS = (("seconds", 1.0, 1e11), ("milliseconds", 1e3, 1e14), ("microseconds", 1e6, 1e17))
"""Unit, how many make a second, and the number from which it would be a later unit: in seconds the year 5138."""

_SAMPLE = 1000
"""Rows from which the form of the time is told."""


@dataclass(frozen=True)
class Values:
    """One column of a block; where ``bad`` is True, ``found`` means nothing."""

    found: np.ndarray  # (rows,)
    bad: np.ndarray  # (rows,) bool
    allowed: str
    """The allowed values in words; error messages end with it."""


def as_text(values: pa.Array, column: str, origin: Origin) -> pa.Array:
    """The values as text without spaces around it, null where empty; whole numbers without a decimal point.

    Raises:
        LogError: the column holds lists or other things that have no short text, or text that is not UTF-8.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        # Programs turn whole numbers into floating ones where a value was missing.
        whole = pc.and_(pc.less(pc.abs(values), 2.0**53), pc.equal(values, pc.floor(values)))
        numbers = pc.if_else(whole, values, None).cast(pa.int64())
        values = pc.if_else(pc.is_valid(numbers), numbers.cast(pa.string()), values.cast(pa.string()))
    try:
        text = values.cast(pa.string())
    except (pa.ArrowException, TypeError):
        raise origin.error(f"got type {values.type}, allowed text or numbers; convert the column", column) from None
    try:
        text.validate(full=True)
    except pa.ArrowException:
        raise origin.error("some of the text is not UTF-8; write the file again as UTF-8", column) from None
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(_EMPTY)), None, text)


def read_words(text: pa.Array, codes: dict[str, int], allowed: str) -> Values:
    """The code of each word of ``text``, in whatever case where the words as they stand do not match."""
    words = pa.array(list(codes), pa.string())
    place = pc.index_in(text, words)
    lower = pc.index_in(pc.utf8_lower(text), pc.utf8_lower(words))
    place = pc.if_else(pc.is_valid(place), place, lower)
    bad = np.asarray(pc.or_(pc.is_null(place), pc.is_null(text)))
    return Values(np.array(list(codes.values()))[_filled(place, 0)], bad, allowed)


def read_flags(text: pa.Array) -> Values:
    """1 or true, 0 or false, as bool."""
    codes = dict.fromkeys(_TRUE, 1) | dict.fromkeys(_FALSE, 0)
    read = read_words(text, codes, "1 or true, 0 or false")
    return Values(read.found.astype(bool), read.bad, read.allowed)


def read_numbers(text: pa.Array, allowed: str = "a finite number") -> Values:
    """Numbers as float64."""
    found = _filled(_each(text, lambda part: part.cast(pa.float64())), np.nan)
    return Values(found, ~np.isfinite(found), allowed)


def read_places(text: pa.Array) -> Values:
    """Integers of 0 or more as int64."""
    found = _filled(_each(text, lambda part: part.cast(pa.int64())), -1)
    return Values(found, found < 0, "an integer of 0 or more")


def read_keys(text: pa.Array) -> Values:
    """Each text as an int64 of its own: the number that it is, or the first 64 bits of its hash."""
    encoded = text.dictionary_encode()
    keys = np.array([_key(word) for word in encoded.dictionary.to_pylist()] or [0], dtype=np.int64)
    bad = np.asarray(pc.is_null(text))
    return Values(keys[_filled(encoded.indices, 0)], bad, "a name or a number")


def is_number(word: str) -> bool:
    """Whether ``word`` is how Python writes a 64-bit integer: not with leading zeros, which a number would lose."""
    if len(word) > 20 or not (word.isascii() and word.removeprefix("-").isdigit()):
        return False
    return str(int(word)) == word and -(2**63) <= int(word) < 2**63


@dataclass(frozen=True)
class TimeForm:
    """How a column writes the time, found in its first rows and then held to."""

    words: str
    """For a reader."""
    per_second: float | None
    """Units that make a second; None for text and timestamps."""

    @classmethod
    def of(cls, values: pa.Array, text: pa.Array) -> "TimeForm":
        """The form of a column that begins with ``values``, which as text are ``text``."""
        if _is_moment(values.type):
            return cls(f"timestamps ({values.type})", None)
        sample = text[:_SAMPLE].drop_null()
        numbers = read_numbers(sample)
        sizes = np.abs(numbers.found[~numbers.bad])
        if 2 * len(sizes) <= len(sample):
            return cls("ISO 8601 text, without a zone as UTC", None)
        # The median, so that a default value such as 0 in the first row does not decide.
        size = np.median(sizes)
        name, per_second = next(((name, many) for name, many, end in _UNITS if size < end), ("nanoseconds", 1e9))
        return cls(f"{name} since 1970", per_second)

    def read(self, values: pa.Array, text: pa.Array) -> Values:
        """Seconds since 1970 as float64."""
        if self.per_second is not None:
            read = read_numbers(text, f"a number of {self.words}, as in the first rows")
            return Values(read.found / self.per_second, read.bad, read.allowed)
        if _is_moment(values.type):
            moments = values.cast(pa.timestamp("us"), safe=False)
        else:
            moments = _each(text, _moments)
        missing = np.asarray(pc.is_null(moments))
        seconds = _filled(moments.cast(pa.int64()), 0) / 1e6
        return Values(seconds, missing, "a time such as 2024-05-31T17:00:00 or 2024-05-31T17:00:00+02:00")


def moment_of(seconds: float) -> str:
    """``seconds`` since 1970 for a reader; the number itself where it is no date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _moments(text: pa.Array) -> pa.Array:
    """Text as timestamps, all without or all with a zone."""
    try:
        return text.cast(pa.timestamp("us"))
    except pa.ArrowException:
        return text.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


def _each(text: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """``convert(text)``, with null where a value does not convert."""
    try:
        return convert(text)
    except pa.ArrowException:
        if len(text) > 1:
            middle = len(text) // 2
            return pa.concat_arrays([_each(text[:middle], convert), _each(text[middle:], convert)])
        return convert(pa.array([None], pa.string()))


def _filled(values: pa.Array, missing: float) -> np.ndarray:
    return pc.fill_null(values, pa.scalar(missing, values.type)).to_numpy(zero_copy_only=False)


def _key(word: str | None) -> int:
    if word is None:
        return 0
    if is_number(word):
        return int(word)
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)
