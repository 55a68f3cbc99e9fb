"""KuaiRand from small files in the publisher's format, good and damaged."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.kuairand import KuairandConfig, read_kuairand
from recsim_hrl.data.splits import split_by_time
from tests.data.sources.test_retailrocket import archive, folder

SINCE = 1_650_556_800_000
"""Midnight in China at the beginning of 22 April 2022."""
T = SINCE + 3_600_000
MINUTE, DAY = 60_000, 86_400_000
HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)
# As pandas wrote them: whole numbers as floats where some are missing, quotes where a tag list has commas.
VIDEOS = [
    '0,441,NORMAL,2020-07-08,ShortImport,1.0,17200.0,720.0,1280.0,989206467.0,4.0,"12,65"',
    "10,7,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141.0,9.0,39",
    "11,7,AD,2022-04-10,Kmovie,0.0,,,,,,",
    "12,8,NORMAL,2022-04-09,ShortImport,0.0,9233.0,720.0,1280.0,6618412736.0,4.0,12",
    "99,8,NORMAL,2022-04-09,ShortImport,0.0,9233.0,720.0,1280.0,6618412736.0,4.0,39",
]


def row(user, video, time, feedback="", play=0, rand=0, tab=1, duration=17200):
    """One line; ``feedback`` holds a letter for each signal: click, like, follow, comment, forward and long view."""
    click, like, follow, comment, forward, long_view = (int(letter in feedback) for letter in "clfmwv")
    return (
        f"{user},{video},20220422,900,{time},{click},{like},{follow},{comment},{forward},0,{long_view},"
        f"{play},{duration},0,0,0,{rand},{tab}"
    )


EARLY = [row(3, 10, T - 3 * DAY, "c", 8000), row(3, 0, T - 3 * DAY + MINUTE)]
LATE = [
    row(3, 0, T + 40 * MINUTE, "v", 20_000),  # 36 minutes of silence before it: a new visit
    row(3, 12, T, tab=0),  # a page of two columns shows several videos in one moment
    row(3, 11, T, "c", 1500, tab=0),
    row(3, 11, T, "c", 1500, tab=0),  # a row that comes twice
    row(3, 10, T + 2 * MINUTE, "l", 500),  # liked without having been clicked
    row(3, 10, T + 4 * MINUTE),  # shown again in the same visit
    row(0, 10, T + 10 * MINUTE, "cw", 9000),
]
RANDOM = [row(3, 99, T + MINUTE, "c", 7001, rand=1), row(0, 12, T + 11 * MINUTE, rand=1)]
ALL = KuairandConfig(min_item_impressions=1, embedding_dim=3)


def content(rows, header=HEADER):
    return "".join(f"{line}\n" for line in [header, *rows]).encode()


def publisher_files(early=EARLY, late=LATE, random=RANDOM, size="pure", videos=VIDEOS):
    return {
        f"log_standard_4_08_to_4_21_{size}.csv": content(early),
        f"log_random_4_22_to_5_08_{size}.csv": content(random),
        f"log_standard_4_22_to_5_08_{size}.csv": content(late),
        f"video_features_basic_{size}.csv": content(videos, VIDEO_HEADER),
        f"video_features_statistic_{size}.csv": b"not read\n",
    }


def tar(path, files):
    """The publisher's archive: a folder for the size, and the files in its folder ``data``."""
    with tarfile.open(path, "w:gz") as file:
        for name, data in files.items():
            info = tarfile.TarInfo(f"KuaiRand-Pure/data/{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response", "dwell_seconds", "channel")
    times = np.round((batch["timestamp"] - T / 1000) / 60, 3).tolist()
    return list(zip(*(batch[name].tolist() for name in names), times, strict=True))


def test_rows_by_hand(tmp_path):
    standard, random = read_kuairand(tar(tmp_path / "KuaiRand-Pure.tar.gz", publisher_files()), tmp_path / "logs", ALL)
    assert standard.path == tmp_path / "logs" / "standard" and random.path == tmp_path / "logs" / "random"
    assert rows_of(standard) == [
        (0, 0, 3, 10, 1, 8.0, 1, -3 * 24 * 60),
        (0, 1, 3, 0, 0, 0.0, 1, -3 * 24 * 60 + 1),
        (1, 0, 3, 11, 1, 1.5, 0, 0),  # before 12, which has the same moment and a larger id
        (1, 1, 3, 12, 0, 0.0, 0, 0),
        (1, 3, 3, 10, 2, 0.5, 1, 2),  # step 2 was shown at random
        (1, 4, 3, 10, 0, 0.0, 1, 4),
        (2, 0, 0, 10, 2, 9.0, 1, 10),
        (3, 0, 3, 0, 0, 20.0, 1, 40),
    ]
    assert rows_of(random) == [(1, 2, 3, 99, 1, 7.001, 1, 1), (2, 1, 0, 12, 0, 0.0, 1, 11)]
    assert {value for batch in standard.batches() for value in batch["context_duration_seconds"]} == {17.2}
    assert standard.metadata["reading"] == {
        "rows": 11,
        "published_rows": 2_622_668,
        "rows_at_random": 2,
        "rows_twice": 1,
        "visits": 4,
        "longest_visit": 5,
        "items": 5,
        "items_dropped": 0,
        "impressions_dropped": 0,
    }
    assert (standard.metadata["boundary"], standard.metadata["training_sessions"]) == (SINCE / 1000, 1)
    assert (standard.name, random.name) == ("kuairand-pure-standard", "kuairand-pure-random")


