"""The core of slates against hand-computed values on a market of five items, and against its slow twin."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest

from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.ensemble import EnsembleCore
from recsim_hrl.simulator.folder import SimulatorError
from recsim_hrl.simulator.leaving import LeaveModel
from recsim_hrl.simulator.slate_config import SlateConfig
from recsim_hrl.simulator.slate_core import SlateCore, SlateState, slate_totals
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import CLICK, ORDER, SKIP
from tests.reference.market import market
from tests.reference.slate import ReferenceSlates
from tests.simulator.test_ensemble import simulators

ACTIONS = ("items", "embeddings", "query", "tokens")
IDS = SemanticIdConfig(levels=2, codes=16)


def leaving_after(impressions: float, traces: int = 6) -> LeaveModel:
    """Users stay for fewer impressions than this, and leave with the first of more (but for a chance of 1e-100)."""
    inputs = traces + 2
    centre, scale, direct = np.zeros(inputs), np.ones(inputs), np.zeros(inputs)
    centre[traces], scale[traces], direct[traces] = math.log1p(impressions), 0.01, 100.0
    return LeaveModel(centre, scale, direct, np.zeros((inputs, 0)), np.zeros(0), np.zeros(0), np.zeros(1))


def market_data(leaving: LeaveModel | None = None, **arguments):
    return dataclasses.replace(market(**arguments).data, leaving=leaving)


def market_core(leaving: LeaveModel | None = None, **arguments) -> SlateCore:
    """Slates of two, two requests."""
    arguments = {"slate_size": 2, "max_requests": 2, "history": 2, "leave": "never"} | arguments
    return SlateCore(market_data(leaving), SlateConfig(**arguments))


def start(core: SlateCore, users: list[int], seed: int = 0) -> SlateState:
    size = len(users)
    return core.initial(np.arange(seed, seed + size), np.zeros(size, np.int64), np.array(users))


def arrays(state: SlateState) -> list[np.ndarray]:
    """All arrays of a state."""
    return [*state.session[:-1], *state.session.memory, *state[1:]]


def actions_of(core: SlateCore, size: int, rng: np.random.Generator) -> np.ndarray:
    """Random actions of the core's form."""
    slots, width = core.config.slate_size, core.catalogue.embeddings.shape[1]
    match core.config.action:
        case "items":
            return rng.integers(len(core.candidates), size=(size, slots))
        case "tokens":
            return rng.uniform(-1, 1, (size, *core.token_shape)).astype(np.float32)
    shape = (size, slots, width) if core.config.action == "embeddings" else (size, width)
    return rng.uniform(-1, 1, shape).astype(np.float32)


def ids_of(simulator):
    return fit_semantic_ids(simulator.catalogue.embeddings.numpy(), IDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"slate_size": 0}, "slate_size: got 0, allowed are whole numbers from 1"),
        ({"slate_size": True}, "slate_size: got True"),
        ({"max_requests": 2.0}, "max_requests: got 2.0"),
        ({"candidates": 0}, "candidates: got 0"),
        ({"stock": -3}, "stock: got -3"),
        ({"catalog_start": -1}, "catalog_start: got -1, allowed are whole numbers from 0"),
        ({"catalog_turnover": 1.5}, "catalog_turnover: got 1.5, allowed numbers from 0 to 1"),
        ({"catalog_turnover": float("nan")}, "catalog_turnover: got nan"),
        ({"catalog_turnover": True}, "catalog_turnover: got True"),
        ({"action": "item"}, "action: got 'item', allowed .*'items'"),
        ({"leave": "bored"}, "leave: got 'bored', allowed .*'temper'"),
        ({"reward": "orders"}, "reward: got 'orders', allowed .*'rl4rs'"),
        ({"observation": "pixels"}, "observation: got 'pixels'"),
        ({"history": 0}, "history: got 0"),
        ({"response_noise": -1.0}, "response_noise: got -1.0"),
        ({"rewards": (1, 2)}, "rewards: got"),
    ],
)
def test_config_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        SlateConfig(**arguments)


def test_what_does_not_fit_the_simulator_is_refused():
    with pytest.raises(ValueError, match="slate_size and max_requests: got 2 times 3 items, allowed at most the 5 on"):
        market_core(max_requests=3)
    with pytest.raises(ValueError, match="allowed at most the 3 on offer"):
        market_core(candidates=3)
    with pytest.raises(ValueError, match=r"catalog_turnover: got 0.5 of the 4 items on offer, .* the 1 that the stock"):
        market_core(candidates=4, catalog_turnover=0.5)
    with pytest.raises(ValueError, match="catalog_turnover: got 0.1 of the 5 items on offer, allowed at most the 0"):
        market_core(catalog_turnover=0.1)  # there are no more than the 1000 candidates
    with pytest.raises(SimulatorError, match="leave: got 'learned' with the simulator 'market', which has no leave"):
        market_core(leave="learned")
    ids = fit_semantic_ids(market().data.catalogue.embeddings, SemanticIdConfig(2, 3))
    for wrong, got in ((None, "none"), (ids.with_items(np.ones(2)), "6 items"), (ids.without_items([3]), "4 items")):
        with pytest.raises(ValueError, match=f"semantic_ids: got .*{got}, allowed ids of all 5 items"):
            SlateCore(market_data(), SlateConfig(2, 2, action="tokens", leave="never"), wrong)


