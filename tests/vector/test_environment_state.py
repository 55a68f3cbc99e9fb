"""Users put aside in the middle of their sessions go on as if nothing had happened."""

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import Catalogue
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.vector.slate import RecSlateVectorEnv
from recsim_hrl.vector.tensors import RecSessionTensorEnv

KINDS = [
    {},
    {"action": "item", "observation": "item_ids", "response_noise": 0.4},
    {"recall": 20, "candidates": 40},
    {"flat": True, "history": 3},
]
SLATES = [
    {},
    {"action": "query", "observation": "item_ids", "catalog_turnover": 0.1, "candidates": 40, "response_noise": 0.2},
    {"leave": "temper", "reward": "clicks"},
    {"action": "tokens"},
]
IDS = fit_semantic_ids(np.random.default_rng(0).normal(size=(60, 6)), SemanticIdConfig(levels=2, codes=9))


def make_slates(users=3, **arguments):
    simulator = random_simulator(items=60, embedding_dim=6, users=16, categories=4, seed=3)
    given = {"slate_size": 3, "max_requests": 5, "semantic_ids": IDS, "simulator": simulator}
    return RecSlateVectorEnv(users, **given | arguments)


def make(users=3, kind=RecSessionVectorEnv, **arguments):
    where = {} if kind is RecSessionVectorEnv else {"device": "cpu"}
    simulator = random_simulator(items=60, embedding_dim=6, users=16, categories=4, seed=3)
    return kind(users, simulator=simulator, **where, **{"session_length": 7} | arguments)


def as_arrays(value):
    if isinstance(value, dict):
        return {key: as_arrays(one) for key, one in value.items()}
    return value.numpy() if isinstance(value, torch.Tensor) else value


def play(env, steps, seed):
    env.action_space.seed(seed)
    return [as_arrays(env.step(env.action_space.sample())[:4]) for _ in range(steps)]


def assert_same_steps(one, other):
    for (seen, *rest), (expected, *expected_rest) in zip(one, other, strict=True):
        for key in seen if isinstance(seen, dict) else [...]:
            np.testing.assert_array_equal(as_arrays(seen[key]), as_arrays(expected[key]))
        for value, wanted in zip(rest, expected_rest, strict=True):
            np.testing.assert_array_equal(as_arrays(value), as_arrays(wanted))


@pytest.mark.parametrize(
    ("kind", "arguments"), [*((make, one) for one in KINDS), *((make_slates, one) for one in SLATES)]
)
def test_the_same_actions_bring_the_same(kind, arguments):
    env, other = kind(**arguments), kind(**arguments)
    env.reset(seed=4)
    play(env, 3, seed=0)
    env.reset(seed=[None, 9, None], options={"reset_mask": np.array([False, True, False])})
    play(env, 2, seed=1)  # the users are at different steps
    state = env.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    expected = play(env, 20, seed=2)
    other.load_state_dict(state)
    assert_same_steps(play(other, 20, seed=2), expected)
    assert all(np.array_equal(state[name], kept[name]) for name in kept), "the state is a copy, before and after"
    env.load_state_dict(state)  # also back in time
    assert_same_steps(play(env, 20, seed=2), expected)


def test_users_on_tensors_do_the_same():
    env, other = (make(kind=RecSessionTensorEnv, response_noise=0.3) for _ in range(2))
    env.reset(seed=4)
    play(env, 10, seed=0)
    state = env.state_dict()
    expected = play(env, 20, seed=2)
    other.load_state_dict(state)
    assert_same_steps(play(other, 20, seed=2), expected)


