"""The leave model: hazards by hand, alone as among many, and its file beside a simulator."""

import dataclasses
import math

import numpy as np
import pytest

from recsim_hrl.simulator.folder import SimulatorError, load_data
from recsim_hrl.simulator.leaving import LEAVING_FILE, LeaveModel, traces_of
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_annex, save_simulator
from recsim_hrl.simulator.weights import ResponseConfig
from tests.reference.slate import hazard


def random_model(traces: int, hidden: int = 3, seed: int = 0) -> LeaveModel:
    """Random weights for a memory of ``traces`` (W)."""
    rng, inputs = np.random.default_rng(seed), traces + 2
    direct, first, first_bias = rng.normal(size=inputs), rng.normal(size=(inputs, hidden)), rng.normal(size=hidden)
    scale = np.exp(rng.normal(size=inputs))
    return LeaveModel(rng.normal(size=inputs), scale, direct, first, first_bias, rng.normal(size=hidden), np.ones(1))


def test_hazards_by_hand():
    """Two traces, one hidden unit that sees the first alone; after 1 impression log(1 + n) is log 2."""
    model = LeaveModel(
        centre=np.array([1.0, 0.0, 0.0, 0.0]),
        scale=np.array([2.0, 1.0, 1.0, 1.0]),
        direct=np.array([0.0, 0.5, 1.0, -1.0]),
        first=np.array([[1.0], [0.0], [0.0], [0.0]]),
        first_bias=np.array([0.0]),
        last=np.array([3.0]),
        bias=np.array([-2.0]),
    )
    whole = np.array([[1.0, 0.0], [3.0, 2.0], [1.0, 7.0]], np.float32)
    log2, log4 = math.log(2), math.log(4)
    silu = 1 / (1 + math.exp(-1))  # of 1, which is (3 - 1) / 2
    logits = [
        -2 + log2 - log2**2,
        -2 + 0.5 * 2 + log4 - log4**2 + 3 * silu,
        -2 + 0.5 * 4 + log2 - log2**2,  # seven standard deviations count as four
    ]
    expected = [1 / (1 + math.exp(-logit)) for logit in logits]
    np.testing.assert_allclose(model.hazards(whole, np.array([1, 3, 1])), expected, rtol=1e-12)


@pytest.mark.parametrize("hidden", [0, 1, 16])
def test_hazards_against_the_definition_and_alone_as_among_many(hidden):
    model, rng = random_model(7, hidden), np.random.default_rng(1)
    whole = (rng.normal(size=(100, 7)) * 3).astype(np.float32)
    steps = rng.integers(1, 500, 100)
    together = model.hazards(whole, steps)
    assert together.dtype == np.float64 and together.shape == (100,)
    np.testing.assert_allclose(together, [hazard(model, *one) for one in zip(whole, steps, strict=True)], 1e-9)
    alone = [model.hazards(whole[user : user + 1], steps[user : user + 1])[0] for user in range(100)]
    assert together.tolist() == alone  # to the last bit
    assert model.hazards(whole[:0], steps[:0]).shape == (0,)


def test_the_width_of_the_memory_is_that_of_the_simulator():
    for config in (ResponseConfig(), ResponseConfig(traces=1, half_lives=(2.0, 9.0))):
        assert traces_of(config) == config.time_scales * (config.traces + 2)
    simulator = random_simulator(items=40)
    assert traces_of(simulator.model.config) == simulator.data.memories.whole.shape[1]


@pytest.fixture
def folder(tmp_path):
    simulator = random_simulator(items=40, embedding_dim=5, users=6, categories=3)
    leaving = random_model(traces_of(simulator.model.config))
    return save_simulator(dataclasses.replace(simulator, leaving=leaving), tmp_path / "market")


def test_round_trip_and_an_older_folder_has_none(folder):
    expected = random_model(36)
    for loaded in (load_simulator(folder), load_simulator(folder).data, load_data(folder)):
        for name, array in vars(expected).items():
            np.testing.assert_array_equal(getattr(loaded.leaving, name), array)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / LEAVING_FILE).unlink()
    assert load_data(folder).leaving is None and load_simulator(folder).data.leaving is None
    save_annex(expected, LEAVING_FILE, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_cannot_be_is_refused(folder):
    path, model = folder / LEAVING_FILE, random_model(36)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(SimulatorError, match=r"cannot be read .*make it again with `recsim-hrl leaving`"):
        load_data(folder)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SimulatorError, match="does not match its checksum"):
        load_data(folder)
    changes = {
        "centre": model.centre[:-1],
        "scale": model.scale * np.eye(38)[0],
        "direct": model.direct * np.nan,
        "first": model.first[:, :2],
        "first_bias": model.first_bias.astype(np.float32),
        "last": np.array([1.0, np.inf, 0.0]),
        "bias": np.ones((1, 1)),
    }
    for name, wrong in changes.items():
        save_annex(dataclasses.replace(model, **{name: wrong}), LEAVING_FILE, folder)
        with pytest.raises(SimulatorError, match=rf"does not fit the simulator \({name}\)"):
            load_data(folder)
    other = save_simulator(random_simulator(items=40, seed=1), folder.with_name("other"))
    path.rename(other / LEAVING_FILE)
    with pytest.raises(SimulatorError, match="belongs to another simulator"):
        load_data(other)
