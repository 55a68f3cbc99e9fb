"""An ensemble is its members: each session is, bit for bit, one of the member that its own key draws."""

import dataclasses
import pickle

import numpy as np
import pytest

from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.ensemble import EnsembleCore
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import Catalogue
from tests.reference.session import mix

MEMBER = 4  # the stream that members are drawn from


def simulators(count=3):
    """Simulators of one catalogue, with weights, users and recall orders of their own."""
    first, *others = (random_simulator(seed=seed).data for seed in range(count))
    return [first, *(dataclasses.replace(other, catalogue=first.catalogue) for other in others)]


def pair(**arguments):
    """An ensemble, and its members alone, which offer the candidates of the first."""
    given = simulators()
    config = SessionConfig(**{"session_length": 8, "candidates": 50} | arguments)
    alone = [SessionCore(dataclasses.replace(one, recall_order=given[0].recall_order), config) for one in given]
    return EnsembleCore.of(given, config), alone


def start(core, seeds, episode):
    return core.initial(seeds, np.full(len(seeds), episode))


def drawn(seeds, episode, count=3):
    return np.array([(mix(mix(mix(int(seed), MEMBER), episode), 0) >> 1) % count for seed in seeds])


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "item", "observation": "item_ids"},
        {"response_noise": 0.4},
        {"recall": 20},
    ],
)
def test_a_session_is_that_of_the_member_that_its_key_draws(arguments):
    ensemble, alone = pair(**arguments)
    seeds, rng = np.arange(100, 160), np.random.default_rng(0)
    for episode in (0, 1):
        members = drawn(seeds, episode)
        assert set(members) == {0, 1, 2}
        state, states = start(ensemble, seeds, episode), [start(core, seeds, episode) for core in alone]
        assert ensemble.whose(state)["simulator_index"].tolist() == members.tolist()
        for _ in range(8):
            if arguments.get("action") == "item":
                actions = rng.integers(0, 50, 60)
            else:
                actions = rng.uniform(-1, 1, (60, 8)).astype(np.float32)
            chosen = ensemble.choose(state, actions)
            probs, _ = ensemble.respond(state, chosen)
            expected = np.stack([core.respond(own, chosen)[0] for core, own in zip(alone, states, strict=True)])
            np.testing.assert_allclose(probs, expected[members, np.arange(60)], atol=1e-6)
            outcome = ensemble.step(state, actions)
            outcomes = [core.step(own, actions) for core, own in zip(alone, states, strict=True)]
            for name in ("item", "response", "reward"):
                theirs = np.stack([getattr(one, name) for one in outcomes])
                np.testing.assert_array_equal(getattr(outcome, name), theirs[members, np.arange(60)])
        for name in ("user", "histories", "responses", "shown", "recalled", "step"):
            theirs = np.stack([getattr(own, name) for own in states])
            np.testing.assert_array_equal(getattr(state, name), theirs[members, np.arange(60)])
        for place, part in enumerate(state.memory):
            theirs = np.stack([own.memory[place] for own in states])
            np.testing.assert_array_equal(part, theirs[members, np.arange(60)])


def test_asking_moves_nobody():
    ensemble, _ = pair(action="item")
    state = start(ensemble, np.arange(30), 0)
    before = pickle.dumps(state)
    ensemble.respond(state, np.arange(30))
    assert pickle.dumps(state) == before


def test_items_come_and_go_for_every_member():
    ensemble, alone = pair(action="item")
    more = Catalogue(np.array([7, 8]), np.eye(2, 8, dtype=np.float32), np.zeros(2, np.int64), np.ones(2, np.float32))
    changed = ensemble.with_items(more).without_items(np.array([3]))
    again = pickle.loads(pickle.dumps(changed))
    alone = [core.with_items(more).without_items(np.array([3])) for core in alone]
    seeds = np.arange(40)
    states = [start(core, seeds, 0) for core in (changed, again, *alone)]
    for action in (50, 3, 51):
        ours, copied, *theirs = (
            core.step(state, np.full(40, action)) for core, state in zip((changed, again, *alone), states, strict=True)
        )
        expected = np.stack([one.response for one in theirs])[drawn(seeds, 0), np.arange(40)]
        assert ours.response.tolist() == copied.response.tolist() == expected.tolist()
        assert ours.item.tolist() == theirs[0].item.tolist()
    assert ours.item.tolist() == [201] * 40


def test_what_does_not_fit_together_is_refused():
    first, second, _ = simulators()
    config = SessionConfig(session_length=5)
    with pytest.raises(ValueError, match="simulators: got none, allowed one or more"):
        EnsembleCore.of([], config)
    with pytest.raises(ValueError, match=r"simulators\[1\]: got 200 items that are not the 200 of simulators\[0\]"):
        EnsembleCore.of([first, random_simulator(seed=1).data], config)
    fewer = dataclasses.replace(second, visits=second.visits.take(np.arange(5)))
    with pytest.raises(
        ValueError, match=r"simulators\[2\]: got number of users 5, allowed that of simulators\[0\], 32"
    ):
        EnsembleCore.of([first, second, fewer], config)
    wider = dataclasses.replace(random_simulator(seed=1, categories=6).data, catalogue=first.catalogue)
    with pytest.raises(ValueError, match=r"shape of the response model ResponseConfig\(.*kinds=6.*the same kinds, hid"):
        EnsembleCore.of([first, wider], config)
