"""The item table of a log: a catalogue with an optional channel per item, read and written as Parquet or CSV."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from recsim_hrl.data import files
from recsim_hrl.data.schema import ITEM_COLUMNS, Column, LogError, Origin, check_distinct, to_numpy
from recsim_hrl.types import NO_ITEM, Catalogue

_NUMBERED = re.compile(r"embedding_(0|[1-9]\d{0,5})")
_ENTRY = "a finite float32 number"


@dataclass(frozen=True)
class ItemTable:
    """The items that a log refers to."""

    catalogue: Catalogue
    channels: np.ndarray | None = None
    """(I,) int64 channel of each item (article, video, ...), where the log has channels."""

    def __len__(self) -> int:
        return len(self.catalogue)

    @property
    def item_ids(self) -> np.ndarray:
        """(I,) int64 in index order."""
        return self.catalogue.item_ids.numpy()

    @cached_property
    def _by_id(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.item_ids, kind="stable")
        return self.item_ids[order], order.astype(np.int32)

    def index(self, item_ids: np.ndarray) -> np.ndarray:
        """Catalogue positions of ``item_ids`` (n,) as int32, NO_ITEM where the table lacks the item."""
        ids, order = self._by_id
        place = np.searchsorted(ids, item_ids).clip(max=len(ids) - 1)
        return np.where(ids[place] == item_ids, order[place], np.int32(NO_ITEM))

    def check(self, origin: Origin) -> None:
        """Raise LogError for an empty table, an item that comes twice, a price or embedding that is not finite."""
        if not len(self):
            raise LogError("the item table holds no items, allowed one or more; add the items", origin.file)
        ids, order = self._by_id
        repeated = order[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            at = int(repeated.min())
            raise origin.error(
                f"item {self.item_ids[at]} is duplicated, allowed once; remove one of its rows", "item_id", at
            )
        priced = self.catalogue.prices.isfinite().numpy()  # (I,)
        if not priced.all():
            raise origin.error("got a price that is not a finite number; correct it", "price", int(priced.argmin()))
        finite = self.catalogue.embeddings.isfinite().all(-1).numpy()  # (I,)
        if not finite.all():
            raise _not_finite(self.catalogue.embeddings.numpy(), self.item_ids, int(finite.argmin()), origin)

    def to_table(self, numbered: bool) -> pa.Table:
        """The table in Arrow form; ``numbered`` gives columns embedding_0, embedding_1, ... (CSV has no lists)."""
        embeddings = self.catalogue.embeddings.numpy()  # (I, D)
        columns = {
            "item_id": self.item_ids,
            "category": self.catalogue.categories.numpy(),
            "price": self.catalogue.prices.numpy(),
        }
        if self.channels is not None:
            columns["channel"] = self.channels
        if numbered:
            columns |= {f"embedding_{place}": values for place, values in enumerate(embeddings.T)}
            return pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
        flat = pa.array(embeddings.reshape(-1))
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
        return pa.table(columns)


def as_item_table(items: Catalogue | ItemTable) -> ItemTable:
    """A catalogue as an item table without channels."""
    return items if isinstance(items, ItemTable) else ItemTable(items)


def read_items(path: Path) -> ItemTable:
    """Read and check the item table at ``path`` (.parquet or .csv).

    Raises:
        LogError: naming file, column and row.
    """
    names = files.column_names(path)
    plain = _check_item_columns(names, path)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in [*plain, "embedding"]}
    width = None
    for origin, batch in files.stream(path, names):
        for name in plain:
            parts[name].append(to_numpy(batch.column(name), ITEM_COLUMNS[name], origin))
        part = _embeddings(batch, parts["item_id"][-1], width, origin)
        width = part.shape[1]
        parts["embedding"].append(part)
    if width is None:
        raise LogError("the item table holds no items, allowed one or more; add the items", path)
    whole = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
    catalogue = Catalogue(*(torch.from_numpy(whole[name]) for name in ("item_id", "embedding", "category", "price")))
    table = ItemTable(catalogue, whole.get("channel"))
    table.check(Origin(str(path)))
    return table


def _check_item_columns(names: list[str], path: Path) -> list[str]:
    """The columns beside the embedding, after checking that the table has what it needs and nothing unknown."""
    check_distinct(names, path)
    allowed = f"{list(ITEM_COLUMNS)} and embedding (a list) or embedding_0, embedding_1, ..."
    numbers = sorted(int(match[1]) for name in names if (match := _NUMBERED.fullmatch(name)))
    gap = next((place for place, number in enumerate(numbers) if place != number), None)
    if gap is not None:
        raise LogError(f"the column is missing; got embedding columns {numbers}; add it", path, f"embedding_{gap}")
    if ("embedding" in names) == bool(numbers):
        problem = "both forms of the embedding are there" if numbers else "the column is missing"
        raise LogError(f"{problem}; got {names}, allowed {allowed}; keep one form", path, "embedding")
    for name, column in ITEM_COLUMNS.items():
        if column.required and name not in names:
            raise LogError(f"the column is missing; got {names}, allowed {allowed}; add or rename it", path, name)
    for name in names:
        if name not in ITEM_COLUMNS and name != "embedding" and not _NUMBERED.fullmatch(name):
            raise LogError(f"not a column of the item table; allowed {allowed}; drop it", path, name)
    return [name for name in ITEM_COLUMNS if name in names]


def _embeddings(batch: pa.RecordBatch, item_ids: np.ndarray, width: int | None, origin: Origin) -> np.ndarray:
    """(rows, D) float32 embeddings of one block, all finite; ``width`` is D where earlier blocks fixed it."""
    if "embedding" in batch.schema.names:
        embeddings = _from_lists(batch.column("embedding"), width, origin)
    else:
        numbered = sum(_NUMBERED.fullmatch(name) is not None for name in batch.schema.names)
        # Any number converts here, finite or not: the check below names the item as well as the row.
        columns = [Column(f"embedding_{place}", np.float32, _ENTRY) for place in range(numbered)]
        embeddings = np.stack([to_numpy(batch.column(column.name), column, origin) for column in columns], axis=1)
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise _not_finite(embeddings, item_ids, int(finite.argmin()), origin)
    return embeddings


def _from_lists(values: pa.Array, width: int | None, origin: Origin) -> np.ndarray:
    kind = values.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise origin.error(f"got type {kind}, allowed a list of float32; store lists of numbers", "embedding")
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    expected = width or int(lengths[0]) or 1
    if (lengths != expected).any():
        at = int((lengths != expected).argmax())
        raise origin.error(
            f"got {lengths[at]} numbers, allowed {expected} as in the rows before; make all embeddings equally wide",
            "embedding",
            at,
        )
    entries = values.flatten()
    try:
        flat = to_numpy(entries, Column("embedding", np.float32, _ENTRY), Origin(origin.file))
    except LogError as error:  # its row counts list entries
        message = f"an entry of the embedding is not {_ENTRY}; correct or remove the item"
        raise origin.error(message, "embedding", (error.row - 1) // expected) from None
    return flat.reshape(-1, expected)


def _not_finite(embeddings: np.ndarray, item_ids: np.ndarray, at: int, origin: Origin) -> LogError:
    place = int(np.isfinite(embeddings[at]).argmin())
    return origin.error(
        f"entry {place} of the embedding of item {item_ids[at]} is {embeddings[at, place]}, allowed {_ENTRY}; "
        "correct the embedding or remove the item",
        f"embedding_{place}" if origin.file.endswith(".csv") else "embedding",
        at,
    )
