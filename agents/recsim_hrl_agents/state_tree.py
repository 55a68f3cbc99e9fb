"""Everything an agent knows, as JSON and tensors: a walk over its attributes that forgets nothing it can name.

A walk knows numbers, text, tensors, arrays, lists, tuples, deques, dictionaries, networks, optimizers, generators of
torch and NumPy, and objects (dataclasses among them) of named packages. It raises on every other type, so a new kind of
state cannot be left out by accident. What is loaded is data: names of classes in it are compared with those of objects
that are there, and nothing is imported or called by name.
"""

import dataclasses
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.base import Transitions
from recsim_hrl_agents.market import Market

Node = dict[str, Any] | list | str | int | float | bool | None
"""A value in JSON: plain values stand for themselves, all others are {kind: content}."""

_PLAIN = (bool, int, float, str)
_CONSTANT = (Market, torch.device)
"""Not kept: a training begins with its own, and a checkpoint is compared with them."""
_SEQUENCES = {"list": list, "tuple": tuple}
_DTYPES = {
    str(dtype): dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool)
    + (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
}
_TRIMMED = 1 << 14
"""Bytes from which on the zeros at a tensor's end are left out: most of a young replay memory is nothing yet."""


def _kind_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


_RECORDS = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in (Transitions,)}
"""Dataclasses that a fresh agent does not hold yet, so there is none to fill."""


