"""Tables and figures, and that committed CSV files are enough to make them again."""

import csv
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks.aggregate import About, write_results
from benchmarks.bounds_table import COLUMNS
from benchmarks.tables import TablesConfig, make_tables

COMMAND = "python -m benchmarks.run --preset tiny"


@pytest.fixture
def folder(tmp_path, make_record):
    records = [
        make_record([2, 2], [0, 0], agent="deers"),
        make_record([4, 4], [5, 5], agent="ddpg", curve=((100, 2.5), (200, 7.25))),
    ]
    write_results(records, About("tiny", "default", COMMAND), tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def bounds(tmp_path):
    rows = ["test,short,random,100,1,0.9,1.1,1,0", "test,short,planner,100,17,16,18,5,12"]
    path = tmp_path / "bounds.csv"
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


def test_terminal_table(folder, bounds):
    lines = make_tables(TablesConfig(folder, bounds, resamples=50)).splitlines()
    assert lines[0] == "Task short: reward per session, 1 training seed, 2 common users"
    cells = [re.split(r" {2,}", line) for line in lines]
    # Every user pays the same, so intervals have no width: 9 is half-way between the bounds 1 and 17.
    assert ["ddpg", "9.00 [9.00, 9.00]", "4.00 [4.00, 4.00]", "5.00 [5.00, 5.00]", "0.50 [0.50, 0.50]"] in cells
    # 9 is 3.5 times more than 2; of what has no orders there is no share.
    assert ["ddpg", "+350% [+350%, +350%]"] in cells
    assert "Gain over deers, on the same users" in lines
    assert ["bound: planner", "17.00 [16.00, 18.00]", "5.00", "12.00", "1.00 [0.94, 1.06]"] in cells
    assert [row[0] for row in cells[4:8]] == ["deers", "ddpg", "bound: random", "bound: planner"]


def test_markdown_ends_with_the_command(folder, bounds):
    make_tables(TablesConfig(folder, bounds, resamples=50))
    page = (folder / "tables.md").read_text()
    assert page.endswith(f"Made by:\n\n```\n{COMMAND}\n```\n")
    assert "| ddpg | 9.00 [9.00, 9.00] | 4.00 [4.00, 4.00] | 5.00 [5.00, 5.00] | 0.50 [0.50, 0.50] |" in page
    assert "![Rewards of all agents](rewards.png)" in page


def test_summary_csv(folder, bounds):
    make_tables(TablesConfig(folder, bounds, resamples=50))
    with (folder / "summary.csv").open() as file:
        rows = {(row["kind"], row["agent"]): row for row in csv.DictReader(file)}
    ddpg = rows["agent", "ddpg"]
    assert (ddpg["total_reward"], ddpg["total_reward_low"], ddpg["total_reward_iqm"]) == ("9", "9", "9")
    assert (ddpg["seeds"], ddpg["sessions"], ddpg["normalised_score_high"]) == ("1", "2", "0.5")
    planner = rows["bound", "planner"]
    assert (planner["click_reward"], planner["click_reward_low"], planner["total_reward_iqm"]) == ("5", "", "")
    with (folder / "differences.csv").open() as file:
        differences = {(row["agent"], row["reference"]): row["difference"] for row in csv.DictReader(file)}
    assert differences == {("deers", "ddpg"): "-7", ("ddpg", "deers"): "7"}


def test_the_paper_s_gains_stand_beside_ours(tmp_path, make_record):
    records = [
        make_record([4, 4], [5, 15], agent="deers"),
        make_record([6, 6], [10, 20], agent="mahrl"),
        make_record([4, 4], [5, 0], agent="random"),
    ]
    write_results(records, About("tiny", "default", COMMAND), tmp_path)
    make_tables(TablesConfig(tmp_path, tmp_path / "absent.csv", resamples=50))
    with (tmp_path / "gains.csv").open() as file:
        rows = {row["agent"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"mahrl", "random"}
    # Totals 16 and 26 over 9 and 19 are 42 over 28, orders 30 over 20.
    assert (rows["mahrl"]["total_gain"], rows["mahrl"]["order_gain"]) == ("0.5", "0.5")
    assert rows["random"]["order_gain"] == "-0.75"
    page = (tmp_path / "tables.md").read_text()
    assert re.search(r"\| mahrl \| \+50% \[.*\] \| \+13\.56% \| \+50% \[.*\] \| \+30\.62% \|", page)
    assert re.search(r"\| random \| .* \|  \| -75% \[.*\] \|  \|", page)


def test_without_bounds_the_table_says_how_to_get_them(folder, tmp_path):
    text = make_tables(TablesConfig(folder, tmp_path / "absent.csv", resamples=50))
    assert "`python -m benchmarks.bounds` makes it" in text
    assert "bound:" not in text


def test_tables_and_figures_are_made_again_to_the_byte(folder, bounds):
    made = (
        "summary.csv",
        "differences.csv",
        "gains.csv",
        "overall.csv",
        "tables.md",
        "rewards.png",
        "learning_curves.png",
    )
    make_tables(TablesConfig(folder, bounds, resamples=50))
    before = {name: (folder / name).read_bytes() for name in made}
    for name in made:
        (folder / name).unlink()
    make_tables(TablesConfig(folder, bounds, resamples=50))
    assert {name: (folder / name).read_bytes() for name in made} == before
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_the_figure_shows_bars_in_proportion_to_the_rewards(folder, bounds):
    make_tables(TablesConfig(folder, bounds, resamples=50))
    picture = np.asarray(Image.open(folder / "rewards.png").convert("RGB")).astype(int)
    sky, orange = (np.abs(picture - colour).sum(-1) < 12 for colour in ([86, 180, 233], [230, 159, 0]))
    # Clicks pay 4 and 2, orders 5: the longest blue stretch of a row of pixels is 4/5 of the longest orange one.
    top = picture.shape[0] * 3 // 4
    assert sky[:top].sum(axis=1).max() / orange[:top].sum(axis=1).max() == pytest.approx(0.8, abs=0.03)
