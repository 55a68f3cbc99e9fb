"""Fitting a leave model: it finds a known hazard, keeps to the constant where there is none, and is written."""

import dataclasses

import numpy as np
import pytest

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.fit import FitConfig, add_leaving, fit_simulator
from recsim_hrl.simulator.leave_fit import LeaveConfig, first_of, fit_leaving, leave_loss
from recsim_hrl.simulator.leave_log import Player
from recsim_hrl.simulator.leaving import LEAVING_FILE
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import load_simulator, random_simulator
from recsim_hrl.types import CLICK
from tests.simulator.test_fit import toy_log
from tests.simulator.validity.test_evaluate import SMALL_WORLD

CONFIG = LeaveConfig(batch=200, learning_rate=0.03, held_out=0.2, hidden=4)
AFTER_CLICK, AFTER_SKIP = 0.4, 0.02


def leavers(sessions: int, after_click: float, after_skip: float, seed: int = 0) -> Sequences:
    """Users who click on every fourth item, whatever it is, and leave by what they did last."""
    rng = np.random.default_rng(seed)
    responses = (rng.random((sessions, 200)) < 0.25).astype(np.int64) * CLICK
    leaves = rng.random((sessions, 200)) < np.where(responses == CLICK, after_click, after_skip)
    leaves[:, -1] = True
    lengths = 1 + leaves.argmax(1)
    seen = np.arange(200) < lengths[:, None]
    items, offsets = rng.integers(0, 40, seen.sum()), np.concatenate([[0], np.cumsum(lengths)])
    return Sequences.build(items, responses[seen], offsets, np.arange(sessions), np.arange(sessions))


def quiet(_: str) -> None:
    """Takes the lines of a fit."""


def fitted(sequences: Sequences, config: LeaveConfig = CONFIG):
    data = random_simulator(items=40).data
    return fit_leaving(data.weights, data.catalogue, sequences, config, quiet)


def entropy(rate: float) -> float:
    return -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)


@pytest.mark.parametrize(("hidden", "closed"), [(0, 0.7), (16, 0.8)])
def test_a_known_hazard_is_found(hidden, closed):
    model, history = fitted(leavers(3000, AFTER_CLICK, AFTER_SKIP), dataclasses.replace(CONFIG, hidden=hidden))
    data, fresh = random_simulator(items=40).data, leavers(1000, AFTER_CLICK, AFTER_SKIP, seed=1)
    player, everyone = Player(data.weights, data.catalogue, fresh, None), np.arange(1000)
    moments = player.play(everyone)
    found = model.hazards(moments.whole, moments.steps)
    assert found[fresh.responses == CLICK].mean() == pytest.approx(AFTER_CLICK, abs=0.08)
    assert found[fresh.responses != CLICK].mean() == pytest.approx(AFTER_SKIP, abs=0.02)
    loss = leave_loss(model.hazards, player, everyone)
    by_hand = -np.log(np.where(moments.ends, found, 1 - found)).mean()
    assert loss == pytest.approx(by_hand, rel=1e-9)
    known = 0.25 * entropy(AFTER_CLICK) + 0.75 * entropy(AFTER_SKIP)  # of who knows the rule
    constant = entropy(0.25 * AFTER_CLICK + 0.75 * AFTER_SKIP)
    assert loss < constant - closed * (constant - known)
    assert history["passes"][0]["held_out_log_loss"] == pytest.approx(constant, rel=0.05)


def test_one_seed_finds_one_model_and_another_another():
    sequences = leavers(300, 0.3, 0.1)
    (first, history), (again, _) = fitted(sequences), fitted(sequences)
    other, _ = fitted(sequences, dataclasses.replace(CONFIG, seed=1))
    for name, value in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert not np.array_equal(first.first, other.first)
    assert first.problem(36) is None and history["longest"] is None


