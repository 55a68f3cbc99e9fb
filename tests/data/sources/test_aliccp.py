"""Ali-CCP from small files in the publisher's format, good and damaged."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.aliccp import AliccpConfig, read_aliccp
from tests.data.sources.test_event_files import tarred
from tests.data.sources.test_retailrocket import archive, folder

A, B, C = "bacff91692951881", "000a1b2c3d4e5f60", "ffffffffffffffff"


def features(*pairs):
    """Field, 2, value, 3, weight; between two of them 1."""
    return "\x01".join(f"{field}\x02{value}\x03{weight}" for field, value, weight in pairs)


def row(number, click, conversion, page, item, category=None):
    listed = [("216", 9154780, "1.0"), ("205", item, "1.0"), ("508", 205, "2.30259")]
    listed += [("206", category, "1.0")] if category else []
    return f"{number},{click},{conversion},{page},{len(listed)},{features(*listed)}"


def common(page, user):
    listed = [("150_14", 4101, "0.69315"), ("121", 3438658, "1.0")] + ([("101", user, "1.0")] if user else [])
    return f"{page},{len(listed)},{features(*listed)}"


TRAIN = [
    row(1, 0, 0, A, 4186222, 8316799),
    row(2, 1, 0, A, 4186855, 8316799),
    row(3, 0, 1, A, 11, 8316799),  # converted without a click
    row(4, 1, 1, B, 4186222, 77),  # another category, told less often over both halves
    row(5, 0, 0, A, 4186855),  # of the first page again
]
TEST = [
    row(1, 0, 0, A, 4479003, 8316676),  # another list of features under the same index
    row(2, 0, 0, C, 4186222, 8316799),
    row(3, 1, 0, C, 4479003, 8316676),
]
PAGES = ([common(A, 31390), common(B, 31390), common(C, 5)], [common(A, 1), common(C, None)])
ALL = AliccpConfig(min_item_impressions=1, embedding_dim=3)


def content(rows):
    return "".join(f"{line}\n" for line in rows).encode()


def publisher_files(train=TRAIN, test=TEST, pages=PAGES):
    return {
        "sample_skeleton_train.csv": content(train),
        "common_features_train.csv": content(pages[0]),
        "sample_skeleton_test.csv": content(test),
        "common_features_test.csv": content(pages[1]),
    }


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response")
    return list(zip(*(batch[name].tolist() for name in names), strict=True))


def test_rows_by_hand(tmp_path):
    train, test = read_aliccp(folder(tmp_path / "data", publisher_files()), tmp_path / "logs", ALL)
    assert rows_of(train) == [
        (0, 0, 31390, 4186222, 0),
        (0, 1, 31390, 4186855, 1),
        (0, 2, 31390, 4186855, 0),
        (1, 0, 31390, 4186222, 2),
    ]
    assert rows_of(test) == [
        (2, 0, 1, 4479003, 0),
        (3, 0, -5, 4186222, 0),  # no user: one of its own, by its place among all pages
        (3, 1, -5, 4479003, 1),
    ]
    assert "timestamp" not in train.columns and "boundary" not in train.metadata
    names = [train.metadata["categories"][category] for category in train.items.categories]
    assert list(zip(train.items.item_ids.tolist(), names, strict=True)) == [
        (4186222, "8316799"),
        (4186855, "8316799"),
        (4479003, "8316676"),
    ]
    assert train.metadata["reading"] == {
        "rows": 8,
        "conversions_without_click": 1,
        "pages": 5,
        "pages_without_user": 1,
        "visits": 4,
        "longest_visit": 3,
        "items": 3,
        "items_dropped": 0,
        "impressions_dropped": 0,
    }
    assert train.metadata["warnings"] == test.metadata["warnings"] and "has no time" in train.metadata["warnings"][0]


KINDS = st.sampled_from([(0, 0), (1, 0), (1, 1), (0, 1)])
HALF = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), KINDS), max_size=12)


@settings(max_examples=20, deadline=None)
@given(HALF, HALF)
def test_against_a_slow_reading(first, second):
    """Pages in order of their first rows that count, each in the order of the file; who converts has clicked."""
    known = [(page, item, (0, 0)) for page in range(4) for item in (1, 2, 3, 4)]  # so that items can be embedded
    halves = [known + first, known + second]
    skeletons = [
        [row(at, *answer, f"{page:016x}", item, 7) for at, (page, item, answer) in enumerate(half)] for half in halves
    ]
    pages = [[common(f"{page:016x}", 10 * half + page + 1) for page in range(4)] for half in range(2)]
    expected, visits = [[], []], 0
    for half, rows in enumerate(halves):
        counted = [(page, item, click + bought) for page, item, (click, bought) in rows if click >= bought]
        for page in dict.fromkeys(page for page, _, _ in counted):
            shown = [(item, response) for of, item, response in counted if of == page]
            user = 10 * half + page + 1
            expected[half] += [(visits, step, user, item, response) for step, (item, response) in enumerate(shown)]
            visits += 1
    with tempfile.TemporaryDirectory() as place:
        source = folder(Path(place) / "data", publisher_files(*skeletons, pages))
        logs = read_aliccp(source, Path(place) / "logs", ALL)
        assert [rows_of(log) for log in logs] == expected


def test_of_two_categories_that_are_told_as_often_the_smaller_stays(tmp_path):
    source = folder(tmp_path / "data", publisher_files(TRAIN, TEST[:1]))
    train, _ = read_aliccp(source, tmp_path / "logs", ALL)
    assert train.metadata["categories"][train.items.categories[0]] == "77"


def test_every_source_gives_the_same_logs(tmp_path):
    files = publisher_files()
    halves = [{name: data for name, data in files.items() if part in name} for part in ("train", "test")]
    packed, below = tmp_path / "packed", tmp_path / "below"
    packed.mkdir()
    for part, half in zip(("train", "test"), halves, strict=True):
        tarred(packed / f"sample_{part}.tar.gz", half)
        folder(below / f"sample_{part}", half)
    sources = [
        folder(tmp_path / "data", files),
        tmp_path / "data" / "common_features_test.csv",
        packed,
        packed / "sample_test.tar.gz",
        below,
        archive(tmp_path / "all.zip", {f"ali-ccp/{name}": data for name, data in files.items()}),
    ]
    logs = [read_aliccp(source, tmp_path / "logs" / str(at), ALL) for at, source in enumerate(sources)]
    for pair in logs[1:]:
        for log, first in zip(pair, logs[0], strict=True):
            assert rows_of(log) == rows_of(first)
            np.testing.assert_array_equal(log.items.embeddings, first.items.embeddings)


def market(tmp_path, name, change_train=lambda item: item, change_test=lambda item: item, response=(0, 0)):
    """Twenty pages of four of twelve items, half of them for tests."""
    rng = np.random.default_rng(5)
    parts = []
    for change in (change_train, change_test):
        shown = [(page, change(item)) for page in range(10) for item in rng.permutation(12)[:4].tolist()]
        parts.append([row(at, *response, f"{page:016x}", 1 + item, 9) for at, (page, item) in enumerate(shown)])
    pages = [common(f"{page:016x}", page + 1) for page in range(10)]
    source = folder(tmp_path / name, publisher_files(*parts, (pages, pages)))
    config = AliccpConfig(min_item_impressions=1, embedding_dim=5)
    return read_aliccp(source, tmp_path / f"{name}-logs", config)[0]


def test_embeddings_know_the_training_half_alone(tmp_path):
    def other(item):
        return 11 - item

    expected = market(tmp_path, "a").items.embeddings.numpy()
    np.testing.assert_array_equal(market(tmp_path, "b", change_test=other).items.embeddings, expected)
    assert (market(tmp_path, "c", change_train=other).items.embeddings.numpy() != expected).any()
    bought = market(tmp_path, "d", response=(1, 1))
    assert bought.report().orders == 40
    np.testing.assert_array_equal(bought.items.embeddings, expected)


def test_long_visits_are_cut_and_rare_items_go(tmp_path):
    train = [row(at, 0, 0, A, 7 if at % 2 else 8, 1) for at in range(8)] + [row(9, 0, 0, A, 9, 1)]
    test = [row(1, 0, 0, C, 7, 1)]
    source = folder(tmp_path / "data", publisher_files(train, test))
    config = AliccpConfig(session_length=4, min_item_impressions=2, embedding_dim=2)
    train, test = read_aliccp(source, tmp_path / "logs", config)
    assert [(session, step) for session, step, *_ in rows_of(train)] == [(s, t) for s in (0, 1) for t in range(4)]
    assert rows_of(test) == [(2, 0, -5, 7, 0)] and train.metadata["reading"]["items_dropped"] == 1


def fails(files, tmp_path):
    with pytest.raises(LogError) as caught:
        read_aliccp(folder(tmp_path / "data", files), tmp_path / "logs", ALL)
    assert not [path for path in tmp_path.rglob("*") if "logs" in path.name]
    return caught.value


def replaced(old, new):
    return lambda content: content.replace(old, new, 1)


SKELETON, COMMON = "sample_skeleton_train.csv", "common_features_train.csv"
LOST = f"common_feature_index {B} has 1 impressions and no row, allowed one; the two files are not of one download"
DAMAGE = {
    "click": (SKELETON, replaced(b"2,1,0", b"2,yes,0"), "click", 2, "got 'yes', allowed 0 or 1"),
    "no item": (SKELETON, replaced(b"205\x024186855", b"206\x024186855"), "feature_list", 2, "with feature 205"),
    "bytes": (SKELETON, lambda x: x.replace(b"\x02", b":"), "feature_list", 1, "with feature 205"),
    "other file": (SKELETON, lambda x: publisher_files()[COMMON], None, 1, "got 3 fields"),
    "cut": (SKELETON, lambda x: x[:-60], None, 5, "a broken row"),
    "lost page": (COMMON, lambda x: x.replace(content([PAGES[0][1]]), b""), "common_feature_index", None, LOST),
    "page twice": (COMMON, lambda x: x + x, "common_feature_index", None, f"{B} has 2 rows, allowed one"),
    "empty": ("common_features_test.csv", lambda x: b"", None, None, "the file is empty"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    name, damage, column, number, message = DAMAGE[case]
    files = publisher_files()
    files[name] = damage(files[name])
    error = fails(files, tmp_path)
    assert error.file.endswith(f"data/{name}") and error.row == number and message in str(error)
    assert column is None or error.column == column


def test_half_of_it_is_not_all(tmp_path):
    files = {name: data for name, data in publisher_files().items() if "train" in name}
    assert "not all of Ali-CCP: ['sample_skeleton_test.csv', 'common_features_test.csv'] missing" in str(
        fails(files, tmp_path)
    )


def test_the_command_warns(tmp_path, capsys):
    source = folder(tmp_path / "data", publisher_files())
    words = ["--min-item-impressions", "1", "--embedding-dim", "3"]
    assert main(["ali-ccp", str(source), "--out", str(tmp_path / "logs"), *words]) == 0
    text = capsys.readouterr().out
    assert "read 8 rows\n" in text and "Ali-CCP has no time" in text
    assert "ali-ccp-train: 4 impressions in 2 sessions of 1 users" in text
    assert "ali-ccp-test: 3 impressions in 2 sessions of 2 users" in text