def test_both_logs_have_the_same_items(tmp_path):
    standard, random = read_kuairand(folder(tmp_path / "data", publisher_files()), tmp_path / "logs", ALL)
    for log in (standard, random):
        names = [log.metadata["categories"][category] for category in log.items.categories]
        assert log.items.item_ids.tolist() == [0, 10, 11, 12, 99]
        assert names == ["12", "39", "unknown", "12", "39"]  # the first tag
    np.testing.assert_array_equal(standard.items.embeddings, random.items.embeddings)


def test_items_shown_at_random_stay(tmp_path):
    source = folder(tmp_path / "data", publisher_files())
    config = KuairandConfig(min_item_impressions=4, embedding_dim=3)
    standard, random = read_kuairand(source, tmp_path / "logs", config)
    assert standard.items.item_ids.tolist() == [10, 12, 99]  # 99 and 12 have one and two impressions
    assert [item for *_, item, _, _, _, _ in rows_of(random)] == [99, 12]
    assert (standard.metadata["reading"]["items_dropped"], standard.metadata["reading"]["impressions_dropped"]) == (
        2,
        3,
    )
    with pytest.raises(LogError, match="max_items=1 is less than the 2 items that have to stay; raise it"):
        read_kuairand(source, tmp_path / "none", KuairandConfig(min_item_impressions=4, max_items=1))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [1, 0, 1, 0, 2, 0, 2, 0]),
        ({"orders": ("forward", "long_view")}, [1, 0, 1, 0, 0, 0, 2, 2]),
        ({"clicks": ("click", "long_view"), "orders": ()}, [1, 0, 1, 0, 0, 0, 1, 1]),
    ],
)
def test_which_feedback_is_which_response(tmp_path, config, expected):
    source = folder(tmp_path / "data", publisher_files())
    config = KuairandConfig(min_item_impressions=1, embedding_dim=3, **config)
    standard, _ = read_kuairand(source, tmp_path / "logs", config)
    assert [response for *_, response, _, _, _ in rows_of(standard)] == expected


def test_every_source_gives_the_same_logs(tmp_path):
    files = publisher_files()
    swapped = publisher_files(EARLY[::-1], LATE[::-1], RANDOM[::-1], videos=VIDEOS[::-1])
    sources = [
        tar(tmp_path / "KuaiRand-Pure.tar.gz", files),
        folder(tmp_path / "KuaiRand-Pure" / "data", files).parent,
        tmp_path / "KuaiRand-Pure" / "data",
        tmp_path / "KuaiRand-Pure" / "data" / "log_random_4_22_to_5_08_pure.csv",
        archive(tmp_path / "all.zip", {f"KuaiRand-Pure/data/{name}": data for name, data in files.items()}),
        folder(tmp_path / "crlf", {name: data.replace(b"\n", b"\r\n") for name, data in swapped.items()}),
    ]
    logs = [read_kuairand(source, tmp_path / "logs" / str(at), ALL) for at, source in enumerate(sources)]
    for pair in logs[1:]:
        for log, first in zip(pair, logs[0], strict=True):
            assert rows_of(log) == rows_of(first)
            np.testing.assert_array_equal(log.items.embeddings, first.items.embeddings)


def test_the_largest_size_has_its_logs_in_parts(tmp_path):
    files = publisher_files(size="27k")
    for weeks, rows in (("4_08_to_4_21", EARLY), ("4_22_to_5_08", LATE)):
        del files[f"log_standard_{weeks}_27k.csv"]
        for part in (1, 2):
            files[f"log_standard_{weeks}_27k_part{part}.csv"] = content(rows[part - 1 :: 2])
    standard, random = read_kuairand(folder(tmp_path / "27k", files), tmp_path / "logs", ALL)
    pure, _ = read_kuairand(folder(tmp_path / "pure", publisher_files()), tmp_path / "pure-logs", ALL)
    assert rows_of(standard) == rows_of(pure) and random.name == "kuairand-27k-random"
    assert standard.metadata["reading"]["published_rows"] == 323_464_444


