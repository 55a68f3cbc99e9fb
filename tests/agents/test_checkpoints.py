"""A training that was interrupted ends bit for bit as one that was not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gymnasium.vector import VectorWrapper
from recsim_hrl_agents import make_agent, storage, train

from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.tensors import RecSessionTensorEnv
from tests.agents import killed_training

TINY = {"hidden": 8, "warmup_steps": 16, "batch_size": 8, "steps_per_update": 8, "buffer_size": 200}
DDPG = TINY | {"critic_width": 8}
AGENTS = {
    "ddpg": ("ddpg", DDPG),
    "ddpg, falling noise": ("ddpg", DDPG | {"noise_steps": 200, "final_noise": 0.1, "n_step": 2}),
    "deers": ("deers", TINY | {"width": 8, "joined": 8, "epsilon_steps": 200}),
    "goal-q": ("goal-q", TINY | {"hidden": (8,), "c": 3}),
    "mahrl": ("mahrl", DDPG | {"c": 3}),
    "mahrl, by reward": ("mahrl", DDPG | {"c": 4, "guide": "reward", "realised": False}),
    "mahrl, by search": ("mahrl", DDPG | {"c": 4, "guide": "state", "search": 5, "from_goal": True}),
}
STEPS = 400


class Killed(BaseException):
    pass


@pytest.fixture
def run(session_env, simulator):
    """Trains an agent from the start or from a checkpoint; ``killed_at`` counts environment steps."""

    def run(name="ddpg", folder=None, killed_at=None, kind="item_ids", every=24, seed=5, agent_seed=1, **settings):
        agent_name, own = AGENTS[name]
        if kind == "tensors":
            env = RecSessionTensorEnv(
                4, "cpu", simulator=simulator, session_length=7, history=4, observation="item_ids"
            )
        else:
            env = session_env(4, observation=kind)
        step, left = env.step, [killed_at]

        def stepping(actions):
            if left[0] is not None:
                left[0] -= 4
                if left[0] < 0:
                    raise Killed
            return step(actions)

        env.step = stepping
        agent = make_agent(agent_name, env, agent_seed, **own | settings)
        curve = train(agent, env, STEPS, seed, record_every=60, checkpoint=folder, checkpoint_every=every)
        return agent, curve

    return run


def assert_same(one, other):
    (agent, curve), (expected_agent, expected_curve) = one, other
    expected = expected_agent.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in agent.tensors().items())
    assert curve == expected_curve


@pytest.mark.parametrize("kind", ["item_ids", "embeddings", "tensors"])
@pytest.mark.parametrize("name", AGENTS)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(name, kind, run, tmp_path):
    expected = run(name, kind=kind)
    for steps in (12, 40, 76, 148):  # before any checkpoint, in the warm-up's wake, within a period, ...
        with pytest.raises(Killed):
            run(name, tmp_path, steps, kind)
    assert_same(run(name, tmp_path, kind=kind), expected)


def test_checkpoints_change_nothing_and_a_finished_training_returns_at_once(run, tmp_path):
    expected = run()
    assert_same(run(folder=tmp_path), expected)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    assert_same(run(folder=tmp_path, killed_at=0, every=1000), expected)
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())


@pytest.mark.parametrize("file", [".safetensors", "checkpoint.json"])
def test_a_kill_in_the_midst_of_writing_leaves_the_checkpoint_before(file, run, tmp_path, monkeypatch):
    replace, written = storage.os.replace, []

    def killed(source, target):
        if str(target).endswith(file):
            written.append(target)
            if len(written) == 4:
                (tmp_path / f".{target.name}.123").write_bytes(b"half")  # what a killed process does not tidy up
                raise Killed
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", killed)
    with pytest.raises(Killed):
        run(folder=tmp_path)
    monkeypatch.undo()
    assert json.loads((tmp_path / "checkpoint.json").read_text())["env_steps"] == 3 * 24
    assert_same(run(folder=tmp_path), run())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_process_is_continued_by_another(tmp_path):
    command = [sys.executable, "-m", "tests.agents.killed_training", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        for line in process.stdout:
            if int(line) >= 500:
                process.kill()  # SIGKILL
                break
    assert process.wait() == -9
    done = json.loads((tmp_path / "checkpoint.json").read_text())["env_steps"]
    assert 400 < done < killed_training.STEPS
    assert_same(killed_training.run(tmp_path), killed_training.run())


def test_progress_goes_on_where_it_was(session_env, tmp_path):
    def training(progress):
        env = session_env(4, observation="item_ids")
        agent = make_agent("ddpg", env, **DDPG)
        return train(agent, env, 80, progress=progress, record_every=20, checkpoint=tmp_path, checkpoint_every=20)

    def interrupted(record):
        told.append(record)
        if record["env_steps"] == 40:
            raise Killed

    told = []
    with pytest.raises(Killed):
        training(interrupted)
    curve = training(told.append)
    assert [record["env_steps"] for record in told] == [20, 40, 40, 60, 80]
    assert told[:1] + told[2:] == curve


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, "with seed 5, allowed 6"),
        ({"agent_seed": 2}, "with agent_seed 1, allowed 2"),
        ({"gamma": 0.5}, "with config .*'gamma': 0.97.*allowed .*'gamma': 0.5"),
        ({"name": "deers"}, "with agent ddpg, allowed deers"),
        ({"kind": "embeddings"}, "with market"),
    ],
)
def test_another_training_is_refused(change, message, run, tmp_path):
    with pytest.raises(Killed):
        run(folder=tmp_path, killed_at=100)
    with pytest.raises(ValueError, match=f"got the checkpoint of a training {message}.*name another folder"):
        run(folder=tmp_path, **change)


def test_another_environment_is_refused(session_env, tmp_path):
    env = session_env(4, observation="item_ids")
    train(make_agent("ddpg", env, **DDPG), env, 40, checkpoint=tmp_path)
    longer = session_env(4, observation="item_ids", rewards=(0.0, 2.0, 5.0))
    with pytest.raises(ValueError, match="state: got that of another task"):
        train(make_agent("ddpg", longer, **DDPG), longer, 40, checkpoint=tmp_path)


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    with pytest.raises(Killed):
        run(folder=tmp_path, killed_at=100)
    weights = next(tmp_path.glob("*.safetensors"))
    payload = weights.read_bytes()
    for damaged in (payload[:1000], payload[:-1] + b"!"):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match="no readable checkpoint.*hash.*delete the folder to train from the start"):
            run(folder=tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match="no readable checkpoint"):
        run(folder=tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match="no readable checkpoint"):
        run(folder=tmp_path)


def test_what_cannot_be_put_aside_is_refused(session_env, circle, tmp_path):
    env = session_env(4)
    with pytest.raises(ValueError, match="sb3-ppo, which brings a loop of its own.*starts anew"):
        train(make_agent("sb3-ppo", env), env, 40, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="checkpoint_every: got 0"):
        train(make_agent("ddpg", env), env, 40, checkpoint=tmp_path, checkpoint_every=0)
    agent = make_agent("ddpg", env)
    agent.window = memoryview(b"")
    with pytest.raises(ValueError, match=r"agent\.window: got a builtins\.memoryview"):
        train(agent, env, 40, checkpoint=tmp_path)
    wrapped = VectorWrapper(env)
    with pytest.raises(ValueError, match="got a VectorWrapper, which has no"):
        train(make_agent("ddpg", env), wrapped, 40, checkpoint=tmp_path)
    toy = circle(2)
    with pytest.raises(ValueError, match=r"ToyVectorEnv, which has no state_dict\(\)"):
        train(make_agent("ddpg", toy), toy, 40, checkpoint=tmp_path)


def test_a_replay_memory_that_is_mostly_empty_takes_little_room(tmp_path):
    env = RecSessionTensorEnv(4, "cpu", simulator=random_simulator(), session_length=7, observation="item_ids")
    agent = make_agent("ddpg", env, **TINY | {"buffer_size": 100_000})
    train(agent, env, 40, checkpoint=tmp_path)
    whole = sum(column.nbytes for column in agent._buffer._columns.values())
    assert whole > 10_000_000 > 1_000_000 > next(tmp_path.glob("*.safetensors")).stat().st_size


def test_the_levels_of_mahrl_still_share_what_they_shared(run, tmp_path):
    with pytest.raises(Killed):
        run("mahrl", tmp_path, 100)
    agent, _ = run("mahrl", tmp_path)
    assert agent.high._low is agent.low and agent.high.items is agent.low.items
