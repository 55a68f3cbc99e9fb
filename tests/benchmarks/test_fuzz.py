"""The fuzz run: readers refuse what is damaged, each input can be made again, and findings are kept and counted."""

import json
import multiprocessing

import pytest

from benchmarks import fuzz, fuzz_watch
from benchmarks.aggregate import read_csv
from benchmarks.fuzz import READERS, FuzzConfig, jobs_of, main, try_chunk
from benchmarks.fuzz_inputs import LEVELS, malformed, read_input, valid_files
from benchmarks.fuzz_watch import OUTCOMES, Ended, Limits, attempt, try_inputs, write_files
from recsim_hrl.data.schema import LogError

LIMITS = Limits(seconds=10.0, memory_mb=256)


def test_a_few_hundred_inputs_have_no_findings(tmp_path):
    assert main(FuzzConfig(out=tmp_path, inputs=302, seed=1, seconds=60.0)) == 0
    rows = read_csv(tmp_path / "fuzz.csv")
    assert [row[:3] for row in rows] == [
        [reader, level, "51" if place < 2 else "50"]
        for place, (reader, level) in enumerate((reader, level) for reader in READERS for level in LEVELS)
    ]
    for row in rows:
        accepted, refused, *findings = map(int, row[3 : 3 + len(OUTCOMES)])
        assert refused > accepted and not any(findings)
        assert accepted + refused == int(row[2])
    assert "--inputs 302 --seed 1" in (tmp_path / "fuzz.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fuzz.csv", "fuzz.md"]


@pytest.mark.parametrize("number", [2699, 5661, 10949, 12659, 2723, 5904, 7063, 10964])
def test_what_arrow_took_gigabytes_for_or_ended_python_is_refused(number):
    """Pages of the first four claim to be long; in the footers of the others columns do not fit together."""
    ((_, ended),) = try_inputs("parquet", "bytes", 0, range(number, number + 1), LIMITS)
    assert ended.outcome == "refused" and ended.rss_mib < 64


@pytest.mark.parametrize("reader", READERS)
def test_inputs_are_made_again_and_begin_with_what_is_valid(tmp_path, reader):
    files = valid_files(reader)
    write_files(files, tmp_path / "input")
    read_input(reader, tmp_path / "input")
    assert valid_files(reader) == files
    for level in LEVELS:
        inputs = [malformed(reader, level, files, 0, number) for number in range(20)]
        assert inputs == [malformed(reader, level, files, 0, number) for number in range(20)]
        assert sum(one != files for one in inputs) > 15
        assert inputs[:5] != [malformed(reader, level, files, 1, number) for number in range(5)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "accepted"),
        (LogError("told"), "refused"),
        (ValueError("any other"), "undocumented"),
        (MemoryError(), "memory"),
    ],
)
def test_outcomes(tmp_path, monkeypatch, error, outcome):
    def read(reader, folder):
        if error is not None:
            raise error

    monkeypatch.setattr(fuzz_watch, "read_input", read)
    assert attempt("csv", {"a": b""}, tmp_path / "input", LIMITS).outcome == outcome


def test_an_error_that_stands_for_a_failed_allocation_is_a_finding(tmp_path, monkeypatch):
    def read(reader, folder):
        try:
            raise MemoryError
        except MemoryError:
            raise LogError("not readable") from None

    monkeypatch.setattr(fuzz_watch, "read_input", read)
    assert attempt("csv", {"a": b""}, tmp_path / "input", LIMITS).outcome == "memory"


def test_time_and_memory_beyond_the_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_watch, "read_input", lambda reader, folder: None)
    assert attempt("csv", {"a": b""}, tmp_path / "input", Limits(-1.0, 256)).outcome == "hang"
    assert attempt("csv", {"a": b""}, tmp_path / "input", Limits(10.0, -1)).outcome == "memory"


def test_a_process_that_does_not_answer_hangs_and_one_that_is_gone_has_crashed():
    ours, theirs = multiprocessing.Pipe()
    assert fuzz_watch._try_one(ours, 0, 0.01).outcome == "hang"
    theirs.close()
    assert fuzz_watch._try_one(ours, 1, 0.01).outcome == "crash"


def test_a_lost_process_is_replaced(monkeypatch):
    """Killed from outside in place of a crash; the inputs after it are tried all the same."""
    found = {}
    for number, ended in fuzz_watch.try_inputs("csv", "bytes", 0, range(4), Limits(60.0, 256)):
        found[number] = ended.outcome
        if number == 1:
            (child,) = (one for one in multiprocessing.active_children() if one.name.startswith("SpawnProcess"))
            child.kill()
            child.join()
    assert list(found) == [0, 1, 2, 3]
    assert found[2] == "crash" and found[3] in ("accepted", "refused")


def test_findings_are_kept_and_replayed(tmp_path, monkeypatch, capsys):
    ended = [Ended("accepted", 0.1, 1.0), Ended("undocumented", 0.3, 0.0, "KeyError: 'x'"), Ended("hang", 2.0, 5.0)]
    monkeypatch.setattr(fuzz, "try_inputs", lambda *_: enumerate(ended))
    counted = json.loads(try_chunk("csv", "bytes", 0, 0, 3, LIMITS, str(tmp_path)))
    assert counted["outcomes"] == {"accepted": 1, "undocumented": 1, "hang": 1}
    assert (counted["longest_seconds"], counted["rss_mib"]) == (2.0, 5.0)
    folders = sorted((tmp_path / "findings").iterdir())
    assert [folder.name for folder in folders] == ["csv-bytes-0-1", "csv-bytes-0-2"]
    assert (folders[0] / "error.txt").read_text() == "undocumented\nKeyError: 'x'\n"
    write_files(valid_files("simulator"), tmp_path / "whole")
    assert main(FuzzConfig(replay=tmp_path / "whole")) == 0
    assert capsys.readouterr().out == "accepted\n"
    (tmp_path / "whole" / "simulator.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        main(FuzzConfig(replay=tmp_path / "whole"))


def test_findings_are_an_exit_status_and_bad_settings_are_told(monkeypatch):
    monkeypatch.setattr(fuzz, "run", lambda config: 3)
    assert main(FuzzConfig()) == 1
    with pytest.raises(ValueError, match="fuzz inputs: got 5, allowed 6 or more; raise it"):
        FuzzConfig(inputs=5)


def test_chunks_cover_every_number_once():
    jobs = jobs_of(FuzzConfig(inputs=30_001))
    sizes = {kind: [job.arguments[3:5] for job in of] for kind, of in jobs.items()}
    assert sizes["csv", "bytes"] == [(0, 2000), (2000, 4000), (4000, 5001)]
    assert sizes["simulator", "structure"] == [(0, 2000), (2000, 4000), (4000, 5000)]
