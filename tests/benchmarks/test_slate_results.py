"""CSV files, numbers and tables of slates, from records whose rewards are known."""

import csv
import dataclasses

import pytest

from benchmarks.aggregate import About
from benchmarks.records import load_record, save_record
from benchmarks.slate_results import read_slate_results, slate_rows, write_slate_results
from benchmarks.slate_tables import SlateTablesConfig, make_slate_tables
from benchmarks.statistics import Bootstrap

ABOUT = About("slates-tiny", "default", "python -m benchmarks.slates --preset tiny")


@pytest.fixture
def folder(tmp_path, make_slate_record):
    curve = {"curve": ((10, 1.5), (20, 2.5)), "depth_curve": ((10, 3.0), (20, 4.0))}
    agents = [
        make_slate_record([4, 6], [2, 3], "hac", seed=0, coverage=0.2, **curve),
        make_slate_record([6, 8], [4, 3], "hac", seed=1, coverage=0.4),
        make_slate_record([3, 3], [2, 2], "hsrl"),
        make_slate_record([0.5, 0.7], [2, 4], "hac", "temper"),
    ]
    bounds = [make_slate_record([2, 2], agent="random"), make_slate_record([10, 14], agent="planner")]
    write_slate_results(agents, bounds, ABOUT, tmp_path / "results")
    return tmp_path / "results"


def test_a_record_of_slates_comes_back(tmp_path, make_slate_record):
    record = make_slate_record([1, 2.5], [2, 3], curve=((10, 1.0),), depth_curve=((10, 2.0),))
    assert load_record(save_record(record, tmp_path)) == record
    assert record.total_rewards.tolist() == [1, 2.5]


def test_a_record_of_before_has_the_rewards_of_its_parts(make_record):
    assert make_record([1, 2], [5, 0]).total_rewards.tolist() == [6, 2]


def test_files_are_read_as_they_were_written(folder):
    results = read_slate_results(folder)
    assert results.about == ABOUT and results.tasks == ["slates", "temper"]
    hac = results.results[0]
    assert (hac.task, hac.agent, hac.kind) == ("slates", "hac", "agent")
    assert hac.total.tolist() == [[4, 6], [6, 8]] and hac.values["depth"].tolist() == [[2, 3], [4, 3]]
    assert hac.values["coverage"].tolist() == [[0.2], [0.4]]
    (curve,) = results.curves
    assert [values.tolist() for values in curve.of("depth")] == [[10, 20], [3, 4]]
    assert [one.agent for one in results.results if one.kind == "bound"] == ["random", "planner"]


def test_numbers_by_hand(folder):
    rows = {(row.task, row.agent): row for row in slate_rows(read_slate_results(folder), Bootstrap(resamples=50))}
    hac = rows["slates", "hac"]
    assert (hac.seeds, hac.sessions) == (2, 2)
    assert hac.values["total_reward"].estimate == 6 and hac.values["coverage"].estimate == pytest.approx(0.3)
    assert hac.score.estimate == pytest.approx((6 - 2) / (12 - 2))
    assert rows["slates", "random"].score.estimate == 0 and rows["slates", "planner"].score.estimate == 1
    assert rows["temper", "hac"].score is None, "without bounds there is no score"
    assert 0.2 <= hac.values["coverage"].low < hac.values["coverage"].high <= 0.4
    assert [agent for task, agent in rows if task == "slates"] == ["hsrl", "hac", "random", "planner"]


def test_a_planner_below_chance_gives_no_score(tmp_path, make_slate_record):
    bounds = [make_slate_record([5, 5], agent="random"), make_slate_record([4, 4], agent="planner")]
    results = write_slate_results([make_slate_record([6, 6])], bounds, ABOUT, tmp_path)
    assert {row.score for row in slate_rows(results)} == {None}


def test_the_page(folder):
    text = make_slate_tables(SlateTablesConfig(folder, resamples=50))
    assert "Task slates: 2 training seeds, 2 common users" in text
    page = (folder / "tables.md").read_text()
    assert "| hsrl | 3.00 [3.00, 3.00] | 3.00 | 0.00 | 2.00 [2.00, 2.00] | 18.0 | 50% | 0.25 | 0.75 | 0.10 [" in page
    assert "| bound: planner | 12.00 [10.00, 14.00] |" in page
    assert "| ceiling of the rule | 20.00 |  |  | 20.00 |" in page
    # HAC's own numbers, of three data sets and of KuaiSim, beside ours.
    line = next(line for line in page.splitlines() if line.startswith("| hac | 0.60") and "10.06" in line)
    assert line.endswith("| 3.00 [2.00, 4.00] | 10.06 | 18.86 | 14.79 | 14.98 | 0.69 | 10.17 |")
    assert page.endswith(f"\n\nMade by `{ABOUT.command}`.\n")
    with (folder / "differences.csv").open() as file:
        pairs = {(row["agent"], row["reference"]): row["difference"] for row in csv.DictReader(file)}
    assert pairs == {("hac", "hsrl"): "3", ("hsrl", "hac"): "-3"}, "bounds are no agents, and tasks are not mixed"


def test_tables_and_figures_are_made_again_to_the_byte(folder):
    made = ("summary.csv", "differences.csv", "tables.md", "slates.png", "learning_curves.png")
    make_slate_tables(SlateTablesConfig(folder, resamples=50))
    before = {name: (folder / name).read_bytes() for name in made}
    for name in made:
        (folder / name).unlink()
    make_slate_tables(SlateTablesConfig(folder, resamples=50))
    assert {name: (folder / name).read_bytes() for name in made} == before


def test_ablations_have_a_figure_of_their_own(tmp_path, make_slate_record, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "benchmarks.figures.draw_convergence",
        lambda curves, measures, path: drawn.update({path.name: [(one.task, one.agent) for one in curves]}),
    )
    curve = {"curve": ((10, 1.5),), "depth_curve": ((10, 3.0),)}
    agents = [make_slate_record([4, 6], agent=name, **curve) for name in ("hac", "hsrl", "hsrl-flat")]
    agents.append(dataclasses.replace(agents[1], task="temper"))
    write_slate_results(agents, [], ABOUT, tmp_path)
    make_slate_tables(SlateTablesConfig(tmp_path, resamples=50))
    assert drawn == {
        "learning_curves.png": [("slates", "hac"), ("slates", "hsrl"), ("temper", "hsrl")],
        "ablations.png": [("slates", "hsrl"), ("slates", "hsrl-flat")],
    }


def test_a_foreign_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a results folder of slates .* make one with"):
        read_slate_results(tmp_path)
