"""The stopwatch by hand, and a short training."""

import csv
import time

import pytest

from benchmarks import training_profile
from benchmarks.training_profile import LEARNING, LEARNING_HIGH, PARTS, ProfileConfig, Stopwatch


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
def test_trainings_are_accounted_for(tmp_path, device, monkeypatch, capsys):
    small = {"warmup_steps": 640, "steps_per_update": 64}
    monkeypatch.setattr(training_profile, "long_settings", lambda agent: small)
    agents = ("ddpg", "deers", "mahrl", "goal-q")
    training_profile.main(ProfileConfig(tmp_path, agents, steps=1920, users=64, device=device))
    rows = list(csv.DictReader((tmp_path / "training_profile.csv").open()))
    for agent in agents:
        parts = {row["part"]: row for row in rows if row["agent"] == agent}
        assert set(parts) == set(PARTS) - ({LEARNING_HIGH} if agent != "mahrl" else set())
        assert sum(float(row["share"]) for row in parts.values()) == pytest.approx(1, abs=0.01)
        assert all(float(row["seconds"]) >= 0 for row in parts.values()) and float(parts[LEARNING]["share"]) > 0
        # 30 steps of 64 users, an update for each; DDPG+ warms up for nine, and then learns at every one.
        assert parts["environment"]["calls"] == parts["acting"]["calls"] == "30"
        assert agent != "ddpg" or parts[LEARNING]["calls"] == "21"
    assert "steps/s" in capsys.readouterr().out
    page = (tmp_path / "training_profile.md").read_text()
    assert all(f"| {agent} | " in page for agent in agents)
