"""The leave model beside the truth: true hazards by hand, drawn lengths, and the whole command on a small log."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from benchmarks.leaving import LeavingConfig, by_trust, calibration, drawn_lengths, prediction, run
from benchmarks.leaving_world import Market, TrueHazards
from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import split_by_time
from recsim_hrl.data.world import World
from recsim_hrl.data.world_log import patience_of, write_log
from recsim_hrl.simulator.fit import FitConfig, fit_simulator, load_sequences
from recsim_hrl.simulator.leave_fit import LeaveConfig
from recsim_hrl.simulator.leave_log import Moments
from recsim_hrl.types import CLICK
from tests.simulator.validity.test_evaluate import SMALL_WORLD

IMPRESSIONS = 4000


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaving")
    write_log(World(SMALL_WORLD), folder / "log", impressions=IMPRESSIONS)
    split_by_time(InteractionLog.open(folder / "log"), folder / "halves")
    return folder / "halves"


@pytest.fixture(scope="module")
def opened(halves):
    log = InteractionLog.open(halves / "test")
    return Market.of(log, IMPRESSIONS), load_sequences(log), log.load().session_ids


def test_true_hazards_by_hand(opened):
    """0.0233 / patience exp(-0.25 shift), the shift from clicks on better and worse items than they look."""
    market, sequences, visits = opened
    places = np.array([5, 0, 9])
    truth = market.hazards(sequences, places, visits[places])
    patience = patience_of(market.behaviour, torch.from_numpy(visits[places]), market.seed).numpy()
    normal, weights = np.polynomial.hermite_e.hermegauss(32)
    levels, weights, at = np.exp(0.55 * normal), weights / weights.sum(), 0
    for place, patient in zip(places, patience, strict=True):
        shift, likely = 0.0, weights
        for row in range(sequences.offsets[place], sequences.offsets[place + 1]):
            item = sequences.items[row]
            better = float(market.world.quality[item] - market.world.allure[item])
            shift = 0.99 * shift + 0.2 * better * (sequences.responses[row] >= CLICK)
            hazards = np.minimum(0.0233 / levels, 1.0) * math.exp(-0.25 * shift)
            assert truth.trust_shift[at] == pytest.approx(shift, abs=1e-5)
            assert truth.known[at] == pytest.approx(0.0233 / patient * math.exp(-0.25 * shift), rel=1e-5)
            assert truth.foretold[at] == pytest.approx((likely * hazards).sum(), rel=1e-5)
            likely = likely * (1 - hazards)
            likely, at = likely / likely.sum(), at + 1
    assert at == len(truth.known)


def test_a_visit_in_which_nobody_leaves_begins_as_the_log_has_it(opened):
    market, sequences, visits = opened
    places = np.array([3, 4, 11])
    endless = market.endless(visits[places], market.behaviour, sequences, places)
    assert market.lengths(visits[places], market.behaviour).tolist() == sequences.lengths[places].tolist()
    for position, place in enumerate(places, len(sequences)):
        start, size = endless.offsets[position], sequences.lengths[place]
        logged = slice(sequences.offsets[place], sequences.offsets[place + 1])
        np.testing.assert_array_equal(endless.items[start : start + size], sequences.items[logged])
        np.testing.assert_array_equal(endless.responses[start : start + size], sequences.responses[logged])
        assert endless.lengths[position] == min(400, SMALL_WORLD.items)
        assert endless.previous[position] == sequences.previous[place]


def test_lengths_that_are_drawn():
    ends = np.array([False, False, True, False, True])
    assert drawn_lengths(np.array([0.0, 1.0, 1.0, 0.0, 0.0]), ends, 2).tolist() == [2, 2, 2, 2]
    everyone = np.tile([False] * 99 + [True], 4000)
    lengths = drawn_lengths(np.full(400_000, 0.1), everyone, 1)
    assert len(lengths) == 4000 and lengths.mean() == pytest.approx(10.0, abs=0.5)


def test_tables_by_hand():
    ends, half = np.array([False, True]), np.array([0.5, 0.5])
    truth = TrueHazards(np.array([1.0, -1.0]), np.array([0.1, 0.9]), np.array([0.25, 0.75]))
    moments = Moments(np.zeros((2, 1), np.float32), np.array([1, 2]), ends)
    models = {"constant": lambda whole, steps: half[: len(steps)], "right": lambda whole, steps: np.array([0.25, 0.75])}
    table = prediction(models, moments, truth)
    assert table[1:] == [
        ("constant", f"{math.log(2):.6f}", "0.0%"),
        ("right", f"{-math.log(0.75):.6f}", "100.0%"),
        ("best prediction", f"{-math.log(0.75):.6f}", "100.0%"),
        ("true hazard", f"{-math.log(0.9):.6f}", f"{math.log(0.9 / 0.5) / math.log(1.5):.1%}"),
    ]
    hazard, ends = np.arange(20)[::-1] / 100, np.arange(20) < 2
    assert calibration(hazard, ends)[1] == ("1", "2", "0.00500", "0.00000")
    assert calibration(hazard, ends)[-1] == ("10", "2", "0.18500", "1.00000")
    moved = TrueHazards(np.arange(20.0), np.full(20, 0.2), np.full(20, 0.3))
    assert by_trust(hazard, ends, moved)[1] == ("+0.500", "0.18500", "0.30000", "0.20000", "1.00000")


def test_the_command_on_a_small_log(halves, tmp_path):
    fit, small = FitConfig(passes=1, batch=800, kinds=3, hidden=8, pool=30), LeaveConfig(passes=1)
    for side in ("train", "test"):
        log = InteractionLog.open(halves / side)
        fit_simulator(log, tmp_path / "market" / side, fit, report=lambda _: None, leaving=small)
    config = LeavingConfig(
        halves,
        str(tmp_path / "market"),
        "test",
        tmp_path / "out",
        IMPRESSIONS,
        sessions=30,
        visits=10,
        draws=2,
        fit=small,
    )
    text = run(config)
    assert "logistic regression, as shipped" in text and "16 hidden units" in text and "best prediction" in text
    page = (tmp_path / "out" / "leaving.md").read_text()
    for title in ("Prediction", "Calibration", "Trust", "Lengths"):
        assert f"**{title}.**" in page and (tmp_path / "out" / f"{title.lower()}.csv").is_file()
    asked = "--split test --generated 4000 --sessions 30 --visits 10 --draws 2 --fit.passes 1"
    assert page.endswith(f"Made by `python -m benchmarks.leaving {asked}`.\n")
    with pytest.raises(ValueError, match="other ones make these visits than in the log"):
        run(dataclasses.replace(config, generated=10 * IMPRESSIONS))


def test_settings_and_logs_that_cannot_be(halves):
    with pytest.raises(ValueError, match="leaving draws: got 0"):
        LeavingConfig(halves, draws=0)
    assert Market.of(InteractionLog.open(halves / "train"), IMPRESSIONS).behaviour == BehaviourConfig()