def test_the_best_pass_is_kept_and_the_fit_stops():
    """A learning rate that can only do harm: the constant hazard, with which the fit begins, comes back."""
    sequences = leavers(300, 0.1, 0.1)
    model, history = fitted(sequences, dataclasses.replace(CONFIG, learning_rate=50.0, passes=9))
    assert [entry["pass"] for entry in history["passes"]] == [0, 1, 2]
    assert not model.direct.any() and not model.last.any()
    training = np.sort(np.random.default_rng(0).permutation(300)[60:])
    rate = 240 / sequences.lengths[training].sum()
    np.testing.assert_allclose(model.hazards(np.ones((2, 36), np.float32), np.array([1, 99])), rate, rtol=1e-5)


def test_no_more_sessions_than_asked_for():
    lengths = np.array([3, 4, 5])
    assert [first_of(lengths, wanted) for wanted in (1, 3, 4, 7, 8, 12, 99)] == [1, 1, 2, 2, 3, 3, 3]
    sequences = leavers(300, 0.3, 0.1)
    few, _ = fitted(sequences, dataclasses.replace(CONFIG, impressions=50))
    assert not np.array_equal(few.centre, fitted(sequences)[0].centre)


def test_few_sessions_of_one_impression_are_no_reason_to_fail():
    offsets = np.arange(4)
    model, _ = fitted(Sequences.build(offsets[:3], offsets[:3] % 2, offsets, offsets[:3], offsets[:3]))
    assert model.problem(36) is None
    assert (model.hazards(np.zeros((1, 36), np.float32), np.array([1])) > 0.99).all()


def test_sessions_that_are_all_cut_teach_nothing(tmp_path):
    lines: list[str] = []
    log, config = toy_log(tmp_path / "log", 60, 0), FitConfig(passes=1, batch=400, kinds=2, hidden=4, pool=5)
    simulator = fit_simulator(log, tmp_path / "simulator", config, report=lines.append)
    assert simulator.leaving is None and not (tmp_path / "simulator" / LEAVING_FILE).exists()
    assert lines[-1] == "leaving: no session ends by itself, so there is no leave model"
    with pytest.raises(ValueError, match="all sessions have the length at which the log cut them"):
        add_leaving(tmp_path / "simulator", log, report=quiet)
    add_leaving(tmp_path / "simulator", log, LeaveConfig(longest=21, passes=1), quiet)
    assert load_simulator(tmp_path / "simulator").leaving is not None


def test_a_fit_finds_one_and_what_is_added_later_is_the_same(tmp_path):
    write_log(World(SMALL_WORLD), tmp_path / "log", impressions=3000)
    log, config = InteractionLog.open(tmp_path / "log"), FitConfig(passes=1, batch=800, kinds=3, hidden=8, pool=30)
    leaving = LeaveConfig(passes=2, batch=500, hidden=4)
    simulator = fit_simulator(log, tmp_path / "simulator", config, report=quiet, leaving=leaving)
    assert simulator.leaving.last.shape == (4,)
    assert simulator.provenance["leaving"]["fit"] == dataclasses.asdict(leaving)
    path = tmp_path / "simulator" / LEAVING_FILE
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    path.unlink()
    add_leaving(tmp_path / "simulator", log, leaving, quiet)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    write_log(World(SMALL_WORLD), tmp_path / "other", impressions=3000, seed=1)
    with pytest.raises(ValueError, match="other responses than the log that the simulator 'simulator' was"):
        add_leaving(tmp_path / "simulator", InteractionLog.open(tmp_path / "other"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"passes": 0}, "leaving passes: got 0"),
        ({"impressions": 0}, "leaving impressions: got 0"),
        ({"hidden": -1}, "leaving hidden: got -1"),
        ({"held_out": 1.0}, "leaving held_out: got 1.0"),
        ({"learning_rate": 0.0}, "leaving learning_rate: got 0.0"),
        ({"longest": 0}, "leaving longest: got 0"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        LeaveConfig(**fields)
