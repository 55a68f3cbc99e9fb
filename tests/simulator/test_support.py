"""What a log covers, beside a simulator on disk."""

import dataclasses

import numpy as np
import pytest

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.coverage import log_coverage
from recsim_hrl.simulator.fit import FitConfig, add_support, fit_simulator, load_sequences
from recsim_hrl.simulator.folder import SimulatorError, load_data
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_annex, save_simulator
from recsim_hrl.simulator.support import CELLS, SUPPORT_FILE, Support
from tests.simulator.validity.test_evaluate import SMALL_WORLD

SUPPORT = Support(
    goodness=np.linspace(-1, 1, 40, dtype=np.float32),
    edges=np.array([-5_000.0, 0.0, 4_000.0, 9_000.0, 10_001.0]),
    counts=np.arange(CELLS),
)


@pytest.fixture
def folder(tmp_path):
    simulator = random_simulator(items=40, embedding_dim=5, users=6, categories=3)
    return save_simulator(dataclasses.replace(simulator, support=SUPPORT), tmp_path / "market")


def test_cells_by_hand():
    """Bins of 0 | 1, 2 | 3, 4 | 5, 6, 7 | 8 of the category, of 0 | 1 | 2 | 3, 4 | 5 clicks, of goodness, of steps."""
    rows = {  # same, clicks, goodness, step: bins
        (0, 0, -0.9, 0): (0, 0, 0, 0),
        (2, 1, -0.5, 24): (1, 1, 1, 0),
        (4, 4, 0.39996, 25): (2, 3, 3, 1),
        (7, 5, 1.0, 199): (3, 4, 4, 3),
        (8, 2, 1.0001, 200): (4, 2, 5, 4),
        (0, 0, np.nan, 0): (0, 0, 5, 0),
    }
    cells = SUPPORT.cells(*(np.array(column) for column in zip(*rows, strict=True)))
    assert cells.tolist() == [((a * 5 + b) * 6 + c) * 5 + d for a, b, c, d in rows.values()]


def test_round_trip(folder):
    for loaded in (load_simulator(folder), load_data(folder)):
        for name, array in vars(SUPPORT).items():
            np.testing.assert_array_equal(getattr(loaded.support, name), array)
            assert getattr(loaded.support, name).dtype == array.dtype


def test_it_can_be_put_beside_a_simulator_that_stays_as_it_is(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / SUPPORT_FILE).unlink()
    assert load_data(folder).support is None
    save_annex(SUPPORT, SUPPORT_FILE, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_cannot_be_is_refused(folder):
    path = folder / SUPPORT_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(SimulatorError, match=r"support.safetensors: cannot be read .*delete it, or make it again"):
        load_data(folder)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SimulatorError, match="does not match its checksum, so it was changed; delete it"):
        load_data(folder)
    path.write_bytes(whole.replace(b'format_version\\": 1', b'format_version\\": 9'))
    with pytest.raises(SimulatorError, match="format_version: got 9, allowed 1"):
        load_data(folder)
    changes = {"goodness": SUPPORT.goodness[:-1], "edges": SUPPORT.edges[::-1], "counts": SUPPORT.counts - 1}
    for name, wrong in changes.items():
        save_annex(dataclasses.replace(SUPPORT, **{name: wrong}), SUPPORT_FILE, folder)
        with pytest.raises(SimulatorError, match=f"does not fit the simulator .{name}"):
            load_data(folder)
    other = save_simulator(random_simulator(items=40, seed=1), folder.with_name("other"))
    path.rename(other / SUPPORT_FILE)
    with pytest.raises(SimulatorError, match="belongs to another simulator"):
        load_data(other)


def test_a_fit_counts_its_log_and_what_is_added_later_is_the_same(tmp_path):
    write_log(World(SMALL_WORLD), tmp_path / "log", impressions=3000)
    log, config = InteractionLog.open(tmp_path / "log"), FitConfig(passes=1, batch=800, kinds=3, hidden=8, pool=30)
    fit_simulator(log, tmp_path / "simulator", config, report=lambda _: None)
    path = tmp_path / "simulator" / SUPPORT_FILE
    counted = path.read_bytes()
    simulator = load_simulator(tmp_path / "simulator")
    expected = log_coverage(simulator, load_sequences(log)).support
    assert int(expected.counts.sum()) == log.rows
    np.testing.assert_array_equal(simulator.support.counts, expected.counts)
    path.unlink()
    add_support(tmp_path / "simulator", log)
    assert path.read_bytes() == counted
    write_log(World(SMALL_WORLD), tmp_path / "other", impressions=3000, seed=1)
    with pytest.raises(ValueError, match="other responses than the log that the simulator 'simulator' was"):
        add_support(tmp_path / "simulator", InteractionLog.open(tmp_path / "other"))
