"""Conversions, fits and reports that are killed at every moment: nothing half-written, and a run after it ends as if
alone."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens import read_movielens
from recsim_hrl.simulator.fit import fit_simulator
from recsim_hrl.simulator.validity.report import write_validity
from tests import killing
from tests.data.sources.test_movielens import GENRES, folder, publisher_files


@pytest.fixture
def source(tmp_path):
    """Forty sessions of ten movies, a day apart."""
    movies = [(item, f"Film {item} ({1980 + item})", "", (GENRES[1 + item % 5],)) for item in range(1, 11)]
    ratings = [
        (user, item, 1 + (user * item) % 5, 880_000_000 + user * 86_400 + item)
        for user in range(1, 41)
        for item in range(1, 11)
    ]
    return folder(tmp_path / "work" / killing.SOURCE, publisher_files(ratings, movies))


def kill(job, where):
    """Kill at every moment, then once more without a kill; how many moments there were."""
    command = [sys.executable, "-m", "tests.killing", job, str(where)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


def test_a_conversion_killed_anywhere(source, tmp_path):
    assert kill("convert", source.parent) >= 4
    left, alone = InteractionLog.open(source.parent / "log"), read_movielens(source, tmp_path / "alone")
    for ours, theirs in zip(left.batches(), alone.batches(), strict=True):
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    np.testing.assert_array_equal(left.items.embeddings.numpy(), alone.items.embeddings.numpy())
    visible = sorted(path.name for path in source.parent.iterdir() if not path.name.startswith(".log."))
    assert visible == ["log", "ml-100k"]


def test_a_fit_killed_anywhere_goes_on_to_the_same_simulator(source, tmp_path):
    log = read_movielens(source, source.parent / killing.LOG)
    assert kill("fit", source.parent) >= 4
    fit_simulator(log, tmp_path / "simulator", killing.FIT, report=lambda _: None)
    names = ("simulator.json", "tensors.safetensors")
    ours, theirs = (
        [(where / "simulator" / name).read_bytes() for name in names] for where in (source.parent, tmp_path)
    )
    assert ours == theirs
    assert not (source.parent / ".simulator.fit").exists()


def test_a_report_killed_anywhere_leaves_whole_files_of_the_old_one_or_of_the_new_one(tmp_path):
    for name in ("old", "new"):
        write_validity(killing.evaluation(name), tmp_path / name)
    shutil.copytree(tmp_path / "old", tmp_path / killing.REPORT)
    assert kill("report", tmp_path) >= 8  # four files, each opened and moved
    left = {path.name: path for path in (tmp_path / killing.REPORT).iterdir() if not path.name.startswith(".")}
    assert sorted(left) == [f"validity.{kind}" for kind in ("html", "json", "md", "png")]
    for name, path in left.items():
        assert path.read_bytes() == (tmp_path / "new" / name).read_bytes()
