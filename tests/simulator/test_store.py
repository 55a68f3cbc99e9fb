"""A simulator on disk: what is read is what was written, and what cannot be read is refused with the reason."""

import hashlib
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from recsim_hrl.simulator import store
from recsim_hrl.simulator.folder import SimulatorError, simulator_folder
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_simulator


@pytest.fixture
def simulator():
    return random_simulator(items=40, embedding_dim=5, users=6, categories=3)


@pytest.fixture
def folder(simulator, tmp_path):
    return save_simulator(simulator, tmp_path / "market")


def rewrite(folder, **changes):
    """Change entries of simulator.json."""
    path = folder / "simulator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_tensors(folder, **changes):
    """Change tensors and state the checksum that fits them: damage that only the values can betray."""
    tensors = load_file(folder / "tensors.safetensors") | changes
    blob = save({name: value.contiguous() for name, value in tensors.items() if value is not None})
    (folder / "tensors.safetensors").write_bytes(blob)
    rewrite(folder, tensors_sha256=hashlib.sha256(blob).hexdigest())


def test_round_trip(simulator, folder):
    loaded = load_simulator(folder)
    assert loaded.name == "random" and loaded.provenance == simulator.provenance
    for part in ("catalogue", "visits"):
        for name, value in vars(getattr(simulator, part)).items():
            assert torch.equal(getattr(getattr(loaded, part), name), value), name
    assert torch.equal(loaded.recall_order, simulator.recall_order)
    assert torch.equal(loaded.item_counts, simulator.item_counts)
    assert loaded.model.config == simulator.model.config
    for name, value in simulator.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    np.testing.assert_array_equal(loaded.data.memories.kinds, simulator.data.memories.kinds)
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())


def test_the_folder_holds_json_and_safetensors_and_can_be_read_by_others(folder):
    names = ["leaving.safetensors", "simulator.json", "tensors.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert folder.stat().st_mode & 0o777 == 0o755


def test_train_and_test_of_a_folder_that_holds_both(tmp_path):
    both = tmp_path / "both"
    for seed, split in enumerate(("train", "test")):
        save_simulator(random_simulator(items=20, seed=seed), both / split)
    assert load_simulator(both).provenance["seed"] == 0
    assert load_simulator(both, split="test").provenance["seed"] == 1
    assert simulator_folder(both, "test") == both / "test"
    assert load_simulator(both / "train", split="test").provenance["seed"] == 0  # a single one has no splits


def test_unknown_split(folder):
    with pytest.raises(SimulatorError, match="split: got 'valid', allowed"):
        load_simulator(folder, split="valid")


@pytest.mark.parametrize("name", ["no-such-simulator", "../store.py", "/nowhere/at/all"])
def test_unknown_name(name):
    with pytest.raises(SimulatorError, match="neither a folder nor one of .*recsim-hrl fit"):
        load_simulator(name)


def test_foreign_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("not a simulator")
    with pytest.raises(SimulatorError, match="is not a simulator folder"):
        load_simulator(tmp_path)


@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_truncated_tensors(folder, kept):
    path = folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SimulatorError, match="checksum.*truncated or changed"):
        load_simulator(folder)


def test_one_changed_byte(folder):
    path = folder / "tensors.safetensors"
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(SimulatorError, match="checksum"):
        load_simulator(folder)


def test_missing_tensors(folder):
    (folder / "tensors.safetensors").unlink()
    with pytest.raises(SimulatorError, match="cannot be read"):
        load_simulator(folder)


@pytest.mark.parametrize("version", [0, 3, "4", None])
def test_other_version(folder, version):
    rewrite(folder, format_version=version)
    with pytest.raises(SimulatorError, match=f"format_version: got {version!r}, allowed 4"):
        load_simulator(folder)


