"""What single pages need before their code can run, and budgets that a test has no time for."""

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import recsim_hrl  # noqa: F401  registers the environments
from recsim_hrl.cli import main
from recsim_hrl.data.log import LogWriter
from recsim_hrl.data.sources.retailrocket import read_retailrocket
from recsim_hrl.simulator.store import random_simulator
from tests.data.sources import (
    test_aliccp,
    test_kuairand,
    test_open_bandit,
    test_retailrocket,
    test_rl4rs,
    test_taobao,
    test_yoochoose,
)
from tests.data.sources.test_movielens import archive, publisher_files
from tests.docs.pages import ROOT, Preparation


def _logs() -> dict[str, Any]:
    """A log at ``my-log``: 20 sessions of 5 impressions, an hour apart; and what another one is written from."""
    catalogue = random_simulator(items=30).catalogue
    rows = np.arange(100)
    columns = {
        "session_id": rows // 5,
        "step": rows % 5,
        "user_id": rows // 10,
        "item_index": rows % 30,
        "response": rows % 3,
        "timestamp": rows // 5 * 3600 + rows % 5,
    }
    with LogWriter("my-log", catalogue) as writer:
        writer.append(columns)
    return {"catalogue": catalogue, "blocks": [columns]}


def _users() -> dict[str, Any]:
    """The vector environment of docs/agents/index.md, smaller."""
    env = gym.make_vec("RecSession-v0", num_envs=4, vectorization_mode="vector_entry_point", observation="item_ids")
    return {"env": env}


def _movielens() -> dict[str, Any]:
    """A small ``ml-100k.zip`` in the publisher's format."""
    archive(Path("ml-100k.zip"), publisher_files(), "ml-100k/")
    return {}


def _retailrocket() -> dict[str, Any]:
    """An ``archive.zip`` in the publisher's format: ten times the visits of the tests, two hours apart."""
    events = [
        (milliseconds + shift * 7_200_000, visitor, *event)
        for shift in range(10)
        for milliseconds, visitor, *event in test_retailrocket.EVENTS
    ]
    test_retailrocket.archive(Path("archive.zip"), test_retailrocket.publisher_files(events))
    return {}


def _event_log() -> dict[str, Any]:
    """The log of that archive."""
    _retailrocket()
    return {"log": read_retailrocket("archive.zip", "logs/retailrocket")}


def _taobao() -> dict[str, Any]:
    """A ``UserBehavior.csv.zip`` of ten times the visits of the tests."""
    rows = [(*row, seconds + shift * 7_200) for shift in range(10) for *row, seconds in test_taobao.ROWS]
    test_retailrocket.archive(Path("UserBehavior.csv.zip"), {"UserBehavior.csv": test_taobao.content(rows)})
    return {}


def _yoochoose() -> dict[str, Any]:
    """A folder ``yoochoose-data`` of ten times the sessions of the tests."""
    clicks, buys = (
        "".join(f"{shift}{line}" for shift in range(1, 11) for line in text.splitlines(keepends=True))
        for text in (test_yoochoose.CLICKS, test_yoochoose.BUYS)
    )
    test_retailrocket.folder(Path("yoochoose-data"), test_yoochoose.publisher_files(clicks, buys))
    return {}


def _kuairand() -> dict[str, Any]:
    """A ``KuaiRand-Pure.tar.gz`` of ten times the impressions of the tests, by other users."""
    early, late, random = (
        [f"{shift}{line}" for shift in range(1, 11) for line in lines]
        for lines in (test_kuairand.EARLY, test_kuairand.LATE, test_kuairand.RANDOM)
    )
    test_kuairand.tar(Path("KuaiRand-Pure.tar.gz"), test_kuairand.publisher_files(early, late, random))
    return {}


def _open_bandit() -> dict[str, Any]:
    """The rows of the tests as ``open_bandit_dataset.zip``."""
    test_retailrocket.archive(Path("open_bandit_dataset.zip"), test_open_bandit.publisher_files())
    return {}


def _rl4rs() -> dict[str, Any]:
    """The slates of the tests as ``rl4rs-dataset.zip``."""
    test_retailrocket.archive(Path("rl4rs-dataset.zip"), test_rl4rs.publisher_files())
    return {}


def _aliccp() -> dict[str, Any]:
    """A folder ``ali-ccp`` with ten times the impressions of the tests."""
    test_retailrocket.folder(
        Path("ali-ccp"), test_aliccp.publisher_files(test_aliccp.TRAIN * 10, test_aliccp.TEST * 10)
    )
    return {}


def texts(page: str) -> list[str]:
    """The ```` ```text ```` blocks of the page with this name."""
    return re.findall(r"^```text\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def _own_shop() -> dict[str, Any]:
    """``events.csv`` as the page prints it, and what its commands make of it, with a smaller fit."""
    Path("events.csv").write_text(texts("docs/own_log.md")[0], encoding="utf-8")
    text = (ROOT / "docs/own_log.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in re.findall(r"^recsim-hrl import events.csv .*", text, re.M)]
    smaller = ["--passes", "1", "--kinds", "2", "--hidden", "4", "--processes", "1"]
    printed = []
    for words in commands:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main([*words, *smaller]) == 0
        printed.append(out.getvalue())
    return {"printed_by_commands": printed}


PREPARATIONS = {
    "docs/data.md": Preparation(given=_logs),
    "docs/datasets/ali_ccp.md": Preparation(given=_aliccp),
    "docs/datasets/events.md": Preparation(given=_event_log),
    "docs/own_log.md": Preparation(given=_own_shop),
    "docs/datasets/kuairand.md": Preparation(given=_kuairand),
    "docs/datasets/movielens.md": Preparation(given=_movielens),
    "docs/datasets/open_bandit.md": Preparation(given=_open_bandit),
    "docs/datasets/retailrocket.md": Preparation(given=_retailrocket),
    "docs/datasets/rl4rs.md": Preparation(given=_rl4rs),
    "docs/datasets/taobao.md": Preparation(given=_taobao),
    "docs/datasets/yoochoose.md": Preparation(given=_yoochoose),
    "docs/agents/index.md": Preparation(smaller=(("num_envs=64", "num_envs=4"), ("100_000", "200"), ("=1000", "=8"))),
    "docs/agents/sb3.md": Preparation(given=_users, smaller=(("steps=100_000", "steps=64"),)),
    "docs/agents/slate_values.md": Preparation(
        smaller=(("num_envs=64", "num_envs=8"), ("25_000", "64"), ("=512", "=8"))
    ),
    "docs/benchmarks.md": Preparation(smaller=(("sessions=200", "sessions=2"), ("20_000", "640"))),
}
"""By page, named from the root of the repository."""
