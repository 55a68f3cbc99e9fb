"""The validity report out of jobs: that of ``evaluate_simulator``, and no policy value found twice."""

import dataclasses
import json

import pytest

from benchmarks import validity
from benchmarks.validity import ValidityConfig, run
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_simulator
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.fidelity import FidelityConfig

POLICIES = FidelityConfig(lengths=(3, 4), impressions=24, candidates=12, workers=2)


@pytest.fixture
def config(tmp_path):
    """A log of a small world, and a simulator of its items that nobody fitted."""
    world = World(WorldConfig(items=60, categories=3, embedding_dim=6))
    write_log(world, tmp_path / "log", impressions=600)
    simulator = random_simulator(items=60, embedding_dim=6)
    save_simulator(dataclasses.replace(simulator, catalogue=world.catalogue), tmp_path / "simulator")
    about = {"evaluation": EvaluationConfig(sessions=5), "policies": POLICIES}
    return ValidityConfig(str(tmp_path / "simulator"), tmp_path / "log", tmp_path / "out", **about)


def test_the_report_is_that_of_one_process(config):
    lines = run(config)
    simulator, log = load_simulator(config.simulator), InteractionLog.open(config.log)
    alone = evaluate_simulator(simulator, log, config.evaluation, POLICIES, report=lambda _: None)
    assert json.loads((config.out / "validity.json").read_text()) == json.loads(json.dumps(alone.to_json()))
    assert lines == [str(target) for target in alone.targets]
    assert not config.out.with_name("out.parts").exists()


def test_policy_values_that_were_found_are_kept(config, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(validity, "write_validity", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    (parts,) = config.out.with_name("out.parts").iterdir()
    assert len(list(parts.iterdir())) == 20
    (parts / "random-3.json").unlink()
    capsys.readouterr()
    run(config)
    told = capsys.readouterr().err.splitlines()
    assert "19 of 20 policy values are finished already" in told
    assert any(line.startswith("[1/1] random at 3 items:") for line in told)
