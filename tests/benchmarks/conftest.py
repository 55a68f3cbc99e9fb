"""Runs that need no environment: fake agents whose session rewards are known."""

import pytest

from benchmarks.records import RunRecord
from benchmarks.tasks import Entry, Run, Task


@pytest.fixture
def make_run():
    """A run of a fake agent; ``make_run(agent, task, seed, cost)``."""

    def make(agent: str = "fake", task: str = "short", seed: int = 0, steps: int = 10) -> Run:
        return Run(Task(task, "Fake-v0", session_length=5, sessions=4), Entry(agent, steps=steps), seed)

    return make


@pytest.fixture
def make_record():
    """A record with given rewards; ``make_record(clicks, orders, ...)``."""

    def make(clicks, orders, agent="fake", task="short", seed=0, curve=(), key="0123456789abcdef") -> RunRecord:
        clicks, orders = (tuple(float(reward) for reward in rewards) for rewards in (clicks, orders))
        return RunRecord(key, task, agent, seed, 10, 1.25, 0.5, clicks, orders, curve, (("numpy", "2.4"),))

    return make


@pytest.fixture
def make_slate_record():
    """A record of slates with given total rewards and depths; ``make_slate_record(total, depth, ...)``."""

    def make(total, depth=None, agent="fake", task="slates", seed=0, coverage=0.5, **changes) -> RunRecord:
        total = tuple(float(reward) for reward in total)
        depth = total if depth is None else tuple(float(requests) for requests in depth)
        told = {"total_reward": total, "depth": depth, "length": tuple(9 * requests for requests in depth)}
        measures = (("coverage", coverage), ("gini", 0.25), ("diversity", 0.75))
        fields = {"curve": (), "depth_curve": ()} | changes
        rewards = (total, (0.0,) * len(total))
        return RunRecord(
            "0123456789abcdef", task, agent, seed, 10, 1.5, 0.5, *rewards, sessions=tuple(told.items()),
            measures=measures, versions=(("numpy", "2.4"),), **fields,
        )  # fmt: skip

    return make
