"""``recsim-hrl import``: from a shop's file to an environment in one command, or an account of what would be done."""

import json

import gymnasium as gym
import numpy as np
import pytest

import recsim_hrl  # noqa: F401  registers the environments
from recsim_hrl.cli import main
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.store import load_simulator
from tests.test_cli import FIT, fails

COLUMNS = ["--user", "uid", "--item", "sku", "--time", "ms", "--clicked", "c", "--purchased", "o", "--category", "kind"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """40 users with two visits of eight items each, of a shop of 12."""
    rng = np.random.default_rng(0)
    lines = ["uid,sku,ms,c,o,kind"]
    for user in range(40):
        for visit in (0, 1):
            start = 1_700_000_000_000 + visit * 86_400_000 + user * 1000
            for place, item in enumerate(rng.choice(12, 8, replace=False)):
                click = int(rng.random() < 0.1 + 0.05 * item)
                order = int(click and rng.random() < 0.3)
                lines.append(f"user-{user},sku-{item},{start + place * 5000},{click},{order},{item % 3}")
    path = tmp_path_factory.mktemp("import") / "shop.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def fitted(shop):
    """The folder of the simulators, made from a copy of the shop by one command."""
    out = shop.parent / "my-shop"
    assert main(["import", str(shop), "--out", str(out), *COLUMNS, "--evaluate", "--processes", "1", *FIT]) == 0
    return out


def test_one_command_makes_an_environment(shop, fitted):
    logs = fitted.with_name("my-shop-log")
    whole, train, test = (InteractionLog.open(logs / name) for name in ("all", "train", "test"))
    assert (whole.rows, train.rows, test.rows) == (640, 320, 320)
    assert (whole.name, train.name) == ("shop", "shop-train")
    assert train.metadata["split"]["boundary"] == whole.metadata["boundary"] == 1_700_086_400
    simulators = [load_simulator(fitted, split=side) for side in ("train", "test")]
    assert [simulator.provenance["log"]["name"] for simulator in simulators] == ["shop-train", "shop-test"]
    assert simulators[0].catalogue.embeddings.equal(simulators[1].catalogue.embeddings)
    assert (fitted.with_name("my-shop-validity") / "validity.md").is_file()
    env = gym.make("RecSession-v0", simulator=str(fitted), session_length=12)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["item_id"] in range(12)


def test_the_last_line_makes_the_environment(shop, tmp_path, capsys, monkeypatch):
    """Fits are replaced, as the line is what is looked at; 12 items allow no session of 50."""
    monkeypatch.setattr("recsim_hrl.commands.own.Fit.run", lambda self: None)
    assert main(["import", str(shop), "--out", str(tmp_path / "x"), *COLUMNS]) == 0
    line = capsys.readouterr().out.rstrip("\n").split("\n")[-1].strip()
    assert line == f'gymnasium.make("RecSession-v0", simulator="{tmp_path / "x"}", session_length=12)'


def test_a_dry_run_tells_and_writes_nothing(shop, fitted, tmp_path, capsys):
    before = sorted(shop.parent.rglob("*"))
    assert main(["import", str(shop), "--dry-run", "--out", str(tmp_path / "x"), *COLUMNS]) == 0
    text = capsys.readouterr().out
    assert "640 rows" in text and "milliseconds since 1970" in text and "Dropped: nothing" in text
    assert main(["import", str(shop), "--dry-run", "--json", *COLUMNS]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"]["impressions"] == 640 and told["halves"] == [40, 40] and told["findings"] == []
    assert sorted(shop.parent.rglob("*")) == before and list(tmp_path.iterdir()) == []


def test_only_the_log(shop, tmp_path, capsys):
    rules = ["--no-fit", "--session-impressions", "9"]
    assert "nothing of 640 rows is left: 640 impressions of short sessions" in fails(
        capsys, "import", shop, "--out", tmp_path / "x", *COLUMNS, *rules
    )
    assert main(["import", str(shop), "--out", str(tmp_path / "x"), *COLUMNS, "--no-fit"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x-log"]
    assert InteractionLog.open(tmp_path / "x-log" / "all").report().sessions == 80


def test_what_goes_wrong_is_one_line(shop, tmp_path, capsys):
    out = ["--out", tmp_path / "x"]
    assert "out: got none, allowed a folder" in fails(capsys, "import", shop, *COLUMNS)
    assert "got --json without --dry-run" in fails(capsys, "import", shop, *out, *COLUMNS, "--json")
    assert "column 'id': the column is missing, user" in fails(capsys, "import", shop, *out, *COLUMNS, "--user", "id")
    assert "no such file or folder" in fails(capsys, "import", tmp_path / "none.csv", *out, *COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_taken_are_refused_before_the_work(shop, tmp_path, capsys):
    for place, message in (("x/test", "is not a simulator folder"), ("x-log/all", "is not a log")):
        note = tmp_path / place / "note.txt"
        note.parent.mkdir(parents=True)
        note.write_text("words")
        assert message in fails(capsys, "import", shop.with_name("none.csv"), "--out", tmp_path / "x", *COLUMNS)
        note.unlink()
        note.parent.rmdir()


def test_a_mapping_that_contradicts_itself(shop, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["import", str(shop), "--dry-run", *COLUMNS, "--session", "uid"])
    assert stopped.value.code == 2
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "column 'uid' of the log is given for user and for session" in error and "Traceback" not in error
