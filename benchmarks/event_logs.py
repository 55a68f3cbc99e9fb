"""Time and memory of readers of publishers' files: ``python -m benchmarks.event_logs``.

The files are drawn, and in form and size like the publishers': Taobao's with a hundred events a user and 24 an item in
nine days, those of MovieLens-25M with 154 ratings a user. The command is the one that a user would type, in a fresh
process, whose tree of processes is watched from outside (:mod:`benchmarks.watch`). A size that is in
OUT/event_logs.csv is kept; to measure it again, delete its row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import tyro

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.watch import CLI, watch
from recsim_hrl.data.log import InteractionLog

RESULTS = "event_logs.csv"
COLUMNS = ("reader", "events", "file_mb", "impressions", "items", "seconds", "cpu_seconds", "rss_mib")

_BLOCK = 1_000_000
_EVENTS_A_USER, _EVENTS_AN_ITEM, _EVENTS_A_VISIT, _CATEGORIES = 100, 24, 10, 9_439
_FIRST_SECOND, _DAYS = 1_511_539_200, 9
_BEHAVIOURS, _SHARES = ("pv", "cart", "fav", "buy"), (0.895, 0.055, 0.03, 0.02)
_RATINGS_A_USER, _RATINGS_A_VISIT = 154, 60
_MOVIES = 62_423
"""As many as MovieLens-25M has; a prime, so that equal steps never bring a user to a movie twice."""


@dataclass(frozen=True)
class EventLogsConfig:
    """Measure ``recsim-hrl taobao`` and ``recsim-hrl movielens`` on drawn files."""

    out: Path = Path("runs/event_logs")
    """Folder of event_logs.csv."""
    scratch: Path = Path("runs/event_logs-scratch")
    """Folder of the files and the logs: 31 MB for each million events, and as much again while they are sorted."""
    sizes: tuple[int, ...] = (1_000_000, 5_000_000, 20_000_000)
    """Events of each of Taobao's files."""
    ratings: tuple[int, ...] = (1_000_000, 25_000_000)
    """Ratings of each of MovieLens' files."""
    seed: int = 0
    """Draws the files."""

    def __post_init__(self) -> None:
        for name in ("sizes", "ratings"):
            sizes = getattr(self, name)
            if min(sizes, default=1) < 1:
                raise ValueError(f"event_logs {name}: got {sizes}, allowed none or more, each 1 or more; raise them")


def write_events(path: Path, events: int, seed: int) -> None:
    """Write a UserBehavior.csv of ``events`` rows: visits of ten events in a quarter of an hour."""
    rng = np.random.default_rng(seed)
    users, items = max(1, events // _EVENTS_A_USER), max(1, events // _EVENTS_AN_ITEM)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for first in range(0, events, _BLOCK):
            rows = min(_BLOCK, events - first)
            visits = -(-rows // _EVENTS_A_VISIT)
            user = np.repeat(rng.integers(1, users + 1, visits), _EVENTS_A_VISIT)[:rows]
            start = np.repeat(rng.integers(0, _DAYS * 86_400 - 900, visits), _EVENTS_A_VISIT)[:rows]
            item = (items * rng.random(rows) ** 3).astype(np.int64) + 1
            table = pa.table(
                {
                    "user": user,
                    "item": item,
                    "category": item % _CATEGORIES,
                    "behaviour": rng.choice(_BEHAVIOURS, rows, p=_SHARES),
                    "seconds": _FIRST_SECOND + start + rng.integers(0, 900, rows),
                }
            )
            options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
            pa_csv.write_csv(table.take(rng.permutation(rows)), file, options)


def write_ratings(path: Path, ratings: int, seed: int) -> None:
    """Write a ratings.csv of ``ratings`` rows, and movies.csv beside it: visits of sixty ratings, a day apart."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    movies = [f'{movie},"Film, The {movie} ({1920 + movie % 100})",Drama|War\n' for movie in range(1, _MOVIES + 1)]
    path.with_name("movies.csv").write_text("movieId,title,genres\n" + "".join(movies), encoding="utf-8")
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for first in range(0, ratings, _BLOCK):
            row = np.arange(first, min(first + _BLOCK, ratings))
            user, place = np.divmod(row, _RATINGS_A_USER)
            begins = user * 2_654_435_761
            visit, seconds = np.divmod(place, _RATINGS_A_VISIT)
            table = pa.table(
                {
                    "user": user + 1,
                    "movie": (begins + place * (1 + begins % 97)) % _MOVIES + 1,
                    "stars": rng.integers(1, 11, len(row)) / 2,
                    "seconds": _FIRST_SECOND + begins % (2 * 10**8) + visit * 86_400 + seconds * 10,
                }
            )
            pa_csv.write_csv(table, file, options)


DRAWN: dict[str, tuple[str, Callable[[Path, int, int], None]]] = {
    "taobao": ("UserBehavior.csv", write_events),
    "movielens": ("ratings.csv", write_ratings),
}
"""By command of ``recsim-hrl``: the file that it reads, and what draws it."""


def measure(config: EventLogsConfig, reader: str, events: int) -> tuple[object, ...]:
    """One row of the results."""
    folder = config.scratch / f"{reader}-{events}"
    name, write = DRAWN[reader]
    source, log = folder / name, folder / "log"
    write(source, events, config.seed)
    watched = watch([*CLI, reader, str(source), "--out", str(log)])
    opened = InteractionLog.open(log)
    return (
        reader,
        events,
        round(source.stat().st_size / 1e6),
        opened.rows,
        len(opened.items),
        round(watched.seconds, 1),
        round(watched.cpu_seconds, 1),
        round(watched.rss_mib),
    )


def main(config: EventLogsConfig) -> None:
    """Measure the sizes that are missing."""
    path = config.out / RESULTS
    rows: list[tuple[object, ...]] = [tuple(cells) for cells in read_csv(path)] if path.exists() else []
    wanted = [("taobao", events) for events in config.sizes] + [("movielens", events) for events in config.ratings]
    for reader, events in wanted:
        if (reader, str(events)) not in ((row[0], str(row[1])) for row in rows):
            rows.append(measure(config, reader, events))
            write_csv(path, COLUMNS, rows)
    for row in (COLUMNS, *rows):
        print("".join(f"{cell!s:>14}" for cell in row))


if __name__ == "__main__":
    main(tyro.cli(EventLogsConfig, description=__doc__))
