"""Commands that turn the files of a publisher into a log."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources import event_log, log_rows
from recsim_hrl.data.sources.aliccp import AliccpConfig, read_aliccp
from recsim_hrl.data.sources.download import DOWNLOADS, download
from recsim_hrl.data.sources.kuairand import KuairandConfig, read_kuairand
from recsim_hrl.data.sources.movielens import MovielensConfig, ratings_report, read_movielens
from recsim_hrl.data.sources.open_bandit import OpenBanditConfig, read_open_bandit
from recsim_hrl.data.sources.retailrocket import RetailrocketConfig, read_retailrocket
from recsim_hrl.data.sources.rl4rs import Rl4rsConfig, read_rl4rs
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


@dataclass(frozen=True)
class Kuairand:
    """Turn KuaiRand into two logs: play or click is a click, a like, follow, comment or forward an order."""

    source: Positional[Path]
    """The publisher's archive, its folder, or one of the log files with the others beside it; of one size."""
    out: Path
    """Folder of the logs: OUT/standard is what was recommended, OUT/random what was shown at random."""
    config: OmitArgPrefixes[KuairandConfig] = field(default_factory=KuairandConfig)

    def run(self) -> None:
        _tell_all(read_kuairand(self.source, self.out, self.config))


@dataclass(frozen=True)
class OpenBandit:
    """Turn the Open Bandit Dataset into two logs with propensities: every row is a session of one impression."""

    source: Positional[Path]
    """The publisher's archive, or the folder that it extracts to."""
    out: Path
    """Folder of the logs: OUT/random is what was shown at random, OUT/bts what Thompson sampling chose."""
    config: OmitArgPrefixes[OpenBanditConfig] = field(default_factory=OpenBanditConfig)

    def run(self) -> None:
        _tell_all(read_open_bandit(self.source, self.out, self.config))


@dataclass(frozen=True)
class Rl4rs:
    """Turn RL4RS into two logs of slates of nine items in three layers; bought is an order, all else a skip."""

    source: Positional[Path]
    """The publisher's archive, its folder, or one of the files with the others beside it."""
    out: Path
    """Folder of the logs: OUT/sl is what supervised learning chose, OUT/rl what reinforcement learning chose."""
    config: OmitArgPrefixes[Rl4rsConfig] = field(default_factory=Rl4rsConfig)

    def run(self) -> None:
        _tell_all(read_rl4rs(self.source, self.out, self.config))


@dataclass(frozen=True)
class AliCcp:
    """Turn Ali-CCP into two logs without time: a click is a click, a conversion an order; sessions in file order."""

    source: Positional[Path]
    """The folder with sample_train.tar.gz and sample_test.tar.gz or with what is in them, or one of the files."""
    out: Path
    """Folder of the logs, the publisher's two halves: OUT/train and OUT/test."""
    config: OmitArgPrefixes[AliccpConfig] = field(default_factory=AliccpConfig)

    def run(self) -> None:
        _tell_all(read_aliccp(self.source, self.out, self.config))


def _tell(log: InteractionLog) -> None:
    """Print what a reader of events dropped, and what the log holds."""
    print(event_log.reading_report(log))
    print(log.report())


def _tell_all(logs: Sequence[InteractionLog]) -> None:
    """Print what a reader of impressions dropped, and what its logs hold."""
    print(log_rows.reading_report(logs[0]))
    for log in logs:
        print(log.report())