def market(tmp_path, name, change=lambda rows: rows, random=RANDOM):
    """Two weeks of ten users with a visit every other day, to 4 of 12 videos each."""
    rng = np.random.default_rng(5)
    shown = []
    for user in range(10):
        for day in (-6, -4, -2, 1, 3):
            start = T + day * DAY + user * 1000
            shown += [(user, video, start + place) for place, video in enumerate(rng.permutation(12)[:4].tolist())]
    rows = [row(*values) for values in change(shown)]
    half = 10 * 3 * 4
    source = folder(tmp_path / name, publisher_files(rows[:half], rows[half:], random))
    config = KuairandConfig(min_item_impressions=1, embedding_dim=5)
    return read_kuairand(source, tmp_path / f"{name}-logs", config)[0]


def test_embeddings_know_what_was_recommended_before_the_experiment_alone(tmp_path):
    def other(later):
        return lambda rows: [(u, 11 - v if (t >= SINCE) == later else v, t) for u, v, t in rows]

    expected = market(tmp_path, "a").items.embeddings.numpy()
    np.testing.assert_array_equal(market(tmp_path, "b", other(True)).items.embeddings, expected)
    assert (market(tmp_path, "c", other(False)).items.embeddings.numpy() != expected).any()
    answered = market(tmp_path, "d", lambda rows: [(*values, "cl", 9000) for values in rows])
    assert answered.report().orders == 200
    np.testing.assert_array_equal(answered.items.embeddings, expected)


def test_embeddings_know_a_pair_of_a_visit_once_and_nothing_random(tmp_path):
    def vectors(name, early, random):
        early = [row(user, video, SINCE - 2 * MINUTE + at) for at, (user, video) in enumerate(early)]
        random = [row(user, video, SINCE + MINUTE + at, rand=1) for at, (user, video) in enumerate(random)]
        source = folder(tmp_path / name, publisher_files(early, [row(1, 10, T), row(1, 0, T), row(1, 11, T)], random))
        return read_kuairand(source, tmp_path / f"{name}-logs", ALL)[0].items.embeddings.numpy()

    early = [(1, 0), (1, 10), (2, 10), (2, 11), (3, 0), (3, 12)]
    expected = vectors("a", early, [(9, 0), (9, 10), (9, 11), (9, 12)])
    np.testing.assert_array_equal(vectors("b", [*early, (1, 0), (1, 0)], [(9, 0), (9, 10), (9, 11), (9, 12)]), expected)
    # The visits of users 1 to 3 begin before midnight and go on with something random after it.
    np.testing.assert_array_equal(vectors("c", early, [(1, 12), (2, 0), (3, 10), (3, 11)]), expected)


def test_the_boundary_is_that_of_the_split_by_time(tmp_path, capsys):
    log = market(tmp_path, "a")
    train, test = split_by_time(log, tmp_path / "halves")
    assert (train.rows, test.rows) == (120, 80)
    by_time, _ = split_by_time(log, tmp_path / "by-time", boundary=log.metadata["boundary"])
    assert (by_time.rows, by_time.metadata["split"]) == (train.rows, train.metadata["split"])
    words = ["split", str(log.path), "--out", str(tmp_path / "by-command")]
    assert main(words) == 0
    assert "120 impressions" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, "--by", "session", "--boundary", "1650556800"])
    assert "boundary: got 1650556800.0 with --by session" in capsys.readouterr().err


SHOWN = st.tuples(st.integers(1, 2), st.integers(0, 4), st.integers(T, T + 6000), st.sampled_from("cl "))


@settings(max_examples=15, deadline=None)
@given(st.lists(SHOWN, min_size=1, max_size=15), st.lists(SHOWN, min_size=1, max_size=5))
def test_against_a_slow_reader(tmp_path_factory, standard, random):
    """A gap of a second, so that six seconds hold several visits."""
    base = tmp_path_factory.mktemp("slow")
    source = folder(
        base / "data",
        publisher_files(EARLY[:1], [row(*shown) for shown in standard], [row(*shown, rand=1) for shown in random]),
    )
    config = KuairandConfig(gap_seconds=1, min_item_impressions=1, embedding_dim=2)
    logs = read_kuairand(source, base / "logs", config)
    strength = {" ": 0, "c": 1, "l": 2}
    shown = {(u, t, v, part, strength[f]) for part, rows in enumerate((standard, random)) for u, v, t, f in rows}
    visits, last = [], None
    for impression in sorted(shown):
        if last is None or last[0] != impression[0] or impression[1] - last[1] > 1000:
            visits.append([])
        visits[-1].append(impression)
        last = impression
    expected = [[], []]
    for number, visit in enumerate(sorted(visits, key=lambda visit: (visit[0][1], visit[0][0])), start=1):
        for step, (user, _, video, part, response) in enumerate(visit):
            expected[part].append((number, step, user, video, response))
    found = [[found[:5] for found in rows_of(log)] for log in logs]
    assert found[0][1:] == expected[0] and found[1] == expected[1]  # the first is EARLY's


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_kuairand(source, tmp_path / "logs", ALL)
    assert not [path for path in tmp_path.rglob("*") if "logs" in path.name]
    return caught.value


