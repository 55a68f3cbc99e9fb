"""The throughput benchmark on small sizes, its counts by hand, and the guard's verdict."""

import csv

import numpy as np
import pytest

from benchmarks import guard, throughput
from benchmarks.floors import count, floor_rows
from benchmarks.throughput_cases import SARDINE, SLATES, STEP, Case, batch_cases, enlarged, make, slate_cases, time_case
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.folder import load_data


def test_operations_and_bytes_of_a_step_by_hand():
    plain = count(SessionCore(load_data(), SessionConfig(action="item", observation="item_ids")))
    # 6 scales of 4 traces and 2 surprises: 36 numbers of a kind, 36 of all; 16 features.
    products, repeated = 2 * (88 * 64 + 64 * 64 + 64 * 3), 20 * 101  # 20 of 1,000 items were shown: 101 for each
    assert plain.operations == products + 2 * 64 * 23 + 3 * 20 + 72 * (2 + 2 * 5 + 2 * 2) + repeated
    assert plain.bytes == 2 * 4 * 72 + (8 + 4 * 5 + 4 * 16) + 3 * (3 * 10 * 8) + 80
    search = count(SessionCore(load_data(), SessionConfig(observation="item_ids")))
    assert search.operations - plain.operations == (1000 - 20) * 101
    seen = count(SessionCore(load_data(), SessionConfig()))
    assert seen.bytes - search.bytes == 2 * 3 * 10 * 4 * 50


def test_stages_and_floors_are_measured():
    rows = dict(floor_rows({"action": "item", "observation": "item_ids"}, 256, 0.02))
    stages = {name: number for name, number in rows.items() if name.startswith("stage")}
    assert set(stages) == {f"stage: {name}" for name in ("choose", "read", "network", "draw and write", "observe")}
    assert stages["stage: network"] > 0.5 * 2 * (88 + 64) * 64 / rows["operations per nanosecond"]
    assert rows["floor: arithmetic"] == pytest.approx(rows["operations"] / rows["operations per nanosecond"])


@pytest.mark.parametrize(
    "case",
    [
        Case("item actions, item ids", 1),
        Case("embedding actions, embeddings", 8),
        Case("embedding actions, item ids", 8, catalogue=12_000, recall=60),
        Case("item actions, item ids", 8, catalogue=10_000, session=200),
    ],
)
def test_cases_play(case):
    env, play = make(case)
    play(3)
    if case.users > 1:
        assert env.core.config.session_length == case.session and env._batch.state.step.tolist() == [3] * 8
        assert len(env.candidate_items) == (case.catalogue or 1000)
    timing = time_case(case, 0.01)
    assert timing.rate > 0 and timing.ready_seconds > 0 and timing.peak_memory_mib > 50


@pytest.mark.parametrize("name", SLATES)
def test_slates_play(name):
    env, play = make(Case(name, 4))
    play(1)
    assert env.slate_size == 9 and env._batch.state.request.max() == 1
    assert env.core.config.catalog_turnover == (0.05 if "replaced" in name else 0.0)
    assert time_case(Case(name, 4), 0.01).rate > 0


def test_requests_are_told_in_steps_of_the_same_run():
    cases = slate_cases((4, 8), 2)
    assert [case.users for case in cases] == [4] * 5 + [8] * 5 and {case.threads for case in cases} == {2}
    rates = {STEP: 900.0} | {name: 100.0 * (number + 1) for number, name in enumerate(SLATES)}
    rows = [["slates", case.name, case.users, 2, "", 50, "", str(rates[case.name] * case.users)] for case in cases]
    lines = throughput.against_steps(rows).splitlines()
    assert lines[0].endswith("| 4 users | 8 users |") and len(lines) == 6
    assert [line.split(" | ")[1:] for line in lines[2:]] == [[f"{n}", f"{n} |"] for n in (9.0, 4.5, 3.0, 2.2)]


def test_a_part_may_be_timed_alone(tmp_path):
    throughput.main(throughput.ThroughputConfig(out=tmp_path, only="slates", slate_users=(4,), seconds=0.01, repeats=1))
    rows = list(csv.DictReader((tmp_path / "throughput.csv").open()))
    assert [row["part"] for row in rows] == ["slates"] * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["throughput.csv", "throughput.md"]
    text = (tmp_path / "throughput.md").read_text()
    assert "a request costs so many steps" in text and "--repeats 1 --only slates" in text


def test_a_large_catalogue_keeps_the_items_and_users_that_there_were():
    data, large = load_data(), enlarged(11_000)
    np.testing.assert_array_equal(large.catalogue.embeddings[:10_000], data.catalogue.embeddings)
    copies = large.catalogue.embeddings[10_000:]
    distances = np.linalg.norm(copies[:, None] - data.catalogue.embeddings[None, :2000], axis=2).min(1)
    assert (distances > 0).all() and len(np.unique(copies, axis=0)) == 1000
    assert sorted(large.recall_order) == list(range(11_000))
    small = enlarged(1000)
    assert len(small.catalogue) == 1000 and small.visits.items.max() < 1000


def test_the_benchmark_writes_its_tables_and_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "batch_cases", lambda users, threads: batch_cases(users, threads)[:5])
    config = throughput.ThroughputConfig(
        out=tmp_path,
        users=(4,),
        catalogues=(1000, 2000),
        sessions=(50,),
        slate_users=(4,),
        at=64,
        catalogue_users=4,
        seconds=0.01,
        repeats=1,
    )
    throughput.main(config)
    rows = list(csv.DictReader((tmp_path / "throughput.csv").open()))
    assert [row["part"] for row in rows] == ["batch"] * 5 + ["catalogue"] * 3 + ["session"] + ["slates"] * 5
    assert all(float(row["slowest"]) <= float(row["user_steps_per_s"]) <= float(row["fastest"]) for row in rows)
    text = (tmp_path / "throughput.md").read_text()
    assert "all stages / higher floor" in text and "Measured on" in text and (tmp_path / "scaling.png").stat().st_size


def test_the_comparison_takes_the_best_of_both():
    def row(name, users, rate):
        return ["batch", name, users, 1, "", 50, "", str(rate), "", "", "", ""]

    rows = [row("item actions, item ids", 1, 30_000), row("item actions, item ids", 4096, 2_000_000)]
    assert "not installed" in throughput.against_sardine(rows)
    rows += [row(SARDINE, 1, 20_000), row(SARDINE, 32, 10_000)]
    assert throughput.against_sardine(rows).startswith("Best against best, 100 times")
    assert "one user against one, 1.50 times" in throughput.against_sardine(rows)


def test_the_guard_tells_a_slower_commit(capsys):
    config = guard.GuardConfig(base="abc", least=0.8)
    assert guard.report({"one": [0.9, 1.0, 0.5], "two": [2.0, 2.1, 1.9]}, config) == 0
    assert guard.report({"one": [0.9, 1.0, 0.9], "two": [0.7, 0.7, 1.9]}, config) == 1
    assert "two: 0.70 times the rate of abc (0.70 to 1.90), slower" in capsys.readouterr().out


def test_the_guard_plays_the_tree_that_it_is_given(tmp_path):
    assert guard.turn(guard.ROOT, 4, {"action": "item", "observation": "item_ids"}, 0.05) > 0
    package = tmp_path / "recsim_hrl"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('broken')")
    with pytest.raises(RuntimeError, match="the run failed:\nbroken"):
        guard.turn(tmp_path, 4, {}, 0.05)
