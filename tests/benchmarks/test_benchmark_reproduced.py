"""What the paper says, held against results that are made up so that each verdict is known."""

import pytest

from benchmarks.aggregate import About, write_csv, write_results
from benchmarks.convergence import MEASURES
from benchmarks.reproduced import (
    ReproducedConfig,
    agreement,
    convergence,
    offline,
    online,
    reproduced,
    sensitivity,
    verdict,
)
from benchmarks.statistics import Interval


@pytest.fixture
def folder(tmp_path, make_record):
    """Every user of MaHRL earns half as much again as with DEERS and twice of GRU; HRL-G's twice that of MaHRL."""
    records = [
        make_record([4, 8], [10, 20], agent="deers"),
        make_record([6, 12], [15, 30], agent="mahrl"),
        make_record([3, 6], [7.5, 15], agent="gru"),
        make_record([12, 24], [30, 60], agent="hrl-g"),
        make_record([10, 50], [0, 0], agent="ddpg"),
        make_record([2, 4], [5, 10], agent="mahrl-anchored"),
        make_record([8, 16], [20, 40], agent="mahrl-items"),
    ]
    write_results(records, About("tiny", "default", "a command"), tmp_path / "full")
    return tmp_path


@pytest.mark.parametrize(
    ("interval", "expected"), [((0.01, 1), "holds"), ((-0.1, 0.1), "undecided"), ((-1, -0.01), "the reverse holds")]
)
def test_a_claim_is_judged_by_its_whole_interval(interval, expected):
    assert verdict(Interval(0.0, *interval)) == expected


def test_online_claims_by_hand(folder):
    table = online(folder)[1:]
    rows = {row[1:4]: row[4:] for row in table if row[0] == "`mahrl`"}
    half, more, twice = (f"{gain}% [{gain}%, {gain}%]" for gain in ("-50", "+50", "+100"))
    told = ("+13.56%", f"{more}: holds", f"{half}: the reverse holds", f"{twice}: holds")
    assert rows["`deers`", "short", "total"] == told
    assert rows["`deers`", "short", "order"][:2] == ("+30.62%", "+50% [+50%, +50%]: holds")
    assert rows["`gru`", "short", "total"][:2] == ("+20.0%", "+100% [+100%, +100%]: holds")
    assert rows["`hrl-g`", "short", "total"][1] == "-50% [-50%, -50%]: the reverse holds"
    assert rows["`ddpg`", "short", "total"][1].endswith(": undecided")  # one user more, the other less
    assert table[-1] == ("`deers`", "`gru`", "short", "total", "more", "+33% [+33%, +33%]: holds", "", "")
    assert not [row for row in table if row[1] == "`hrl-i`" or row[2] == "long"], "what was not run is not judged"


def test_the_other_tables_by_hand(folder):
    header = ("task", "agent", "metric", "gain", "gain_low", "gain_high")
    gains = [("long", "mahrl", "map", 0.01, -0.02, 0.04), ("long", "greedy", "map", 0.5, 0.5, 0.5)]
    write_csv(folder / "full" / "offline_gains.csv", header, gains)
    assert offline(folder)[1:] == [("`mahrl`", "long", "+7.97%", "+1.0% [-2.0%, +4.0%]", "+5.36%", "", "+6.30%", "")]

    ranked = [("deers", 0.3), ("mahrl", 0.2), ("hrl-g", 0.1), ("random", 0.9), ("elsewhere", 0.5)]
    columns = ("task", "agent", "seed", "key", "log", "sessions", "map")
    rows = [("short", agent, seed, "", "", 9, value) for agent, value in ranked for seed in (0, 1)]
    write_csv(folder / "full" / "offline.csv", columns, rows)
    assert agreement(folder)[1:] == [("short", "3", "-1.00")]

    curves = [
        ("long", agent, seed, measure, steps, value)
        for agent, late in (("mahrl", 100), ("hrl-g", 300), ("mahrl-anchored", 150), ("mahrl-items", 200))
        for seed in (0, 1)
        for measure in MEASURES
        for steps, value in ((late + 20 * seed, 5.0), (400, 5.0), (500, 5.0))
    ]
    columns = ("task", "agent", "seed", "measure", "env_steps", "value")
    write_csv(folder / "convergence-full" / "convergence.csv", columns, curves)
    told = ("reward of exploring sessions", "long", "110", "310", "2.8", "almost 6", "160", "210")
    assert convergence(folder)[1] == told
    write_csv(folder / "convergence-full" / "convergence.csv", columns, [row for row in curves if row[1] == "mahrl"])
    assert convergence(folder)[1] == (*told[:3], "", "", "almost 6", "", ""), "what is not trained yet is empty"

    header = ("study", "task", "value", "seeds", "total", "total_low", "total_high", "click", "order")
    earned = [("alpha", "0.1", 5), ("alpha", "0.5", 3), ("alpha", "0.9", 4), ("M", "1", 7)]
    rows = [(study, "long", value, 3, total, total - 1, total + 1, 1, 1) for study, value, total in earned]
    write_csv(folder / "sensitivity-full" / "sensitivity.csv", header, rows)
    assert sensitivity(folder)[1:] == [
        ("`alpha`", "0.5", "0.1", "5.0 [4.0, 6.0]", "3.0 [2.0, 4.0]", "0.5", "3.0 [2.0, 4.0]")
    ]

    told = reproduced(ReproducedConfig(folder))
    page = (folder / "reproduced.md").read_text(encoding="utf-8")
    assert "Figure 6" in told and page.count("python -m benchmarks.") == 6


def test_what_is_missing_is_left_out_but_not_all(folder, tmp_path):
    assert "Table 2" not in reproduced(ReproducedConfig(folder))
    with pytest.raises(ValueError, match="got none in .*; make some, for example with `python -m benchmarks.run"):
        reproduced(ReproducedConfig(tmp_path / "full"))
