"""Items that come and go, and a user's own candidates, against a search through everything."""

import dataclasses
import pickle

import numpy as np
import pytest

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.shelf import Rows
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import Catalogue
from recsim_hrl.vector.session import RecSessionVectorEnv


def core_of(items=300, **arguments):
    return SessionCore(random_simulator(items=items).data, SessionConfig(**{"session_length": 5} | arguments))


def start(core, size=40):
    return core.initial(np.arange(size), np.zeros(size, np.int64))


def more_items(core, count, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, core.catalogue.embeddings.shape[1])).astype(np.float32)
    return Catalogue(
        10_000 + 100 * seed + np.arange(count), embeddings, np.zeros(count, np.int64), np.ones(count, np.float32)
    )


def nearest(core, action, allowed):
    """The slow way: float64 cosines with every candidate that is ``allowed``."""
    vectors = core.catalogue.embeddings[core.candidates].astype(np.float64)
    cosines = vectors @ action.astype(np.float64) / np.linalg.norm(vectors, axis=1)
    return int(np.where(allowed, cosines, -np.inf).argmax())


def assert_nearest(core, state, actions, allowed):
    chosen = core.choose(state, actions)
    for row, action in enumerate(actions):
        unshown = allowed[row].copy()
        unshown[state.shown[row, : state.step[row]]] = False
        assert chosen[row] == nearest(core, action, unshown)
    return chosen


def test_rows_share_their_memory_until_two_add_to_the_same():
    rows = Rows(np.arange(4))
    longer = rows.added(np.array([7, 8]))
    again = longer.added(np.array([9]))
    roomy = again.added(np.array([6]))
    assert not np.shares_memory(rows.values, longer.values) and np.shares_memory(again.values, roomy.values)
    other = longer.added(np.array([5]))
    assert longer.values.tolist() == [0, 1, 2, 3, 7, 8] and other.values.tolist() == [0, 1, 2, 3, 7, 8, 5]
    third = again.added(np.array([1]))  # whose place behind the end is taken
    assert third.values.tolist() == [0, 1, 2, 3, 7, 8, 9, 1] and roomy.values.tolist() == [0, 1, 2, 3, 7, 8, 9, 6]
    assert again.values[-1] == 9 and rows.values.tolist() == [0, 1, 2, 3]


def test_adding_costs_what_is_added():
    rows, copies = Rows(np.zeros(1000)), 0
    for _ in range(1000):
        longer = rows.added(np.ones(1))
        copies += not np.shares_memory(rows.values, longer.values)
        rows = longer
    assert len(rows.values) == 2000 and rows.values.sum() == 1000 and copies <= 2


@pytest.mark.parametrize("recall", [None, 50])
def test_items_come_and_go_while_sessions_run(recall):
    core = core_of(recall=recall)
    state, rng = start(core), np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (5, 40, 8)).astype(np.float32)
    core.step(state, actions[0])
    larger = core.with_items(more_items(core, 30))
    assert len(core.candidates) == 300 and len(larger.candidates) == 330
    smaller = larger.without_items(np.arange(0, 330, 3))
    for step, one in enumerate((larger, smaller, smaller), start=1):
        allowed = np.tile(one.vectors.open, (40, 1))
        if recall:
            own = np.zeros_like(allowed)
            own[np.arange(40)[:, None], state.recalled] = True
            allowed &= own
        assert_nearest(one, state, actions[step], allowed)
        items = one.step(state, actions[step]).item
        assert (items < len(one.catalogue.item_ids)).all()
    assert (state.shown[:, 1:4] >= 300).any() == (recall is None)  # own candidates are of the start of the session
    assert core.vectors.open.all()


def test_an_added_item_is_answered_as_one_that_was_always_there():
    whole = random_simulator(items=300).data
    catalogue, order = whole.catalogue, np.arange(300)
    first = Catalogue(*(getattr(catalogue, field.name)[:250] for field in dataclasses.fields(catalogue)))
    rest = Catalogue(*(getattr(catalogue, field.name)[250:] for field in dataclasses.fields(catalogue)))
    visits = dataclasses.replace(whole.visits, items=np.minimum(whole.visits.items, 249))
    config = SessionConfig(session_length=5, action="item")
    whole = dataclasses.replace(whole, visits=visits, recall_order=order)
    part = dataclasses.replace(whole, catalogue=first, recall_order=order[:250])
    one, other = SessionCore(whole, config), SessionCore(part, config).with_items(rest)
    states = start(one), start(other)
    for step in range(5):
        actions = (np.arange(40) * 7 + step * 3) % 300
        outcomes = one.step(states[0], actions), other.step(states[1], actions)
        for name in ("item", "response", "reward"):
            np.testing.assert_array_equal(getattr(outcomes[0], name), getattr(outcomes[1], name))
    np.testing.assert_array_equal(states[0].memory.kinds, states[1].memory.kinds)


def test_an_item_action_that_names_a_removed_item_stands_for_the_most_similar():
    core = core_of(action="item").without_items(np.array([7, 8]))
    state = start(core)
    allowed = core.vectors.open
    expected = nearest(core, core.catalogue.embeddings[core.candidates[7]], allowed)
    assert core.choose(state, np.full(40, 7)).tolist() == [expected] * 40


