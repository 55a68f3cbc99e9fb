"""Functions compiled for the processor, and threads that share their work.

A function is compiled when it is first called, in some seconds, and kept on disk for the processes after. What is kept
is used for as long as the file that the function stands in does not change: so a compiled function and those that it
calls stand in one file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from numba import njit

ONE_THREAD = 1 << 18
"""A matrix product of up to so many multiplications is done by the thread that asks for it: the numerical library cuts
larger ones among threads of its own, which would wait for ours."""


def exact(function: Callable) -> Callable:
    """Compiled so that every sum and product rounds by itself, on every machine alike."""
    return _compile(function)


def fused(function: Callable) -> Callable:
    """Compiled with products and sums in any order: only for numbers that stand a difference near 1e-7."""
    return _compile(function, fastmath={"contract", "reassoc", "nsz", "nnan"})


def contracted(function: Callable) -> Callable:
    """Compiled with a product and the sum after it in one rounding, in the order in which they are written."""
    return _compile(function, fastmath={"contract", "nsz", "nnan"})


def _compile(function: Callable, **options: Any) -> Callable:
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in: every process compiles for itself
        return njit(**options)(function)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared(function: Callable, arguments: tuple, size: int, threads: int) -> list:
    """What ``function(*arguments, begin, end)`` returns for each of ``threads`` equal parts of ``range(size)``."""
    if threads < 2:
        return [function(*arguments, 0, size)]
    edges = [size * part // threads for part in range(threads + 1)]
    pool = _pool(os.getpid(), threads)
    waiting = [pool.submit(function, *arguments, *ends) for ends in zip(edges[1:-1], edges[2:], strict=True)]
    return [function(*arguments, 0, edges[1]), *(one.result() for one in waiting)]


@lru_cache(1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads beside the caller's own; a forked ``process`` needs new ones, as threads do not survive a fork."""
    return ThreadPoolExecutor(threads - 1, "recsim-hrl")
