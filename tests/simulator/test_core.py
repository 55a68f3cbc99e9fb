"""The core against hand-computed values on a market of five items, and against the slow NumPy twin."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch

from recsim_hrl import random
from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.core import SessionConfig, SessionCore, session_totals
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, SKIP
from tests.reference.market import RESPONSE_TO, market
from tests.reference.session import ReferenceSession


def start(core: SessionCore, users: list[int], seed: int = 0) -> SessionState:
    size = len(users)
    return core.initial(np.arange(seed, seed + size), np.zeros(size, np.int64), np.array(users))


def flat(state: SessionState) -> list[np.ndarray]:
    """All arrays of a state."""
    return [*state[:-1], *state.memory]


def part(state: SessionState, rows: list[int]) -> SessionState:
    """A copy of the users at ``rows``."""
    return SessionState(*(value[rows] for value in state[:-1]), state.memory.take(rows))


def market_core(**arguments) -> SessionCore:
    return SessionCore(market().data, SessionConfig(**{"session_length": 4, "history": 2} | arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"session_length": 0}, "session_length: got 0"),
        ({"session_length": 2.5}, "session_length: got 2.5"),
        ({"session_length": True}, "session_length: got True"),
        ({"history": -1}, "history: got -1"),
        ({"candidates": 0}, "candidates: got 0"),
        ({"action": "slate"}, "action: got 'slate', allowed"),
        ({"observation": "pixels"}, "observation: got 'pixels', allowed"),
        ({"response_noise": -0.1}, "response_noise: got -0.1"),
        ({"response_noise": float("nan")}, "response_noise: got nan"),
        ({"flat": 1}, "flat: got 1"),
        ({"rewards": (0, 1)}, "rewards: got"),
        ({"rewards": (0, 1, float("inf"))}, "rewards: got"),
        ({"rewards": 5}, "rewards: got 5"),
    ],
)
def test_config_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        SessionConfig(**arguments)


def test_config_takes_rewards_as_a_list():
    assert SessionConfig(rewards=[0, 2, 7]).rewards == (0.0, 2.0, 7.0)


def test_a_session_longer_than_the_candidates_is_refused():
    with pytest.raises(ValueError, match="session_length: got 4, allowed at most the 3 candidates"):
        market_core(candidates=3)
    assert len(market_core(candidates=1000).candidates) == 5


def test_histories_start_from_the_visit_before():
    state = start(market_core(), [0, 1, 2])
    # browsed, clicked and ordered items of each user, counted from one; 0 where there is none
    assert state.histories.tolist() == [[[0, 0], [0, 0], [0, 0]], [[3, 2], [0, 2], [0, 2]], [[5, 4], [1, 4], [0, 0]]]
    longer = start(market_core(history=5), [2])
    assert longer.histories[0, :2].tolist() == [[0, 0, 1, 5, 4], [0, 0, 0, 1, 4]]


def test_embedding_actions_choose_the_most_similar_item_not_shown():
    core = market_core()
    state = start(core, [0, 0, 0])
    actions = np.array([[0.9, 0.2], [0.09, 0.02], [-0.1, -1.0]])  # lengths do not matter
    assert core.choose(state, actions).tolist() == [0, 0, 4]
    core.transition(state, np.array([0, 0, 4]), np.array([SKIP, SKIP, SKIP]))
    # Cosines with (0.9, 0.2), item 0 gone: item 1 0.217, item 3 0.911. With (-0.1, -1), item 4 gone: item 2 0.0995,
    # the others negative.
    assert core.choose(state, actions).tolist() == [3, 3, 2]


def test_ties_and_zero_actions_go_to_the_first_candidate_not_shown():
    core = SessionCore(market(recall_order=(4, 2, 1, 0, 3)).data, SessionConfig(session_length=4))
    state = start(core, [0, 0])
    # Zero is as similar to all; (-1, -1) is as similar to item 4 (candidate 0) as to item 2 (candidate 1).
    actions = np.array([[0.0, 0.0], [-1.0, -1.0]])
    assert core.choose(state, actions).tolist() == [0, 0]
    core.transition(state, np.array([0, 0]), np.array([SKIP, SKIP]))
    assert core.choose(state, actions).tolist() == [1, 1]


def test_equal_embeddings_are_shown_in_candidate_order():
    simulator = random_simulator(items=40)
    embeddings = simulator.catalogue.embeddings[[0] * 40]
    simulator = dataclasses.replace(
        simulator, catalogue=dataclasses.replace(simulator.catalogue, embeddings=embeddings)
    )
    core = SessionCore(simulator.data, SessionConfig(session_length=30))
    state = start(core, [0] * 3)
    actions = np.full((3, 8), 0.1, np.float32) * np.array([[1.0], [0.37], [-0.5]], np.float32)
    for step in range(30):
        outcome = core.step(state, actions)
        assert outcome.item.tolist() == [simulator.recall_order[step].item()] * 3


def test_item_actions_that_were_shown_stand_for_the_most_similar_item():
    core = market_core(action="item")
    state = start(core, [0, 0])
    core.transition(state, np.array([0, 4]), np.array([SKIP, SKIP]))
    # Nearest to item 0 at (1, 0) is item 3 (cosine 0.8); item 4 at (0, -1) is orthogonal to items 0 and 2 and
    # farther from the rest, so the first of the two wins.
    assert core.choose(state, np.array([0, 4])).tolist() == [3, 0]
    assert core.choose(state, np.array([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("action", "bad", "words"),
    [
        ("embedding", [0.0, float("nan")], "embedding action: got an entry nan, allowed -1 to 1; check the policy"),
        ("embedding", [0.0, 1.01], "embedding action: got an entry 1.01.*, allowed -1 to 1; clip"),
        ("embedding", [-float("inf"), 0.0], "embedding action: got an entry -inf"),
        ("item", 5, "item action: got 5, allowed 0 to 4"),
        ("item", -1, "item action: got -1, allowed 0 to 4"),
    ],
)
def test_bad_actions_are_refused(action, bad, words):
    core = market_core(action=action)
    with pytest.raises(ValueError, match=words):
        core.choose(start(core, [0]), np.array([bad]))


def test_a_session_by_hand():
    core = SessionCore(market().data, SessionConfig(session_length=4, history=2, rewards=(-1, 2, 7), action="item"))
    state = start(core, [2])
    rewards = []
    for item in (1, 2, 3, 0):
        outcome = core.step(state, np.array([item]))
        assert outcome.item.item() == item and outcome.response.item() == RESPONSE_TO[item]
        rewards.append(outcome.reward.item())
    assert rewards == [7.0, -1.0, 2.0, 2.0]
    assert state.histories.tolist() == [[[4, 1], [4, 1], [0, 2]]]
    assert state.responses.tolist() == [[1, 2, 1]]
    assert state.shown.tolist() == [[1, 2, 3, 0]]
    assert core.terminal(state).tolist() == [True]
    parts = session_totals(state.responses, core.rewards, state.step)
    assert {name: value.item() for name, value in parts.items()} == {
        "total_reward": 10.0,
        "click_reward": 4.0,
        "order_reward": 7.0,
        "clicks": 2,
        "orders": 1,
        "length": 4,
    }


def test_observations_by_hand():
    state = start(market_core(), [1])
    assert {name: value.tolist() for name, value in market_core().observe(state).items()} == {
        "browsed": [[[-1.0, 0.0], [0.0, 1.0]]],
        "clicked": [[[0.0, 0.0], [0.0, 1.0]]],
        "ordered": [[[0.0, 0.0], [0.0, 1.0]]],
    }
    ids = market_core(observation="item_ids").observe(state)
    assert {name: value.tolist() for name, value in ids.items()} == {
        "browsed": [[3, 2]],
        "clicked": [[0, 2]],
        "ordered": [[0, 2]],
    }
    flat = market_core(flat=True).observe(state)
    assert flat.tolist() == [[-1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]]
    assert market_core(flat=True, observation="item_ids").observe(state).tolist() == [[3, 2, 0, 2, 0, 2]]


def test_candidates_are_the_first_of_the_recall_order():
    core = SessionCore(
        market(recall_order=(3, 1, 4, 0, 2)).data, SessionConfig(session_length=2, candidates=2, action="item")
    )
    state = start(core, [0])
    outcome = core.step(state, np.array([0]))
    assert outcome.item.tolist() == [3] and outcome.response.tolist() == [CLICK]
    outcome = core.step(state, np.array([0]))  # shown already: item 1 is the only one left
    assert outcome.item.tolist() == [1] and outcome.response.tolist() == [ORDER]


@pytest.mark.parametrize("action", ["embedding", "item"])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_core_agrees_with_its_numpy_twin(action, noise):
    simulator = random_simulator(items=30)
    core = SessionCore(
        simulator.data, SessionConfig(session_length=12, action=action, candidates=20, history=4, response_noise=noise)
    )
    seeds, episodes = np.array([3, 3, 2**40 + 1]), np.array([0, 1, 5])
    state = core.initial(seeds, episodes)
    twins = [
        ReferenceSession(simulator, seed, episode, action=action, candidates=20, history=4, noise=noise)
        for seed, episode in zip(seeds.tolist(), episodes.tolist(), strict=True)
    ]
    assert state.user.tolist() == [twin.user for twin in twins]
    rng = np.random.default_rng(5)
    for _ in range(12):
        actions = rng.integers(20, size=3) if action == "item" else rng.uniform(-1, 1, (3, 8)).astype(np.float32)
        chosen = core.choose(state, actions)
        probs, response = core.respond(state, chosen)
        expected = [twin.step(one) for twin, one in zip(twins, actions, strict=True)]
        assert core.candidates[chosen].tolist() == [item for item, _, _ in expected]
        assert response.tolist() == [one for _, one, _ in expected]
        np.testing.assert_allclose(probs, [one for _, _, one in expected], atol=1e-5)
        core.transition(state, chosen, response)
        np.testing.assert_array_equal(state.histories - 1, np.stack([twin.histories() for twin in twins]))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_user_fares_the_same_alone_and_among_a_thousand(noise):
    core = SessionCore(random_simulator().data, SessionConfig(session_length=10, response_noise=noise))
    size, watched = 1024, [0, 1, 500, 1023]
    actions = np.random.default_rng(0).uniform(-1, 1, (10, size, 8)).astype(np.float32)
    seeds, episodes = np.arange(size), np.zeros(size, np.int64)
    together = core.initial(seeds, episodes)
    alone = [core.initial(seeds[i : i + 1], episodes[i : i + 1]) for i in watched]
    for step in range(10):
        chosen = core.choose(together, actions[step])
        probs, responses = core.respond(together, chosen)
        core.transition(together, chosen, responses)
        for place, row in enumerate(watched):
            own_chosen = core.choose(alone[place], actions[step, row : row + 1])
            own_probs, own_responses = core.respond(alone[place], own_chosen)
            core.transition(alone[place], own_chosen, own_responses)
            assert own_chosen.item() == chosen[row].item() and own_responses.item() == responses[row].item()
            np.testing.assert_allclose(own_probs[0], probs[row], atol=1e-5)
            for own, all_of_them in zip(flat(alone[place]), flat(together), strict=True):
                assert np.array_equal(own[0], all_of_them[row])


def test_close_calls_are_decided_in_float64():
    core = SessionCore(random_simulator(items=200).data, SessionConfig(session_length=1))
    state, chosen = start(core, [0] * 200), np.arange(200)
    probs, _ = core.respond(state, chosen)
    seen = np.empty((200, core.model.network.first.shape[0]), np.float32)
    kernels.look(core.model, core.codes, state.memory, chosen, state.step, 0, 200, seen)
    exact = np.empty((200, 3))
    for row in range(200):
        kernels.apply_exactly(core.model.exact, seen, row, exact[row], np.zeros(3, np.float32))
    np.testing.assert_allclose(probs, exact, atol=5e-7)
    # Probabilities that lead float32 astray, on either side of the number that is drawn: float64 knows better.
    draws = np.array([random.uniform(random.mix(random.mix(random.mix(s, 2), 0), 0)) for s in state.seed[:, None]])
    for astray in (-2e-6, 2e-6):
        wrong = np.concatenate([draws + np.float32(astray), np.zeros((200, 1)), 1 - draws], 1).astype(np.float32)
        responses = np.full(200, -1)
        kernels.draw(core.model, state, seen, wrong, np.zeros((200, 3), np.float32), 0, 200, responses)
        expected = (draws >= np.cumsum(exact, 1)[:, :2]).sum(1)
        assert np.array_equal(responses, expected)


def test_surprises_near_an_edge_of_the_grid_are_decided_in_float64():
    core = SessionCore(random_simulator(items=200).data, SessionConfig(session_length=1))
    state, chosen = start(core, [0] * 200), np.arange(200)
    seen = np.empty((200, core.model.network.first.shape[0]), np.float32)
    kernels.look(core.model, core.codes, state.memory, chosen, state.step, 0, 200, seen)
    exact, expected = np.empty((200, 3)), np.empty((200, 3), np.float32)
    for row in range(200):
        kernels.apply_exactly(core.model.exact, seen, row, exact[row], np.zeros(3, np.float32))
    edge = (np.full((200, 3), 600.5) / 4096).astype(np.float32)  # far from what the model says, and on an edge
    kernels.foretell(core.model, seen, edge, 200, expected)
    assert np.array_equal(expected[:, 1:] * 4096, np.rint(exact[:, 1:] * 4096))
    inside = (np.full((200, 3), 600.4) / 4096).astype(np.float32)
    kernels.foretell(core.model, seen, inside, 200, expected)
    assert (expected[:, 1:] * 4096 == 600).all()


def test_close_cosines_are_compared_in_float64():
    rng = np.random.default_rng(0)
    base = rng.normal(size=8)
    # One direction at many lengths, rounded to float32: cosines with other vectors differ near 1e-8.
    embeddings = (base * rng.uniform(0.5, 2.0, (100, 1))).astype(np.float32)
    simulator = random_simulator(items=100)
    catalogue = dataclasses.replace(simulator.catalogue, embeddings=torch.from_numpy(embeddings))
    core = SessionCore(dataclasses.replace(simulator, catalogue=catalogue).data, SessionConfig(session_length=1))
    actions = rng.uniform(-1, 1, (64, 8)).astype(np.float32)
    directions = embeddings[simulator.recall_order.numpy()].astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = (actions.astype(np.float64) @ directions.T).argmax(1).tolist()
    state, actions = start(core, [0] * 64), actions
    assert core.choose(state, actions).tolist() == expected
    rows = [np.array([row]) for row in range(64)]
    assert [core.choose(part(state, row), actions[row]).item() for row in rows] == expected


def test_only_a_transition_changes_the_state():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=5, response_noise=0.3))
    state = start(core, [0, 3])
    before = copy.deepcopy(state)
    core.observe(state)
    chosen = core.choose(state, np.zeros((2, 8), np.float32))
    _, responses = core.respond(state, chosen)
    core.transition(part(state, [0, 1]), chosen, responses)
    for now, then in zip(flat(state), flat(before), strict=True):
        assert np.array_equal(now, then)


def test_users_begin_in_the_midst_of_others():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=5, action="item"))
    state, other = start(core, [0, 3, 4]), start(core, [5, 6], seed=9)
    core.step(state, np.array([1, 2, 3]))
    before = copy.deepcopy(state)
    core.begin(state, np.array([2, 0]), np.array([9, 10]), np.zeros(2, np.int64), np.array([5, 6]))
    for now, then, fresh in zip(flat(state), flat(before), flat(other), strict=True):
        assert np.array_equal(now[1], then[1])
        if fresh is not other.shown:  # of which nothing counts yet
            assert np.array_equal(now[[2, 0]], fresh)


def test_draws_do_not_depend_on_the_session_length():
    responses = []
    for length in (5, 50):
        core = SessionCore(random_simulator().data, SessionConfig(session_length=length, action="item"))
        state = start(core, [0, 1] * 50)
        responses.append([core.step(state, np.full(100, item)).response.tolist() for item in range(5)])
    assert responses[0] == responses[1] and len(set(map(str, responses[0]))) > 1


def test_noise_has_the_stated_size_and_every_number_its_own():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=1))
    state, noise = start(core, [0] * 10_000), np.empty((10_000, 3), np.float32)
    logits = np.zeros((10_000, 3), np.float32)
    kernels.disturb(state, 0.5, 0, 10_000, logits, noise)  # 30,000 numbers: their deviation's standard error is 0.002
    assert abs(noise.mean()) < 0.012 and abs(noise.std() - 0.5) < 0.01
    assert len(np.unique(noise)) > 29_000 and np.array_equal(noise, logits)


def test_responses_are_drawn_with_their_probabilities():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=1))
    state = start(core, [7] * 20_000)
    probs, responses = core.respond(state, np.full((20_000,), 3))
    rates = np.bincount(responses, minlength=3) / 20_000  # standard error at most 0.0036
    np.testing.assert_allclose(rates, probs[0], atol=0.015)


def test_users_are_drawn_from_the_whole_pool():
    core = SessionCore(random_simulator(users=8).data, SessionConfig(session_length=1))
    users = core.initial(np.arange(8000), np.zeros(8000, np.int64)).user
    counts = np.bincount(users, minlength=8)  # 1000 each, standard deviation 30
    assert counts.min() > 880 and counts.max() < 1120
    again = core.initial(np.arange(4), np.ones(4, np.int64), np.array([5, NO_ITEM, 5, NO_ITEM])).user
    drawn = core.initial(np.arange(4), np.ones(4, np.int64)).user
    assert again.tolist() == [5, drawn[1].item(), 5, drawn[3].item()]


def test_copies_share_the_core_and_pickles_rebuild_it():
    core = SessionCore(random_simulator().data, SessionConfig(session_length=5, action="item"))
    assert copy.deepcopy(core) is core
    again = pickle.loads(pickle.dumps(core))
    state, twin = start(core, [1, 2]), start(again, [1, 2])
    for step in range(5):
        outcome = core.step(state, np.array([step, 9 - step]))
        expected = again.step(twin, np.array([step, 9 - step]))
        assert np.array_equal(outcome.response, expected.response) and np.array_equal(
            state.memory.kinds, twin.memory.kinds
        )