def test_a_slate_by_hand():
    """Items 0 to 4 bring click, order, skip, click, skip; user 1 saw items 2 and 1 before; users leave at the third."""
    core = market_core(leaving_after(2.5), leave="learned", rewards=(-1, 2, 7))
    state = start(core, [1, 2])
    outcome = core.step(state, np.array([[1, 2], [0, 3]]))
    assert outcome.item.tolist() == [[1, 2], [0, 3]]
    assert outcome.response.tolist() == [[ORDER, SKIP], [CLICK, CLICK]]
    assert outcome.is_seen.all() and outcome.reward.tolist() == [6.0, 4.0]
    assert core.terminal(state).tolist() == [False, False]
    # counted from one, the latest last
    assert state.session.histories.tolist() == [[[2, 3], [2, 2], [2, 2]], [[1, 4], [1, 4], [0, 0]]]
    assert core.is_open(state).astype(int).tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 0, 1]]

    outcome = core.step(state, np.array([[3, 0], [4, 1]]))
    assert outcome.item.tolist() == [[3, 0], [4, 1]]
    assert outcome.response.tolist() == [[CLICK, SKIP], [SKIP, SKIP]]  # the order of item 1 was not given
    assert outcome.is_seen.tolist() == [[True, False], [True, False]]
    assert outcome.reward.tolist() == [2.0, -1.0]
    assert state.left.all() and core.terminal(state).all()
    assert state.session.step.tolist() == [3, 3] and state.request.tolist() == [2, 2]
    assert state.session.histories.tolist() == [[[3, 4], [2, 4], [2, 2]], [[4, 5], [1, 4], [0, 0]]]
    assert core.is_open(state).astype(int).tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]
    assert {name: value.tolist() for name, value in slate_totals(state, core.rewards).items()} == {
        "total_reward": [8.0, 3.0],
        "click_reward": [2.0, 4.0],
        "order_reward": [7.0, 0.0],
        "clicks": [1, 2],
        "orders": [1, 0],
        "length": [3, 3],
        "depth": [2, 2],
    }


def test_observations_by_hand():
    core = market_core(observation="item_ids")
    state = start(core, [1])
    core.step(state, np.array([[3, 4]]))
    observation = core.observe(state)
    assert {name: value.tolist() for name, value in observation.items()} == {
        "browsed": [[4, 5]],
        "clicked": [[2, 4]],
        "ordered": [[0, 2]],
        "available": [[1, 1, 1, 0, 0]],
        "request": [[0.5]],
    }
    assert observation["available"].dtype == np.int8 and observation["request"].dtype == np.float32
    seen = market_core().observe(state)
    assert seen["clicked"].tolist() == [[[0.0, 1.0], np.float32([0.8, 0.6]).tolist()]]


def test_temper_by_hand():
    """Two slots: a slate with two clicks costs 1 of the 20, one 2.1, none 3.2; slates pay 1, 0.45, -0.1."""
    core = market_core(leave="temper", reward="clicks")
    state = start(core, [0, 0, 0])
    outcome = core.step(state, np.array([[0, 1], [0, 2], [4, 2]]))
    assert outcome.reward.tolist() == [1.0, 0.45, -0.1] and outcome.is_seen.all()
    assert state.temper.tolist() == [190, 179, 168]
    assert not core.terminal(state).any()
    state.temper[:] = [20, 31, 41]  # as after more requests than five items allow
    core.step(state, np.array([[3, 0], [3, 4], [2, 4]]))  # of the third user both were shown: 3 and 0 stand for them
    assert state.temper.tolist() == [20 - 21, 31 - 21, 41 - 10]
    assert state.left.tolist() == [True, False, False]
    variant = market_core(leave="temper", reward="rl4rs")
    state = start(variant, [0, 0, 0])
    outcome = variant.step(state, np.array([[0, 1], [0, 2], [4, 2]]))
    np.testing.assert_allclose(outcome.reward, [0.9, 0.55, 0.0], atol=1e-15)  # 1 less 0.1, 0.45 and 1
    assert state.temper.tolist() == [200 - 12, 200 - 19, 200 - 30]


