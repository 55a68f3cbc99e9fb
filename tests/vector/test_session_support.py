"""What environments tell of the log's support is what the coverage of whole sessions says."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.folder import SimulatorError
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.support import CELLS
from recsim_hrl.types import Catalogue
from recsim_hrl.vector.session import RecSessionVectorEnv
from tests.vector.test_session_vector_env import make_sync, make_vec, same

ARGUMENTS = {"session_length": 40, "action": "item", "candidates": 150, "report_support": True}


def covered(seed=0):
    """A simulator that holds what a random log covers, and the coverage of that log."""
    simulator, rng = random_simulator(seed=seed), np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 60, 400))])
    items, responses = rng.integers(0, 200, offsets[-1]), rng.choice(3, offsets[-1], p=[0.8, 0.15, 0.05])
    sequences = Sequences.build(items, responses, offsets, np.arange(400), np.arange(400))
    coverage = Coverage(sequences, simulator.catalogue.categories.numpy(), rng.normal(size=200).astype(np.float32))
    return dataclasses.replace(simulator, support=coverage.support), coverage


def test_each_step_is_told_what_the_log_holds_of_its_sort():
    simulator, coverage = covered()
    env = RecSessionVectorEnv(30, simulator=simulator, **ARGUMENTS)
    rng = np.random.default_rng(1)
    env.reset(seed=0)
    for _ in range(2):  # the second sessions begin anew
        steps = []
        for step in range(40):
            actions = rng.integers(0, 150, 30)
            if step < 20:  # a run of one category
                actions = np.flatnonzero(env.core.catalogue.categories[env.core.candidates] == 1)[[step] * 30]
            info = env.step(actions)[4]
            steps.append(info["final_info"] if step == 39 else info)
        items, responses, told, enough = (
            np.stack([info[name] for info in steps], 1) for name in ("item", "response", "support", "is_supported")
        )
        cells = coverage._cells(items.ravel(), responses.ravel(), np.tile(np.arange(40), 30))
        np.testing.assert_array_equal(told.ravel(), coverage.support.counts[cells])
        np.testing.assert_array_equal(enough, told >= 200)
        assert 0.1 < enough.mean() < 0.9 and len(np.unique(told)) > 20
        assert not enough[:, 10:20].any()  # the log, which draws items at random, holds no such run


def test_a_click_counts_for_twenty_steps():
    """Every cell has its own number for a count, so the cell itself is told; one click, and then none."""
    simulator, coverage = covered()
    numbered = dataclasses.replace(simulator.support, counts=np.arange(CELLS))
    env = RecSessionVectorEnv(1, simulator=dataclasses.replace(simulator, support=numbered), **ARGUMENTS)
    env.reset(seed=0)
    items, told, report = [], [], env._batch.support
    for step in range(24):
        items.append(env.step(np.array([step]))[4]["item"].item())
        report.answers[:] = np.arange(40) == 0
        told += report.tell(env.core, env._batch.state, report.answers[:, step])["support"].tolist()
    responses = np.arange(24) == 0
    cells = coverage._cells(np.array(items), responses.astype(np.int8), np.arange(24))
    assert told == cells.tolist()
    assert (np.array(told) // 30 % 5).tolist() == [0] + [1] * 20 + [0] * 3  # the bin of clicks


def test_it_gives_what_gymnasium_makes_of_single_environments():
    arguments, simulator = ARGUMENTS | {"session_length": 4}, covered()[0]
    native, sync = make_vec(simulator, 3, **arguments), make_sync(simulator, 3, **arguments)
    same(native.reset(seed=7), sync.reset(seed=7))
    for step in range(10):
        for part, expected in zip(native.step(np.full(3, step)), sync.step(np.full(3, step)), strict=True):
            same(part, expected)
    single = gym.make("RecSession-v0", simulator=simulator, **arguments)
    single.reset(seed=0)
    info = single.step(0)[4]
    assert type(info["support"]) is int and type(info["is_supported"]) is bool


def test_a_member_of_an_ensemble_tells_of_its_own_log():
    first, second = covered()[0], covered(1)[0]
    second = dataclasses.replace(second, catalogue=first.catalogue, recall_order=first.recall_order)
    env = RecSessionVectorEnv(20, simulators=[first, second], **ARGUMENTS)
    alone = [RecSessionVectorEnv(20, simulator=one, **ARGUMENTS) for one in (first, second)]
    member = env.reset(seed=3)[1]["simulator_index"]
    for one in alone:
        one.reset(seed=3)
    for step in range(20):
        told, *others = (one.step(np.full(20, step))[4]["support"] for one in (env, *alone))
        np.testing.assert_array_equal(told, np.where(member == 0, *others))


def test_an_item_that_came_later_is_unknown_for_as_long_as_it_is_among_the_last_ten():
    env = RecSessionVectorEnv(1, simulator=covered()[0], **ARGUMENTS)
    place = env.add_items(
        Catalogue(np.array([7]), np.ones((1, 8), np.float32), np.zeros(1, np.int64), np.ones(1, np.float32))
    )
    env.reset(seed=0)
    told = [env.step(action)[4]["support"].item() for action in (np.array([0]), place, *np.arange(1, 13)[:, None])]
    assert [count > 0 for count in told] == [True, *[False] * 10, True, True, True]


def test_users_put_aside_go_on():
    env, other = (RecSessionVectorEnv(4, simulator=covered()[0], **ARGUMENTS) for _ in range(2))
    env.reset(seed=0)
    for step in range(25):
        env.step(np.full(4, step))
    state = env.state_dict()
    other.load_state_dict(state)
    for step in range(25, 60):
        for part, expected in zip(env.step(np.full(4, step)), other.step(np.full(4, step)), strict=True):
            same(part, expected)
    with pytest.raises(ValueError, match="state answers: got values from 3 to 3"):
        other.load_state_dict(state | {"answers": np.full((4, 40), 3, np.int8)})
    with pytest.raises(ValueError, match="got arrays .*'answers'"):
        RecSessionVectorEnv(4, simulator=covered()[0], **ARGUMENTS | {"report_support": False}).load_state_dict(state)


def test_on_the_default_simulator_random_choice_stays_in_the_support_and_the_best_items_leave_it():
    """The log's policy chooses at random in a seventh of its impressions, and never shows the very best in a row."""
    env = RecSessionVectorEnv(64, action="item", observation="item_ids", report_support=True)
    best = np.argsort(-env.core.data.support.goodness[env.core.candidates], kind="stable")
    shares = {}
    for name, order in {"random": np.random.default_rng(0).permutation(1000), "best": best}.items():
        env.reset(seed=0)
        infos = [env.step(np.full(64, action))[4] for action in order[:50]]
        shares[name] = np.mean([info.get("final_info", info)["is_supported"] for info in infos])
    assert shares["random"] > 0.999 and shares["best"] < 0.9


def test_without_counts_the_fix_is_named():
    with pytest.raises(SimulatorError, match="got the simulator 'random', which .*`recsim-hrl support FOLDER --log"):
        RecSessionVectorEnv(1, simulator=random_simulator(), report_support=True)
