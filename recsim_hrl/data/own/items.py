"""The items of a shop: those of its item table, or those that its log shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data import files
from recsim_hrl.data.item_vectors import standardised
from recsim_hrl.data.own.mapping import ColumnMapping
from recsim_hrl.data.own.names import Names
from recsim_hrl.data.own.values import as_text, is_number, read_numbers
from recsim_hrl.data.schema import Column, LogError, Origin, to_numpy
from recsim_hrl.types import NO_ITEM


@dataclass(frozen=True)
class ShopItems:
    """What is known of each item, in the order of the codes that ``names`` gave."""

    names: Names
    categories: np.ndarray  # (n,) int64 codes of ``category_names``; zeros without categories
    category_names: Names
    prices: np.ndarray  # (n,) float32; zeros without prices
    embeddings: np.ndarray | None  # (n, D) float32; None where they have to be made


class ItemsOfLog:
    """Items as a log shows them: their categories and prices where it has such columns, the first that it tells."""

    def __init__(self) -> None:
        self.names = Names()
        self.category_names = Names()
        self._categories = np.full(0, NO_ITEM, dtype=np.int64)
        self._prices = np.full(0, np.nan)
        self._varies = np.zeros(0, dtype=bool)

    def add(self, codes: np.ndarray, categories: np.ndarray | None, prices: np.ndarray | None) -> None:
        """Take what a block (rows,) tells of the items ``codes``."""
        more = len(self.names) - len(self._varies)
        self._categories = np.pad(self._categories, (0, more), constant_values=NO_ITEM)
        self._prices = np.pad(self._prices, (0, more), constant_values=np.nan)
        self._varies = np.pad(self._varies, (0, more))
        shown, first = np.unique(codes, return_index=True)
        for values, known, missing in (
            (categories, self._categories, self._categories == NO_ITEM),
            (prices, self._prices, np.isnan(self._prices)),
        ):
            if values is not None:
                new = missing[shown]
                known[shown[new]] = values[first[new]]
                self._varies[codes[values != known[codes]]] = True

    def varying(self) -> list[str]:
        """Names of the items whose category or price is not always the same."""
        names = self.names.originals()
        return [names[code] for code in np.flatnonzero(self._varies)]

    def known(self) -> ShopItems:
        """What the log has told."""
        categories = np.maximum(self._categories, 0)
        prices = np.nan_to_num(self._prices).astype(np.float32)
        return ShopItems(self.names, categories, self.category_names, prices, None)


def read_item_file(mapping: ColumnMapping) -> ShopItems:
    """The items of the item table that ``mapping`` names.

    Raises:
        LogError: naming file, column and row, for a table that is unreadable or misses something.
    """
    path = Path(mapping.items)
    if not path.is_file():
        raise LogError("no such item table; check the path given for items", path)
    names = files.column_names(path)
    columns = {role: name for role, name in mapping.item_columns.items() if role != "embedding"}
    for role, name in columns.items():
        if name not in names:
            raise LogError(
                f"the column is missing, {role} names it; got {names}; name one of these, or add it", path, name
            )
    entries = _embedding_columns(mapping.embedding, names, path)
    reading = _ItemFile(columns, entries)
    for origin, block in files.stream(path, list(dict.fromkeys([*columns.values(), *entries]))):
        reading.add(block, origin)
    if not len(reading.names):
        raise LogError("the item table holds no items, allowed one or more; add the items", path)
    items = reading.known()
    if items.embeddings is not None and len(items.names) > 1 and not np.ptp(items.embeddings, axis=0).any():
        raise LogError(
            "all items have the same vector, allowed vectors that tell them apart; name other columns for embedding or "
            "features, or none to have vectors made",
            path,
        )
    return items


class _ItemFile:
    """Gathers the blocks of an item table."""

    def __init__(self, columns: dict[str, str], entries: Sequence[str]) -> None:
        self.names = Names()
        self._columns, self._entries = columns, entries
        self._features = [name for role, name in columns.items() if role.startswith("features[")]
        self._category_names = Names()
        self._parts: dict[str, list[np.ndarray]] = {"category": [], "price": [], "embedding": [], "features": []}

    def add(self, block: pa.RecordBatch, origin: Origin) -> None:
        key = self._columns["item_key"]
        codes_before = len(self.names)
        codes = self.names.add(_all_there(block, key, origin))
        again = codes != codes_before + np.arange(len(codes))
        if again.any():
            at = int(again.argmax())
            name = self.names.originals()[codes[at]]
            raise origin.error(f"item {name!r} is duplicated, allowed once; remove one of its rows", key, at)
        if "category" in self._columns:
            text = _all_there(block, self._columns["category"], origin)
            self._parts["category"].append(self._category_names.add(text))
        if "price" in self._columns:
            self._parts["price"].append(_numbers(block, self._columns["price"], origin))
        if self._features:
            found = [_numbers(block, name, origin) for name in self._features]
            self._parts["features"].append(np.stack(found, axis=1))
        if self._entries:
            found = [_entries(block, name, origin) for name in self._entries]
            self._parts["embedding"].append(np.concatenate(found, axis=1))
            widths = {part.shape[1] for part in self._parts["embedding"]}
            if len(widths) > 1:
                raise origin.error(f"got embeddings {sorted(widths)} wide, allowed one width; align them", at=0)

    def known(self) -> ShopItems:
        size = len(self.names)
        whole = {name: np.concatenate(parts) for name, parts in self._parts.items() if parts}
        vectors = [whole["embedding"]] if "embedding" in whole else []
        if "features" in whole:
            vectors.append(np.stack([standardised(feature) for feature in whole["features"].T], axis=1))
        embeddings = np.concatenate(vectors, axis=1).astype(np.float32) if vectors else None  # (n, D)
        return ShopItems(
            self.names,
            whole.get("category", np.zeros(size, dtype=np.int64)),
            self._category_names,
            whole.get("price", np.zeros(size)).astype(np.float32),
            embeddings,
        )


def _embedding_columns(pattern: str | None, names: Sequence[str], path: Path) -> list[str]:
    """The columns that ``pattern`` names, by the number at their end."""
    if pattern is None:
        return []
    stem = pattern.removesuffix("*")
    ends = {name.removeprefix(stem): name for name in names if name.startswith(stem)}
    if pattern.endswith("*"):
        found = [ends[end] for end in sorted(filter(is_number, ends), key=int)]
    else:
        found = [name for name in names if name == pattern]
    if not found:
        raise LogError(
            f"the column is missing, embedding names it; got {list(names)}; name a column of lists, or numbered "
            "columns as in embedding_*",
            path,
            pattern,
        )
    return found


def _all_there(block: pa.RecordBatch, name: str, origin: Origin) -> pa.Array:
    text = as_text(block.column(name), name, origin)
    if text.null_count:
        at = pc.index(pc.is_null(text), True).as_py()
        raise origin.error("got an empty value, allowed a name or a number; fill it in", name, at)
    return text


def _numbers(block: pa.RecordBatch, name: str, origin: Origin) -> np.ndarray:
    """(rows,) float64."""
    text = as_text(block.column(name), name, origin)
    read = read_numbers(text)
    if read.bad.any():
        at = int(read.bad.argmax())
        raise origin.error(f"got {text[at].as_py()!r}, allowed {read.allowed}; correct it", name, at)
    return read.found


def _entries(block: pa.RecordBatch, name: str, origin: Origin) -> np.ndarray:
    """(rows, width) float64 of a column of lists, or (rows, 1) of a column of numbers."""
    values = block.column(name)
    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return _numbers(block, name, origin)[:, None]
    lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
    if (lengths != lengths[0]).any() or not lengths[0]:
        at = int((lengths != (lengths[0] or 1)).argmax())
        raise origin.error(
            f"got a list of {lengths[at]} numbers, allowed equally many in every row; correct it", name, at
        )
    try:
        flat = to_numpy(values.flatten(), Column(name, np.float64, "finite numbers", np.isfinite), Origin(origin.file))
    except LogError as error:  # its row counts list entries
        message = "an entry of the list is not a finite number; correct or remove the item"
        raise origin.error(message, name, (error.row - 1) // int(lengths[0]) if error.row else None) from None
    return flat.reshape(-1, int(lengths[0]))
