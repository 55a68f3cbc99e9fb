"""Records: what invalidates one, and that half of one is never seen."""

import dataclasses
import json

import pytest

from benchmarks import records
from benchmarks.records import finished_records, load_record, run_key, save_record, simulator_fingerprint
from recsim_hrl.simulator.store import random_simulator, save_simulator


def test_saved_record_comes_back(tmp_path, make_record):
    record = make_record([1, 0, 3], [5, 0, 0], curve=((100, 2.5), (200, 3.0)))
    path = save_record(record, tmp_path)
    assert path.name == "short-fake-0-0123456789abcdef.json"
    assert load_record(path) == record
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_interrupted_save_leaves_nothing(tmp_path, make_record, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_record(make_record([1], [0]), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"key": "a"}'])
def test_a_foreign_file_is_refused(tmp_path, text):
    path = tmp_path / "short-fake-0-a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a record of a run .* delete it"):
        load_record(path)


def test_a_record_needs_both_parts_of_every_session(make_record):
    with pytest.raises(ValueError, match="got 2 click rewards and 1 order rewards"):
        make_record([1, 2], [0])


def test_the_key_changes_with_everything_that_decides_the_outcome(make_run, monkeypatch):
    run = make_run()
    key = run_key(run, "simulators", {"gamma": 0.95})
    assert key == run_key(make_run(), "simulators", {"gamma": 0.95})
    longer = dataclasses.replace(run, task=dataclasses.replace(run.task, session_length=6))
    tuned = dataclasses.replace(run, entry=dataclasses.replace(run.entry, settings=(("gamma", 0.9),)))
    changed = (longer, tuned, make_run(seed=1), make_run(steps=11))
    others = [run_key(other, "simulators", {"gamma": 0.95}) for other in changed]
    others.append(run_key(run, "other simulators", {"gamma": 0.95}))
    others.append(run_key(run, "simulators", {"gamma": 0.9}))
    monkeypatch.setattr(records, "version", lambda package: "9.9")
    others.append(run_key(run, "simulators", {"gamma": 0.95}))
    assert len({key, *others}) == 8


def test_only_the_records_asked_for_are_found(tmp_path, make_run, make_record):
    save_record(make_record([1], [0], seed=1, key="new"), tmp_path)
    save_record(make_record([2], [0], seed=1, key="old"), tmp_path)
    found = finished_records([(make_run(seed=0), "new"), (make_run(seed=1), "new")], tmp_path)
    assert [(record.seed, record.key) for record in found] == [(1, "new")]


def test_the_fingerprint_tells_simulators_apart(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        for split in ("train", "test"):
            save_simulator(random_simulator(items=20, users=4, seed=seed), tmp_path / name / split)
    prints = [simulator_fingerprint(str(tmp_path / name)) for name in ("one", "same", "other")]
    assert prints[0] == prints[1] != prints[2]


def test_a_record_is_json_that_names_its_versions(tmp_path, make_record):
    about = json.loads(save_record(make_record([1], [5]), tmp_path).read_text())
    assert about["versions"] == [["numpy", "2.4"]]
    assert dict(records.package_versions())["numpy"][0].isdigit()
