"""Small samples of logs, made by hand."""

import numpy as np

from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.validity.log_sample import LogSample


def sample_of_sessions(
    sessions: list[list[int]],
    users: list[int] | None = None,
    items: list[list[int]] | None = None,
    click: float = 0.2,
    order: float = 0.1,
    **columns: np.ndarray,
) -> LogSample:
    """A sample of a whole log of ``sessions`` of responses, in time, with the same prediction everywhere."""
    lengths = [len(session) for session in sessions]
    response = np.concatenate([np.array(session) for session in sessions])
    item = np.zeros(len(response), np.int64) if items is None else np.concatenate([np.array(one) for one in items])
    who = np.array(users if users is not None else range(len(sessions)))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    sequences = Sequences.build(item, response, offsets, who, np.arange(len(sessions)))
    probs = np.tile([1.0 - click - order, click, order], (len(response), 1))
    return LogSample(sequences, np.arange(len(sessions)), item, response, probs, **columns)
