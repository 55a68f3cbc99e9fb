import numpy as np
import pytest
import torch
from recsim_hrl_agents.returns import n_step_returns


def columns(*rows):
    return torch.tensor(rows).T


def test_hand_computed():
    # Columns: plain; truncated at the second step; the user leaves at the second step; leaves at the first.
    rewards = columns([1.0, 2, 4], [1.0, 2, 4], [1.0, 2, 4], [1.0, 2, 4])
    ended = columns([0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]).bool()
    terminated = columns([0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]).bool()
    returns, discounts, last = n_step_returns(rewards, ended, terminated, 0.5)
    np.testing.assert_allclose(returns, [1 + 1 + 1, 1 + 1, 1 + 1, 1])
    np.testing.assert_allclose(discounts, [0.125, 0.25, 0.0, 0.0])
    np.testing.assert_array_equal(last, [2, 1, 1, 0])


def test_one_step_is_the_reward():
    returns, discounts, last = n_step_returns(
        torch.tensor([[3.0, 4.0]]), torch.tensor([[False, True]]), torch.tensor([[False, True]]), 0.9
    )
    np.testing.assert_allclose(returns, [3, 4])
    np.testing.assert_allclose(discounts, [0.9, 0.0])
    np.testing.assert_array_equal(last, [0, 0])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_against_slow_reference(n):
    rng = np.random.default_rng(n)
    rewards, ended = rng.normal(size=(n, 40)), rng.random((n, 40)) < 0.3
    terminated = ended & (rng.random((n, 40)) < 0.5)
    found = n_step_returns(*map(torch.from_numpy, (rewards, ended, terminated)), 0.8)
    returns, discounts, last = (values.numpy() for values in found)
    for b in range(40):
        total, k = 0.0, 0
        while True:
            total += 0.8**k * rewards[k, b]
            k += 1
            if k == n or ended[k - 1, b]:
                break
        assert returns[b] == pytest.approx(total, abs=1e-5)
        assert discounts[b] == pytest.approx(0.0 if terminated[k - 1, b] else 0.8**k, abs=1e-6)
        assert last[b] == k - 1
