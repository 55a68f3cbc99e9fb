"""Fitting: codebooks that are known beforehand, small and odd catalogues, and the same result again."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans

from recsim_hrl.semantic_ids import SemanticIdConfig, SemanticIdError, fit_semantic_ids, measure_ids

RNG = np.random.default_rng(5)
CLOUD = (RNG.integers(-3, 4, (600, 4)) * 5 + RNG.normal(size=(600, 4))).astype(np.float32)


def test_codebooks_by_hand():
    """Pairs around 0, 10 and 40: the first level has their means, the second what is left, 1 and -1."""
    numbers = np.array([-1, 1, 9, 11, 39, 41], np.float32)[:, None]
    ids = fit_semantic_ids(numbers, SemanticIdConfig(levels=2, codes=3, starts=20))
    assert sorted(ids.codebooks[0, :, 0].tolist()) == [0, 10, 40]
    assert set(ids.codebooks[1, :, 0].tolist()) == {-1, 1}, "the third token means the same as another"
    assert ids.embedding(ids.codes).tolist() == numbers.tolist()
    assert ids.provenance["items"] == 6 and ids.provenance["fit"]["codes"] == 3


def test_each_level_is_k_means_on_what_is_left():
    """scikit-learn's k-means, from ten beginnings, finds next to nothing that is better."""
    config = SemanticIdConfig(levels=3, codes=12, starts=8)
    ids, left = fit_semantic_ids(CLOUD, config), CLOUD.astype(np.float64)
    for codebook in ids.codebooks:
        distances = np.square(left[:, None] - codebook).sum(-1)  # (I, V)
        other = KMeans(config.codes, n_init=10, random_state=0).fit(left)
        assert distances.min(1).sum() < 1.04 * other.inertia_
        left -= codebook[distances.argmin(1)]


def test_tokens_come_in_the_order_of_how_many_items_they_stand_for():
    numbers = np.array([100, 101, 99, -50, 1, 2, 0, -1, -2], np.float32)[:, None]
    ids = fit_semantic_ids(numbers, SemanticIdConfig(levels=2, codes=3, starts=20))
    assert ids.codebooks[0, :, 0].tolist() == pytest.approx([0, 100, -50])


def test_tokens_that_are_too_many_come_again_in_the_same_order():
    numbers = np.array([100, 100, 0, 0, 0, -50], np.float32)[:, None]
    ids = fit_semantic_ids(numbers, SemanticIdConfig(levels=1, codes=8))
    assert ids.codebooks[0, :, 0].tolist() == [0, 100, -50, 0, 100, -50, 0, 100]
    assert ids.codes[:, 0].tolist() == [1, 4, 0, 3, 6, 2]


def test_the_seed_decides_all_that_is_drawn():
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    config = SemanticIdConfig(codes=10, sample=200)
    ids, again = fit_semantic_ids(CLOUD, config), fit_semantic_ids(CLOUD, config)
    other = fit_semantic_ids(CLOUD, SemanticIdConfig(codes=10, sample=200, seed=1))
    assert np.array_equal(ids.codes, again.codes) and np.array_equal(ids.codebooks, again.codebooks)
    assert not np.array_equal(ids.codebooks, other.codebooks)
    assert np.array_equal(np.random.get_state()[1], state), "the global generator is left alone"


def test_a_sample_is_enough_for_all():
    ids = fit_semantic_ids(CLOUD, SemanticIdConfig(codes=10, sample=300))
    whole = fit_semantic_ids(CLOUD, SemanticIdConfig(codes=10))
    errors = [measure_ids(one, CLOUD).nearest_error[-1] for one in (ids, whole)]
    assert len(ids) == 600 and errors[1] < errors[0] < 1.5 * errors[1]


def test_the_best_of_several_starts_is_kept():
    errors = [
        measure_ids(fit_semantic_ids(CLOUD, SemanticIdConfig(codes=12, starts=starts)), CLOUD).nearest_error[0]
        for starts in (1, 12)
    ]
    assert errors[1] < 0.995 * errors[0], "the first of both is the same"


def test_equal_items_have_codes_that_differ_and_mean_the_same():
    ids = fit_semantic_ids(np.full((60, 3), 2.5, np.float32), SemanticIdConfig(levels=3, codes=4))
    assert len(np.unique(ids.codes, axis=0)) == 60
    assert np.array_equal(ids.embedding(ids.codes), np.full((60, 3), 2.5))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_fewer_items_than_tokens_and_any_scale(scale):
    points = (np.array([[1, 2], [3, 4], [3, 4]]) * scale).astype(np.float32)
    ids = fit_semantic_ids(points, SemanticIdConfig(levels=2, codes=8))
    assert ids.codebooks.shape == (2, 8, 2) and len(np.unique(ids.codes, axis=0)) == 3
    np.testing.assert_allclose(ids.embedding(ids.codes), points, rtol=1e-5)


def test_one_item_and_zeros():
    ids = fit_semantic_ids(np.zeros((1, 4), np.float32))
    assert ids.items(ids.codes).tolist() == [0] and not ids.codebooks.any()


def test_exactly_full_and_one_too_many():
    config = SemanticIdConfig(levels=2, codes=8)
    ids = fit_semantic_ids(CLOUD[:64], config)
    assert len(np.unique(ids.codes, axis=0)) == 64 and measure_ids(ids, CLOUD[:64]).possible == 64
    with pytest.raises(SemanticIdError, match="got 65 items, allowed up to 64, as 2 levels of 8 tokens have no more"):
        fit_semantic_ids(CLOUD[:65], config)


@pytest.mark.parametrize("wrong", [np.empty((0, 3)), np.zeros(4), np.array([[np.nan]])])
def test_embeddings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="embeddings: got shape .* allowed finite numbers .I, D. of one item or more"):
        fit_semantic_ids(wrong)


@pytest.mark.parametrize("name", ["levels", "codes", "sample", "iterations", "starts"])
def test_settings_that_cannot_be(name):
    with pytest.raises(SemanticIdError, match=f"semantic ids {name}: got 0, allowed 1 or more; raise it"):
        SemanticIdConfig(**{name: 0})
    with pytest.raises(SemanticIdError, match=r"got 32\*\*13 codes, allowed at most 2\*\*62; lower levels or codes"):
        SemanticIdConfig(levels=13)


def test_an_environment_does_not_wait_for_what_only_a_fit_needs():
    code = "import sys, recsim_hrl.semantic_ids; print([m for m in ('torch', 'scipy', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
