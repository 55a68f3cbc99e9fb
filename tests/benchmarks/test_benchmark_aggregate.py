"""From records to committed CSV files and back, and the numbers of the summary by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.aggregate import About, read_results, summarise, write_results
from benchmarks.bounds_table import COLUMNS, bounds_path, read_bounds
from benchmarks.statistics import Interval

ABOUT = About("tiny", "default", "python -m benchmarks.run --preset tiny")


@pytest.fixture
def records(make_record):
    return [
        make_record([1, 2], [0, 5], agent="random", seed=0),
        make_record([3, 2], [0, 5], agent="random", seed=1),
        make_record([4, 4], [10, 0], agent="ddpg", seed=0, curve=((100, 2.5), (200, 7.25))),
        make_record([9], [0], agent="ddpg", task="long", seed=0),
    ]


@pytest.fixture
def bounds_file(tmp_path) -> Path:
    path = tmp_path / "bounds.csv"
    lines = [
        ",".join(COLUMNS),
        "world,short,random,100,99,98,100,1,98",
        "test,short,random,100,4,3.5,4.5,3,1",
        "test,short,planner,100,14,13,15,6,8",
        "test,short,reward_greedy,100,9,8,10,6,3",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_results_survive_the_csv_files(tmp_path, records):
    write_results(records, ABOUT, tmp_path)
    results = read_results(tmp_path)
    assert results.about == ABOUT
    assert [(rewards.task, rewards.agent) for rewards in results.rewards] == [
        ("short", "random"),
        ("short", "ddpg"),
        ("long", "ddpg"),
    ]
    np.testing.assert_array_equal(results.rewards[0].click, [[1, 2], [3, 2]])
    np.testing.assert_array_equal(results.rewards[0].total, [[1, 7], [3, 7]])
    np.testing.assert_array_equal(results.rewards[2].total, [[9]])
    (curve,) = results.curves
    assert (curve.agent, curve.seed) == ("ddpg", 0)
    np.testing.assert_array_equal([curve.steps, curve.rewards], [[100, 200], [2.5, 7.25]])


def test_runs_csv_has_a_readable_row_for_each_run(tmp_path, records):
    write_results(records, ABOUT, tmp_path)
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    expected = {"task": "short", "agent": "random", "seed": "1", "steps": "10", "sessions": "2", "total_reward": "5"}
    expected |= {"click_reward": "2.5", "order_reward": "2.5", "train_seconds": "1.2", "evaluate_seconds": "0.5"}
    assert expected.items() <= rows[1].items()
    assert rows[1]["numpy"] == "2.4"


def test_summary_by_hand(tmp_path, records, bounds_file):
    write_results(records, ABOUT, tmp_path)
    summary = summarise(read_results(tmp_path), read_bounds(bounds_file))
    assert summary.tasks == ["short", "long"]
    row = next(row for row in summary.rows if row.agent == "random" and row.kind == "agent")
    # Total rewards are [[1, 7], [3, 7]]: mean 4.5; the middle half of 1, 3, 7, 7 is 3 and 7.
    assert (row.seeds, row.sessions, row.total.estimate, row.total_iqm.estimate) == (2, 2, 4.5, 5.0)
    assert (row.click.estimate, row.order.estimate) == (2.0, 2.5)
    # Bounds 4 and 14: (4.5 - 4) / 10.
    assert row.score.estimate == pytest.approx(0.05)
    assert row.score.low == pytest.approx((row.total.low - 4) / 10)
    planner = next(row for row in summary.rows if row.agent == "planner")
    assert (planner.kind, planner.score.estimate, planner.score.high) == ("bound", 1.0, pytest.approx(1.1))
    assert next(row.score.estimate for row in summary.rows if row.agent == "reward_greedy") == pytest.approx(0.5)
    assert next(row.score for row in summary.rows if row.task == "long") is None


def test_paired_differences_by_hand(tmp_path, records):
    write_results(records, ABOUT, tmp_path)
    forth, back = summarise(read_results(tmp_path)).differences
    # ddpg earns 14 and 4, random 2 and 7 on average over its seeds.
    assert (forth.agent, forth.reference, forth.total.estimate) == ("random", "ddpg", 4.5 - 9.0)
    assert (back.agent, back.reference) == ("ddpg", "random")
    assert back.total == Interval(-forth.total.estimate, -forth.total.high, -forth.total.low)


def test_overall_scores_need_every_task(tmp_path, make_record, bounds_file):
    with bounds_file.open("a") as file:
        file.write("test,long,random,100,10,9,11,8,2\ntest,long,planner,100,30,29,31,15,15\n")
    records = [
        make_record([9], [0], agent="ddpg", task="short"),
        make_record([15], [0], agent="ddpg", task="long"),
        make_record([9], [0], agent="greedy", task="short"),
    ]
    write_results(records, ABOUT, tmp_path)
    (overall,) = summarise(read_results(tmp_path), read_bounds(bounds_file)).overall
    # ddpg: (9 - 4) / 10 = 0.5 and (15 - 10) / 20 = 0.25.
    assert (overall.agent, overall.tasks, overall.mean.estimate, overall.iqm.estimate) == ("ddpg", 2, 0.375, 0.375)


def test_bounds_are_read_for_one_market(bounds_file, tmp_path):
    assert [(bound.policy, bound.total.estimate) for bound in read_bounds(bounds_file, "world")] == [("random", 99.0)]
    assert [bound.policy for bound in read_bounds(bounds_file)] == ["random", "planner", "reward_greedy"]
    assert read_bounds(tmp_path / "absent.csv") == []
    assert bounds_path("default").name == "bounds.csv"
    assert bounds_path("movielens").name == "bounds_movielens.csv"


def test_damaged_bounds_are_refused(tmp_path):
    path = tmp_path / "bounds.csv"
    path.write_text("market,task,policy\n")
    with pytest.raises(ValueError, match=r"bounds.csv: columns \['sessions', .* are missing"):
        read_bounds(path)
    path.write_text(",".join(COLUMNS) + "\ntest,short,random,100,four,3,5,3,1\n")
    with pytest.raises(ValueError, match="bounds.csv line 2: .*four"):
        read_bounds(path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a results folder .* make one with `python -m benchmarks.run`"):
        read_results(tmp_path)
