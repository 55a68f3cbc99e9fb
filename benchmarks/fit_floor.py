"""How near a fit comes to what its matrix products alone would take on this machine.

The products of one pass of a batch, forward and backward, follow from the shapes of the response model
(:func:`products`; a test holds the count against PyTorch's own). Their floating-point operations at this machine's
best rate are a floor that no program reaches: most of these products are small. So every product is also timed alone
in its own shape, and the sum of those times is the floor that a fit is held against. What a fit takes beyond is told
by kind of work.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from recsim_hrl.simulator.gradients import Gradients
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.sequences import VISIT_WIDTH, Sequences
from recsim_hrl.simulator.weights import SURPRISES, ResponseConfig
from recsim_hrl.types import Catalogue, R

BATCHES = 12
"""Batches that are measured: a random choice of a pass."""
REPEATS = 5
"""Times that everything is measured; the fastest counts, as others may use the machine too."""
_KINDS = {
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm"),
    "copies and gathers": ("copy_", "cat", "index", "fill_", "zero_", "stack", "constant_pad", "select_backward"),
}


@dataclass(frozen=True)
class Product:
    """``count`` matrix products of (m, k) by (k, n), and those of their gradients."""

    name: str
    count: int
    m: int
    k: int
    n: int
    gradients: int
    """How many of the two factors the loss is differentiated by: each takes one more product of the same size."""
    in_numpy: bool = False
    """Done one after the other in NumPy, as the surprises are."""

    @property
    def flops(self) -> int:
        """Floating-point operations, forward and backward; an addition and a multiplication are two."""
        return 2 * self.count * self.m * self.k * self.n * (1 + self.gradients)

    def seconds(self) -> float:
        """Time that all of them take alone, one call to the library each way."""
        if self.in_numpy:
            return _fastest_seconds(_numpy_product(self))
        forward = _fastest_seconds(_torch_product(self.count, self.m, self.k, self.n))
        by_factor = ((self.k, self.m, self.n), (self.m, self.n, self.k))  # of the second factor, of the first
        return forward + sum(_fastest_seconds(_torch_product(self.count, *by)) for by in by_factor[: self.gradients])


def products(config: ResponseConfig, sessions: int, places: int, border: int = VISIT_WIDTH) -> list[Product]:
    """The matrix products of the gradient of one batch.

    Args:
        config: Shape of the model.
        sessions: Sessions in the batch.
        places: Places of the longest of them, without the ``border``.
        border: Places of the visit before; also the length of a chunk.
    """
    hidden, scales = config.hidden, config.time_scales
    marks, rows, shown = R * (1 + config.values), sessions * (border + places), sessions * places
    chunks = 1 + math.ceil(places / border)
    widths = {"to_kinds": config.kinds, "to_values": config.values, "to_features": config.item_features}
    found = [Product(name, 1, rows, config.embedding_dim, width, 1) for name, width in widths.items()]
    found += [Product("read_item", 1, shown, config.item_features, hidden, 2)]
    found += [Product("same kind", sessions * chunks, border, config.kinds, border, 2)]
    for part, kinds, known in (("own", config.kinds, 2), ("all", 1, 1)):  # the one kind of all is not learned
        found += [Product(f"write_{part}", 1, rows, marks, scales * config.traces, 2)]
        for name, each, learned in (("traces", config.traces, 1), ("surprises", SURPRISES, 0)):
            wide, what = scales * each, f"{name} {part}"
            found += [
                Product(f"{what}: chunk", sessions * chunks * scales, border, border, each, 1 + learned),
                Product(f"{what}: to kinds", sessions * chunks, kinds, border, wide, known),
                Product(f"{what}: from kinds", sessions * (chunks - 1), border, kinds, wide, known),
                Product(f"{what}: read", 1, shown, wide, hidden, 2),
            ]
    found += [Product("middle", 1, shown, hidden, hidden, 2), Product("head", 1, shown, hidden, R, 2)]
    step = {"traces": (sessions, 2 * scales * SURPRISES, hidden), "middle": (sessions, hidden, hidden)}
    step["head"] = (R, hidden, sessions)
    return found + [Product(f"surprise {name}", places, *shape, 0, in_numpy=True) for name, shape in step.items()]


@dataclass(frozen=True)
class FitFloor:
    """Microseconds per impression, unless told otherwise."""

    flops: float
    """Floating-point operations per impression, forward and backward, those of padding and border included."""
    best_gflops: float
    """Of this machine's one core: a product of two square matrices."""
    own_gflops: float
    """Of one core in the shapes of the fit's own products, each alone."""
    at_best: float
    """What the operations would take at the best rate."""
    floor: float
    """What the products take alone, each in its own shape."""
    one_process: float
    """What the gradients of a fit take in one process."""
    two_processes: float
    """The same in two."""
    shares: tuple[tuple[str, float], ...]
    """(kind of work, its share of the time of one process)."""


