"""A shop's log, block by block, as records of numbers; and what was understood of its columns."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data import files
from recsim_hrl.data.own.items import ItemsOfLog, ShopItems
from recsim_hrl.data.own.ledger import EXAMPLES, Ledger
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.own.names import Names
from recsim_hrl.data.own.spill import Spill
from recsim_hrl.data.own.values import (
    TimeForm,
    Values,
    as_text,
    moment_of,
    read_flags,
    read_keys,
    read_numbers,
    read_places,
    read_words,
)
from recsim_hrl.data.schema import LogError, Origin, check_distinct
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, RESPONSES, SKIP, R

_IGNORED = -1
_OPTIONAL = {"session": np.int64, "slate": np.int64, "position": np.int64, "propensity": np.float64}


@dataclass
class ColumnReport:
    """How one column of the log was read."""

    role: str
    column: str
    reading: str
    """In words."""
    examples: list[str] = field(default_factory=list)
    """The first values that differ."""
    is_constant: bool = True

    def see(self, text: pa.Array) -> None:
        """Take note of the values of a block."""
        if self.is_constant or len(self.examples) < EXAMPLES:
            new = [word for word in pc.unique(text).to_pylist() if word is not None and word not in self.examples]
            self.is_constant &= len(self.examples) + len(new) <= 1
            self.examples += new[: EXAMPLES - len(self.examples)]


def record_type(mapping: ColumnMapping) -> np.dtype:
    """The fields of a record; ``row`` counts the rows of all files from 1."""
    fields: list[tuple[str, Any]] = [("row", np.int64), ("user", np.int64), ("item", np.int64)]
    fields += [("time", np.float64), ("response", np.int8)]
    # A record always has a session: that of the log, or the one that the gaps of its user make later.
    optional = [(name, kind) for name, kind in _OPTIONAL.items() if name == "session" or getattr(mapping, name)]
    return np.dtype(fields + optional)


class LogReader:
    """Reads the files of a log once; afterwards its fields tell what was there.

    Args:
        source: A .parquet or .csv file, or a folder of them.
        mapping: Which column is what.
        cleaning: What becomes of rows that cannot be read.
        ledger: Receives what is suspicious and what is dropped.
        table: The items of the item table, where there is one.
    """

    def __init__(
        self,
        source: str | Path,
        mapping: ColumnMapping,
        cleaning: CleaningConfig,
        ledger: Ledger,
        table: ShopItems | None = None,
    ) -> None:
        self.mapping, self.cleaning, self.ledger, self.table = mapping, cleaning, ledger, table
        self.files = _files_of(Path(source), mapping.items)
        self.users = Names()
        self.items = ItemsOfLog()
        self.item_names = table.names if table else self.items.names
        self.rows = 0
        self.first_rows: list[int] = []
        """Row of each file's first row."""
        self.words: Counter[str] = Counter()
        """Rows by word of the response."""
        self.seconds = [np.inf, -np.inf]
        """The earliest and the latest time of the rows that were kept."""
        self.columns = {role: ColumnReport(role, name, "") for role, name in mapping.log_columns.items()}
        self.unused = self._check_columns()
        self._time: TimeForm | None = None

    def read(self, spill: Spill) -> None:
        """Put all rows that can be read into ``spill``."""
        names = list(self.mapping.log_columns.values())
        for path in self.files:
            self.first_rows.append(self.rows + 1)
            for origin, block in files.stream(path, names):
                spill.add(self._records(block, origin))
                self.rows += block.num_rows
        if not self.rows:
            raise LogError("the log holds no rows, allowed one or more; export it again", self.files[0])
        self._describe_readings()

    def place(self, row: int) -> str:
        """Where ``row`` stands, for a reader."""
        at = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        file = f"{self.files[at].name} " if len(self.files) > 1 else ""
        return f"{file}row {row - self.first_rows[at] + 1}"

    def describe(self, records: np.ndarray) -> Iterator[str]:
        """One line for each record, of the first few."""
        if not len(records):
            return
        users, items = self.users.originals(), self.item_names.originals()
        for record in records[:EXAMPLES]:
            yield (
                f"{self.place(record['row'])}: user {users[record['user']]!r}, item {items[record['item']]!r}, "
                f"{moment_of(record['time'])}, {RESPONSES[record['response']]}"
            )

    def _check_columns(self) -> list[str]:
        """The columns that nothing names, after checking that every file has those that something names."""
        unused: list[str] = []
        for path in self.files:
            names = files.column_names(path)
            for role, column in self.mapping.log_columns.items():
                if column not in names:
                    hint = "; separate its columns by commas" if len(names) == 1 and ";" in names[0] else ""
                    raise LogError(
                        f"the column is missing, {role} names it; got {names}; name one of these, or add it{hint}",
                        path,
                        column,
                    )
            check_distinct([name for name in names if name in self.mapping.log_columns.values()], path)
            unused += [name for name in names if name not in [*self.mapping.log_columns.values(), *unused]]
        return unused

    def _records(self, block: pa.RecordBatch, origin: Origin) -> np.ndarray:
        """The records of the rows of a block that are kept."""
        text = {role: as_text(block.column(name), name, origin) for role, name in self.mapping.log_columns.items()}
        for role, values in text.items():
            self.columns[role].see(values)
        values = self._values(text, block)
        selection = _Selection(block.num_rows, self.ledger)
        # What is left out by its response may lack everything else.
        for role in sorted(values, key=lambda role: role != "response"):
            self._refuse_or_drop(role, values[role], text, selection, origin)
            if role == "response":
                selection.drop("ignored", values[role].found == _IGNORED)
        response = self._responses(values)
        row = self.rows + 1 + np.arange(block.num_rows)
        seconds = values["time"].found
        earliest, latest = self.cleaning.seconds
        self._drop_odd("implausible_times", "time", (seconds < earliest) | (seconds >= latest), text, selection)
        if "propensity" in values:
            chance = values["propensity"].found
            self._drop_odd("bad_propensities", "propensity", (chance <= 0.0) | (chance > 1.0), text, selection)
        items = self._items(text, values, selection)
        kept = selection.kept
        records = np.zeros(int(kept.sum()), record_type(self.mapping))
        records["row"], records["time"] = row[kept], seconds[kept]
        records["user"] = self.users.add(text.get("user", text.get("session")).filter(pa.array(kept)))
        records["item"], records["response"] = items, response[kept]
        for name in _OPTIONAL:
            if name in values:
                records[name] = values[name].found[kept]
        if len(records):
            self.seconds = [min(self.seconds[0], seconds[kept].min()), max(self.seconds[1], seconds[kept].max())]
        if {"clicked", "purchased"} <= set(values):
            odd = kept & values["purchased"].found & ~values["clicked"].found
            self.ledger.suspect("order_without_click", odd.sum(), self.describe(records[odd[kept]]))
        return records

    def _values(self, text: dict[str, pa.Array], block: pa.RecordBatch) -> dict[str, Values]:
        """Every column as numbers; names of users and items become codes later, when it is known which rows stay."""
        raw_time = block.column(self.mapping.time)
        if self._time is None:
            self._time = TimeForm.of(raw_time, text["time"])
        found = {"time": self._time.read(raw_time, text["time"])}
        for role, values in text.items():
            if role == "response":
                codes = {word: _IGNORED if code is None else code for word, code in self.mapping.responses.items()}
                words = ", ".join(f"{word!r}" for word in codes)
                found[role] = read_words(values, codes, f"{words}; add the word to skip, click, order or ignore")
                self.words.update(_counts(values))
            elif role in ("clicked", "purchased"):
                found[role] = read_flags(values)
            elif role in ("propensity", "price"):
                found[role] = read_numbers(values)
            elif role == "position":
                found[role] = read_places(values)
            elif role in ("session", "slate"):
                found[role] = read_keys(values)
            elif role != "time":
                found[role] = Values(np.zeros(len(values)), np.asarray(pc.is_null(values)), "a name or a number")
        return found

    def _refuse_or_drop(
        self, role: str, read: Values, text: dict[str, pa.Array], selection: "_Selection", origin: Origin
    ) -> None:
        bad = selection.kept & read.bad
        if not bad.any():
            return
        column, at = self.mapping.log_columns[role], int(bad.argmax())
        if self.cleaning.bad_rows == "refuse":
            got = text[role][at].as_py()
            raise origin.error(
                f"got {'an empty value' if got is None else repr(got)}, allowed {read.allowed}; correct it, or leave "
                "such rows out with bad_rows drop",
                column,
                at,
            )
        selection.drop("bad_rows", bad)

    def _drop_odd(
        self, kind: str, role: str, odd: np.ndarray, text: dict[str, pa.Array], selection: "_Selection"
    ) -> None:
        """Drop rows for a reason that is suspicious too."""
        hit = np.flatnonzero(selection.drop(kind, odd))
        examples = (f"{self._place_in_block(at)}: {role} {text[role][int(at)].as_py()!r}" for at in hit)
        self.ledger.suspect(kind, len(hit), examples)

    def _place_in_block(self, at: int) -> str:
        """Where the row at position ``at`` of the present block stands."""
        return self.place(self.rows + 1 + int(at))

    def _responses(self, values: dict[str, Values]) -> np.ndarray:
        """(rows,) int8 response, _IGNORED where the row is to be left out."""
        if "response" in values:
            return values["response"].found.astype(np.int8)
        size = len(values["time"].found)
        response = np.full(size, SKIP, dtype=np.int8)
        for role, code in (("clicked", CLICK), ("purchased", ORDER)):
            if role in values:
                response[values[role].found] = code
        return response

    def _items(self, text: dict[str, pa.Array], values: dict[str, Values], selection: "_Selection") -> np.ndarray:
        """Codes of the items of the rows that stay."""
        if self.table is not None:
            codes = np.full(len(selection.kept), NO_ITEM, dtype=np.int64)
            named = ~values["item"].bad
            codes[named] = self.table.names.find(text["item"].filter(pa.array(named)))
            self._drop_odd("unknown_items", "item", codes == NO_ITEM, text, selection)
            return codes[selection.kept]
        mask = pa.array(selection.kept)
        codes = self.items.names.add(text["item"].filter(mask))
        categories = self.items.category_names.add(text["category"].filter(mask)) if "category" in text else None
        prices = values["price"].found[selection.kept] if "price" in values else None
        self.items.add(codes, categories, prices)
        return codes

    def _describe_readings(self) -> None:
        for role, column in self.columns.items():
            column.reading = _READINGS.get(role, "number")
        self.columns["time"].reading = self._time.words if self._time else ""
        self.columns["item"].reading = _names_read(self.item_names, "item")
        named = self.columns.get("user")
        if named is not None:
            named.reading = _names_read(self.users, "user")
        if "response" in self.columns:
            known = {word.lower(): code for word, code in self.mapping.responses.items()}
            meanings = {word: _meaning(known.get(word.lower(), R)) for word in self.words}
            parts = [f"{word} {count:,} = {meanings[word]}" for word, count in self.words.most_common()]
            self.columns["response"].reading = "; ".join(parts)
        constant = [column for column in self.columns.values() if column.is_constant]
        examples = (f"{column.role} {column.column!r}: always {', '.join(column.examples)}" for column in constant)
        self.ledger.suspect("constant_columns", len(constant), examples)
        varying = self.items.varying()
        self.ledger.suspect("varying_items", len(varying), map(repr, varying))


