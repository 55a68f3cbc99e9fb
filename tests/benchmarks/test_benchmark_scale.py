"""The cost model by hand, the page that is made of it, and that every cost can be measured."""

import json
import re
import shlex

import pytest
import tyro

from benchmarks import costs, scale
from benchmarks.costs import CostsConfig
from benchmarks.rollouts import RolloutConfig
from benchmarks.run import RunConfig
from benchmarks.scale import RESULTS, Cost, Size, blocks, limits, needs, read_costs, with_blocks
from recsim_hrl.simulator.fit import PASSES

VALUES = {
    "user_step": 1e-6,
    "user_step_embedding": 2e-6,
    "pool_memory": 1000.0,
    "training_step_ddpg": 1e-4,
    "training_step_dqn": 2e-4,
    "log_size": 10.0,
    "log_write": 3.6e-6,
    "log_read": 3.6e-7,
    "log_split": 7.2e-6,
    "fit_memory": 32.0,
    "fit_pass": 3.6e-5,
    "rollout_ddpg": 3.6e-5,
    "rollout_size": 2.0,
}
SIZE = Size("by hand", impressions=1e9, sessions=2e7, users=1e7)


def test_needs_by_hand():
    found = {need.stage: need for need in needs(VALUES, SIZE)}
    write, fit = found["write the log, checked"], found["fit a simulator, 4 passes"]
    assert (write.core_hours, write.hours, write.disk_gb) == pytest.approx((1.0, 1.0, 10.0))
    assert (fit.core_hours, fit.hours, fit.memory_gb) == pytest.approx((40.0, 20.0, 32.0))
    play = found["play as many impressions with DDPG+, as a log"]
    assert (play.core_hours, play.hours, play.disk_gb) == (pytest.approx(10.0), None, pytest.approx(2.0))
    assert found["train DQN on as many user-steps"].hours == pytest.approx(2e5 / 3600)


def test_what_gives_way_first_by_hand():
    found = limits(VALUES, SIZE)
    at = {limit.what: limit for limit in found}
    assert at["memory: fit a simulator, 4 passes"].breaks_at == pytest.approx(2e9)  # 64 GB of 32 B each
    assert at["memory: every user in the simulator's pool, in place of a sample"].breaks_at == pytest.approx(6.4e9)
    assert at["time: fit a simulator, 4 passes"].breaks_at == pytest.approx(168 / 20 * 1e9)
    assert at["memory: read it once, checked"].breaks_at == pytest.approx(4e11)  # 8 B of each of 20 million sessions
    assert [limit.breaks_at for limit in found] == sorted(limit.breaks_at for limit in found)
    assert found[0].what == "memory: fit a simulator, 4 passes"
    assert "| 1 | memory: fit a simulator, 4 passes | one process | 32 GB | 2 billion, beyond this log |" in (
        scale.limits_table(VALUES, SIZE)
    )


def test_costs_are_told_in_units_that_fit():
    table = scale.costs_table(
        [Cost("step", 2.5e-6, "s", "user-step", "one"), Cost("size", 3.25, "B", "impression", "columns")]
    )
    assert "| `step` | 2.5 µs | user-step | 400,000 a second | one |" in table
    assert "| `size` | 3.2 B | impression | – | columns |" in table


def test_the_page_is_made_of_the_committed_costs():
    page = scale.PAGE.read_text(encoding="utf-8")
    assert with_blocks(page, blocks(RESULTS)) == page, "run python -m benchmarks.scale"


def test_a_page_without_marks_is_refused():
    assert with_blocks("a <!-- x -->old<!-- /x --> b", {"x": "new"}) == "a <!-- x -->\n\nnew\n\n<!-- /x --> b"
    with pytest.raises(ValueError, match="got no marks <!-- x --> and <!-- /x -->"):
        with_blocks("a <!-- x --> b", {"x": "new"})


def test_a_damaged_table_is_refused(tmp_path):
    (tmp_path / "costs.csv").write_text("cost,value,unit,per,what\nuser_step,fast,s,user-step,x\n")
    with pytest.raises(ValueError, match="costs.csv: could not convert .*write it again with python -m benchmarks.c"):
        read_costs(tmp_path)


def test_every_cost_is_measured_and_the_page_written(tmp_path, monkeypatch):
    """At a size that says nothing; Ray's part is the business of its own tests."""
    monkeypatch.setattr(costs, "job_costs", lambda config: [Cost("job_ray", 1e-3, "s", "job", "not measured")])
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {name} --><!-- /{name} -->" for name in ("costs", "needs", "limits")))
    small = {"users": 8, "steps": 2, "learning_steps": 5_120, "impressions": 3_000, "repeats": 1}
    costs.main(CostsConfig(tmp_path, page, **small))
    found = {cost.name: cost for cost in read_costs(tmp_path)}
    assert set(VALUES) | {"user_memory", "gradient_step_ddpg", "gradient_step_dqn", "rollout_random"} <= set(found)
    # The difference of two fits as short as these may be anything.
    assert all(cost.value > 0 for name, cost in found.items() if name != "fit_pass")
    # One gradient step is a part of the 64 user-steps that it belongs to.
    assert found["gradient_step_ddpg"].value < 64 * found["training_step_ddpg"].value
    assert "64 of them to a gradient step" in found["training_step_ddpg"].what
    assert json.loads((tmp_path / "about.json").read_text())["command"] == "python -m benchmarks.costs"
    assert "fit a simulator, 4 passes" in page.read_text(encoding="utf-8")


def test_the_commands_of_the_page_are_understood():
    page = scale.PAGE.read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in re.findall(r"^\$ python -m (benchmarks\..*)$", page, re.M)]
    assert {words[0] for words in lines} == {"benchmarks.run", "benchmarks.rollouts"}
    configs = {"benchmarks.run": RunConfig, "benchmarks.rollouts": RolloutConfig}
    asked = [tyro.cli(configs[module], args=words) for module, *words in lines]
    assert [config.ray for config in asked] == ["local", "auto", "local"]


def test_the_model_knows_the_defaults_of_the_fit():
    assert PASSES[0] == scale.FIT_PASSES
