"""The stopwatch by hand, and a short training."""

import csv
import time

import pytest

from benchmarks import training_profile
from benchmarks.training_profile import ProfileConfig, Stopwatch


def test_each_second_counts_once_for_the_innermost(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    watch = Stopwatch()

    def inner():
        now[0] += 2.0

    def outer():
        now[0] += 1.0
        watch.watched("inner", inner)()
        now[0] += 4.0
        watch.watched("inner", inner)()

    watch.watched("outer", outer)()
    now[0] += 100.0  # nothing is running
    watch.watched("inner", inner)()
    assert watch.seconds == {"outer": 5.0, "inner": 6.0}


def test_the_stopwatch_goes_on_after_an_error():
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError):
        watch.watched("broken", lambda: 1 / 0)()
    assert watch._running == [] and watch.seconds["broken"] >= 0


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_training_is_accounted_for(tmp_path, device):
    training_profile.main(ProfileConfig(tmp_path, steps=2560, users=64, device=device))
    rows = {row["part"]: row for row in csv.DictReader((tmp_path / "training_profile.csv").open())}
    assert set(rows) == {
        "environment",
        "acting: the actor and its noise",
        "the agent's own",
        "learning: networks forward and back",
        "learning: gradients and optimizer",
        "replay memory",
        "loop",
    }
    assert sum(float(row["share"]) for row in rows.values()) == pytest.approx(1, abs=0.01)
    assert float(rows["learning: networks forward and back"]["seconds"]) > 0
