"""KuaiRand (Pure, 1K, 27K) as two logs: videos that a recommender showed, and videos that were shown at random.

What the mapping means, and what it does not, is in ``docs/datasets/kuairand.md``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data.blocks import Block, run_starts, whole_runs
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_fields import Field, flag, text, whole
from recsim_hrl.data.sources.event_files import Place, TextTable, find_some, read_table
from recsim_hrl.data.sources.event_store import EventStore, event_store
from recsim_hrl.data.sources.log_rows import LogForm
from recsim_hrl.data.sources.sessions import visits_of
from recsim_hrl.data.sources.visit_log import NO_LABEL, VisitConfig, VisitData, fill_impressions, write_visits
from recsim_hrl.types import CLICK, ORDER, SKIP

Signal = Literal["click", "like", "follow", "comment", "forward", "long_view"]
"""A kind of feedback."""
SIGNALS: tuple[Signal, ...] = get_args(Signal)

PARTS = ("standard", "random")
"""The logs; ``is_rand`` of a row is the place of its log."""

_RANDOM_SINCE = 1_650_556_800_000
"""Midnight in China at the beginning of 22 April 2022, in milliseconds: nothing was shown at random before."""
_TIME = whole("time_ms", "milliseconds since 1970 in April or May 2022", 1_648_656_000_000, 1_654_012_800_000)
_FORM = LogForm(PARTS, {"dwell_seconds": "DOUBLE", "channel": "TINYINT", "context_duration_seconds": "DOUBLE"})

LOG = TextTable(
    "log_standard_4_08_to_4_21_pure.csv",
    (
        whole("user_id"),
        whole("video_id"),
        text("date"),
        text("hourmin"),
        _TIME,
        *map(flag, ("is_click", "is_like", "is_follow", "is_comment", "is_forward")),
        text("is_hate"),
        flag("long_view"),
        whole("play_time_ms"),
        whole("duration_ms"),
        *map(text, ("profile_stay_time", "comment_stay_time", "is_profile_enter")),
        flag("is_rand"),
        whole("tab", "a whole number from 0 to 14", high=14),
    ),
    is_headed=True,
)


def _first_tag() -> Field:
    """The first of the tags between commas, NO_LABEL where there are none."""

    def convert(texts: pa.Array) -> pa.Array:
        good = pc.match_substring_regex(texts, "^(-?[0-9]{1,9}(,-?[0-9]{1,9})*)?$")
        first = pc.replace_substring_regex(pc.if_else(good, texts, None), ",.*", "")
        return pc.if_else(pc.equal(first, ""), str(NO_LABEL), first).cast(pa.int64())

    return Field("tag", "whole numbers between commas, or nothing", convert)


VIDEOS = TextTable(
    "video_features_basic_pure.csv",
    (
        whole("video_id"),
        *map(text, ("author_id", "video_type", "upload_dt", "upload_type", "visible_status", "video_duration")),
        *map(text, ("server_width", "server_height", "music_id", "music_type")),
        _first_tag(),
    ),
    is_headed=True,
    is_quoted=True,
)


@dataclass(frozen=True)
class Edition:
    """One of the sizes in which the data set is published."""

    name: str
    standard_logs: tuple[str, ...]
    published_rows: int
    """Rows that the publisher states, of both policies."""

    @property
    def random_log(self) -> str:
        """File of what was shown at random."""
        return f"log_random_4_22_to_5_08_{self.name}.csv"

    @property
    def videos(self) -> str:
        """File of the videos' features."""
        return f"video_features_basic_{self.name}.csv"

    @property
    def files(self) -> list[str]:
        """All that is read."""
        return [*self.standard_logs, self.random_log, self.videos]


_WEEKS = ("log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08")
EDITIONS = (
    Edition("pure", tuple(f"{weeks}_pure.csv" for weeks in _WEEKS), 1_436_609 + 1_186_059),
    Edition("1k", tuple(f"{weeks}_1k.csv" for weeks in _WEEKS), 11_713_045 + 43_028),
    Edition(
        "27k", tuple(f"{weeks}_27k_part{part}.csv" for weeks in _WEEKS for part in (1, 2)), 322_278_385 + 1_186_059
    ),
)


