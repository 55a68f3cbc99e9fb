"""The walk over an agent: what it knows comes back equal, what it does not know is refused."""

import json
import random
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from recsim_hrl_agents.state_tree import Collector, Restorer
from torch import nn


@dataclass(frozen=True)
class Settings:
    rate: float = 0.5
    names: tuple[str, ...] = ("a", "b")


class Part:
    def __init__(self, seed):
        self.network = nn.Linear(3, 2)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.1)
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng(seed)


class Whole:
    def __init__(self, seed):
        self.settings, self.parts = Settings(), [Part(seed), Part(seed + 1)]
        self.first = self.parts[0]
        self.me = self


class Hidden(random.Random):
    pass


class Sealed(dict):
    pass


def collected(value):
    collector = Collector({"tests"})
    tree = collector.collect(value, "it")
    return json.loads(json.dumps(tree)), collector.tensors


def there_and_back(value, present=None):
    tree, tensors = collected(value)
    return Restorer({name: tensor.clone() for name, tensor in tensors.items()}).restore(tree, present, "it")


def test_plain_values_come_back_equal_and_of_their_type():
    value = {
        "numbers": [1, -2.5, True, None, 2**90, float("inf")],
        3: ("text", (), []),
        "queue": deque([1, 2], maxlen=5),
        "a": {"b": 1},
        "['a']": 2,
    }
    back = there_and_back(value)
    assert back == value and back["queue"].maxlen == 5
    assert [type(one) for one in back["numbers"]] == [type(one) for one in value["numbers"]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.bool, torch.int64, torch.uint8])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 0), (5000, 4)])
def test_tensors_come_back_bit_for_bit(dtype, shape):
    value = (torch.arange(max(1, int(np.prod(shape)))) % 3)[: int(np.prod(shape))].reshape(shape).to(dtype)
    if len(shape) and len(value) > 100:
        value[40:] = 0
    back = there_and_back(value)
    assert back.dtype == dtype and torch.equal(back, value)


def test_negative_zeros_and_the_holes_of_a_ring_are_kept():
    value = torch.zeros(10_000, 4)
    value[20, 0], value[99, 2] = 1.0, -0.0
    _, tensors = collected(value)
    assert tensors["it"].shape == (100, 4)
    assert np.signbit(there_and_back(value)[99, 2].item())
    assert collected(torch.zeros(10_000, 4))[1]["it"].shape == (0, 4)


def test_arrays_and_numbers_of_numpy():
    back = there_and_back([np.float64(0.1), np.int64(3), np.bool_(True), np.arange(6.0).reshape(2, 3).T, np.array(2)])
    assert [type(one) for one in back] == [np.float64, np.int64, np.bool_, np.ndarray, np.ndarray]
    np.testing.assert_array_equal(back[3], np.arange(6.0).reshape(2, 3).T)
    assert back[:3] == [0.1, 3, True]


def test_the_layout_of_memory_is_kept():
    grid = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    values = [grid[:, 1], grid.T, torch.from_numpy(grid)[:, :, 2], torch.from_numpy(grid).permute(2, 0, 1)]
    for value, back in zip(values, there_and_back(values), strict=True):
        np.testing.assert_array_equal(back, value)
        strides = [one.strides if isinstance(one, np.ndarray) else one.stride() for one in (back, value)]
        assert strides[0] == strides[1]
    flipped, repeated = there_and_back([grid[:, ::-1], np.broadcast_to(grid[0, 0], (3, 4))])
    np.testing.assert_array_equal(flipped, grid[:, ::-1])
    np.testing.assert_array_equal(repeated, [grid[0, 0]] * 3)


def test_objects_are_filled_in_place_and_stay_shared():
    def learn(whole):
        for part in whole.parts:
            part.optimizer.zero_grad()
            noise = torch.randn(4, 3, generator=part.generator) + part.rng.random()
            part.network(noise.float()).square().mean().backward()
            part.optimizer.step()

    one, other = Whole(0), Whole(7)
    learn(one)
    network = other.parts[0].network
    there_and_back(one, other)
    assert other.first is other.parts[0] and other.me is other and other.parts[0].network is network
    learn(one)
    learn(other)
    for mine, yours in zip(one.parts, other.parts, strict=True):
        assert torch.equal(mine.network.weight, yours.network.weight)
        assert mine.rng.random() == yours.rng.random()
    assert other.settings == Settings()


def test_attributes_that_were_not_there_go():
    one, other = Part(0), Part(1)
    one.queue, other.leftover = deque([torch.ones(2)]), 3
    there_and_back(one, other)
    assert not hasattr(other, "leftover") and torch.equal(other.queue[0], torch.ones(2))


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        print,
        threading.Lock(),
        Hidden(0),
        Sealed(a=1),
        b"bytes",
        1j,
        np.array([None]),
        nn.Parameter(torch.ones(2)),
        torch.ones(2, requires_grad=True),
        {(1, 2): 3},
        range(3),
        Part,
        json.JSONEncoder(),
    ],
    ids=repr,
)
def test_unknown_types_are_refused(value):
    whole = Part(0)
    whole.table = [0, {"deep": value}]
    with pytest.raises(ValueError, match=r"it\.table\[1\]\['deep'\].*: got a .*train without a checkpoint"):
        collected(whole)


def test_a_tree_fills_only_what_is_there():
    tree, tensors = collected(Part(0))
    with pytest.raises(ValueError, match="it: got a builtins.NoneType to fill, allowed a .*Part"):
        Restorer(tensors).restore(tree, None, "it")
    with pytest.raises(ValueError, match="it: got a .*Settings to fill"):
        Restorer(tensors).restore({"object": "os.system", "fields": []}, Settings(), "it")
