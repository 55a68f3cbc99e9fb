"""The command line: the whole way on a small market, and one clear line for what goes wrong."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from recsim_hrl.cli import COMMANDS, main
from recsim_hrl.commands import _CLASSES
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.semantic_ids import load_semantic_ids, measure_ids
from recsim_hrl.simulator.folder import load_data
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_simulator

FIT = ["--passes", "1", "--batch", "800", "--kinds", "3", "--hidden", "8", "--pool", "20"]
FIDELITY = ["--policies.lengths", "4", "--policies.impressions", "80", "--policies.candidates", "40"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of 3,000 impressions of 60 items."""
    path = tmp_path_factory.mktemp("cli") / "log"
    assert main(["generate", "--out", str(path), "--impressions", "3000", "--items", "60"]) == 0
    return path


@pytest.fixture(scope="module")
def simulator(log):
    path = log.parent / "simulator"
    assert main(["fit", str(log), "--out", str(path), *FIT]) == 0
    return path


def fails(capsys, *arguments: str) -> str:
    """The one line that a failing command writes."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    error = captured.err.rstrip("\n").split("\n")
    assert len(error) == 1 and error[0].startswith("recsim-hrl: error: "), error
    assert captured.out == ""
    return error[0]


# What works


def test_generate_writes_the_log_that_it_was_asked_for(log):
    opened = InteractionLog.open(log)
    assert opened.rows >= 3000 and len(opened.items) == 60
    assert opened.metadata["world"]["items"] == 60 and opened.metadata["behaviour"]["confounded"] is False


def test_seeds_and_confounding_reach_the_world(tmp_path):
    arguments = ["--impressions", "200", "--items", "60", "--seed", "3", "--world-seed", "4", "--confounded"]
    assert main(["generate", "--out", str(tmp_path / "log"), *arguments]) == 0
    metadata = InteractionLog.open(tmp_path / "log").metadata
    assert (metadata["seed"], metadata["world"]["seed"], metadata["behaviour"]["confounded"]) == (3, 4, True)


def test_report(log, capsys):
    assert main(["report", str(log)]) == 0
    assert f"{InteractionLog.open(log).rows:,} impressions in " in capsys.readouterr().out
    assert main(["report", str(log), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 60


@pytest.mark.parametrize("by", ["time", "session"])
def test_split(log, tmp_path, by, capsys):
    assert main(["split", str(log), "--out", str(tmp_path), "--by", by, "--fraction", "0.7"]) == 0
    rows = [InteractionLog.open(tmp_path / side).rows for side in ("train", "test")]
    assert sum(rows) == InteractionLog.open(log).rows and rows[0] > rows[1]
    assert capsys.readouterr().out.count("impressions in") == 2


def test_fit_and_inspect(simulator, capsys):
    fitted = load_simulator(simulator)
    assert fitted.provenance["fit"]["kinds"] == 3 and len(fitted.visits) == 20
    assert main(["inspect", str(simulator)]) == 0
    text = capsys.readouterr().out
    assert "60 items" in text and "pass 1: log-loss" in text and "no validity.json" in text
    assert main(["inspect", str(simulator), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["items"] == 60 and about["provenance"]["fit"]["hidden"] == 8


def test_semantic_ids(simulator, tmp_path, capsys):
    out = tmp_path / "ids.safetensors"
    assert main(["semantic-ids", str(simulator), "--out", str(out), "--levels", "2", "--codes", "8"]) == 0
    printed, ids = capsys.readouterr().out, load_semantic_ids(out, items=60)
    assert ids.items(ids.codes).tolist() == list(range(60)) and ids.codebooks.shape[:2] == (2, 8)
    assert printed.splitlines()[:-1] == measure_ids(ids, load_data(simulator).catalogue.embeddings).lines()
    assert ids.provenance["fit"]["codes"] == 8
    line = fails(capsys, "semantic-ids", simulator, "--out", out, "--levels", "1")
    assert "got 60 items, allowed up to 32" in line and load_semantic_ids(out).provenance["fit"]["codes"] == 8


def test_fit_both_halves(log, tmp_path, capsys):
    out = tmp_path / "both"
    assert main(["fit", str(log), "--out", str(out), "--split", "both", *FIT]) == 0
    train, test = load_simulator(out), load_simulator(out, split="test")
    assert (train.name, test.name) == ("both-train", "both-test")
    halves = [InteractionLog.open(tmp_path / "both-log" / side).load() for side in ("train", "test")]
    assert not set(halves[0].session_ids) & set(halves[1].session_ids)
    assert train.provenance["log"]["impressions"] == len(halves[0].response)
    assert "recsim-hrl evaluate" in capsys.readouterr().out


def test_fit_cuts_at_the_boundary_of_the_log(log, tmp_path, capsys):
    whole = InteractionLog.open(log)
    starts = np.sort(whole.load().start_seconds)
    columns = {name: np.concatenate([block[name] for block in whole.batches()]) for name in whole.columns}
    boundary = float(starts[len(starts) // 4])
    InteractionLog.from_arrays(columns, whole.items, tmp_path / "known", {"boundary": boundary})
    out = tmp_path / "both"
    assert main(["fit", str(tmp_path / "known"), "--out", str(out), "--split", "both", *FIT]) == 0
    assert f"cut at {boundary:.0f}, the boundary of the log" in capsys.readouterr().out
    assert len(InteractionLog.open(tmp_path / "both-log" / "train").load()) == (starts < boundary).sum()


@pytest.mark.parametrize(
    ("command", "told"),
    [("support", "of the log's impressions are of sorts that it covers"), ("leaving", "leaving.safetensors")],
)
def test_what_lies_beside_a_simulator_is_added_to_both_halves(command, told, log, tmp_path, capsys):
    out = tmp_path / "both"
    assert main(["fit", str(log), "--out", str(out), "--split", "both", *FIT]) == 0
    files = [out / side / f"{command}.safetensors" for side in ("train", "test")]
    found = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    assert main([command, str(out), "--log", str(log), "--split", "both"]) == 0
    assert [path.read_bytes() for path in files] == found
    assert main([command, str(out / "train"), "--log", str(tmp_path / "both-log" / "train")]) == 0
    assert told in capsys.readouterr().out
    assert main([command, str(out / "train"), "--log", str(tmp_path / "both-log" / "test")]) == 2
    assert "other responses than the log that the simulator 'both-train' was fitted to" in capsys.readouterr().err


def test_evaluate_then_inspect_tells_the_targets(log, simulator, tmp_path, capsys):
    folder = shutil.copytree(simulator, tmp_path / "simulator")
    arguments = ["--log", str(log), "--out", str(folder), "--sessions", "20", *FIDELITY]
    assert main(["evaluate", str(folder), *arguments]) == 0
    text = capsys.readouterr().out
    assert "gap closed" in text and "simulator_planner" in text and "largest value error, 4 items" in text
    assert {"validity.json", "validity.md", "validity.png"} <= {path.name for path in folder.iterdir()}
    assert main(["inspect", str(folder)]) == 0
    assert "click calibration error" in capsys.readouterr().out


def test_a_report_of_another_fit_is_not_shown(simulator, tmp_path, capsys):
    folder = shutil.copytree(simulator, tmp_path / "simulator")
    (folder / "validity.json").write_text(json.dumps({"simulator": {"data_sha256": "another"}, "targets": []}))
    assert main(["inspect", str(folder)]) == 0
    assert "no validity.json of it" in capsys.readouterr().out


def test_inspect_a_simulator_that_was_not_fitted(tmp_path, capsys):
    save_simulator(random_simulator(items=20), tmp_path / "random")
    assert main(["inspect", str(tmp_path / "random")]) == 0
    assert "random weights" in capsys.readouterr().out


# What goes wrong


def test_a_missing_log(capsys):
    assert "no such file or folder" in fails(capsys, "report", "nowhere")


def test_a_broken_log_names_file_column_and_row(log, tmp_path, capsys):
    InteractionLog.open(log).to_csv(tmp_path / "csv")
    path = tmp_path / "csv" / "interactions.csv"
    lines = path.read_text().split("\n")
    names = [name.strip('"') for name in lines[0].split(",")]
    fields = lines[3].split(",")
    fields[names.index("response")] = "7"
    lines[3] = ",".join(fields)
    path.write_text("\n".join(lines))
    error = fails(capsys, "report", tmp_path / "csv")
    assert "interactions.csv, column 'response', row 3 (line 4): got '7'" in error


def test_a_damaged_simulator(simulator, tmp_path, capsys):
    folder = shutil.copytree(simulator, tmp_path / "simulator")
    (folder / "tensors.safetensors").write_bytes(b"")
    assert "checksum" in fails(capsys, "inspect", folder)


def test_a_simulator_that_is_not_there(log, tmp_path, capsys):
    error = fails(capsys, "evaluate", "nowhere", "--log", log, "--out", tmp_path)
    assert "neither a folder nor one of" in error


def test_a_damaged_report_beside_a_good_simulator(simulator, tmp_path, capsys):
    folder = shutil.copytree(simulator, tmp_path / "simulator")
    (folder / "validity.json").write_text("{")
    assert "validity.json: damaged report; evaluate the simulator again" in fails(capsys, "inspect", folder)


def test_a_simulator_of_other_items(log, tmp_path, capsys):
    save_simulator(random_simulator(items=20), tmp_path / "random")
    error = fails(capsys, "evaluate", tmp_path / "random", "--log", log, "--out", tmp_path / "out")
    assert "has 20 items that are not the 60 of the log" in error
    assert not (tmp_path / "out").exists()


def test_sessions_too_long_for_the_catalogue_are_refused_before_the_work(log, simulator, tmp_path, capsys):
    error = fails(capsys, "evaluate", simulator, "--log", log, "--out", tmp_path, "--policies.lengths", "61")
    assert "fidelity lengths: got (61,) with 60 candidates" in error


def test_no_impressions(tmp_path, capsys):
    assert "impressions: got 0" in fails(capsys, "generate", "--out", tmp_path / "log", "--impressions", "0")


def test_a_path_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    fails(capsys, "generate", "--out", tmp_path / "file" / "log", "--impressions", "100", "--items", "60")


def test_an_unknown_command(capsys):
    assert "got 'train', allowed generate, " in fails(capsys, "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "log"], "--out"),
        (["fit", "log", "--out", "x", "--passes", "0"], "fit passes: got 0, allowed 1 or more"),
        (["fit", "log", "--out", "x", "--passes", "many"], "many"),
        (["evaluate", "x", "--log", "y", "--out", "z", "--sessions", "0"], "evaluate sessions: got 0"),
        (["report"], "PATH"),
        (["report", "log", "--colour"], "--colour"),
    ],
)
def test_flags_that_cannot_be_understood(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.replace("│", " ").split()) and "Traceback" not in captured.err


def test_ctrl_c_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("recsim_hrl.commands.run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["report", "log"]) == 130
    assert "interrupted" in capsys.readouterr().err


# Help


def test_the_overview_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert list(COMMANDS) == list(_CLASSES) and all(f"  {name} " in text for name in COMMANDS)
    assert main([]) == 2
    assert "usage: recsim-hrl" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_every_command_is_explained(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    lines = [line.strip("│ ") for line in capsys.readouterr().out.split("\n")]
    assert f"usage: recsim-hrl {command}" in lines[0]
    flags = [place for place, line in enumerate(lines) if line.startswith("--") and line[2].isalpha()]
    for place in flags:  # the explanation stands beside the flag or below it
        words = lines[place].split("  ", 1)[1:] or [lines[place + 1]]
        assert len(words[0].split()) >= 3, lines[place]


def test_the_overview_does_not_wait_for_torch():
    code = "import sys; from recsim_hrl.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "recsim_hrl.cli", "report", "nowhere"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("recsim-hrl: error: nowhere: no such file") and found.stderr.count("\n") == 1