@pytest.mark.parametrize("text", ["", "{", "\x00\xff", "[" * 100_000, "{'name': 'python'}"])
def test_json_garbage(folder, text):
    (folder / "simulator.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SimulatorError, match="not valid JSON"):
        load_simulator(folder)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"simulator"'])
def test_json_that_is_no_object(folder, text):
    (folder / "simulator.json").write_text(text)
    with pytest.raises(SimulatorError, match="format_version: got None"):
        load_simulator(folder)


@pytest.mark.parametrize("key", ["name", "response", "tensors_sha256", "provenance"])
def test_json_with_an_entry_of_the_wrong_kind(folder, key):
    rewrite(folder, **{key: 3})
    with pytest.raises(SimulatorError, match=f"'{key}' is missing or not a"):
        load_simulator(folder)


@pytest.mark.parametrize(
    "shape",
    [{}, {"kinds": 3}, {"half_lives": 5}, {"half_lives": ["a"]}, {"surprise": 1}],
    ids=["empty", "incomplete", "no list", "no numbers", "unknown field"],
)
def test_a_model_shape_that_does_not_fit(folder, shape):
    rewrite(folder, response=shape)
    with pytest.raises(SimulatorError, match="do not fit together"):
        load_simulator(folder)


def test_a_missing_tensor(folder):
    rewrite_tensors(folder, recall_order=None)
    with pytest.raises(SimulatorError, match="do not fit together.*recall_order"):
        load_simulator(folder)


def test_a_tensor_of_another_shape(folder):
    rewrite_tensors(folder, **{"model.head.bias": torch.zeros(4)})
    with pytest.raises(SimulatorError, match=r"do not fit together.*head.bias: got shape \(4,\), allowed \(3,\)"):
        load_simulator(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recall_order", torch.zeros(40, dtype=torch.int64)),
        ("item_counts", torch.full((40, 3), -1)),
        ("visits.items", torch.full((6, 6), 40)),
        ("visits.items", torch.full((6, 6), -2)),
        ("visits.responses", torch.full((6, 6), 3)),
        ("visits.user_ids", torch.arange(5)),
        ("catalogue.embeddings", torch.full((40, 5), torch.nan)),
        ("model.head.bias", torch.full((3,), torch.inf)),
    ],
)
def test_impossible_values(folder, name, value):
    rewrite_tensors(folder, **{name: value})
    named = "model" if name.startswith("model") else name.removeprefix("catalogue.")
    with pytest.raises(SimulatorError, match=f"impossible values in .*{named}"):
        load_simulator(folder)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@pytest.mark.parametrize("name", ["visits.items", "visits.responses", "recall_order", "item_counts"])
def test_numbers_of_another_kind(folder, name, kind):
    shape = load_file(folder / "tensors.safetensors")[name].shape
    rewrite_tensors(folder, **{name: torch.zeros(shape, dtype=kind)})
    with pytest.raises(SimulatorError, match=f"{name} are no whole numbers; fit the simulator again"):
        load_simulator(folder)


def test_nothing_is_unpickled(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert load_simulator(folder).name == "random"


def test_a_pickle_in_place_of_the_tensors_is_refused_unread(folder):
    blob = pickle.dumps({"model": [1, 2, 3]})
    (folder / "tensors.safetensors").write_bytes(blob)
    rewrite(folder, tensors_sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(SimulatorError, match="do not fit together"):
        load_simulator(folder)


def test_saving_replaces_a_simulator(folder):
    save_simulator(random_simulator(items=30, seed=5), folder)
    assert load_simulator(folder).provenance["seed"] == 5
    assert [path.name for path in folder.parent.iterdir()] == ["market"]


def test_saving_leaves_a_foreign_folder_alone(simulator, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SimulatorError, match="not a simulator folder; it was left alone"):
        save_simulator(simulator, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("step", ["write", "rename"])
def test_a_good_simulator_survives_a_failed_save(folder, monkeypatch, step):
    def fail(*_, **__):
        raise OSError("no space left on device")

    if step == "write":
        monkeypatch.setattr(store.json, "dumps", fail)
    else:
        monkeypatch.setattr(store.tempfile, "mkdtemp", _failing_second_time(store.tempfile.mkdtemp, fail))
    with pytest.raises(OSError, match="no space left"):
        save_simulator(random_simulator(items=30, seed=5), folder)
    monkeypatch.undo()
    assert load_simulator(folder).provenance["seed"] == 0
    assert [path.name for path in folder.parent.iterdir()] == ["market"]


def _failing_second_time(original, fail):
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs) if len(calls) == 1 else fail()

    return wrapped


def test_a_copied_folder_is_the_same_simulator(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    copied, original = (load_simulator(path).data.memories for path in (tmp_path / "copy", folder))
    np.testing.assert_array_equal(copied.kinds, original.kinds)


def test_random_simulator_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    random_simulator(items=10)
    assert torch.equal(torch.rand(4), expected)
