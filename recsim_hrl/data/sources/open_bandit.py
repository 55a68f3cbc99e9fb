"""The Open Bandit Dataset as two logs with propensities: what was shown at random, and what a bandit chose.

What the mapping means, and what it does not, is in ``docs/datasets/open_bandit.md``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import torch

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.item_vectors import standardised, unit_scale
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError, Origin
from recsim_hrl.data.sources.event_fields import decimal, flag, text, utc_time, whole
from recsim_hrl.data.sources.event_files import Place, TextTable, converted, find_files, read_table
from recsim_hrl.data.sources.event_store import StoreConfig, event_store
from recsim_hrl.data.sources.log_rows import LogForm, fill_sessions, write_logs
from recsim_hrl.types import Catalogue

POLICIES = ("random", "bts")
"""The logs, and the publisher's folders."""

Campaign = Literal["all", "men", "women"]
"""A shop window, with items of its own."""

ITEMS: dict[Campaign, int] = {"all": 80, "men": 34, "women": 46}
"""Items of each campaign."""

_PUBLISHED_ROWS: dict[Campaign, int] = {
    "all": 1_374_327 + 12_357_200,
    "men": 452_949 + 4_077_727,
    "women": 864_585 + 7_765_497,
}
_USER_FEATURES = tuple(f"user_feature_{place}" for place in range(4))
_ITEM_FEATURES = tuple(f"item_feature_{place}" for place in range(1, 4))
_AFFINITY = "user-item_affinity_"
_TIME = utc_time(
    "timestamp",
    "a moment at the end of 2019 as in 2019-11-24 00:03:13.442536+00:00",
    1_572_566_400_000,
    1_577_836_799_999,
    form="{date} {time}[+]00:00",
)
_PROPENSITY = decimal("propensity_score", "a number above 0 and at most 1", np.nextafter(0.0, 1.0), 1.0)
_FORM = LogForm(
    POLICIES,
    {"position": "TINYINT", "propensity": "DOUBLE"}
    | dict.fromkeys([*(f"context_{name}" for name in _USER_FEATURES), "context_affinity"], "DOUBLE"),
)
_WARNING = (
    "every row is a session of one impression by a user of its own: nothing here tells how one impression changes the "
    "next (docs/datasets/open_bandit.md)"
)


@dataclass(frozen=True)
class OpenBanditConfig(StoreConfig):
    """Which part of the data set becomes logs."""

    campaign: Campaign = "all"
    """The shop window: all items, or those for men or women, which have other items."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.campaign not in get_args(Campaign):
            raise ValueError(f"open bandit campaign: got {self.campaign!r}, allowed {', '.join(ITEMS)}; correct it")


def impressions_table(campaign: Campaign) -> TextTable:
    """The form of a campaign's rows; the first field numbers them and has no name."""
    affinities = (text(f"{_AFFINITY}{item}") for item in range(ITEMS[campaign]))
    fields = (text(""), _TIME, whole("item_id"), whole("position", "1, 2 or 3", 1, 3), flag("click"), _PROPENSITY)
    return TextTable(f"{campaign}.csv", (*fields, *map(text, _USER_FEATURES), *affinities), is_headed=True)


ITEM_CONTEXT = TextTable(
    "item_context.csv",
    (
        text(""),
        whole("item_id"),
        decimal("item_feature_0", "a number", -np.inf, np.inf),
        *map(text, _ITEM_FEATURES),
    ),
    is_headed=True,
)


