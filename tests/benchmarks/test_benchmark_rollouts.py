"""Rollouts: the log of a slow, obvious loop, whatever the workers, and nothing played twice."""

import dataclasses

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from recsim_hrl_agents import evaluate, make_agent

from benchmarks import rollouts
from benchmarks.rollouts import RolloutConfig, make_env, play_batch, rollout
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.store import random_simulator, save_simulator


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollouts") / "market"
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), folder / split)
    return folder


@pytest.fixture
def config(market, tmp_path):
    """Ten sessions of five items in shards of four: the last one is not full."""
    about = {"sessions": 10, "seed": 7, "session_length": 5, "candidates": 30, "parallel": 2, "shard": 4, "workers": 1}
    return RolloutConfig(tmp_path / "log", simulator=str(market), **about)


def rows(log: InteractionLog) -> dict[str, np.ndarray]:
    parts = list(log.batches())
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def content(log: InteractionLog) -> dict[str, bytes]:
    return {str(path.relative_to(log.path)): path.read_bytes() for path in log.path.rglob("*") if path.is_file()}


def test_the_log_is_that_of_one_session_after_the_other(config):
    found = rows(rollout(config))
    env = make_env(dataclasses.replace(config, parallel=1))
    agent = make_agent("random", env)
    catalogue = env.unwrapped.core.data.catalogue
    at = 0
    for session in range(10):
        observations, infos = env.reset(seed=7 + session)
        agent.begin(np.ones(1, bool), np.array([7 + session]))
        user = infos["user"][0]
        for step in range(5):
            observations, *_, infos = env.step(agent.act(observations))
            last = infos["final_info"] if step == 4 else infos
            item = int(last["item"][0])
            expected = (session, step, user, item, catalogue.item_ids[item], last["response"][0])
            names = ("session_id", "step", "user_id", "item_index", "item_id", "response")
            assert tuple(found[name][at] for name in names) == expected
            at += 1
    assert at == len(found["step"])


def test_a_saved_agent_earns_what_its_evaluation_says(config, tmp_path):
    env = make_env(config)
    agent = make_agent("ddpg", env, seed=3)
    agent.save(tmp_path / "agent")
    found = rows(rollout(dataclasses.replace(config, agent=str(tmp_path / "agent"))))
    outcome = evaluate(agent, env, sessions=10, seed=7)
    rewards = np.array([0.0, 1.0, 5.0])[found["response"]]
    assert np.bincount(found["session_id"], rewards).tolist() == outcome.total_reward.tolist()
    assert outcome.total_reward.sum() > 0


def test_the_log_depends_on_neither_workers_nor_shards(config):
    alone = content(rollout(config))
    config.out.rename(config.out.with_name("kept"))
    assert content(rollout(dataclasses.replace(config, workers=2))) == alone
    config.out.rename(config.out.with_name("two"))
    whole = rows(rollout(dataclasses.replace(config, shard=10)))
    kept = rows(InteractionLog.open(config.out.with_name("kept")))
    assert {name: values.tolist() for name, values in whole.items()} == {n: v.tolist() for n, v in kept.items()}
    assert not config.out.with_name("log.parts").exists()


def test_finished_shards_are_not_played_again(config, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rollouts, "LogWriter", stopped)
        with pytest.raises(KeyboardInterrupt):
            rollout(config)
    (parts,) = config.out.with_name("log.parts").iterdir()
    shards = sorted(path.name for path in parts.iterdir())
    assert shards == ["000000000000-4.parquet", "000000000004-4.parquet", "000000000008-2.parquet"]
    (parts / shards[1]).unlink()
    capsys.readouterr()
    rollout(config)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "2 of 3 shards are finished already"
    assert len(told) == 2 and told[1].startswith("[1/1] sessions 4 to 7:")
    rollout(config)
    assert capsys.readouterr().err == "", "the log is there: nothing is done"
    rollout(dataclasses.replace(config, seed=8))
    assert "sessions 8 to 9" in capsys.readouterr().err, "another request does not find the log, or parts, of this one"


class Leaving:
    """Three users who leave after 2, 1 and 3 items; item and response tell user and step."""

    num_envs = 3
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def reset(self, seed):
        self.lengths, self.steps = np.array([2, 1, 3]), np.zeros(3, int)
        return {}, {"user": np.array([70, 71, 72])}

    def step(self, actions):
        info = {"item": 10 * np.arange(3) + self.steps, "response": self.steps % 3}
        self.steps = self.steps + 1
        ended = self.steps == self.lengths
        infos = dict(info) | ({"final_info": info} if ended.any() else {})
        self.steps = np.where(ended, 0, self.steps)
        return {}, np.zeros(3), ended, np.zeros(3, bool), infos


class Idle:
    def begin(self, starting, seeds=None):
        pass

    def act(self, observations, explore):
        assert not explore


def test_users_who_leave_are_followed_to_their_end_and_no_further():
    found = {name: values.tolist() for name, values in play_batch(Idle(), Leaving(), 0, session=4, count=3).items()}
    assert found == {
        "session_id": [4, 4, 5, 6, 6, 6],
        "step": [0, 1, 0, 0, 1, 2],
        "user_id": [70, 70, 71, 72, 72, 72],
        "item_index": [0, 1, 10, 20, 21, 22],
        "response": [0, 1, 0, 0, 1, 2],
    }
    assert play_batch(Idle(), Leaving(), 0, session=0, count=2)["session_id"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shard": 100}, "shard: got 100, allowed multiples of parallel = 64.* try 64"),
        ({"sessions": 0}, "sessions: got 0, allowed 1 or more"),
        ({"seed": -1}, "seed: got -1, allowed 0 or more"),
        ({"workers": 0}, "workers: got 0, allowed 1 or more"),
    ],
)
def test_impossible_requests(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RolloutConfig(tmp_path, **fields)


@pytest.mark.parametrize(
    ("agent", "message"),
    [("dgpd", "got 'dgpd', which is no folder"), ("ddpg", "learns from the environment, allowed the folder of a tr")],
)
def test_agents_that_cannot_play(config, agent, message):
    with pytest.raises(ValueError, match=message):
        rollout(dataclasses.replace(config, agent=agent))
