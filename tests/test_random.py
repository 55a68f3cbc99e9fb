"""Counter-based randomness, against SplitMix64 in plain integers."""

import numpy as np
import pytest
import torch

from recsim_hrl import random

_MASK = (1 << 64) - 1


def slow_mix(key: int, word: int) -> int:
    x = ((key ^ (word * 0x9E3779B97F4A7C15)) + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x


KEYS = [0, 1, 2, 12345, 2**62, -1, -(2**63)]


@pytest.mark.parametrize("word", [0, 1, 7, 1_000_003])
def test_mix_is_splitmix64_on_unsigned_integers(word):
    mixed = random.mix(torch.tensor(KEYS), word)
    assert mixed.tolist() == [signed(slow_mix(key & _MASK, word * 1 & _MASK)) for key in KEYS]


def test_mix_of_zero_is_the_published_first_output_of_splitmix64():
    assert int(random.mix(torch.tensor(0), 0)) & _MASK == 0xE220A8397B1DCDAF


def test_a_word_may_be_a_tensor_or_a_number():
    assert torch.equal(random.mix(torch.tensor(KEYS), torch.tensor(9)), random.mix(torch.tensor(KEYS), 9))


def test_a_draw_depends_on_its_own_key_alone():
    alone = random.uniform(random.mix(torch.tensor(3), torch.tensor([41])))
    among = random.uniform(random.mix(torch.tensor(3), torch.arange(1000)))
    assert float(alone[0]) == float(among[41])


def test_uniform_is_the_top_24_bits():
    expected = [(slow_mix(key & _MASK, 0) >> 40) * 2.0**-24 for key in KEYS]
    assert random.uniform(torch.tensor(KEYS)).tolist() == expected


def test_uniform_numbers_fill_the_unit_interval_evenly():
    draws = random.uniform(random.mix(torch.tensor(5), torch.arange(100_000))).numpy()
    counts = np.histogram(draws, bins=20, range=(0.0, 1.0))[0]
    assert counts.sum() == 100_000  # none outside
    chi_squared = ((counts - 5000.0) ** 2 / 5000.0).sum()
    assert chi_squared < 43.8  # the 99.9% quantile with 19 degrees of freedom
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.01


def test_integers_stay_below_high_and_are_even():
    draws = random.integers(random.mix(torch.tensor(6), torch.arange(70_000)), 7)
    assert draws.min() == 0 and draws.max() == 6
    assert np.abs(np.bincount(draws.numpy()) - 10_000).max() < 400


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    draws = random.normal(random.mix(torch.tensor(7), torch.arange(100_000))).double()
    assert bool(draws.isfinite().all())
    assert float(draws.mean()) == pytest.approx(0.0, abs=0.015)
    assert float(draws.std()) == pytest.approx(1.0, abs=0.015)
    assert float((draws.abs() < 1.959964).double().mean()) == pytest.approx(0.95, abs=0.005)


def test_sample_picks_the_interval_that_holds_the_draw():
    probs = torch.tensor([0.5, 0.25, 0.25]).expand(6, -1)
    draws = torch.tensor([0.0, 0.49, 0.5, 0.74, 0.75, 0.999])
    assert random.sample(probs, draws).tolist() == [0, 0, 1, 1, 2, 2]


def test_sample_never_picks_an_outcome_of_no_probability():
    probs = torch.tensor([0.0, 1.0, 0.0]).expand(3, -1)
    assert random.sample(probs, torch.tensor([0.0, 0.5, 0.99999])).tolist() == [1, 1, 1]


def test_sample_keeps_every_leading_dimension():
    probs = torch.tensor([[[0.2, 0.8], [0.9, 0.1]]])  # (1, 2, 2)
    assert random.sample(probs, torch.tensor([[0.5, 0.5]])).tolist() == [[1, 0]]


def test_arrays_and_tensors_draw_the_same():
    keys = torch.arange(-500, 500) * 987_654_321_987
    for draw in (random.uniform, random.normal, lambda key: random.integers(key, 17), lambda key: random.mix(key, 3)):
        drawn = draw(keys.numpy())
        assert isinstance(drawn, np.ndarray)
        np.testing.assert_allclose(drawn, draw(keys).numpy(), rtol=1e-6, atol=1e-7)
    probs = torch.softmax(torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)), -1)
    draws = random.uniform(keys)
    np.testing.assert_array_equal(random.sample(probs.numpy(), draws.numpy()), random.sample(probs, draws).numpy())
