"""Commands that turn the files of a publisher into a log."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.download import DOWNLOADS, download
from recsim_hrl.data.sources.event_log import reading_report
from recsim_hrl.data.sources.movielens import MovielensConfig, ratings_report, read_movielens
from recsim_hrl.data.sources.retailrocket import RetailrocketConfig, read_retailrocket
from recsim_hrl.data.sources.taobao import TaobaoConfig, read_taobao
from recsim_hrl.data.sources.yoochoose import YoochooseConfig, read_yoochoose


@dataclass(frozen=True)
class DownloadData:
    """Fetch the file of a public data set, check it, and print the path that its reader takes.

    A file that is in the cache already is checked and not fetched again. Nothing else in this package downloads.
    """

    name: Positional[Literal[tuple(DOWNLOADS)]]
    """The data set."""
    cache: Path | None = None
    """Folder of the files; the system's folder for caches without."""

    def run(self) -> None:
        path = download(self.name, self.cache)
        print(f"terms of use: {DOWNLOADS[self.name].licence}", file=sys.stderr)
        print(path)


@dataclass(frozen=True)
class Movielens:
    """Turn MovieLens 100k, 1M, 20M or 25M into a log: below 4 stars is a skip, below 5 a click, 5 an order."""

    source: Positional[Path]
    """The publisher's archive or its folder, a folder with RecBole's atomic files, RecBole's wheel, or the file of the
    ratings with the others beside it."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[MovielensConfig] = field(default_factory=MovielensConfig)

    def run(self) -> None:
        log = read_movielens(self.source, self.out, self.config)
        print(ratings_report(log))
        print(log.report())


@dataclass(frozen=True)
class Retailrocket:
    """Turn RetailRocket into a log: a view is a skip, an item put into the cart a click, an order an order."""

    source: Positional[Path]
    """The publisher's archive, the folder with its four files, or events.csv with the others beside it."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[RetailrocketConfig] = field(default_factory=RetailrocketConfig)

    def run(self) -> None:
        _tell(read_retailrocket(self.source, self.out, self.config))


@dataclass(frozen=True)
class Taobao:
    """Turn Taobao UserBehavior into a log: a view is a skip, cart and favourites a click, a purchase an order."""

    source: Positional[Path]
    """The publisher's UserBehavior.csv.zip, UserBehavior.csv, or its folder."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[TaobaoConfig] = field(default_factory=TaobaoConfig)

    def run(self) -> None:
        _tell(read_taobao(self.source, self.out, self.config))


@dataclass(frozen=True)
class Yoochoose:
    """Turn YooChoose (RecSys Challenge 2015) into a log: opened is a skip, come back to a click, bought an order."""

    source: Positional[Path]
    """The folder with yoochoose-clicks.dat and yoochoose-buys.dat, a zip archive of them, or one of the two."""
    out: Path
    """Folder of the log; a log that is there is replaced."""
    config: OmitArgPrefixes[YoochooseConfig] = field(default_factory=YoochooseConfig)

    def run(self) -> None:
        _tell(read_yoochoose(self.source, self.out, self.config))


def _tell(log: InteractionLog) -> None:
    """Print what a reader of events dropped, and what the log holds."""
    print(reading_report(log))
    print(log.report())
