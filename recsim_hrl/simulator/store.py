"""A simulator as the package fits and judges it, and how it is written; :mod:`recsim_hrl.simulator.folder` reads it.

Writing goes to a folder beside the target and ends with a rename, so a reader finds the old simulator or the new one
and never half of one.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as dump_tensors
from torch import Tensor

from recsim_hrl.arrays_file import write_beside
from recsim_hrl.simulator.annex import annex_bytes
from recsim_hrl.simulator.folder import (
    ABOUT_FILE,
    ARRAYS_FILE,
    FORMAT_VERSION,
    SimulatorData,
    SimulatorError,
    load_data,
)
from recsim_hrl.simulator.leaving import LEAVING_FILE, STEP_TERMS, LeaveModel, traces_of
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.session_model import SessionModel
from recsim_hrl.simulator.support import SUPPORT_FILE, Support
from recsim_hrl.simulator.weights import ResponseConfig
from recsim_hrl.types import NO_ITEM, Catalogue, R, Visits

_ANNEXES = {"support": SUPPORT_FILE, "leaving": LEAVING_FILE}
"""What may lie beside a simulator, in which file."""


@dataclass(frozen=True)
class Simulator:
    """Catalogue, response model, pool of initial users, and where all of it came from."""

    name: str
    catalogue: Catalogue
    model: SessionModel
    """A :class:`ResponseModel`, but where one of another form is judged: it has no ``data`` and cannot be saved."""
    visits: Visits
    recall_order: Tensor  # (I,) a fixed permutation: `candidates=C` means its first C items
    item_counts: Tensor  # (I, R) how often the log holds each response to each item
    provenance: dict
    support: Support | None = None
    """What the log holds, as arrays; see :mod:`recsim_hrl.simulator.support`."""
    leaving: LeaveModel | None = None
    """When users leave, as arrays; see :mod:`recsim_hrl.simulator.leaving`."""

    @cached_property
    def data(self) -> SimulatorData:
        """The same as arrays, which share the memory: what environments run on."""
        arrays = (part.numpy() for part in (self.visits, self.recall_order, self.item_counts))
        tables = (self.catalogue.numpy(), self.model.weights, *arrays)
        return SimulatorData(self.name, *tables, self.provenance, self.support, self.leaving)

    @staticmethod
    def of(data: SimulatorData) -> "Simulator":
        """The simulator that ``data`` describes."""
        model = ResponseModel(data.weights.config)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in data.weights.arrays.items()})
        model.eval().requires_grad_(False)
        order, counts = torch.from_numpy(data.recall_order), torch.from_numpy(data.item_counts)
        catalogue, visits = data.catalogue.tensors(), data.visits.tensors()
        parts = (catalogue, model, visits, order, counts, data.provenance)
        return Simulator(data.name, *parts, data.support, data.leaving)


def save_simulator(simulator: Simulator, path: str | Path) -> Path:
    """Write ``simulator`` as the folder ``path``, replacing a simulator that is already there."""
    path = Path(path)
    check_place(path)
    tensors = {f"model.{key}": value.contiguous() for key, value in simulator.model.state_dict().items()}
    tensors["recall_order"] = simulator.recall_order.contiguous()
    tensors["item_counts"] = simulator.item_counts.contiguous()
    for name, part in (("catalogue", simulator.catalogue), ("visits", simulator.visits)):
        for field in dataclasses.fields(part):
            tensors[f"{name}.{field.name}"] = getattr(part, field.name).contiguous()
    blob = dump_tensors(tensors)
    about = {
        "format_version": FORMAT_VERSION,
        "name": simulator.name,
        "response": dataclasses.asdict(simulator.model.config),
        "tensors_sha256": hashlib.sha256(blob).hexdigest(),
        "provenance": simulator.provenance,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        (beside / ARRAYS_FILE).write_bytes(blob)
        for name, file in _ANNEXES.items():
            if (content := getattr(simulator, name)) is not None:
                (beside / file).write_bytes(annex_bytes(content, about["tensors_sha256"]))
        (beside / ABOUT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        beside.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            path.rename(old / path.name)
            beside.rename(path)
            shutil.rmtree(old)
        else:
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return path


def save_annex(content: Support | LeaveModel, file: str, folder: str | Path) -> Path:
    """Put ``content`` as ``file`` beside the simulator that is in ``folder``, whose other files stay as they are."""
    folder = Path(folder)
    blob = annex_bytes(content, hashlib.sha256((folder / ARRAYS_FILE).read_bytes()).hexdigest())
    return write_beside(folder / file, blob)


def check_place(path: Path) -> None:
    """Raise SimulatorError where what is at ``path`` is no simulator, so that replacing it could destroy it."""
    if path.exists() and not (path / ABOUT_FILE).is_file():
        raise SimulatorError(
            f"{path}: exists and is not a simulator folder; it was left alone: choose another path or remove it"
        )


def load_simulator(simulator: str | Path = "default", split: str = "train") -> Simulator:
    """Load a simulator; see :func:`recsim_hrl.simulator.folder.load_data` for arguments and errors."""
    return Simulator.of(load_data(simulator, split))


def random_simulator(
    items: int = 200, embedding_dim: int = 8, users: int = 32, categories: int = 5, visit_width: int = 6, seed: int = 0
) -> Simulator:
    """A small untrained simulator with random weights, for tests and for trying code without a log."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResponseModel(ResponseConfig(embedding_dim=embedding_dim, kinds=categories, hidden=16, item_features=4))
        category = torch.arange(items) % categories
        centres = torch.randn(categories, embedding_dim)
        catalogue = Catalogue(
            item_ids=torch.arange(items) + 1000,
            embeddings=centres[category] + 0.5 * torch.randn(items, embedding_dim),
            categories=category,
            prices=torch.rand(items) * 50 + 5,
        )
        shown = torch.randint(0, items, (users, visit_width))
        shown[: users // 2, : visit_width // 2] = NO_ITEM
        visits = Visits(torch.arange(users) + 1, shown, torch.randint(0, R, (users, visit_width)) * (shown != NO_ITEM))
        order = torch.randperm(items)
        counts = torch.randint(0, 20, (items, R))
    model.eval().requires_grad_(False)
    about, leaving = {"source": "random weights", "seed": seed}, _random_leaving(model.config, seed)
    return Simulator("random", catalogue, model, visits, order, counts, about, leaving=leaving)


def _random_leaving(config: ResponseConfig, seed: int) -> LeaveModel:
    """A leave model of random weights, by which about one of thirty users leaves after an impression."""
    draws, inputs = np.random.default_rng(seed), traces_of(config) + STEP_TERMS
    zeros, ones, hidden = np.zeros(inputs), np.ones(inputs), 4
    direct, first = draws.normal(0.0, 0.1, inputs), draws.normal(0.0, 0.1, (inputs, hidden))
    return LeaveModel(zeros, ones, direct, first, np.zeros(hidden), draws.normal(0.0, 0.5, hidden), np.array([-3.4]))