@pytest.mark.parametrize(
    ("action", "leave", "reward", "turnover"),
    [
        *((action, "learned", "responses", 0.0) for action in ACTIONS),
        *((action, "never", "clicks", 0.3) for action in ACTIONS),
        *(("items", "temper", reward, 0.25) for reward in ("responses", "clicks", "rl4rs")),
        *(("embeddings", "learned", reward, 0.1) for reward in ("clicks", "rl4rs")),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_core_agrees_with_its_slow_twin(action, leave, reward, turnover, noise):
    simulator = random_simulator(items=40, seed=5)
    simulator = dataclasses.replace(
        simulator, leaving=dataclasses.replace(simulator.leaving, bias=np.array([-2.0]))
    )  # about one of eight leaves after an impression
    config = SlateConfig(
        slate_size=3,
        max_requests=4,
        action=action,
        candidates=20,
        catalog_turnover=turnover,
        catalog_start=4,
        leave=leave,
        reward=reward,
        history=4,
        response_noise=noise,
        rewards=(-0.5, 1, 3),
    )
    ids = ids_of(simulator)
    core = SlateCore(simulator.data, config, ids)
    seeds, episodes = np.array([3, 3, 2**40 + 1, 8, 9]), np.array([0, 1, 5, 2, 3])
    state = core.initial(seeds, episodes)
    twins = [
        ReferenceSlates(simulator, config, seed, episode, codes=ids.codes)
        for seed, episode in zip(seeds.tolist(), episodes.tolist(), strict=True)
    ]
    assert state.session.user.tolist() == [twin.items.user for twin in twins]
    rng = np.random.default_rng(5)
    for _ in range(4):
        actions = actions_of(core, 5, rng)
        playing = [number for number, twin in enumerate(twins) if not twin.left]
        before = copy.deepcopy(state)
        outcome = core.step(state, actions)
        for number in playing:
            twin = twins[number]
            item, response, is_seen, pays = twin.step(actions[number])
            assert outcome.item[number].tolist() == item
            assert outcome.response[number].tolist() == response
            assert outcome.is_seen[number].tolist() == is_seen
            assert outcome.reward[number] == pytest.approx(pays, abs=1e-12)
            assert state.left[number] == twin.left
            assert state.total[number] == pytest.approx(float(twin.total), abs=1e-12)
            assert state.temper[number] == 10 * twin.temper
            np.testing.assert_array_equal(state.session.histories[number] - 1, twin.items.histories())
            assert core.is_open(state)[number].astype(int).tolist() == twin.available()
        for now, then in zip(arrays(state), arrays(before), strict=True):
            now[state.left] = then[state.left]  # who has left plays no more
    if leave == "learned":
        assert 0 < sum(twin.left for twin in twins)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_user_fares_the_same_alone_and_among_a_thousand(action):
    simulator, size, watched = random_simulator(), 1024, [0, 1, 500, 1023]
    config = SlateConfig(
        slate_size=4, max_requests=3, action=action, candidates=100, catalog_turnover=0.1, response_noise=0.3
    )
    core = SlateCore(simulator.data, config, ids_of(simulator))
    rng, episodes = np.random.default_rng(0), np.arange(size) % 7
    together = core.initial(np.arange(size), episodes)
    alone = [core.initial(np.array([row]), episodes[row : row + 1]) for row in watched]
    for _ in range(3):
        actions = actions_of(core, size, rng)
        outcome = core.step(together, actions)
        for row, own in zip(watched, alone, strict=True):
            if own.left[0]:
                continue
            single = core.step(own, actions[row : row + 1])
            for name in ("item", "response", "is_seen", "reward"):
                np.testing.assert_array_equal(getattr(single, name)[0], getattr(outcome, name)[row])
            for mine, everyones in zip(arrays(own), arrays(together), strict=True):
                if mine is not own.session.shown:  # beyond the items that were seen, nothing counts
                    np.testing.assert_array_equal(mine[0], everyones[row])
            np.testing.assert_array_equal(core.is_open(own)[0], core.is_open(together)[row])


@pytest.mark.parametrize("leave", ["never", "learned"])
def test_items_are_answered_as_they_are_one_by_one_whatever_the_slates(leave):
    """A slot's answer, and whether the user leaves after it, depend on the items above it and on nothing else."""
    data, size = random_simulator().data, 50
    order = np.stack([np.random.default_rng(row).permutation(200)[:12] for row in range(size)])
    session = SessionCore(data, SessionConfig(session_length=12, action="item"))
    state = session.initial(np.arange(size), np.zeros(size, np.int64))
    one_by_one = np.stack([session.step(state, order[:, place]).response for place in range(12)], 1)
    ends = []
    for slots in (1, 3, 4, 12):
        core = SlateCore(data, SlateConfig(slots, 12 // slots, leave=leave))
        state, seen, responses = core.initial(np.arange(size), np.zeros(size, np.int64)), [], []
        for request in range(12 // slots):
            outcome = core.step(state, order[:, request * slots : (request + 1) * slots])
            seen.append(outcome.is_seen)
            responses.append(outcome.response)
        seen, responses = np.concatenate(seen, 1), np.concatenate(responses, 1)
        assert np.array_equal(responses, np.where(seen, one_by_one, SKIP))
        assert (np.diff(seen.astype(int), axis=1) <= 0).all()  # who has left does not come back
        ends.append(seen.sum(1).tolist())
    assert all(one == ends[0] for one in ends)
    assert ends[0] == [12] * size if leave == "never" else 3 < sum(end < 12 for end in ends[0]) < size


def test_users_leave_as_often_as_the_model_says():
    """20,000 users under a hazard of 0.2 see 1, 2, 3 and 4 of the items with these chances; error at most 0.0035."""
    leaving = leaving_after(2.5)
    even = dataclasses.replace(leaving, direct=np.zeros_like(leaving.direct), bias=np.array([-math.log(4)]))
    core = market_core(even, leave="learned", slate_size=4, max_requests=1)
    state = core.initial(np.arange(20_000), np.zeros(20_000, np.int64))
    outcome = core.step(state, np.tile([0, 1, 2, 3], (20_000, 1)))
    rates = np.bincount(outcome.is_seen.sum(1), minlength=5) / 20_000
    np.testing.assert_allclose(rates, [0, 0.2, 0.16, 0.128, 0.512], atol=0.012)
    assert abs(state.left.mean() - (1 - 0.8**4)) < 0.012  # some leave after the last item, having seen all


def test_only_a_step_changes_the_state():
    core = SlateCore(random_simulator().data, SlateConfig(3, 2, action="query", response_noise=0.3))
    state = start(core, [0, 3])
    before = copy.deepcopy(state)
    core.observe(state), core.is_open(state), core.choose(state, np.zeros((2, 8), np.float32)), core.terminal(state)
    for now, then in zip(arrays(state), arrays(before), strict=True):
        assert np.array_equal(now, then)


def test_users_begin_in_the_midst_of_others():
    core = SlateCore(random_simulator().data, SlateConfig(3, 2, leave="temper"))
    state, other = start(core, [0, 3, 4]), start(core, [5, 6], seed=9)
    core.step(state, np.arange(9).reshape(3, 3))
    before = copy.deepcopy(state)
    core.begin(state, np.array([2, 0]), np.array([9, 10]), np.zeros(2, np.int64), np.array([5, 6]))
    for now, then, fresh in zip(arrays(state), arrays(before), arrays(other), strict=True):
        assert np.array_equal(now[1], then[1])
        if fresh is not other.session.shown:  # of which nothing counts yet
            assert np.array_equal(now[[2, 0]], fresh)


@pytest.mark.parametrize("several", [False, True])
def test_copies_share_the_core_and_pickles_rebuild_it(several):
    data = simulators() if several else random_simulator().data
    core = SlateCore(data, SlateConfig(3, 4, candidates=50, catalog_turnover=0.1))
    assert copy.deepcopy(core) is core
    again = pickle.loads(pickle.dumps(core))
    state, twin = start(core, [1, 2, 3, 4]), start(again, [1, 2, 3, 4])
    for request in range(2):
        actions = np.arange(12).reshape(4, 3) + 12 * request
        outcome, expected = core.step(state, actions), again.step(twin, actions)
        assert np.array_equal(outcome.response, expected.response) and np.array_equal(outcome.item, expected.item)
        for now, then in zip(arrays(state), arrays(twin), strict=True):
            assert np.array_equal(now, then)


def test_members_of_an_ensemble_answer_and_let_go_by_their_own_models():
    members = [
        dataclasses.replace(one, leaving=leaving_after(limit, one.leaving.direct.size - 2))
        for one, limit in zip(simulators(2), (1.5, 4.5), strict=True)
    ]
    config = SlateConfig(6, 1)
    core = SlateCore(members, config)
    assert isinstance(core.session, EnsembleCore)
    seeds, none, actions = np.arange(40), np.zeros(40, np.int64), np.tile(np.arange(6), (40, 1))
    state = core.initial(seeds, none)
    member = core.whose(state)["simulator_index"]
    assert 5 < member.sum() < 35
    outcome = core.step(state, actions)
    assert outcome.is_seen.sum(1).tolist() == np.where(member == 0, 2, 5).tolist()
    for place, data in enumerate(members):
        single = SlateCore(dataclasses.replace(data, recall_order=members[0].recall_order), config)
        alone = single.step(single.initial(seeds, none), actions)
        assert np.array_equal(outcome.response[member == place], alone.response[member == place])
    with pytest.raises(SimulatorError, match="has no leave model"):
        SlateCore([members[0], dataclasses.replace(members[1], leaving=None)], config)
