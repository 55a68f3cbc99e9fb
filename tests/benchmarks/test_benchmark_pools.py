"""Processes as a pool: results, errors, and values that all jobs share."""

import numpy as np
import pytest
import torch

from benchmarks.pools import open_pool


def test_a_shared_value_stays_where_it_is():
    """Sent as it is, the tensor would move to shared memory, and the array would look at memory that is free."""
    tensor = torch.arange(1000.0)
    array = tensor.numpy()
    with open_pool(2) as pool:
        shared = pool.share((tensor, array))
        outcomes = list(pool.finished(len, [(shared,)] * 3))
    assert [outcome.result for outcome in outcomes] == [2, 2, 2]
    assert np.shares_memory(array, tensor.numpy())


def test_an_error_is_the_outcome_of_its_job_alone():
    with open_pool(1) as pool:
        outcomes = {outcome.place: outcome for outcome in pool.finished(int, [("1",), ("one",), ("3",)])}
    assert (outcomes[0].result, outcomes[2].result) == (1, 3)
    assert isinstance(outcomes[1].error, ValueError)


def test_a_pool_without_workers_is_refused():
    with pytest.raises(ValueError, match="workers: got 0, allowed 1 or more"), open_pool(0):
        pass
