"""Compilation and threads: what is kept on disk stays right, and nothing depends on who shares the work."""

import multiprocessing
import os
from itertools import pairwise

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from recsim_hrl import compiled
from recsim_hrl.simulator import kernels, nearest, slate_choice
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv


@pytest.mark.parametrize("module", [kernels, nearest, slate_choice])
def test_compiled_functions_call_none_of_another_file(module):
    """The compiler's cache would not see a change there."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, CPUDispatcher)}
    assert len(found) > 8
    for name, function in found.items():
        for other in function.py_func.__code__.co_names:
            called = function.py_func.__globals__.get(other)
            if isinstance(called, CPUDispatcher) and called is not kernels.stir:  # the finaliser, which never changes
                assert called.py_func.__module__ == module.__name__, f"{name} calls {other} of another file"


def test_without_a_folder_to_keep_code_in_functions_are_compiled_all_the_same(monkeypatch):
    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba_njit(**options)

    numba_njit = compiled.njit
    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.exact(lambda x: x + 1)(2) == 3


def test_threads_share_everything_once():
    def part(numbers, begin, end):
        numbers[begin:end] += 1
        return begin, end

    for threads in (0, 1, 2, 3, 7):
        numbers = np.zeros(1001)
        edges = compiled.shared(part, (numbers,), 1001, threads)
        assert (numbers == 1).all() and len(edges) == max(1, threads)
        assert edges[0][0] == 0 and edges[-1][1] == 1001 and all(a[1] == b[0] for a, b in pairwise(edges))


def test_an_error_in_a_thread_reaches_the_caller():
    def part(begin, end):
        if begin > 0:
            raise ValueError("in the second part")

    with pytest.raises(ValueError, match="in the second part"):
        compiled.shared(part, (), 10, 2)


@pytest.mark.parametrize("arguments", [{"action": "item", "observation": "item_ids"}, {"response_noise": 0.3}])
def test_sessions_do_not_depend_on_threads(arguments):
    envs = [
        RecSessionVectorEnv(1200, simulator=random_simulator(), session_length=3, threads=threads, **arguments)
        for threads in (1, 2, 5)
    ]
    for env in envs:
        env.reset(seed=4)
    envs[0].action_space.seed(0)
    for _ in range(4):
        actions = envs[0].action_space.sample()
        (first, reward, *_), *others = [env.step(actions) for env in envs]
        for observation, other_reward, *_ in others:
            np.testing.assert_array_equal(reward, other_reward)
            for name in first:
                np.testing.assert_array_equal(first[name], observation[name])
    memories = [env._batch.state.memory for env in envs]
    for parts in zip(*memories, strict=True):
        assert all(np.array_equal(parts[0], part) for part in parts)


@pytest.mark.parametrize("threads", [0, True, 1.5])
def test_threads_are_a_number(threads):
    with pytest.raises(ValueError, match="threads: got .* allowed None or whole numbers from 1"):
        RecSessionVectorEnv(2, simulator=random_simulator(), threads=threads)


def _reward_in_a_fork(env, actions, queue):
    queue.put(env.step(actions)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_fork_has_threads_of_its_own():
    env = RecSessionVectorEnv(1100, simulator=random_simulator(), session_length=9, threads=2)
    env.reset(seed=0)
    actions = env.action_space.sample()
    env.step(actions)  # the threads are there
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_reward_in_a_fork, args=(env, actions, queue))
    process.start()
    theirs = queue.get(timeout=60)
    process.join(60)
    np.testing.assert_array_equal(theirs, env.step(actions)[1])