def test_a_users_own_candidates_are_near_its_clicks_and_first_in_recall_order():
    core = core_of(recall=60, session_length=50)
    state = start(core)
    directions = core.vectors.directions
    for row in range(40):
        own, clicked = state.recalled[row], state.histories[row, 1]
        assert len(np.unique(own)) == 60 and (np.diff(own) > 0).all()
        clicked = clicked[clicked > 0] - 1
        if len(clicked) == 0:
            assert own.tolist() == list(range(60))
            continue
        vectors = core.catalogue.embeddings[clicked].astype(np.float64)
        cosines = directions @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0)
        near = set(np.argsort(-cosines)[:30])
        rest = [candidate for candidate in range(300) if candidate not in near][:30]
        assert set(own) == near | set(rest)
    assert (state.histories[:, 1].any(1)).sum() > 10
    alone = core.initial(np.array([17]), np.zeros(1, np.int64))
    np.testing.assert_array_equal(alone.recalled[0], state.recalled[17])


def test_nothing_of_ones_own_left_means_everything():
    core = core_of(recall=5)
    state = start(core, 3)
    emptied = core.without_items(np.unique(state.recalled))
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 8)).astype(np.float32)
    assert_nearest(emptied, state, actions, np.tile(emptied.vectors.open, (3, 1)))


def test_a_users_own_candidates_may_outnumber_those_that_are_left():
    core = core_of(recall=60)
    state = start(core)
    left = core.without_items(np.arange(280))
    left.begin(state, np.arange(40), np.arange(40), np.ones(40, np.int64))
    for step in range(5):
        items = left.step(state, np.random.default_rng(step).uniform(-1, 1, (40, 8)).astype(np.float32)).item
        assert np.isin(items, left.candidates[280:]).all()
    grown = core_of(items=40, recall=60)
    state = start(grown)
    grown.with_items(more_items(grown, 50)).begin(state, np.arange(40), np.arange(40), np.ones(40, np.int64))
    assert state.recalled.shape == (40, 40) and (np.diff(state.recalled) > 0).all()


def test_a_pickled_core_keeps_what_came_and_went():
    core = core_of(action="item")
    changed = core.with_items(more_items(core, 30)).without_items(np.arange(10))
    again = pickle.loads(pickle.dumps(changed))
    assert again.bound == changed.bound and len(again.candidates) == 330
    states, actions = (start(changed), start(again)), (np.arange(40) * 8) % 330
    for _ in range(5):
        outcomes = changed.step(states[0], actions), again.step(states[1], actions)
        np.testing.assert_array_equal(outcomes[0].item, outcomes[1].item)
        np.testing.assert_array_equal(outcomes[0].response, outcomes[1].response)
    assert len(pickle.dumps(core)) < len(pickle.dumps(changed))


def test_ties_among_ones_own_go_to_the_first_candidate():
    core = core_of(recall=200)
    state = start(core, 3)
    assert core.choose(state, np.zeros((3, 8), np.float32)).tolist() == state.recalled[:, 0].tolist()


def test_an_approximate_search_that_looks_everywhere_is_exact():
    pytest.importorskip("faiss")
    exact, close = (core_of(items=2000, candidates=None, search=search) for search in ("exact", "approximate"))
    states, rng = (start(exact), start(close)), np.random.default_rng(0)
    for _ in range(5):
        actions = rng.uniform(-1, 1, (40, 8)).astype(np.float32)
        items = exact.step(states[0], actions).item, close.step(states[1], actions).item
        np.testing.assert_array_equal(*items)
    assert close._index._index.nlist == 7  # fewer cells than are probed


def test_misuse_is_refused():
    core = core_of()
    with pytest.raises(ValueError, match="which is there already or comes twice"):
        core.with_items(core.catalogue)
    with pytest.raises(ValueError, match="got embeddings of shape \\(2, 3\\), allowed finite ones of width 8"):
        core.with_items(dataclasses.replace(more_items(core, 2), embeddings=np.zeros((2, 3), np.float32)))
    with pytest.raises(ValueError, match="items to remove: got candidate 300, allowed 0 to 299"):
        core.without_items(np.array([300]))
    with pytest.raises(ValueError, match="which leaves 4, allowed as many as leave the 5 of a session"):
        core.without_items(np.arange(296))
    with pytest.raises(ValueError, match="recall: got a number with action=.item., allowed None"):
        SessionConfig(recall=10, action="item")
    with pytest.raises(ValueError, match='search: got "approximate" with recall=10'):
        SessionConfig(recall=10, search="approximate")
    with pytest.raises(ValueError, match="session_length: got 5, allowed at most the 4 candidates"):
        core_of(recall=4)


def test_environments_offer_what_was_added():
    env = RecSessionVectorEnv(
        3, simulator=random_simulator(items=50), session_length=5, action="item", observation="item_ids"
    )
    env.reset(seed=0)
    added = env.add_items(more_items(env.core, 4))
    assert added.tolist() == [50, 51, 52, 53] and env.single_action_space.n == 54
    _, _, _, _, info = env.step(np.array([50, 51, 0]))
    assert info["item_id"][:2].tolist() == [10_000, 10_001]
    env.remove_items(np.array([52]))
    _, _, _, _, info = env.step(np.array([52, 53, 1]))
    assert info["item"][0] != 52 and info["item"][1] == 53
    assert env.observation_space["browsed"].high.max() == 54
    single = RecSessionEnv(simulator=random_simulator(items=50), session_length=5)
    single.reset(seed=0)
    bound = float(single.action_space.high[0])
    single.add_items(dataclasses.replace(more_items(single.core, 1), embeddings=np.full((1, 8), 2 * bound, np.float32)))
    observation, *_, info = single.step(np.full(8, bound, np.float32))
    assert info["item"] == 50 and observation["browsed"][-1].tolist() == [2 * bound] * 8
    assert observation in single.observation_space and single.action_space.high[0] == np.float32(2 * bound)