DAMAGE = {
    "seconds": ("log_random", lambda x: x.replace(b"000,1,0", b",1,0", 1), "time_ms", 1, "in April or May 2022"),
    "flag": (
        "log_standard_4_22",
        lambda x: x.replace(b",1,0,0", b",2,0,0", 1),
        "is_click",
        3,
        "got '2', allowed 0 or 1",
    ),
    "tab": ("log_standard_4_08", lambda x: x[:-2] + b"15\n", "tab", 2, "got '15', allowed a whole number from 0 to 14"),
    "cut": ("log_standard_4_08", lambda x: x[:-9], None, 2, "a broken row"),
    "header": ("log_random", lambda x: x.replace(b"is_rand", b"rand", 1), None, None, "got the header"),
    "old random": ("log_standard_4_08", lambda x: x[:-4] + b"1,1\n", "is_rand", 2, "got 1 before 22 April 2022"),
    "empty": ("log_random", lambda x: b"", None, None, "the file is empty"),
    "tags": (
        "video_features_basic",
        lambda x: x.replace(b'"12,65"', b'"12;65"'),
        "tag",
        1,
        "got '12;65', allowed whole",
    ),
    "unquoted": ("video_features_basic", lambda x: x.replace(b'"', b""), None, 1, "got 13 fields"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    start, damage, column, number, message = DAMAGE[case]
    files = publisher_files()
    name = next(name for name in files if name.startswith(start))
    files[name] = damage(files[name])
    error = fails(folder(tmp_path / "data", files), tmp_path)
    assert error.file.endswith(f"data/{name}") and error.row == number and message in str(error)
    assert column is None or error.column == column


def test_sizes_that_are_not_whole_or_not_alone(tmp_path):
    files = publisher_files(size="1k")
    del files["log_random_4_22_to_5_08_1k.csv"]
    error = fails(folder(tmp_path / "part", files), tmp_path)
    assert "not all of KuaiRand: ['log_random_4_22_to_5_08_1k.csv'] missing" in str(error)
    both = folder(tmp_path / "both", publisher_files() | publisher_files(size="1k"))
    assert "got KuaiRand in the sizes ['pure', '1k'], allowed one" in str(fails(both, tmp_path))


def test_damaged_archives(tmp_path):
    whole = tar(tmp_path / "KuaiRand-Pure.tar.gz", publisher_files()).read_bytes()
    for damaged in (b"", whole[:100], whole[:-20], whole[:400] + b"\0" + whole[401:]):
        (tmp_path / "bad.tar.gz").write_bytes(damaged)
        assert "not readable as a tar archive" in str(fails(tmp_path / "bad.tar.gz", tmp_path))


def test_logs_without_anything_at_random_are_refused_and_older_ones_survive(tmp_path):
    logs = read_kuairand(folder(tmp_path / "data", publisher_files()), tmp_path / "out", ALL)
    only = folder(tmp_path / "only", publisher_files(random=[row(3, 99, T)]))
    with pytest.raises(LogError, match="nothing is left for this log"):
        read_kuairand(only, tmp_path / "out", ALL)
    assert [len(rows_of(log)) for log in logs] == [8, 2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["random", "standard"]


def test_config_errors():
    with pytest.raises(ValueError, match=r"kuairand orders: got \['share'\], allowed click, like, follow"):
        KuairandConfig(orders=("like", "share"))
    with pytest.raises(ValueError, match="reader gap_seconds: got -1, allowed 0 or more"):
        KuairandConfig(gap_seconds=-1)


def test_the_command(tmp_path, capsys):
    source = tar(tmp_path / "KuaiRand-Pure.tar.gz", publisher_files())
    words = ["--min-item-impressions", "1", "--embedding-dim", "3", "--orders", "like", "long_view"]
    assert main(["kuairand", str(source), "--out", str(tmp_path / "logs"), *words]) == 0
    text = capsys.readouterr().out
    assert "read 11 rows (the publisher states 2,622,668)" in text and "rows twice" in text
    assert "kuairand-pure-standard: 8 impressions in 4 sessions of 2 users" in text
    assert "kuairand-pure-random: 2 impressions in 2 sessions of 2 users" in text
