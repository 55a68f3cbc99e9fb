"""RL4RS from small files in the publisher's format, good and damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.rl4rs import Rl4rsConfig, read_rl4rs, unlocked
from tests.data.sources.test_retailrocket import archive, folder

HEADER = (
    "timestamp@session_id@sequence_id@exposed_items@user_feedback@user_seqfeature@user_protrait@item_feature@"
    "behavior_policy_id"
)
ALL, NOTHING, FIRST = "111111111", "000000000", "111010000"


def record(time, session, sequence, items, feedback):
    """A line; what is known of user and items stands for the publisher's longer lists."""
    seen, portrait = "24,7,1,127", "64054,50887,3.146,0"
    features = ";".join(["-0.2137,2.0783"] * 9)
    return f"{time}@{session}@{sequence}@{items}@{','.join(feedback)}@{seen}@{portrait}@{features}@1"


SLATE, OTHER = "3,5,29,72,53,52,164,211,172", "5,3,1,40,53,52,164,172,283"
SL = [
    record(2992008, 7, 1, SLATE, ALL),
    record(2991000, 9, 1, OTHER, FIRST),  # not in order of time
]
RL = [record(2999000, 7, 1, OTHER, NOTHING)]  # another session 7
B_SL = [
    record(2992060, 7, 2, OTHER, NOTHING),  # not in order of slates
    record(2992008, 7, 1, SLATE, FIRST),
    record(2990000, 1, 1, SLATE, ALL),
]


def content(rows, header=HEADER):
    """As the publisher writes it, with the line ends of Windows."""
    return "".join(f"{line}\r\n" for line in [header, *rows]).encode()


def item_info():
    lines = ["item_id item_vec price location special_item"]
    for item in range(1, 284):
        location = 1 if item < 40 else 2 if item < 148 else 3
        vector = ",".join(["-0.2137", "2.0", *["0.0"] * 37, str(item)])
        lines.append(f"{item} {vector} {item}.5 {location} {2 if item > 278 else 0}")
    return "\n".join(lines).encode()  # no line end at the end


def publisher_files(sl=SL, rl=RL, dataset="a"):
    return {
        f"rl4rs_dataset_{dataset}_sl.csv": content(sl),
        f"rl4rs_dataset_{dataset}_rl.csv": content(rl),
        "item_info.csv": item_info(),
    }


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response", "slate_id", "position", "context_unlocked")
    return list(zip(*(batch[name].tolist() for name in [*names, "timestamp"]), strict=True))


def test_rows_by_hand(tmp_path):
    sl, rl = read_rl4rs(folder(tmp_path / "data", publisher_files()), tmp_path / "logs")
    other, slate = ([int(item) for item in items.split(",")] for items in (OTHER, SLATE))
    assert rows_of(sl) == [
        *(  # the first layer is sold out, so the second is open, and the third is not
            (0, place, 9, item, 2 if place in (0, 1, 2, 4) else 0, 1, place, float(place < 6), 2991000)
            for place, item in enumerate(other)
        ),
        *((1, place, 7, item, 2, 0, place, 1, 2992008) for place, item in enumerate(slate)),
    ]
    assert rows_of(rl) == [
        (2, place, 7, item, 0, 2, place, float(place < 3), 2999000) for place, item in enumerate(other)
    ]
    assert sl.metadata["reading"] == {
        "rows": 3,
        "pages_bought_behind_a_lock": 0,
        "impressions": 27,
        "impressions_locked": 9,
    }
    assert (sl.name, rl.name) == ("rl4rs-a-sl", "rl4rs-a-rl")


def test_items_have_the_publishers_vectors(tmp_path):
    sl, rl = read_rl4rs(folder(tmp_path / "data", publisher_files()), tmp_path / "logs")
    given_vectors = np.zeros((283, 40))
    given_vectors[:, 0], given_vectors[:, 1], given_vectors[:, -1] = -0.2137, 2.0, np.arange(1, 284)
    scale = np.sqrt((given_vectors**2).sum(axis=1).mean())
    np.testing.assert_allclose(sl.items.embeddings, given_vectors / scale, rtol=1e-6)
    np.testing.assert_array_equal(rl.items.embeddings, sl.items.embeddings)
    assert sl.items.item_ids.tolist() == list(range(1, 284)) and sl.items.prices[2] == 3.5
    assert np.bincount(sl.items.categories).tolist() == [39, 108, 136]
    assert sl.metadata["categories"] == ["layer 1", "layer 2", "layer 3"]


def test_sessions_of_several_slates(tmp_path):
    source = folder(tmp_path / "data", publisher_files(B_SL, RL, "b"))
    sl, _ = read_rl4rs(source, tmp_path / "logs", Rl4rsConfig(dataset="b"))
    found = [(session, step, slate, position) for session, step, _, _, _, slate, position, _, _ in rows_of(sl)]
    assert found == [
        *((0, place, 0, place) for place in range(9)),  # session 1 is the earlier one
        *((1, place, 1, place) for place in range(9)),
        *((1, 9 + place, 2, place) for place in range(9)),
    ]
    assert {time for *_, time in rows_of(sl)} == {2990000, 2992008, 2992060}


def test_locked_items_can_be_dropped(tmp_path):
    source = folder(tmp_path / "data", publisher_files(B_SL, RL, "b"))
    sl, rl = read_rl4rs(source, tmp_path / "logs", Rl4rsConfig(dataset="b", locked="drop"))
    found = [(session, step) for session, step, *_ in rows_of(sl)]
    assert found == [
        *((0, step) for step in range(9)),
        *((1, step) for step in range(6)),
        *((1, step) for step in range(9, 12)),
    ]
    assert rl.rows == 3 and sl.metadata["reading"]["impressions_locked"] == 15


