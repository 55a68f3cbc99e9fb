"""Files of arrays: what was written comes back, and a file is whole or stays what it was."""

import os

import numpy as np
import pytest
from safetensors.numpy import save

from recsim_hrl import replaced
from recsim_hrl.arrays_file import arrays_bytes, read_arrays, write_beside


def test_round_trip(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3).T, "a": np.empty((0, 4), np.int32)}
    path = write_beside(tmp_path / "new" / "file", arrays_bytes(arrays, {"of": ["whom"]}, 2))
    (b, a), about = read_arrays(path, ["b", "a"], 2, "write it again")
    assert np.array_equal(b, arrays["b"]) and a.shape == (0, 4) and a.dtype == np.int32
    assert about["of"] == ["whom"] and list(about) == ["format_version", "of", "sha256"]


@pytest.mark.parametrize("about", ["[1]", "{", "[" * 100_000, '{"format_version": null}', "3"])
def test_descriptions_that_cannot_be(tmp_path, about):
    path = write_beside(tmp_path / "file", save({"a": np.zeros(1)}, {"about": about}))
    with pytest.raises(ValueError, match="file: (cannot be read|format_version: got None, allowed 1).*; mend it"):
        read_arrays(path, ["a"], 1, "mend it")
    path = write_beside(tmp_path / "file", save({"a": np.zeros(1)}))
    with pytest.raises(ValueError, match="format_version: got None"):
        read_arrays(path, ["a"], 1, "mend it")


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_beside(tmp_path / "file", b"old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(replaced.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_beside(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
