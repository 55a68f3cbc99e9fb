"""RL4RS (A or B) as two logs: slates of nine items in three layers, and what was bought.

What the mapping means, and what it does not, is in ``docs/datasets/rl4rs.md``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from recsim_hrl.data.blocks import Block, whole_runs
from recsim_hrl.data.checks import session_spans
from recsim_hrl.data.item_vectors import unit_scale
from recsim_hrl.data.items import as_item_table
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_fields import decimal, decimal_list, text, whole, whole_list
from recsim_hrl.data.sources.event_files import Place, TextTable, find_files, read_table
from recsim_hrl.data.sources.event_store import EventStore, StoreConfig, event_store
from recsim_hrl.data.sources.log_rows import LogForm, fill_sessions, write_logs
from recsim_hrl.types import NO_ITEM, ORDER, SKIP, Catalogue

POLICIES = ("sl", "rl")
"""The logs, by what chose the items: supervised learning, and what was deployed after it."""
LAYERS, ITEMS_OF_A_LAYER = 3, 3
_SLATE = LAYERS * ITEMS_OF_A_LAYER
_FORM = LogForm(POLICIES, {"slate_id": "BIGINT", "position": "TINYINT", "context_unlocked": "DOUBLE"})
_PAGES = ("session BIGINT", "sequence BIGINT", "position TINYINT", "part TINYINT", "moment BIGINT")
_SHOWN = ("item_index BIGINT", "response TINYINT", "context_unlocked DOUBLE")

RECORDS = TextTable(
    "rl4rs_dataset_a_sl.csv",
    (
        whole("timestamp", high=10**12),
        whole("session_id"),
        whole("sequence_id", "a whole number of 1 or more", 1),
        whole_list("exposed_items", _SLATE),
        whole_list("user_feedback", _SLATE),
        *map(text, ("user_seqfeature", "user_protrait", "item_feature", "behavior_policy_id")),
    ),
    is_headed=True,
    separator="@",
)
ITEMS = TextTable(
    "item_info.csv",
    (
        whole("item_id"),
        decimal_list("item_vec", 40),
        decimal("price", "a number of 0 or more", 0.0, 1e9),
        whole("location", "1, 2 or 3", 1, LAYERS),
        text("special_item"),
    ),
    is_headed=True,
    separator=" ",
)


@dataclass(frozen=True)
class Rl4rsConfig(StoreConfig):
    """Which part of RL4RS becomes logs, and what of it."""

    dataset: Literal["a", "b"] = "a"
    """A: sessions of one slate. B: sessions of one slate after another."""
    locked: Literal["keep", "drop"] = "keep"
    """Whether items that could not be bought, since the layer before was not sold out, stay in the log."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dataset", "locked"):
            allowed = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"rl4rs {name}: got {getattr(self, name)!r}, allowed {' or '.join(allowed)}; correct it"
                )


def read_rl4rs(
    source: str | Path, path: str | Path, config: Rl4rsConfig | None = None
) -> tuple[InteractionLog, InteractionLog]:
    """Write one of RL4RS's data sets as the logs ``path/sl`` and ``path/rl`` and open them.

    An item of a slate is an impression: an order where it was bought, a skip otherwise. Items have the publisher's
    vectors, and the layer that they may stand in as category.

    Args:
        source: The publisher's archive, the folder that it extracts to, or one of the files with the others beside it.
        path: The folder of the two logs; logs that are there are replaced.
        config: Which data set, and what of it.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source, path = config or Rl4rsConfig(), Path(source), Path(path)
    _FORM.check(path)
    records = [f"rl4rs_dataset_{config.dataset}_{policy}.csv" for policy in POLICIES]
    files = find_files(source, [*records, ITEMS.file], "RL4RS")
    catalogue = _catalogue(files[ITEMS.file])
    with event_store(path, config.memory_mb) as store:
        reading = {"rows": 0, "pages_bought_behind_a_lock": 0}
        with store.filled("shown", ", ".join([*_PAGES, *_SHOWN])) as add:
            for part, name in enumerate(records):
                for page, broken in _pages(files[name], catalogue):
                    reading["rows"] += len(page["session"]) // _SLATE
                    reading["pages_bought_behind_a_lock"] += broken
                    add(page | {"part": np.full(len(page["session"]), part)})
        starts = fill_sessions(store, _FORM, _sessions(store, [files[name] for name in records], config))
        reading |= {"impressions": reading["rows"] * _SLATE, "impressions_locked": _count_locked(store)}
        metadata = {
            "name": f"rl4rs-{config.dataset}",
            "source": f"RL4RS {config.dataset.upper()} (NetEase), read from {source.name}",
            "reader": asdict(config),
            "reading": reading,
            "categories": [f"layer {layer}" for layer in range(1, LAYERS + 1)],
        }
        sl, rl = write_logs(store, _FORM, starts, catalogue, path, metadata)
        return sl, rl


def unlocked(bought: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which layers of slates could be bought from: a layer opens when the one before is sold out.

    Args:
        bought: (n, layers, items) bool.

    Returns:
        (n, layers) bool; and (n,) bool, where something was bought behind a lock, whose layer and those before it
        count as open.
    """
    sold_out = bought.all(axis=2)  # (n, layers)
    by_rule = np.ones_like(sold_out)
    by_rule[:, 1:] = np.logical_and.accumulate(sold_out[:, :-1], axis=1)
    later = np.logical_or.accumulate(bought.any(axis=2)[:, ::-1], axis=1)[:, ::-1]  # (n, layers) bought here or later
    return by_rule | later, (later & ~by_rule).any(axis=1)


