"""Where jobs run: processes of this machine or Ray, behind one face that yields results as they come."""

import contextlib
import functools
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.processes import processes

RETRIES = 3
"""How often Ray repeats a job whose worker was lost; a job that fails by itself is not repeated."""

IN_FLIGHT = 4096
"""Jobs that Ray is given ahead of time: more than a cluster has cores, and few enough for the driver's memory."""


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    place: int
    """Position of the job in the list that was handed in."""
    result: Any = None
    error: BaseException | None = None
    """What the job raised, or that its worker was lost; None if it ended well."""


class Pool(Protocol):
    """Workers with one core each."""

    def finished(self, function: Callable[..., Any], jobs: Sequence[tuple]) -> Iterator[Outcome]:
        """Call ``function(*job)`` for every job, started in order; yields as they end. It must be picklable."""

    def share(self, value: Any) -> Any:
        """What stands for ``value`` in many jobs, so that it travels to a worker once; allowed as a job's entry."""


def check_workers(workers: int) -> None:
    """Raise ValueError for a number of workers that can do nothing."""
    if workers < 1:
        raise ValueError(f"workers: got {workers}, allowed 1 or more; use one for each core")


@contextlib.contextmanager
def open_pool(workers: int, ray: str | None = None) -> Iterator[Pool]:
    """Workers that end with the block, however it is left.

    Args:
        workers: How many, one core each. A cluster that is there already has its own number.
        ray: None for processes of this machine; otherwise the address as ``ray.init`` takes it: "local" starts Ray on
            this machine, "auto" or "HOST:6379" joins a cluster. In a program that has started Ray, or joined a
            cluster, that one is used and goes on.

    Raises:
        ValueError: If ``workers`` is below 1, Ray is not installed, or no cluster answers at the address.
    """
    check_workers(workers)
    if ray is None:
        with processes(workers) as pool:
            yield _Local(pool)
    else:
        with _joined(workers, ray):
            pool = _Ray()
            try:
                yield pool
            finally:
                pool.cancel()


class _Local:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def finished(self, function: Callable[..., Any], jobs: Sequence[tuple]) -> Iterator[Outcome]:
        places: dict[Future, int] = {self._pool.submit(_call, function, *job): place for place, job in enumerate(jobs)}
        for future in as_completed(tuple(places)):
            place, error = places.pop(future), future.exception()
            yield Outcome(place, error=error) if error is not None else Outcome(place, future.result())

    def share(self, value: Any) -> Any:
        # As bytes: multiprocessing would move tensors to shared memory, away from the arrays that look at them.
        return _Pickled(pickle.dumps(value))


@dataclass(frozen=True)
class _Pickled:
    """A value on its way to a process."""

    payload: bytes


@functools.lru_cache(maxsize=8)
def _unpickled(payload: bytes) -> Any:
    """The value, made once for all jobs of a process."""
    return pickle.loads(payload)


class _Ray:
    """Tasks of one core each. Ray restarts lost workers and repeats their tasks; what follows is its own pattern of
    waiting with a bound on the tasks in flight."""

    def __init__(self) -> None:
        self._waiting: dict[Any, int] = {}  # place by reference

    def finished(self, function: Callable[..., Any], jobs: Sequence[tuple]) -> Iterator[Outcome]:
        import ray

        name = getattr(function, "__name__", "job")
        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES, name=name)
        called = ray.put(function)  # Ray's tasks are functions; this may be a partial of one
        coming = iter(enumerate(jobs))
        while True:
            for place, job in coming:
                self._waiting[task.remote(called, *job)] = place
                if len(self._waiting) >= IN_FLIGHT:
                    break
            if not self._waiting:
                return
            (ready, *_), _ = ray.wait(list(self._waiting))
            yield _outcome(ready, self._waiting.pop(ready))

    def share(self, value: Any) -> Any:
        import ray

        return ray.put(value)

    def cancel(self) -> None:
        """Stop what has not ended; a cluster that goes on should not go on with it."""
        import ray

        for reference in self._waiting:
            ray.cancel(reference, force=True)
        self._waiting = {}


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """In the worker: one job."""
    return function(*(_unpickled(one.payload) if isinstance(one, _Pickled) else one for one in arguments))


def _outcome(reference: Any, place: int) -> Outcome:
    import ray

    try:
        return Outcome(place, ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        return Outcome(place, error=error.cause)  # the job's own error, as a process would hand it on
    except ray.exceptions.RayError as error:
        return Outcome(place, error=error)


@contextlib.contextmanager
def _joined(workers: int, address: str) -> Iterator[None]:
    """Ray at ``address``, left at the end of the block; one that is started here ends with it."""
    # A cluster that is started here tells nobody; whoever wants that says so in the environment.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            f"ray: got {address!r}, but Ray is not installed; pip install 'recsim-hrl[ray]', or leave --ray out to use "
            "processes of this machine"
        ) from error
    if ray.is_initialized():
        yield
        return
    about: dict[str, Any] = {"address": address, "logging_level": "warning"}
    if address == "local":
        about |= {"num_cpus": workers, "include_dashboard": False}
    else:
        # This package is not installed on the nodes: it travels with the jobs. The others have to be there.
        package = Path(__file__).parent
        about["runtime_env"] = {"py_modules": [str(package)], "excludes": ["results"]}
    try:
        ray.init(**about)
    except ConnectionError as error:
        raise ValueError(
            f"ray: got {address!r}, where no cluster answers ({error}), allowed 'local' or the address of one; start "
            "it with `ray start --head`"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
