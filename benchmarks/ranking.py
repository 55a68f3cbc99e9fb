"""Re-ranks the items of held-out sessions by an agent's scores, and measures the order (MaHRL section 4.2.2).

An agent scores all items of a session at its start, from the histories that the user brings along from the visit
before. Good orders have what the user then clicked and ordered at their top. Items of equal score share one place,
so that nothing depends on the order of the log: average precision takes them all in at once, NDCG is the mean over
their orders.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.logged import LoggedSessions, Windows
from sklearn.metrics import average_precision_score, ndcg_score

from recsim_hrl.types import CLICK, DEFAULT_REWARDS

METRICS = {"map": "MAP", "ndcg20": "NDCG@20", "ndcg40": "NDCG@40"}
"""Column and title of each metric."""

SESSIONS_PER_BATCH = 64


@dataclass(frozen=True)
class Counts:
    """What a held-out log holds."""

    sessions: int
    """All of them."""
    without_click: int
    """In which no order is better than another, and which do not count."""
    of_one_item: int
    """Clicked, but with no order; these do not count either."""
    ranked: int
    """Those that count."""
    without_history: int
    """Those of them whose user comes for the first time: an agent can only know the items."""


@dataclass(frozen=True)
class Ranking:
    """How well the agent of one run ranks the sessions of a held-out log."""

    task: str
    agent: str
    seed: int
    key: str
    """Of the run."""
    log: str
    """Name of the held-out log."""
    counts: Counts
    metrics: dict[str, tuple[float, ...]]
    """Each of ``METRICS`` for each session that counts."""

    def content(self) -> bytes:
        """The file that keeps it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, path: Path) -> "Ranking":
        """Read a kept file.

        Raises:
            ValueError: If the file is none.
        """
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            metrics = {name: tuple(float(value) for value in about["metrics"][name]) for name in METRICS}
            return cls(**about | {"counts": Counts(**about["counts"]), "metrics": metrics})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: is no ranking ({error}); delete it, and it is made again") from error


@dataclass(frozen=True)
class HeldOut:
    """The S sessions of a log that count."""

    windows: dict[str, np.ndarray]  # each (S, N) catalogue index + 1 at the start of the session, 0 for none
    items: list[np.ndarray]  # S of (n,) catalogue indices
    gains: list[np.ndarray]  # S of (n,): 0 for a skip, 1 for a click, 5 for an order
    counts: Counts

    @classmethod
    def of(cls, log: LoggedSessions, history: int) -> "HeldOut":
        """Of a log, with windows of length N ``history``.

        Raises:
            ValueError: If no session counts.
        """
        log = log.by_user()
        first, lengths = log.offsets[:-1], np.diff(log.offsets)  # (S,) each
        clicks = np.concatenate([[0], np.cumsum(log.response >= CLICK)])  # (n + 1,)
        clicked = clicks[log.offsets[1:]] > clicks[first]  # (S,)
        counting = np.flatnonzero(clicked & (lengths > 1))
        if not len(counting):
            raise ValueError(
                f"held-out log: got {len(lengths)} sessions, none of two items or more with a click, allowed a log "
                "with some; pass a longer one"
            )
        windows = Windows(log, history).take(first[counting])
        spans = [slice(*log.offsets[session : session + 2]) for session in counting]
        gains = np.array(DEFAULT_REWARDS)[log.response]  # (n,)
        counts = Counts(
            sessions=len(lengths),
            without_click=int((~clicked).sum()),
            of_one_item=int((clicked & (lengths == 1)).sum()),
            ranked=len(counting),
            without_history=int((windows["browsed"] == 0).all(-1).sum()),
        )
        return cls(
            windows, [log.item_index[span].astype(np.int64) for span in spans], [gains[span] for span in spans], counts
        )


def fingerprint(log: LoggedSessions) -> str:
    """16 hexadecimal digits: a hash of everything in a log."""
    digest = hashlib.sha256()
    for array in (log.item_index, log.response, log.offsets, log.user_ids):
        digest.update(b"" if array is None else np.asarray(array, np.int64).tobytes())
    return digest.hexdigest()[:16]


def score_sessions(agent: Agent, held_out: HeldOut) -> list[np.ndarray]:
    """S of (n,): the agent's scores of the items of each session.

    Args:
        agent: Trained; its market's observations must hold item ids.
        held_out: The sessions.
    """
    sessions = len(held_out.items)
    # Those of a length side by side: all rows of a batch are as wide as its longest session.
    order = np.argsort([len(items) for items in held_out.items], kind="stable")
    scores: list[np.ndarray] = [np.zeros(0)] * sessions
    for batch in np.array_split(order, -(-sessions // SESSIONS_PER_BATCH)):
        wide = np.zeros((len(batch), len(held_out.items[batch[-1]])), np.int64)  # (b, n)
        for row, session in zip(wide, batch, strict=True):
            row[: len(held_out.items[session])] = held_out.items[session]
        given = agent.score({key: windows[batch] for key, windows in held_out.windows.items()}, wide)  # (b, n)
        for row, session in zip(given, batch, strict=True):
            scores[session] = row[: len(held_out.items[session])]
    return scores


def measure(gains: list[np.ndarray], scores: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Every metric (S,) of S sessions.

    Args:
        gains: S of (n,) what it is worth to have an item at the top; 0: nothing. Each has one above 0.
        scores: S of (n,) of the same items.

    Returns:
        ``map``: average precision, the mean over relevant items of the share of relevant ones down to their place;
        ``ndcg20`` and ``ndcg40``: the sum of gains over log2(place + 1) down to that place, as a share of the best.
    """
    pairs = list(zip(gains, scores, strict=True))
    return {
        "map": np.array([average_precision_score(gain > 0, score) for gain, score in pairs]),
        "ndcg20": np.array([ndcg_score(gain[None], score[None], k=20) for gain, score in pairs]),
        "ndcg40": np.array([ndcg_score(gain[None], score[None], k=40) for gain, score in pairs]),
    }