def _pages(place: Place, catalogue: Catalogue) -> Iterator[tuple[Block, int]]:
    """Slates as rows (slates * 9,) and how many slates break the rule of the locks."""
    items = as_item_table(catalogue)
    for origin, columns in read_table(place, RECORDS):
        numbers = {name: columns[name].to_numpy() for name in ("timestamp", "session_id", "sequence_id")}
        shown, feedback = (columns[name].flatten().to_numpy() for name in ("exposed_items", "user_feedback"))
        index = items.index(shown)
        for name, bad, values, allowed in (
            ("exposed_items", index == NO_ITEM, shown, f"the items of {ITEMS.file}"),
            ("user_feedback", feedback > 1, feedback, "0 or 1"),
        ):
            if bad.any():
                at = int(bad.argmax())
                raise origin.error(f"got {values[at]}, allowed {allowed}; correct the row", name, at // _SLATE)
        bought = (feedback == 1).reshape(-1, LAYERS, ITEMS_OF_A_LAYER)
        is_open, broken = unlocked(bought)
        yield (
            {
                "session": np.repeat(numbers["session_id"], _SLATE),
                "sequence": np.repeat(numbers["sequence_id"], _SLATE),
                "position": np.tile(np.arange(_SLATE), len(bought)),
                "moment": np.repeat(numbers["timestamp"] * 1000, _SLATE),
                "item_index": index,
                "response": np.where(feedback == 1, ORDER, SKIP),
                "context_unlocked": np.repeat(is_open.astype(np.float64), ITEMS_OF_A_LAYER, axis=1).reshape(-1),
            },
            int(broken.sum()),
        )


def _sessions(store: EventStore, places: list[Place], config: Rl4rsConfig) -> Iterator[Block]:
    """Rows of the logs in blocks of whole sessions; the first item of a session is never behind a lock."""
    sessions = slates = 0
    for part, place in enumerate(places):
        rows = store.blocks(f"SELECT * FROM shown WHERE part = {part} ORDER BY session, sequence, position")
        for block in whole_runs(rows, "session"):
            first, lengths = session_spans(block["session"])
            step = np.arange(len(block["session"])) - np.repeat(first, lengths)
            _check_sequences(block, step, place)
            columns = {name: block[name] for name in ("part", "position", "moment", "item_index", "response")} | {
                "session": sessions + np.repeat(np.arange(len(first)), lengths),
                "start": np.repeat(block["moment"][first], lengths),
                "step": step,
                "user": block["session"],
                "slate_id": slates + np.cumsum(block["position"] == 0) - 1,
                "context_unlocked": block["context_unlocked"],
            }
            stays = (block["context_unlocked"] == 1) | (config.locked == "keep")
            yield {name: values[stays] for name, values in columns.items()}
            sessions += len(first)
            slates += len(step) // _SLATE


def _check_sequences(block: Block, step: np.ndarray, place: Place) -> None:
    """Raise LogError unless the slates of each session are numbered from 1 without a gap."""
    wrong = block["sequence"] != step // _SLATE + 1
    if wrong.any():
        at = int(wrong.argmax())
        raise LogError(
            f"got slate {block['sequence'][at]} of session {block['session'][at]} in place of slate "
            f"{step[at] // _SLATE + 1}, allowed 1, 2, ... once each; a row is missing or comes twice: correct the file",
            place.label,
            "sequence_id",
        )


def _count_locked(store: EventStore) -> int:
    return int(store.whole("SELECT count(*) AS n FROM shown WHERE context_unlocked = 0")["n"][0])


def _catalogue(place: Place) -> Catalogue:
    """Items with the publisher's vectors, times one number, and their layers from 0 as categories."""
    blocks = [
        {name: columns[name].to_numpy() for name in ("item_id", "price", "location")}
        | {"item_vec": columns["item_vec"].flatten().to_numpy().reshape(len(columns["item_id"]), -1)}
        for _, columns in read_table(place, ITEMS)
    ]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    vectors = unit_scale(columns["item_vec"]).astype(np.float32)  # (I, D)
    prices = columns["price"].astype(np.float32)
    return Catalogue(*map(torch.from_numpy, (columns["item_id"], vectors, columns["location"] - 1, prices)))