@dataclass(frozen=True)
class KuairandConfig(VisitConfig):
    """How KuaiRand's impressions become logs."""

    gap_seconds: int = 1800
    """A user who is shown nothing for longer than this has left: the next impression begins a new visit."""
    clicks: tuple[Signal, ...] = ("click",)
    """Feedback that is a click."""
    orders: tuple[Signal, ...] = ("like", "follow", "comment", "forward")
    """Feedback that is an order, whether or not there is a click as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clicks", "orders"):
            unknown = [signal for signal in getattr(self, name) if signal not in SIGNALS]
            if unknown:
                raise ValueError(f"kuairand {name}: got {unknown}, allowed {', '.join(SIGNALS)}; correct it")


def read_kuairand(
    source: str | Path, path: str | Path, config: KuairandConfig | None = None
) -> tuple[InteractionLog, InteractionLog]:
    """Write KuaiRand as the logs ``path/standard`` and ``path/random`` and open them.

    A row is an impression: an order where the user liked, followed, commented or forwarded, a click where the video
    was clicked or played for long enough, a skip otherwise. Both logs have the same items, embedded by what the
    recommender showed together before 22 April 2022; a visit has the same ``session_id`` in both.

    Args:
        source: The publisher's archive, the folder that it extracts to, or one of the logs with the others beside it;
            of one of the three sizes.
        path: The folder of the two logs; logs that are there are replaced.
        config: How impressions become logs.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source, path = config or KuairandConfig(), Path(source), Path(path)
    _FORM.check(path)
    edition, files = _edition(source)
    with event_store(path, config.memory_mb) as store:
        reading = _load(store, edition, files, config)
        reading |= _find_visits(store, config)
        data = VisitData(
            f"kuairand-{edition.name}",
            f"KuaiRand-{edition.name} (Kuaishou), read from {source.name}",
            labels=_labels(files[edition.videos]),
            boundary=lambda _: _RANDOM_SINCE,
            form=_FORM,
            # Dropping rare ones would make what is random no longer so.
            always_kept=f"part = {PARTS.index('random')}",
        )
        standard, random = write_visits(store, data, path, config, reading)
        return standard, random


def _edition(source: Path) -> tuple[Edition, dict[str, Place]]:
    """The size that lies there whole, and its files."""
    found = find_some(source, [name for edition in EDITIONS for name in edition.files], "KuaiRand")
    whole_ones = [edition for edition in EDITIONS if set(edition.files) <= set(found)]
    if len(whole_ones) > 1:
        names = [edition.name for edition in whole_ones]
        raise LogError(f"got KuaiRand in the sizes {names}, allowed one; pass the folder of one of them", source)
    if not whole_ones:
        near = max(EDITIONS, key=lambda edition: len(set(edition.files) & set(found)))
        missing = [name for name in near.files if name not in found]
        raise LogError(
            f"not all of KuaiRand: {missing} missing; got {sorted(found)}, required {near.files} (or those of another "
            "size); add what is missing, or pass the publisher's archive or its folder",
            source,
        )
    return whole_ones[0], found


def _load(store: EventStore, edition: Edition, files: dict[str, Place], config: KuairandConfig) -> dict[str, int]:
    """Fill the table ``shown`` with the rows of all logs."""
    counts = np.zeros(len(PARTS), dtype=np.int64)
    columns = ("user BIGINT", "item BIGINT", "moment BIGINT", "part TINYINT", "response TINYINT")
    with store.filled("shown", _FORM.columns(*columns)) as add:
        for name in (*edition.standard_logs, edition.random_log):
            for block in _rows(files[name], config):
                counts += np.bincount(block["part"], minlength=len(PARTS))
                add(block)
    published = {"published_rows": edition.published_rows}
    return {"rows": int(counts.sum())} | published | {"rows_at_random": int(counts[1])}


def _rows(place: Place, config: KuairandConfig) -> Iterator[Block]:
    for origin, columns in read_table(place, LOG):
        values = {name: column.to_numpy() for name, column in columns.items() if not pa.types.is_string(column.type)}
        early = (values["is_rand"] == 1) & (values["time_ms"] < _RANDOM_SINCE)
        if early.any():
            at = int(early.argmax())
            raise origin.error("got 1 before 22 April 2022, allowed 0; the file is another one", "is_rand", at)
        yield {
            "user": values["user_id"],
            "item": values["video_id"],
            "moment": values["time_ms"],
            "part": values["is_rand"],
            "response": _responses(values, config),
            "dwell_seconds": values["play_time_ms"] / 1000,
            "channel": values["tab"],
            "context_duration_seconds": values["duration_ms"] / 1000,
        }


def _responses(values: Block, config: KuairandConfig) -> np.ndarray:
    """(rows,) the furthest that the user went."""
    response = np.full(len(values["user_id"]), SKIP)
    for signals, strength in ((config.clicks, CLICK), (config.orders, ORDER)):
        for signal in signals:
            response[values[signal if signal == "long_view" else f"is_{signal}"] == 1] = strength
    return response


def _find_visits(store: EventStore, config: KuairandConfig) -> dict[str, int]:
    """Fill the table ``impressions``: the rows of both logs together, visit after visit."""
    counts = {"rows_twice": 0}

    def visits() -> Iterator[Block]:
        shown = store.blocks("SELECT user, moment, item, * EXCLUDE (user, moment, item) FROM shown ORDER BY ALL")
        for block in whole_runs(shown, "user"):
            new = run_starts(*block.values())
            counts["rows_twice"] += int((~new).sum())
            block = {name: values[new] for name, values in block.items()}
            yield block | {"visit": visits_of(block["user"], block["moment"], config.gap_seconds * 1000)}

    return counts | fill_impressions(store, _FORM, visits())


def _labels(place: Place) -> Callable[[np.ndarray], np.ndarray]:
    """What gives (n,) ascending items their first tags (n,)."""

    def labels(items: np.ndarray) -> np.ndarray:
        found = np.full(len(items), NO_LABEL, dtype=np.int64)
        for _, columns in read_table(place, VIDEOS):
            video, tag = columns["video_id"].to_numpy(), columns["tag"].to_numpy()
            at = np.searchsorted(items, video).clip(max=len(items) - 1)
            known = items[at] == video
            found[at[known]] = tag[known]
        return found

    return labels
