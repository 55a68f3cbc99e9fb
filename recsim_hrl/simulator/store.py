"""A simulator on disk: a folder with ``simulator.json`` (what it is) and ``tensors.safetensors`` (its numbers).

Nothing in the folder can execute code. Writing goes to a folder beside the target and ends with a rename, so a
reader finds the old simulator or the new one and never half of one. Reading checks the format version, the checksum
and every shape, so a truncated, tampered or foreign folder is refused with the reason.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from recsim_hrl.simulator.recurrence import Memory, Recurrence
from recsim_hrl.simulator.response import ItemCodes, ResponseConfig, ResponseModel
from recsim_hrl.types import NO_ITEM, Catalogue, R, Visits

FORMAT_VERSION = 4
SPLITS = ("train", "test")
PRETRAINED = Path(__file__).parent / "pretrained"
_JSON, _TENSORS = "simulator.json", "tensors.safetensors"


class SimulatorError(ValueError):
    """A simulator folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Simulator:
    """Catalogue, response model, pool of initial users, and where all of it came from."""

    name: str
    catalogue: Catalogue
    model: ResponseModel
    visits: Visits
    recall_order: Tensor  # (I,) a fixed permutation: `candidates=C` means its first C items
    item_counts: Tensor  # (I, R) how often the log holds each response to each item
    provenance: dict

    @cached_property
    def codes(self) -> ItemCodes:
        """The model's codes of the whole catalogue."""
        with torch.no_grad():
            return self.model.encode(self.catalogue.embeddings)

    @cached_property
    def memories(self) -> Memory:
        """The memory of each user of the pool (U, ...) at the start of the session."""
        recurrence = Recurrence(self.model, steps=1)
        return recurrence.replay(recurrence.items(self.codes), self.visits.items, self.visits.responses)


def save_simulator(simulator: Simulator, path: str | Path) -> Path:
    """Write ``simulator`` as the folder ``path``, replacing a simulator that is already there."""
    path = Path(path)
    if path.exists() and not (path / _JSON).is_file():
        raise SimulatorError(
            f"{path}: exists and is not a simulator folder; it was left alone: choose another path or remove it"
        )
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
        (beside / _TENSORS).write_bytes(blob)
        (beside / _JSON).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
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


def list_simulators() -> list[str]:
    """Names of the simulators that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / SPLITS[0] / _JSON).is_file())


def load_simulator(simulator: str | Path = "default", split: str = "train") -> Simulator:
    """Load a simulator.

    Args:
        simulator: The name of one that comes with the package, or a folder: either of one simulator, or one that
            holds the folders ``train`` and ``test``.
        split: Which of the two to take: agents learn on ``train`` and are judged on ``test``. A folder of a single
            simulator has no splits, and the argument does not matter.

    Raises:
        SimulatorError: if there is no such simulator, or its folder is damaged or of another format.
    """
    return _read(simulator_folder(simulator, split))


def simulator_folder(simulator: str | Path = "default", split: str = "train") -> Path:
    """The folder that ``load_simulator`` reads for these arguments; its files are not looked at."""
    if split not in SPLITS:
        raise SimulatorError(f"split: got {split!r}, allowed {SPLITS}")
    folder = Path(simulator)
    if not folder.exists():
        folder = PRETRAINED / str(simulator)
        if not folder.is_dir() or folder.parent != PRETRAINED:
            raise SimulatorError(
                f"simulator: got {str(simulator)!r}, which is neither a folder nor one of {list_simulators()}; "
                "make one with `recsim-hrl fit`"
            )
    return folder if (folder / _JSON).is_file() else folder / split


def _read(folder: Path) -> Simulator:
    about = _read_json(folder)
    try:
        blob = (folder / _TENSORS).read_bytes()
    except OSError as error:
        raise SimulatorError(f"{folder / _TENSORS}: cannot be read ({error}); fit the simulator again") from error
    if hashlib.sha256(blob).hexdigest() != about["tensors_sha256"]:
        raise SimulatorError(
            f"{folder / _TENSORS}: does not match the checksum in {_JSON}: the file was truncated or changed; "
            "copy the folder again or fit the simulator again"
        )
    try:
        tensors = load_tensors(blob)
        shape = about["response"] | {"half_lives": tuple(about["response"]["half_lives"])}
        model = ResponseModel(ResponseConfig(**shape))
        model.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("model.")})
        catalogue = Catalogue(**_part(tensors, "catalogue", Catalogue))
        visits = Visits(**_part(tensors, "visits", Visits))
        recall_order, item_counts = tensors["recall_order"], tensors["item_counts"]
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError, SafetensorError) as error:
        message = f"{folder}: the contents do not fit together ({error}); fit the simulator again"
        raise SimulatorError(message) from error
    model.eval().requires_grad_(False)
    simulator = Simulator(about["name"], catalogue, model, visits, recall_order, item_counts, about["provenance"])
    _check(folder, simulator)
    return simulator


def _read_json(folder: Path) -> dict:
    path = folder / _JSON
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SimulatorError(f"{folder}: is not a simulator folder ({_JSON} cannot be read: {error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SimulatorError(f"{path}: is not valid JSON ({error}); copy the folder again") from error
    version = about.get("format_version") if isinstance(about, dict) else None
    if version != FORMAT_VERSION:
        raise SimulatorError(f"{path}: format_version: got {version!r}, allowed {FORMAT_VERSION}; fit it again")
    kinds = {"name": str, "response": dict, "tensors_sha256": str, "provenance": dict}
    for key, kind in kinds.items():
        if not isinstance(about.get(key), kind):
            raise SimulatorError(f"{path}: {key!r} is missing or not a {kind.__name__}; copy the folder again")
    return about


def _part(tensors: dict[str, Tensor], name: str, kind: type) -> dict[str, Tensor]:
    return {field.name: tensors[f"{name}.{field.name}"] for field in dataclasses.fields(kind)}


def _check(folder: Path, simulator: Simulator) -> None:
    """Values that have the right shapes and are still impossible."""
    size, visits, embeddings = len(simulator.catalogue), simulator.visits, simulator.catalogue.embeddings
    problems = {
        "embeddings": tuple(embeddings.shape) != (size, simulator.model.config.embedding_dim)
        or not bool(embeddings.isfinite().all()),
        "recall_order": not torch.equal(simulator.recall_order.sort().values, torch.arange(size)),
        "item_counts": tuple(simulator.item_counts.shape) != (size, R) or bool((simulator.item_counts < 0).any()),
        "visits.items": visits.items.ndim != 2 or bool(((visits.items < NO_ITEM) | (visits.items >= size)).any()),
        "visits.responses": visits.responses.shape != visits.items.shape
        or bool(((visits.responses < 0) | (visits.responses >= R)).any()),
        "visits.user_ids": len(visits.user_ids) != len(visits.items) or len(visits) == 0,
        "model": not all(bool(value.isfinite().all()) for value in simulator.model.state_dict().values()),
    }
    wrong = [name for name, is_wrong in problems.items() if is_wrong]
    if wrong:
        raise SimulatorError(f"{folder}: impossible values in {', '.join(wrong)}; fit the simulator again")


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
    return Simulator("random", catalogue, model, visits, order, counts, {"source": "random weights", "seed": seed})