def measure_floor(sequences: Sequences, catalogue: Catalogue, batch: int) -> FitFloor:
    """Measure the floor and the fit on some batches of ``sequences``.

    Args:
        sequences: The log.
        catalogue: Its items.
        batch: Places of a batch, as ``FitConfig.batch``.
    """
    config = ResponseConfig(embedding_dim=catalogue.embeddings.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResponseModel(config).train()
    model.begin_with_categories(catalogue.embeddings, catalogue.categories)
    generator = np.random.default_rng(0)
    parts = sequences.cuts(np.arange(len(sequences)), batch, generator)[:BATCHES]
    impressions = sum(int(sequences.lengths[part].sum()) for part in parts)
    # Found in two halves of each batch, see Gradients.
    halves = [half for part in parts for half in (part[0::2], part[1::2]) if len(half)]
    needed = [product for half in halves for product in products(config, len(half), int(sequences.lengths[half].max()))]
    flops, micro = sum(product.flops for product in needed), 1e6 / impressions

    def descend(processes: int, clock: Callable[[], float]) -> float:
        with Gradients(model, catalogue.embeddings, sequences, processes) as gradients:
            return _fastest_seconds(lambda: [gradients.descend(part) for part in parts], clock)

    one, two = descend(1, time.process_time) * micro, descend(2, time.perf_counter) * micro
    with Gradients(model, catalogue.embeddings, sequences) as gradients:  # its one thread counts for all of this
        own = sum(product.seconds() for product in needed)
        side = 1024
        best = 2 * side**3 / _fastest_seconds(_torch_product(1, side, side, side))
        in_numpy = sum(product.seconds() for product in needed if product.in_numpy)
        shares = _shares(lambda: [gradients.descend(part) for part in parts], in_numpy)
    rates = (flops / impressions, best / 1e9, flops / own / 1e9)
    return FitFloor(*rates, flops / best * micro, own * micro, one, two, shares)


def _shares(work: Callable[[], object], in_numpy: float) -> tuple[tuple[str, float], ...]:
    """Shares of kinds of work; the products of the surprises count as products.

    Args:
        work: The gradients of some batches.
        in_numpy: Seconds that the products of their surprises take alone.
    """
    work()
    with _surprise_seconds() as spent, profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        work()
        total = time.perf_counter() - started
    seconds = dict.fromkeys([*_KINDS, "other operations of PyTorch"], 0.0)
    for event in profiler.key_averages():
        names = (kind for kind, parts in _KINDS.items() if any(part in event.key for part in parts))
        if event.key.startswith("aten::"):
            seconds[next(names, "other operations of PyTorch")] += event.self_cpu_time_total / 1e6
    surprises = sum(spent)
    seconds["matrix products"] += in_numpy
    seconds["the rest of the surprises, place by place"] = surprises - in_numpy
    seconds["differentiation, batches, Python"] = total - sum(seconds.values())
    return tuple((kind, value / total) for kind, value in seconds.items())


@contextmanager
def _surprise_seconds() -> Iterator[list[float]]:
    """Collects the seconds that the search for surprises takes, while the block runs."""
    spent: list[float] = []
    search = ResponseModel._surprises

    def timed(*arguments: object) -> torch.Tensor:
        started = time.perf_counter()
        found = search(*arguments)
        spent.append(time.perf_counter() - started)
        return found

    with patch.object(ResponseModel, "_surprises", timed):
        yield spent


def _torch_product(count: int, m: int, k: int, n: int) -> Callable[[], object]:
    first, second = torch.rand(count, m, k), torch.rand(count, k, n)
    if count == 1:
        return lambda: torch.mm(first[0], second[0])
    return lambda: torch.bmm(first, second)


def _numpy_product(product: Product) -> Callable[[], object]:
    first = np.random.default_rng(0).random((product.m, product.k), np.float32)
    second = np.random.default_rng(1).random((product.k, product.n), np.float32)
    return lambda: [first @ second for _ in range(product.count)]


def _fastest_seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """The shortest of some times of ``work``, after one call that is not counted.

    Of processors, unless told otherwise, which is right for work in one thread of this process.
    """
    work()
    taken = []
    for _ in range(REPEATS):
        started = clock()
        work()
        taken.append(clock() - started)
    return min(taken)