class _Selection:
    """Which rows of a block are still kept; each row is dropped for one reason, the first."""

    def __init__(self, rows: int, ledger: Ledger) -> None:
        self.kept = np.ones(rows, dtype=bool)
        self._ledger = ledger

    def drop(self, reason: str, rows: np.ndarray) -> np.ndarray:
        """Drop ``rows`` (rows,) bool for ``reason``; those that were still there: (rows,) bool."""
        hit = self.kept & rows
        self.kept &= ~hit
        self._ledger.drop(reason, int(hit.sum()))
        return hit


_READINGS = {
    "session": "name of a session",
    "slate": "name of a slate",
    "position": "integer",
    "category": "name of a category",
    "clicked": "1 or true = click",
    "purchased": "1 or true = order",
    "propensity": "probability",
}


def _names_read(names: Names, unit: str) -> str:
    kind = "numbers, kept" if names.are_numbers else "text, numbered from 0"
    return f"{len(names):,} {unit}{'s' if len(names) != 1 else ''}, {kind}"


def _meaning(code: int | None) -> str:
    return "ignored" if code is None else (*RESPONSES, "unknown")[code]


def _counts(text: pa.Array) -> dict[str, int]:
    found = pc.value_counts(text.drop_null())
    return {entry["values"]: entry["counts"] for entry in found.to_pylist()}


def _files_of(source: Path, items: Path | None) -> Sequence[Path]:
    if source.is_dir():
        table = items and Path(items).resolve()
        found = [path for path in files.tables(source) if path.resolve() != table]
        if not found:
            raise LogError("the folder holds no .parquet and no .csv file; put the shards of the log there", source)
        return found
    if not source.exists():
        raise LogError("no such file or folder; check the path", source)
    return (source,)