def read_open_bandit(
    source: str | Path, path: str | Path, config: OpenBanditConfig | None = None
) -> tuple[InteractionLog, InteractionLog]:
    """Write one campaign of the Open Bandit Dataset as the logs ``path/random`` and ``path/bts`` and open them.

    A row is a session of one impression: a click or a skip, with its position and the probability with which the
    policy chose the item. Items are embedded by the publisher's features, so no response is in them.

    Args:
        source: The publisher's archive, or the folder with ``random`` and ``bts`` in it or below it.
        path: The folder of the two logs; logs that are there are replaced.
        config: Which campaign becomes logs.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source, path = config or OpenBanditConfig(), Path(source), Path(path)
    _FORM.check(path)
    logs = [f"{policy}/{config.campaign}/{config.campaign}.csv" for policy in POLICIES]
    context = f"{POLICIES[0]}/{config.campaign}/{ITEM_CONTEXT.file}"
    files = find_files(source, [*logs, context], "the Open Bandit Dataset")
    catalogue, categories = _catalogue(files[context], ITEMS[config.campaign])
    with event_store(path, config.memory_mb) as store:
        codes: list[dict[str, int]] = [{} for _ in _USER_FEATURES]
        starts = fill_sessions(store, _FORM, _sessions([files[name] for name in logs], config.campaign, codes))
        at_random = store.whole("SELECT count(*) AS n FROM log_rows WHERE part = 0")["n"][0]
        metadata = {
            "name": f"open-bandit-{config.campaign}",
            "source": f"Open Bandit Dataset (ZOZO), campaign {config.campaign}, read from {source.name}",
            "reader": asdict(config),
            "reading": {
                "rows": len(starts),
                "published_rows": _PUBLISHED_ROWS[config.campaign],
                "rows_at_random": int(at_random),
            },
            "categories": categories,
            "user_features": [list(code) for code in codes],
            "warnings": [_WARNING],
        }
        random, bts = write_logs(store, _FORM, starts, catalogue, path, metadata)
        return random, bts


def _sessions(places: list[Place], campaign: Campaign, codes: list[dict[str, int]]) -> Iterator[Block]:
    """Rows as sessions of one impression, counted through all files; texts new to ``codes`` get their next number."""
    first = 0
    for part, place in enumerate(places):
        for origin, columns in read_table(place, impressions_table(campaign)):
            session = first + np.arange(len(columns["click"]))  # (n,)
            first += len(session)
            moment = columns["timestamp"].to_numpy()
            yield {
                "part": np.full(len(session), part),
                "session": session,
                "start": moment,
                "step": np.zeros(len(session), dtype=np.int64),
                "user": session,
                "moment": moment,
                "response": columns["click"].to_numpy(),
                "position": columns["position"].to_numpy() - 1,
                "propensity": columns["propensity_score"].to_numpy(),
                **_shown(columns, campaign, origin),
                **{
                    f"context_{name}": _coded(columns[name], code)
                    for name, code in zip(_USER_FEATURES, codes, strict=True)
                },
            }


def _shown(columns: dict[str, pa.Array], campaign: Campaign, origin: Origin) -> Block:
    """The items of rows (n,), and how often the user had clicked them."""
    item = columns["item_id"].to_numpy()
    if item.max() >= ITEMS[campaign]:
        at = int((item >= ITEMS[campaign]).argmax())
        raise origin.error(f"got {item[at]}, allowed 0 to {ITEMS[campaign] - 1}; correct the row", "item_id", at)
    affinity = np.empty(len(item))
    for shown in np.unique(item):
        rows = np.flatnonzero(item == shown)
        clicked = decimal(f"{_AFFINITY}{shown}", "a number", -np.inf, np.inf)
        affinity[rows] = converted(columns[clicked.name].take(rows), clicked, origin, rows).to_numpy()
    return {"item_index": item, "context_affinity": affinity}


def _coded(texts: pa.Array, codes: dict[str, int]) -> np.ndarray:
    """(n,) numbers of the texts in ``codes``, where new ones get the next."""
    found = texts.dictionary_encode()
    numbers = np.array([codes.setdefault(word, len(codes)) for word in found.dictionary.to_pylist()])
    return numbers[found.indices.to_numpy()]


def _catalogue(place: Place, items: int) -> tuple[Catalogue, list[str]]:
    """Items whose vectors are their features, and the names of their categories, the first hashed feature."""
    parts = [columns for _, columns in read_table(place, ITEM_CONTEXT)]
    columns = {name: pa.concat_arrays([part[name] for part in parts]) for name in ITEM_CONTEXT.names}
    ids = columns["item_id"].to_numpy()
    if sorted(ids) != list(range(items)):
        raise LogError(
            f"got {len(ids)} items from {ids.min()} to {ids.max()}, allowed each of 0 to {items - 1} once; the file is "
            "another campaign's: check the path",
            place.label,
            "item_id",
        )
    order = np.argsort(ids)
    codes: list[dict[str, int]] = [{} for _ in _ITEM_FEATURES]
    levels = [_coded(columns[name].take(order), code) for name, code in zip(_ITEM_FEATURES, codes, strict=True)]
    number = standardised(columns["item_feature_0"].to_numpy()[order])[:, None]  # (I, 1)
    hashed = [np.eye(len(code))[level] for level, code in zip(levels, codes, strict=True)]  # each (I, levels)
    vectors = np.concatenate([unit_scale(block) for block in (number, *hashed)], axis=1).astype(np.float32)  # (I, D)
    columns = (np.arange(items), vectors, levels[0].astype(np.int64))
    return Catalogue(*map(torch.from_numpy, columns), torch.zeros(items)), list(codes[0])