@given(st.lists(st.integers(0, 511), min_size=1, max_size=20))
def test_locks_against_a_slow_rule(slates):
    bits = np.array([[slate >> place & 1 for place in range(9)] for slate in slates], dtype=bool)
    is_open, broken = unlocked(bits.reshape(-1, 3, 3))
    for slate, opened, is_broken in zip(bits, is_open, broken, strict=True):
        expected = [True, slate[:3].all(), slate[:6].all()]
        bought_in = [slate[:3].any(), slate[3:6].any(), slate[6:].any()]
        behind = [any(bought_in[layer:]) for layer in range(3)]
        assert opened.tolist() == [bool(a or b) for a, b in zip(expected, behind, strict=True)]
        assert is_broken == any(b and not a for a, b in zip(expected, behind, strict=True))


def test_slates_that_break_the_rule_are_told(tmp_path, capsys):
    rows = [record(5, 1, 1, SLATE, "100010000"), record(6, 2, 1, SLATE, FIRST)]
    source = folder(tmp_path / "data", publisher_files(rows))
    assert main(["rl4rs", str(source), "--out", str(tmp_path / "logs"), "--dataset", "a"]) == 0
    text = capsys.readouterr().out
    assert "read 3 rows\n" in text and "pages bought behind a lock  1" in text
    assert "rl4rs-a-sl: 18 impressions in 2 sessions of 2 users" in text


def test_every_source_gives_the_same_logs(tmp_path):
    files = publisher_files()
    unix = {name: data.replace(b"\r", b"") for name, data in files.items()}
    sources = [
        folder(tmp_path / "rl4rs-dataset", files),
        tmp_path / "rl4rs-dataset" / "rl4rs_dataset_a_rl.csv",
        archive(tmp_path / "rl4rs-dataset.zip", {f"rl4rs-dataset/{name}": data for name, data in files.items()}),
        folder(tmp_path / "materials" / "raw_data", unix).parent,
    ]
    logs = [read_rl4rs(source, tmp_path / "logs" / str(at)) for at, source in enumerate(sources)]
    for pair in logs[1:]:
        assert [rows_of(log) for log in pair] == [rows_of(log) for log in logs[0]]


def fails(files, tmp_path, config=None):
    with pytest.raises(LogError) as caught:
        read_rl4rs(folder(tmp_path / "data", files), tmp_path / "logs", config)
    assert not [path for path in tmp_path.rglob("*") if "logs" in path.name]
    return caught.value


def replaced(old, new):
    return lambda content: content.replace(old, new, 1)


SL_FILE, INFO = "rl4rs_dataset_a_sl.csv", "item_info.csv"
DAMAGE = {
    "eight items": (SL_FILE, replaced(b"3,5,29,", b"5,29,"), "exposed_items", 1, "allowed 9 whole numbers"),
    "36 items": (SL_FILE, replaced(OTHER.encode(), ",".join([OTHER] * 4).encode()), "exposed_items", 2, "allowed 9"),
    "item": (SL_FILE, replaced(b"283@", b"284@"), "exposed_items", 2, "got 284, allowed the items of item_info.csv"),
    "feedback": (SL_FILE, replaced(b"1,1,1,0,1,", b"1,1,2,0,1,"), "user_feedback", 2, "got 2, allowed 0 or 1"),
    "commas": (SL_FILE, lambda x: x.replace(b"@", b";"), None, None, "got the header 'timestamp;session_id;"),
    "shuffled": (SL_FILE, lambda x: x[x.index(b"\n") + 1 :], None, None, "got the header '2992008@7@1@3,5,29"),
    "cut": (SL_FILE, lambda x: x[:-120], None, 2, "a broken row"),
    "gap": (SL_FILE, replaced(b"@7@1@", b"@7@2@"), "sequence_id", None, "got slate 2 of session 7 in place of slate 1"),
    "twice": (SL_FILE, lambda x: x + x[x.index(b"\n") + 1 :], "sequence_id", None, "in place of slate 2, allowed 1, 2"),
    "vector": (INFO, replaced(b"3 -0.2137,", b"3 "), "item_vec", 3, "allowed 40 numbers between commas"),
    "location": (INFO, replaced(b"39.5 1 0", b"39.5 4 0"), "location", 39, "got '4', allowed 1, 2 or 3"),
    "price": (INFO, replaced(b" 39.5 1 0", b" free 1 0"), "price", 39, "got 'free', allowed a number of 0 or more"),
    "old items": (
        INFO,
        replaced(b" special_item", b""),
        None,
        None,
        "got the header 'item_id item_vec price location'",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    name, damage, column, row, message = DAMAGE[case]
    files = publisher_files()
    files[name] = damage(files[name])
    error = fails(files, tmp_path)
    assert error.file.endswith(f"data/{name}") and error.row == row and message in str(error)
    assert column is None or error.column == column


def test_the_other_data_set_is_not_this_one(tmp_path):
    error = fails(publisher_files(), tmp_path, Rl4rsConfig(dataset="b"))
    assert "not all of RL4RS: ['rl4rs_dataset_b_sl.csv', 'rl4rs_dataset_b_rl.csv'] missing" in str(error)


@pytest.mark.parametrize(
    ("settings", "message"), [({"dataset": "c"}, "got 'c', allowed a or b"), ({"locked": ""}, "got ''")]
)
def test_config_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        Rl4rsConfig(**settings)