class Collector:
    """Turns a value into a tree; ``tensors`` holds the tensors that it names.

    Args:
        packages: Packages whose objects may be walked.
    """

    def __init__(self, packages: set[str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._packages = packages
        self._met: dict[int, tuple[str, Any]] = {}  # values that may be shared, kept so that no id is used twice

    def collect(self, value: Any, path: str) -> Node:
        """The tree of ``value``, which errors and tensors call ``path``.

        Raises:
            ValueError: If a part of it is of a type that is not known.
        """
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, _CONSTANT):
            return {"constant": _kind_of(value)}
        if id(value) in self._met:
            return {"same": self._met[id(value)][0]}
        self._met[id(value)] = path, value
        return self._leaf(value, path) or self._branch(value, path)

    def _leaf(self, value: Any, path: str) -> Node:
        if type(value) is Tensor and not value.requires_grad and str(value.dtype) in _DTYPES:
            return self._tensor(value, value.stride(), path)
        if isinstance(value, np.ndarray | np.generic) and f"torch.{value.dtype.name}" in _DTYPES:
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            strides = tuple(stride // value.itemsize for stride in value.strides)
            return {kind: self._tensor(torch.from_numpy(np.array(value, order="C")), strides, path)}
        if isinstance(value, nn.Module):
            return {"state_dict": {"dict": self._items(value.state_dict(), path)}}
        if isinstance(value, torch.optim.Optimizer):
            return {"state_dict": self.collect(value.state_dict(), path)}
        if isinstance(value, torch.Generator):
            return {"generator": self.collect(value.get_state(), path)}
        if isinstance(value, np.random.Generator):
            return {"generator": self.collect(value.bit_generator.state, path)}
        return None

    def _branch(self, value: Any, path: str) -> Node:
        for kind, sequence in _SEQUENCES.items():
            if type(value) is sequence:
                return {kind: [self.collect(one, f"{path}[{place}]") for place, one in enumerate(value)]}
        if type(value) is deque:
            return {"deque": self.collect(list(value), path), "maxlen": value.maxlen}
        if type(value) is dict and all(type(key) in (str, int) for key in value):
            return {"dict": self._items(value, path)}
        if self._is_ours(type(value)) and hasattr(value, "__dict__"):
            fields = [[name, self.collect(one, f"{path}.{name}")] for name, one in vars(value).items()]
            return {"object": _kind_of(value), "fields": fields}
        raise ValueError(
            f"{path}: got a {_kind_of(value)}, allowed numbers, text, tensors without gradients, arrays, lists, "
            "tuples, deques, dicts, modules, optimizers, generators and the agent's own objects; keep it as one of "
            "these, or train without a checkpoint"
        )

    def _is_ours(self, kind: type) -> bool:
        """Whether nothing of ``kind`` is hidden: all its classes are of the packages, none built in."""
        allowed = self._packages | {"abc", "typing"}
        return all(one is object or one.__module__.partition(".")[0] in allowed for one in kind.__mro__)

    def _items(self, values: dict, path: str) -> list:
        return [[key, self.collect(one, f"{path}[{key!r}]")] for key, one in values.items()]

    def _tensor(self, value: Tensor, strides: tuple[int, ...], path: str) -> Node:
        about = {"dtype": str(value.dtype), "shape": list(value.shape), "device": str(value.device)}
        value = value.contiguous()
        if strides != value.stride() and all(stride > 0 for stride in strides):
            about["strides"] = list(strides)  # sums over another layout may round differently
        if not value.dim() and value.dtype in (torch.float32, torch.float64, torch.int64):
            return {"number": value.item(), **about}
        value = value.cpu()
        if value.nbytes > _TRIMMED:
            value = value[: _rows_in_use(value)]
        self.tensors[path] = value
        return {"tensor": path, **about}


def _rows_in_use(value: Tensor) -> int:
    """Rows of ``value`` (rows, ...) up to the last that has a bit set."""
    used = value.view(len(value), -1).view(torch.uint8).any(1).nonzero()  # (n, 1)
    return int(used[-1]) + 1 if len(used) else 0


class Restorer:
    """Fills values with a tree and its tensors: networks, optimizers, generators and objects in place, others anew."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors
        self._made: dict[str, Any] = {}

    def restore(self, node: Node, present: Any, path: str) -> Any:
        """The value of ``node``; ``present`` is what now stands in its place.

        Raises:
            ValueError: If something is to be filled that is not there.
        """
        if not isinstance(node, dict):
            return node
        if "constant" in node:
            return self._present(present, node["constant"], path)
        if "same" in node:
            return self._made[node["same"]]
        self._made[path] = value = self._value(node, present, path)
        return value

    def _value(self, node: dict, present: Any, path: str) -> Any:
        if "number" in node or "tensor" in node:
            return self._tensor(node)
        if "array" in node:
            return self._tensor(node["array"]).numpy()
        if "scalar" in node:
            return self._tensor(node["scalar"]).numpy()[()]
        if "object" in node:
            return self._object(node, present, path)
        if "state_dict" in node:
            return self._fill(node["state_dict"], present, path)
        if "generator" in node:
            return self._generator(node["generator"], present, path)
        if "dict" in node:
            return self._dict(node["dict"], present if isinstance(present, dict) else {}, path)
        if "deque" in node:
            return deque(self.restore(node["deque"], None, path), node["maxlen"])
        for kind, sequence in _SEQUENCES.items():
            if kind in node:
                there = present if isinstance(present, sequence) else ()
                there = [*there, *[None] * len(node[kind])]
                return sequence(
                    self.restore(one, there[place], f"{path}[{place}]") for place, one in enumerate(node[kind])
                )
        raise ValueError(f"{path}: got {sorted(node)}, allowed a kind of value that this version writes; it is damaged")

    def _tensor(self, node: dict) -> Tensor:
        dtype = _DTYPES[node["dtype"]]
        whole = torch.zeros(node["shape"], dtype=dtype)
        if "number" in node:
            return whole.fill_(node["number"]).to(node["device"])
        part = self._tensors[node["tensor"]]
        if part.dtype != dtype:
            raise ValueError(f"{node['tensor']}: got {part.dtype}, allowed {dtype}; it is damaged")
        if whole.dim():
            whole[: len(part)] = part
        else:
            whole.copy_(part)
        strides = node.get("strides", whole.stride())
        return torch.empty_strided(whole.shape, strides, dtype=dtype, device=node["device"]).copy_(whole)

    def _dict(self, items: list, present: dict, path: str) -> dict:
        return {key: self.restore(one, present.get(key), f"{path}[{key!r}]") for key, one in items}

    def _fill(self, node: Node, present: Any, path: str) -> Any:
        present = self._present(present, (nn.Module, torch.optim.Optimizer), path)
        present.load_state_dict(self.restore(node, None, path))
        return present

    def _generator(self, node: Node, present: Any, path: str) -> Any:
        present = self._present(present, (torch.Generator, np.random.Generator), path)
        state = self.restore(node, None, path)
        if isinstance(present, torch.Generator):
            present.set_state(state)
        else:
            present.bit_generator.state = state
        return present

    def _object(self, node: dict, present: Any, path: str) -> Any:
        """An object with the fields that it had: frozen ones are made anew, others filled."""
        kind, record = node["object"], _RECORDS.get(node["object"])
        if record is not None:
            return record(**{name: self.restore(one, None, f"{path}.{name}") for name, one in node["fields"]})
        self._made[path] = present = self._present(present, kind, path)
        there = vars(present)
        values = {name: self.restore(one, there.get(name), f"{path}.{name}") for name, one in node["fields"]}
        if dataclasses.is_dataclass(present) and type(present).__dataclass_params__.frozen:
            return dataclasses.replace(present, **values)
        for name in set(there) - set(values):
            delattr(present, name)
        for name, value in values.items():
            setattr(present, name, value)
        return present

    def _present(self, present: Any, kind: str | tuple[type, ...], path: str) -> Any:
        """What is there to be filled, if it is of the ``kind``, by name or by class."""
        fits = _kind_of(present) == kind if isinstance(kind, str) else isinstance(present, kind)
        if not fits:
            wanted = kind if isinstance(kind, str) else kind[0].__name__
            raise ValueError(
                f"{path}: got a {_kind_of(present)} to fill, allowed a {wanted}; make it when the agent is made"
            )
        return present
