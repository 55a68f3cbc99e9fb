"""The validity report: coverage and targets by hand, and a whole report on a small world."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator import coverage
from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.market import Values
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.validity.evaluate import (
    Evaluation,
    EvaluationConfig,
    Target,
    evaluate_simulator,
    world_of,
)
from recsim_hrl.simulator.validity.fidelity import Fidelity, FidelityConfig, PolicyValue, compare_values
from recsim_hrl.simulator.validity.report import validity_page, write_validity

SMALL_WORLD = WorldConfig(items=60, categories=3, embedding_dim=6)
SMALL_FIDELITY = FidelityConfig(lengths=(4, 6), impressions=120, candidates=40)


# Coverage


def values_of(items: list[int], responses: list[int]) -> Values:
    """A rollout of one user."""
    return Values(np.array([items]), np.array([responses]), np.zeros(1))


def coverage_of(items: list[int], responses: list[int], offsets: list[int], enough: int) -> Coverage:
    """A log over four items: two of category 0, of goodness 0 and 1, and two of category 1, of goodness 0 and 1."""
    sessions = len(offsets) - 1
    sequences = Sequences.build(
        np.array(items), np.array(responses), np.array(offsets), np.arange(sessions), np.arange(sessions)
    )
    return Coverage(sequences, np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 0.0, 1.0]), enough)


def test_what_the_log_holds_is_covered():
    items, responses = [0, 1, 2, 3, 0, 1], [0, 1, 0, 2, 0, 0]
    coverage = coverage_of(items, responses, [0, 6], enough=1)
    assert coverage.share(values_of(items, responses)) == 1.0


def test_a_cell_needs_enough_impressions():
    first = values_of([0], [0])
    assert coverage_of([0, 0], [0, 0], [0, 1, 2], enough=2).share(first) == 1.0
    assert coverage_of([0, 0], [0, 0], [0, 1, 2], enough=3).share(first) == 0.0


def test_runs_of_one_category_that_the_log_lacks_are_not_covered():
    """The log alternates, so a second impression of a category in a row is seen once in two places."""
    alternating = [0, 2] * 10
    coverage = coverage_of(alternating, [0] * 20, [0, 20], enough=1)
    # The log holds 0 to 5 of the category among the last ten: bins 0, 1-2, 3-4 and 5-7. A run of twelve goes on to
    # 10: places 0 to 7 have 0 to 7 before them and are covered, places 8 to 11 are not.
    assert coverage.share(values_of([0] * 12, [0] * 12)) == pytest.approx(8 / 12)


def test_more_clicks_than_the_log_knows_are_not_covered():
    """Clicks among the last twenty: the log knows none, so only the impressions before and at the first are."""
    coverage = coverage_of([0, 2] * 6, [0] * 12, [0, 12], enough=1)
    assert coverage.share(values_of([0, 2] * 3, [0, 0, 1, 0, 0, 0])) == pytest.approx(3 / 6)


def test_old_clicks_leave_the_window():
    """A click is among the last twenty responses for twenty impressions."""
    items = [0, 2] * 15
    coverage = coverage_of(items, [0] * 30, [0, 30], enough=1)
    assert coverage.share(values_of(items, [1] + [0] * 29)) == pytest.approx(10 / 30)


def test_later_than_the_log_goes_is_not_covered():
    coverage = coverage_of([0, 2] * 10, [0] * 20, [0, 20], enough=1)
    # Steps 0 to 24 share a bin, 25 to 29 are in the next one.
    assert coverage.share(values_of([0, 2] * 15, [0] * 30)) == pytest.approx(25 / 30)


def test_better_items_than_the_log_shows_are_not_covered():
    """One in ten first impressions is of an item of goodness 1; the mean of a good and a bad one is in between."""
    items = [0] * 90 + [1] * 10
    singles = list(range(101))
    often = coverage_of(items, [0] * 100, singles, enough=10)
    seldom = coverage_of(items, [0] * 100, singles, enough=11)
    assert [coverage.share(values_of([0], [0])) for coverage in (often, seldom)] == [1.0, 1.0]
    assert [coverage.share(values_of([1], [0])) for coverage in (often, seldom)] == [1.0, 0.0]


def test_the_goodness_window_is_the_mean_of_the_last_ten_with_the_present_one():
    """The log is one session of nine bad items and a good one: means 0, then 0.1, the best that it knows."""
    items = [0, 2] * 4 + [0, 3]
    coverage = coverage_of(items, [0] * 10, [0, 10], enough=1)
    assert coverage.share(values_of(items, [0] * 10)) == 1.0
    assert coverage.share(values_of([0, 2] * 4 + [1, 3], [0] * 10)) == pytest.approx(8 / 10)  # 1/9, then 0.2


def test_sessions_of_the_log_do_not_run_into_each_other():
    """Two sessions of category 0 are two first impressions, not a run."""
    coverage = coverage_of([0, 0], [1, 1], [0, 1, 2], enough=2)
    assert coverage.share(values_of([0], [0])) == 1.0
    assert coverage.share(values_of([0, 0], [0, 0])) == 0.5


def test_coverage_does_not_depend_on_how_much_of_the_log_is_counted_at_a_time(monkeypatch):
    generator = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(generator.integers(1, 40, 30))])
    items, responses = generator.integers(0, 4, offsets[-1]), generator.integers(0, 3, offsets[-1])
    arguments = (items.tolist(), responses.tolist(), offsets.tolist(), 3)
    rollout = values_of(generator.integers(0, 4, 60).tolist(), generator.integers(0, 3, 60).tolist())
    at_once = coverage_of(*arguments).share(rollout)
    assert 0.0 < at_once < 1.0
    for block in (1, 7, 100):
        monkeypatch.setattr(coverage, "BLOCK", block)
        assert coverage_of(*arguments).share(rollout) == at_once


# Targets


def value(policy: str, length: int, world: float, simulator: float) -> PolicyValue:
    return PolicyValue(policy, length, world, 0.1, simulator, 0.2, 1.0, 1.5)


def test_fidelity_by_hand():
    fidelity = Fidelity((value("a", 50, 10.0, 11.0), value("b", 50, 20.0, 15.0), value("c", 50, 30.0, 30.0)))
    assert fidelity.mean_error(50) == pytest.approx((0.1 + 0.25 + 0.0) / 3)
    assert fidelity.worst_error(50) == pytest.approx(0.25)
    assert fidelity.kendall_tau(50) == 1.0
    swapped = Fidelity((value("a", 50, 10.0, 16.0), value("b", 50, 20.0, 15.0), value("c", 50, 30.0, 30.0)))
    assert swapped.kendall_tau(50) == pytest.approx(1 / 3)
    assert swapped.to_json()["summary"]["50"]["kendall_tau"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("found", "at_least", "is_met"),
    [(0.85, True, True), (0.84, True, False), (0.85, False, True), (0.86, False, False), (math.nan, True, False)],
)
def test_a_target_is_a_floor_or_a_ceiling(found, at_least, is_met):
    target = Target("gap", found, 0.85, at_least)
    assert target.is_met is is_met
    assert str(target).startswith("met" if is_met else "MISSED")
    again = Target.from_json(target.to_json())
    assert again.is_met is is_met and again.name == "gap"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lengths": ()}, "fidelity lengths"),
        ({"lengths": (0,)}, "fidelity lengths"),
        ({"candidates": 0}, "fidelity candidates: got 0"),
        ({"lengths": (50,), "impressions": 99}, "fidelity impressions: got 99, allowed 100 or more"),
    ],
)
def test_impossible_comparisons(fields, message):
    with pytest.raises(ValueError, match=message):
        FidelityConfig(**fields)


# A whole report


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A log of a small world and a simulator fitted to it."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_log(World(SMALL_WORLD), folder / "log", impressions=3000)
    log = InteractionLog.open(folder / "log")
    config = FitConfig(passes=1, batch=800, kinds=3, hidden=8, pool=30)
    return log, fit_simulator(log, folder / "simulator", config, report=lambda _: None)


@pytest.fixture(scope="module")
def evaluation(market) -> Evaluation:
    log, simulator = market
    return evaluate_simulator(simulator, log, EvaluationConfig(sessions=25), SMALL_FIDELITY, report=lambda _: None)


def test_a_report_has_predictions_bayes_and_policy_values(evaluation):
    validity = evaluation.validity
    assert validity.sessions == 25
    assert validity.log_loss_bayes < min(validity.log_loss_simulator, validity.log_loss_item_rate)
    names = [value.policy for value in evaluation.fidelity.at(4)]
    assert len(names) == 10 and sum(name.startswith("simulator_") for name in names) == 4
    assert [value.policy for value in evaluation.fidelity.at(6)] == names
    assert all(0.0 <= value.coverage <= 1.0 for value in evaluation.fidelity.values)
    assert evaluation.log == {"name": "log", "is_fitted_to": True, "is_confounded": False}


def test_the_targets_are_the_named_ones(evaluation):
    limits = {target.name: (target.limit, target.at_least) for target in evaluation.targets}
    assert limits == {
        "share of the gap to exact Bayes closed": (0.85, True),
        "click calibration error": (0.01, False),
        "order calibration error": (0.01, False),
        **{
            f"{name}, {length} items": limit
            for length in (4, 6)
            for name, limit in (
                ("Kendall tau of policy values", (0.9, True)),
                ("mean value error", (0.05, False)),
                ("largest value error", (0.25, False)),
            )
        },
    }


def test_long_sessions_may_err_a_little_more(evaluation):
    fidelity = Fidelity((value("a", 200, 10.0, 10.8), value("b", 200, 20.0, 20.0)))
    report = Evaluation(evaluation.simulator, evaluation.log, evaluation.validity, fidelity)
    target = next(target for target in report.targets if target.name == "mean value error, 200 items")
    assert target.limit == 0.10 and target.value == pytest.approx(0.04) and target.is_met


def test_the_files_of_a_report(evaluation, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    write_validity(evaluation, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kept.txt",
        "validity.html",
        "validity.json",
        "validity.md",
        "validity.png",
    ]
    content = json.loads((tmp_path / "validity.json").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity
    assert content["validity"]["log_loss_simulator"] == pytest.approx(evaluation.validity.log_loss_simulator)
    assert len(content["fidelity"]["values"]) == 20 and len(content["targets"]) == 9
    page = (tmp_path / "validity.md").read_text()
    verdicts = [criterion.verdict for criterion in evaluation.criteria]
    assert f"met: {verdicts.count('met')}, not met: {verdicts.count('not met')}" in page
    assert "fitted to this very log" in page and "exact Bayes" in page and "| simulator_planner |" in page
    with Image.open(tmp_path / "validity.png") as image:
        assert image.width > 1000 and image.height > 1000


def test_a_log_of_real_users_has_neither_bayes_nor_policy_values(market, tmp_path):
    log, simulator = market
    columns = {name: [] for name in ("session_id", "step", "user_id", "item_id", "response")}
    for batch in log.batches(optional=()):
        for name in columns:
            columns[name].append(batch[name])
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    real = InteractionLog.from_arrays(arrays, log.items, tmp_path / "real")
    found = evaluate_simulator(simulator, real, EvaluationConfig(sessions=10), report=lambda _: None)
    assert found.fidelity is None and found.validity.gap_closed is None
    assert [target.name for target in found.targets] == ["click calibration error", "order calibration error"]
    write_validity(found, tmp_path / "report")
    assert "Policy values" not in (tmp_path / "report" / "validity.md").read_text()


def test_fidelity_can_be_left_out(market):
    log, simulator = market
    config = EvaluationConfig(sessions=5, fidelity=False)
    found = evaluate_simulator(simulator, log, config, report=lambda _: None)
    assert found.fidelity is None and found.validity.gap_closed is not None


def test_a_confounded_log_is_called_one(market, tmp_path):
    _, simulator = market
    write_log(World(SMALL_WORLD), tmp_path / "log", impressions=300, config=BehaviourConfig(confounded=True))
    log = InteractionLog.open(tmp_path / "log")
    config = EvaluationConfig(sessions=5, fidelity=False)
    found = evaluate_simulator(simulator, log, config, report=lambda _: None)
    assert found.log["is_confounded"] and not found.log["is_fitted_to"]
    assert "it is confounded" in validity_page(found)


def test_a_simulator_of_other_items_is_refused(market):
    log, _ = market
    with pytest.raises(ValueError, match="has 40 items that are not the 60 of the log"):
        evaluate_simulator(random_simulator(items=40), log)


def test_the_world_is_made_again_from_the_log(market):
    log, _ = market
    world = world_of(log.metadata, log.items, log.name)
    assert world.config == SMALL_WORLD
    assert torch.equal(world.catalogue.embeddings, log.items.embeddings)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"items": 60, "gravity": 9.81}, "not one of this release .*gravity.*generate the log again"),
        ({"items": 60, "categories": 3, "embedding_dim": 6, "seed": 4}, "other item embeddings than the log"),
        ({"items": 50, "categories": 3, "embedding_dim": 6}, "50 items that are not the 60"),
    ],
)
def test_a_world_that_cannot_be_made_again(market, tmp_path, about, message):
    log, _ = market
    row = {"session_id": [0], "step": [0], "user_id": [0], "item_id": [0], "response": [0]}
    other = InteractionLog.from_arrays(row, log.items, tmp_path / "log", {"world": about})
    with pytest.raises(ValueError, match=message):
        world_of(other.metadata, other.items, other.name)


def test_sessions_longer_than_the_candidates_are_refused(market):
    _, simulator = market
    config = FidelityConfig(lengths=(41,), impressions=200, candidates=40)
    with pytest.raises(ValueError, match="with 40 candidates, allowed lengths up to the number of candidates"):
        compare_values(simulator, World(SMALL_WORLD), config)


def test_no_sessions_are_refused():
    with pytest.raises(ValueError, match="evaluate sessions: got 0"):
        EvaluationConfig(sessions=0)
