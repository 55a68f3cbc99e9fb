"""A sample of a log's sessions with what the simulator predicts of them: what the sections of a report look at."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.validity.intervals import UserBootstrap
from recsim_hrl.simulator.validity.measures import Predictions

_BEFORE_CLOCKS = 946_684_800  # the year 2000: earlier "times" are counters, not moments of shoppers


@dataclass(frozen=True)
class LogSample:
    """Rows of whole sessions in log order, one an impression."""

    sequences: Sequences
    """The whole log."""
    sessions: np.ndarray  # (S,) positions of the sampled sessions in it, rising
    item: np.ndarray  # (n,) item indices
    response: np.ndarray  # (n,)
    probs: np.ndarray  # (n, R) predicted, one step ahead
    propensity: np.ndarray | None = None  # (n,) of the item shown, under the policy that wrote the log
    start_seconds: np.ndarray | None = None  # (S,) when each session starts

    @cached_property
    def lengths(self) -> np.ndarray:
        """(S,) impressions of each session."""
        return self.sequences.lengths[self.sessions]

    @cached_property
    def starts(self) -> np.ndarray:
        """(S,) row of each session's first impression."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def session(self) -> np.ndarray:
        """(n,) which of the sampled sessions a row is of, from 0."""
        return np.repeat(np.arange(len(self.sessions)), self.lengths)

    @cached_property
    def step(self) -> np.ndarray:
        """(n,) impressions of the session before this one."""
        return np.arange(len(self.item)) - self.starts[self.session]

    @cached_property
    def users(self) -> np.ndarray:
        """(S,) the user of each session, numbered from 0."""
        return np.unique(self.sequences.user_ids[self.sessions], return_inverse=True)[1]

    @cached_property
    def is_returning(self) -> np.ndarray:
        """(S,) whether the log holds an earlier session of the user."""
        return self.sequences.previous[self.sessions] >= 0

    @property
    def hours(self) -> np.ndarray | None:
        """(S,) hour of the day (UTC) in which each session starts; None where the log tells none."""
        seconds = self.start_seconds
        if seconds is None or seconds.min() < _BEFORE_CLOCKS or not (seconds % 86_400).any():
            return None
        return (seconds % 86_400 // 3600).astype(np.int64)

    def bootstrap(self, seed: int) -> UserBootstrap:
        """Over the users of the rows."""
        return UserBootstrap(self.users[self.session], seed)

    def bootstrap_sessions(self, seed: int) -> UserBootstrap:
        """Over the users of the sessions."""
        return UserBootstrap(self.users, seed)

    def running(self, values: np.ndarray) -> np.ndarray:
        """(n,) sum of ``values`` (n,) over the impressions of the session before each one."""
        before = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])[:-1]
        return before - before[self.starts][self.session]

    def thinned(self, sessions: int) -> "LogSample":
        """At most ``sessions`` of its sessions, evenly from all of it."""
        if sessions >= len(self.sessions):
            return self
        kept = np.linspace(0, len(self.sessions) - 1, sessions).round().astype(np.int64)
        rows = np.isin(self.session, kept)
        propensity = None if self.propensity is None else self.propensity[rows]
        seconds = None if self.start_seconds is None else self.start_seconds[kept]
        columns = (self.item[rows], self.response[rows], self.probs[rows])
        return LogSample(self.sequences, self.sessions[kept], *columns, propensity, seconds)


def sample_of(predictions: Predictions, sequences: Sequences, log: InteractionLog) -> LogSample:
    """The sample that ``predictions`` are of, with what ``log`` tells of it beyond items and responses.

    The log is read once more where it has propensities or times; only those of the sample are kept.
    """
    order = np.lexsort((predictions.step, predictions.session))
    columns = (part[order] for part in (predictions.item, predictions.response, predictions.probs))
    sample = LogSample(sequences, np.unique(predictions.session), *columns)
    rows = sequences.offsets[sample.sessions][sample.session] + sample.step  # (n,) rows of the log, rising
    wanted = [name for name in ("propensity", "timestamp") if name in log.columns]
    found = {name: np.empty(len(rows)) for name in wanted}
    passed = 0
    for batch in log.batches(optional=wanted) if wanted else ():
        here = slice(*np.searchsorted(rows, (passed, passed + len(batch["step"]))))
        for name in wanted:
            found[name][here] = batch[name][rows[here] - passed]
        passed += len(batch["step"])
    times = found["timestamp"][sample.starts] if "timestamp" in found else None
    fields = (sample.sessions, sample.item, sample.response, sample.probs)
    return LogSample(sequences, *fields, found.get("propensity"), times)
