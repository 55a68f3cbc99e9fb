"""The Open Bandit Dataset from small files in the publisher's format, good and damaged."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.open_bandit import OpenBanditConfig, read_open_bandit
from tests.data.sources.test_retailrocket import archive, folder

T = 1_574_553_600
"""Midnight (UTC) at the beginning of 24 November 2019, in seconds."""
ITEMS = {"men": 34, "women": 46, "all": 80}
FEATURES = [f"user_feature_{place}" for place in range(4)]
A, B, C = "cef3390ed299c09874189c387777674a", "81ce123cbb5bd8ce818f60fb3586bba5", "f97571b9c14a786aab269f0b427d2a85"


def log_file(rows, campaign="men"):
    """Rows of time, item, position, click, propensity, four user features, and clicks on items before."""
    affinities = [f"user-item_affinity_{item}" for item in range(ITEMS[campaign])]
    head = ["", "timestamp", "item_id", "position", "click", "propensity_score", *FEATURES, *affinities]
    lines = [",".join(head)]
    for number, (*values, clicked) in enumerate(rows):
        counts = [str(float(clicked.get(item, 0))) for item in range(ITEMS[campaign])]
        lines.append(",".join([str(number), *map(str, values), *counts]))
    return "".join(f"{line}\n" for line in lines).encode()


def item_file(campaign="men", salt=""):
    """Features of items: numbers that grow by one, two levels, three levels and one level."""
    lines = [",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3"]
    for item in range(ITEMS[campaign]):
        lines.append(f"{item},{item},{item - 0.5},{salt}{'ab'[item % 2]},{salt}{'xyz'[item % 3]},{salt}k")
    return "".join(f"{line}\n" for line in lines).encode()


RANDOM = [
    ("2019-11-24 00:03:36.705207+00:00", 10, 3, 0, 0.029411764705882353, A, A, A, B, {10: 2}),
    ("2019-11-24 00:03:13.442536+00:00", 14, 3, 1, 0.029411764705882353, A, B, A, B, {}),  # not in order of time
    ("2019-11-24 00:05:39+00:00", 33, 1, 0, 0.029411764705882353, B, A, A, B, {10: 1}),  # no microseconds
]
BTS = [("2019-11-25 12:00:00.500000+00:00", 0, 2, 1, 5e-05, C, A, A, B, {})]


def publisher_files(random=RANDOM, bts=BTS, campaign="men"):
    return {
        f"random/{campaign}/{campaign}.csv": log_file(random, campaign),
        f"random/{campaign}/item_context.csv": item_file(campaign),
        f"bts/{campaign}/{campaign}.csv": log_file(bts, campaign),
        f"bts/{campaign}/item_context.csv": item_file(campaign, "other"),  # hashed with another salt
    }


def unpacked(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


MEN = OpenBanditConfig(campaign="men")


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response", "position", "propensity")
    features = (batch[f"context_user_feature_{place}"].tolist() for place in range(4))
    times = np.round(batch["timestamp"] - T, 4).tolist()
    columns = [batch[name].tolist() for name in names]
    return list(zip(*columns, *features, batch["context_affinity"].tolist(), times, strict=True))


def test_rows_by_hand(tmp_path):
    random, bts = read_open_bandit(unpacked(tmp_path / "obd", publisher_files()), tmp_path / "logs", MEN)
    share = 0.029411764705882353
    assert rows_of(random) == [
        (0, 0, 1, 14, 1, 2, share, 0, 1, 0, 0, 0, 193.442),  # sessions in order of time, users by their row
        (1, 0, 0, 10, 0, 2, share, 0, 0, 0, 0, 2, 216.705),  # clicked the item twice before
        (2, 0, 2, 33, 0, 0, share, 1, 0, 0, 0, 0, 339),
    ]
    assert rows_of(bts) == [(3, 0, 3, 0, 1, 1, 5e-05, 2, 0, 0, 0, 0, 129_600.5)]
    assert random.metadata["user_features"] == [[A, B, C], [A, B], [A], [B]]
    assert random.metadata["reading"] == {"rows": 4, "published_rows": 4_530_676, "rows_at_random": 3}
    assert (random.name, bts.name) == ("open-bandit-men-random", "open-bandit-men-bts")


ROWS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.integers(0, 33),
        st.integers(1, 3),
        st.integers(0, 1),
        st.floats(1e-5, 1.0),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=20, deadline=None)
@given(ROWS, ROWS)
def test_against_a_slow_reading(random, bts):
    """Each row a session of a user of its own; sessions of both logs are numbered in order of time, then of rows."""
    users = [(second, user, *rest) for user, (second, *rest) in enumerate(random + bts)]
    expected = [[], []]
    for session, (second, user, item, position, click, share, before) in enumerate(sorted(users)):
        of_row = (session, 0, user, item, click, position - 1, share, 0, 0, 0, 0, before, second)
        expected[user >= len(random)].append(of_row)
    written = [
        [
            (f"2019-11-24 00:00:{second:02}+00:00", item, position, click, share, A, A, A, A, {item: before})
            for second, item, position, click, share, before in rows
        ]
        for rows in (random, bts)
    ]
    with tempfile.TemporaryDirectory() as place:
        logs = read_open_bandit(unpacked(Path(place) / "obd", publisher_files(*written)), Path(place) / "logs", MEN)
        assert [rows_of(log) for log in logs] == expected


def test_item_vectors_are_the_features(tmp_path):
    random, bts = read_open_bandit(unpacked(tmp_path / "obd", publisher_files()), tmp_path / "logs", MEN)
    vectors = random.items.embeddings.numpy()
    number = np.arange(34) - 16.5
    np.testing.assert_allclose(vectors[:, 0], number / number.std(), atol=1e-6)
    assert vectors[4].tolist()[1:] == [1, 0, 0, 1, 0, 1]  # a, y, k
    assert vectors[5].tolist()[1:] == [0, 1, 0, 0, 1, 1]  # b, z, k
    assert [random.metadata["categories"][category] for category in random.items.categories[:3]] == ["a", "b", "a"]
    np.testing.assert_array_equal(bts.items.embeddings, vectors)


def test_every_source_gives_the_same_logs(tmp_path):
    files = publisher_files() | publisher_files(campaign="women") | publisher_files(campaign="all")
    shuffled = files | {"random/men/item_context.csv": item_file().replace(b"\n0,0,", b"\n9,0,")}
    sources = [
        unpacked(tmp_path / "open_bandit_dataset", files),
        archive(tmp_path / "open_bandit_dataset.zip", {f"open_bandit_dataset/{name}": x for name, x in files.items()}),
        unpacked(tmp_path / "other" / "below", shuffled).parent,
    ]
    logs = [read_open_bandit(source, tmp_path / "logs" / str(at), MEN) for at, source in enumerate(sources)]
    for pair in logs[1:]:
        for log, first in zip(pair, logs[0], strict=True):
            assert rows_of(log) == rows_of(first)
            np.testing.assert_array_equal(log.items.embeddings, first.items.embeddings)


@pytest.mark.parametrize("campaign", ["women", "all"])
def test_other_campaigns(tmp_path, campaign):
    source = unpacked(tmp_path / "obd", publisher_files(campaign=campaign))
    random, _ = read_open_bandit(source, tmp_path / "logs", OpenBanditConfig(campaign=campaign))
    assert len(random.items) == ITEMS[campaign] and random.rows == 3


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_open_bandit(source, tmp_path / "logs", MEN)
    assert not [path for path in tmp_path.rglob("*") if "logs" in path.name]
    return caught.value


def replaced(old, new):
    return lambda content: content.replace(old, new, 1)


DAMAGE = {
    "item": ("random/men/men.csv", replaced(b",33,1,0", b",34,1,0"), "item_id", 3, "got 34, allowed 0 to 33"),
    "position": ("random/men/men.csv", replaced(b",14,3,1", b",14,0,1"), "position", 2, "got '0', allowed 1, 2 or 3"),
    "click": ("bts/men/men.csv", replaced(b",0,2,1", b",0,2,2"), "click", 1, "got '2', allowed 0 or 1"),
    "propensity": ("bts/men/men.csv", replaced(b"5e-05", b"0.0"), "propensity_score", 1, "got '0.0', allowed a number"),
    "above one": ("bts/men/men.csv", replaced(b"5e-05", b"1.5"), "propensity_score", 1, "got '1.5'"),
    "no number": ("bts/men/men.csv", replaced(b"5e-05", b"nan"), "propensity_score", 1, "got 'nan'"),
    "time": ("random/men/men.csv", replaced(b"+00:00", b"+09:00"), "timestamp", 1, "got '2019-11-24 00:03:36.705207+"),
    "affinity": ("random/men/men.csv", replaced(b",2.0,", b",two,"), "user-item_affinity_10", 1, "got 'two'"),
    "header": ("random/men/men.csv", replaced(b"propensity_score", b"action_prob"), None, None, "got the header"),
    "campaign": ("random/men/item_context.csv", lambda x: item_file("women"), "item_id", None, "got 46 items from 0"),
    "item twice": ("random/men/item_context.csv", replaced(b"\n9,9,", b"\n9,8,"), "item_id", None, "each of 0 to 33"),
    "feature": ("random/men/item_context.csv", replaced(b"8.5", b"x"), "item_feature_0", 10, "got 'x'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    name, damage, column, row, message = DAMAGE[case]
    files = publisher_files()
    files[name] = damage(files[name])
    error = fails(unpacked(tmp_path / "obd", files), tmp_path)
    assert error.file.endswith(f"obd/{name}") and (error.column, error.row) == (column, row) and message in str(error)


def test_another_campaign_is_not_this_one(tmp_path):
    source = unpacked(tmp_path / "obd", publisher_files(campaign="women"))
    assert "not all of the Open Bandit Dataset: ['random/men/men.csv'," in str(fails(source, tmp_path))
    single = folder(tmp_path / "single", {"men.csv": log_file(RANDOM)})  # random or not, nobody can tell
    assert "['random/men/men.csv', 'bts/men/men.csv'," in str(fails(single, tmp_path))


def test_config_errors():
    with pytest.raises(ValueError, match="open bandit campaign: got 'kids', allowed all, men, women"):
        OpenBanditConfig(campaign="kids")
    with pytest.raises(ValueError, match="reader memory_mb: got 1, allowed 64 or more"):
        OpenBanditConfig(memory_mb=1)


def test_the_command(tmp_path, capsys):
    source = unpacked(tmp_path / "obd", publisher_files())
    assert main(["open-bandit", str(source), "--out", str(tmp_path / "logs"), "--campaign", "men"]) == 0
    text = capsys.readouterr().out
    assert "read 4 rows (the publisher states 4,530,676)" in text and "every row is a session of one impression" in text
    assert "open-bandit-men-random: 3 impressions in 3 sessions of 3 users" in text