@pytest.mark.parametrize("kind", [RecSessionVectorEnv, RecSessionTensorEnv])
def test_what_does_not_fit_is_refused(kind):
    env = make(kind=kind)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.state_dict()
    env.reset(seed=0)
    state = env.state_dict()
    with pytest.raises(ValueError, match="got arrays .*allowed .*'whole'"):
        env.load_state_dict({name: array for name, array in state.items() if name != "user"})
    with pytest.raises(ValueError, match=r"state user: got float64 \(3,\), allowed int64 \(3,\)"):
        env.load_state_dict(state | {"user": state["user"].astype(float)})
    with pytest.raises(ValueError, match="state user: got list"):
        env.load_state_dict(state | {"user": state["user"].tolist()})
    with pytest.raises(ValueError, match=r"got int64 \(3,\), allowed int64 \(4,\)"):
        make(4, kind=kind).load_state_dict(state)
    for other in ({"response_noise": 0.1}, {"candidates": 50}, {"rewards": (0.0, 1.0, 2.0)}):
        with pytest.raises(ValueError, match="got that of another task"):
            make(kind=kind, **other).load_state_dict(state)


def test_items_that_came_or_went_make_another_task():
    env, other = make(), make()
    env.add_items(
        Catalogue(np.array([999]), np.ones((1, 6), np.float32), np.zeros(1, np.int64), np.ones(1, np.float32))
    )
    env.reset(seed=0)
    with pytest.raises(ValueError, match="another task.*same items added and removed"):
        other.load_state_dict(env.state_dict())


def test_what_does_not_fit_slates_is_refused():
    env = make_slates()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.state_dict()
    env.reset(seed=0)
    state = env.state_dict()
    leaving = env.core.data.leaving
    changed = dataclasses.replace(env.core.data, leaving=dataclasses.replace(leaving, bias=leaving.bias + 1e-9))
    others = [
        {"simulator": changed},
        {"catalog_turnover": 0.1, "candidates": 30},
        {"leave": "never"},
        {"rewards": (0, 1, 2)},
    ]
    for other in others:
        with pytest.raises(ValueError, match="got that of another task|allowed"):
            make_slates(**other).load_state_dict(state)
    never = make_slates(leave="never")
    never.reset(seed=0)
    make_slates(leave="never", simulator=changed).load_state_dict(never.state_dict())  # nobody asks the leave model
    tokens = make_slates(action="tokens")
    tokens.reset(seed=0)
    others = fit_semantic_ids(np.random.default_rng(1).normal(size=(60, 6)), SemanticIdConfig(levels=2, codes=9))
    with pytest.raises(ValueError, match="got that of another task"):
        make_slates(action="tokens", semantic_ids=others).load_state_dict(tokens.state_dict())
    with pytest.raises(ValueError, match="got arrays .*'temper'"):
        env.load_state_dict(make_state_of_sessions())


def make_state_of_sessions():
    env = make()
    env.reset(seed=0)
    return env.state_dict()


@pytest.mark.parametrize(
    ("name", "value"),
    [("request", 5), ("step", 1), ("left", True), ("temper", 9), ("temper", 201), ("total", np.nan), ("shown", 60)],
)
def test_what_slates_cannot_be_is_refused(name, value):
    env = make_slates()
    env.reset(seed=0)
    state = env.state_dict()
    state[name][-1] = value
    with pytest.raises(ValueError, match=f"state {name}: got values from"):
        env.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value"), [("histories", 61), ("shown", -1), ("user", 16), ("step", 7), ("written", 1), ("episode", -1)]
)
def test_indices_that_point_nowhere_are_refused(name, value):
    env = make()
    env.reset(seed=0)
    state = env.state_dict()
    state[name][-1] = value
    with pytest.raises(ValueError, match=f"state {name}: got values from"):
        env.load_state_dict(state)


@pytest.mark.parametrize("kind", [make, make_slates])
def test_pictures_begin_anew(kind):
    env = kind(render_mode="ansi")
    other = kind(render_mode="ansi")
    env.reset(seed=0)
    play(env, 2, seed=0)
    other.load_state_dict(env.state_dict())
    play(other, 1, seed=0)
    assert len(other.render()) == 3
