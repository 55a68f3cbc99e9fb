"""Damaged, missing and foreign files of MovieLens: each a ``LogError`` with the place."""

import zipfile

import pytest

from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.movielens import read_movielens
from tests.data.sources.test_movielens import RATINGS, archive, folder, publisher_files, recbole_files, rows_of


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_movielens(source, tmp_path / "log")
    assert not (tmp_path / "log").exists()
    return caught.value


def replaced(old, new):
    return lambda content: content.replace(old, new, 1)


PUBLISHER_DAMAGE = {
    "rating out of range": ("u.data", replaced(b"20\t3\t", b"20\t6\t"), "rating", 2, "got '6', allowed a whole number"),
    "half a star": ("u.data", replaced(b"20\t3\t", b"20\t3.5\t"), "rating", 2, "got '3.5'"),
    "not a number": ("u.data", replaced(b"2\t20", b"two\t20"), "user_id", 3, "got 'two'"),
    "negative time": ("u.data", replaced(b"90000500", b"-9"), "timestamp", 3, "got '-9'"),
    "cut number": ("u.data", lambda x: x[:-1] + b"x", "timestamp", 5, "got '90002800x'"),
    "cut row": (
        "u.data",
        lambda x: x[:-10],
        "timestamp",
        5,
        "a broken row: got 3 fields ('1\\t30\\t4'), allowed 4 (user_",
    ),
    "spaces for tabs": ("u.data", lambda x: x.replace(b"\t", b" "), "item_id", 1, "separated by '\\t'"),
    "unknown movie": ("u.data", replaced(b"1\t10", b"1\t11"), "item_id", 4, "got movie 11, which"),
    "rated twice": ("u.data", replaced(b"1\t10", b"1\t20"), None, 4, "user 1 rated movie 20 in an earlier row too"),
    "too large": ("u.data", replaced(b"2\t20", b"9223372036854775808\t20"), "user_id", 3, "got '9223372036854775808'"),
    "empty": ("u.data", lambda x: b"\n\n", None, None, "the file holds no rows"),
    "field missing": ("u.item", replaced(b"||http", b"|http"), None, 1, "got 23 fields, allowed 24 (item_id, movie_ti"),
    "movie twice": ("u.item", replaced(b"20|Mis", b"10|Mis"), "item_id", 2, "item 10 is duplicated, allowed once"),
    "flag": ("u.item", replaced(b"|0\n", b"|2\n"), "Western", 1, "got '2', allowed 0 or 1"),
    "no genre": ("u.item", replaced(b"||||1|", b"||||0|"), None, 3, "the movie has no genre"),
    "byte order mark": ("u.item", lambda x: b"\xef\xbb\xbf" + x, "item_id", 1, "allowed a whole number"),
    "genre number": ("u.genre", replaced(b"Action|1\n", b"Action|7\n"), "number", 2, "got 7, allowed 1"),
    "another genre": ("u.genre", replaced(b"Action", b"War"), "genre", 2, "got 'War', allowed Action"),
    "genre lost": ("u.genre", replaced(b"Western|18\n\n", b""), "genre", None, "got 18 genres, allowed 19"),
}


@pytest.mark.parametrize("case", PUBLISHER_DAMAGE)
def test_damaged_publisher_files(tmp_path, case):
    name, damage, column, row, message = PUBLISHER_DAMAGE[case]
    files = publisher_files()
    files[name] = damage(files[name])
    error = fails(folder(tmp_path / "ml-100k", files), tmp_path)
    assert error.file.endswith(f"ml-100k/{name}")
    assert (error.column, error.row) == (column, row)
    assert message in str(error)


def test_a_timestamp_that_lost_a_digit(tmp_path):
    ratings = [(user, item, stars, seconds + 790_000_000) for user, item, stars, seconds in RATINGS]
    files = publisher_files(ratings)
    files["u.data"] = files["u.data"][:-2]  # the file is cut inside its last number
    error = fails(folder(tmp_path / "ml-100k", files), tmp_path)
    assert (error.column, error.row) == ("timestamp", 5)
    assert "got 88000280, more than 10 years from other ratings" in str(error)


def test_counts_of_the_publisher_are_held_against_the_rows(tmp_path):
    files = publisher_files() | {"u.info": b"2 users\n5 items\n5 ratings\n"}
    assert read_movielens(folder(tmp_path / "whole", files), tmp_path / "log-whole").rows == 5
    files["u.data"] = files["u.data"][: files["u.data"].rindex(b"\n", 0, -1) + 1]  # cut between two rows
    error = fails(archive(tmp_path / "ml-100k.zip", files, "ml-100k/"), tmp_path)
    assert error.file.endswith("ml-100k.zip/ml-100k/u.info")
    assert "states 5 ratings, but the files hold 4; restore the missing rows" in str(error)


RECBOLE_DAMAGE = {
    "no header": ("ml-100k.inter", lambda x: x.split(b"\n", 1)[1], None, None, "got the header '1\\t40\\t1"),
    "column renamed": ("ml-100k.inter", replaced(b"rating:", b"stars:"), None, None, "\\tstars:float\\ttime"),
    "column missing": ("ml-100k.item", replaced(b"class:", b"kind:"), "class", None, "the column is missing; got"),
    "header alone": ("ml-100k.inter", lambda x: x.split(b"\n")[0], None, None, "holds no rows"),
    "rating": ("ml-100k.inter", replaced(b"40\t1\t", b"40\t0\t"), "rating", 1, "got '0', allowed a whole number"),
    "nan": ("ml-100k.inter", replaced(b"40\t1\t", b"40\tnan\t"), "rating", 1, "got 'nan'"),
    "genre": ("ml-100k.item", replaced(b"Drama", b"Dramma"), "class", 2, "got genre 'Dramma', allowed ['unknown'"),
    "latin-1": ("ml-100k.item", replaced("\u00e9".encode(), b"\xe9"), None, None, "not utf-8 text"),
}


@pytest.mark.parametrize("case", RECBOLE_DAMAGE)
def test_damaged_recbole_files(tmp_path, case):
    name, damage, column, row, message = RECBOLE_DAMAGE[case]
    files = recbole_files()
    files[name] = damage(files[name])
    error = fails(folder(tmp_path / "ml-100k", files), tmp_path)
    assert error.file.endswith(f"ml-100k/{name}")
    assert (error.column, error.row) == (column, row)
    assert message in str(error)


def test_recbole_numbers_may_be_written_as_floats(tmp_path):
    files = recbole_files()
    files["ml-100k.inter"] = files["ml-100k.inter"].replace(b"\t5\t90001000", b"\t5.0\t90001000.0")
    log = read_movielens(folder(tmp_path / "ml-100k", files), tmp_path / "log")
    assert rows_of(log)[1] == (1, 0, 1, 10, 2, 90_001_000)


@pytest.mark.parametrize(("files", "name"), [(publisher_files, "u.genre"), (recbole_files, "ml-100k.item")])
def test_a_missing_file_is_named(tmp_path, files, name):
    content = files()
    del content[name]
    error = fails(archive(tmp_path / "data.zip", content, "ml-100k/"), tmp_path)
    assert error.file == str(tmp_path / "data.zip")
    assert f"[{name!r}] missing; got" in str(error)


def test_wrong_sources(tmp_path):
    assert "no such file or folder" in str(fails(tmp_path / "nowhere.zip", tmp_path))
    other = folder(tmp_path / "netflix", {"combined_data_1.txt": b"1:\n1488844,3,2005-09-06\n"})
    assert "not MovieLens: got ['combined_data_1.txt'], required the ratings as one of ['u.data', 'ratings.dat'" in str(
        fails(other, tmp_path)
    )
    assert "not readable as a zip archive" in str(fails(other / "combined_data_1.txt", tmp_path))
    wrong = archive(tmp_path / "ml-10m.zip", {"README.html": b""}, "ml-10m/")
    assert "not MovieLens: got ['ml-10m/README.html']" in str(fails(wrong, tmp_path))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as file:
        file.writestr("a/u.data", "")
        file.writestr("b/u.data", "")
    assert "got u.data as ['a/u.data', 'b/u.data'], allowed once" in str(fails(tmp_path / "two.zip", tmp_path))
    both = folder(tmp_path / "both", publisher_files() | recbole_files())
    assert f"got ['{both}/u.data', '{both}/ml-100k.inter'], allowed one of them; pass" in str(fails(both, tmp_path))
    assert read_movielens(both / "u.data", tmp_path / "log-of-one").rows == 5


def test_damaged_archives(tmp_path):
    good = archive(tmp_path / "ml-100k.zip", publisher_files(), "ml-100k/").read_bytes()
    cut = tmp_path / "cut.zip"
    for size in (0, 10, len(good) // 2, len(good) - 30):
        cut.write_bytes(good[:size])
        assert "truncated, damaged or of another kind" in str(fails(cut, tmp_path))
    newer = good.replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff", 1)
    cut.write_bytes(newer)  # asks for a version of the format that does not exist
    assert "not readable as a zip archive (zip file version 25.5)" in str(fails(cut, tmp_path))
    flipped = bytearray(good)
    flipped[45] ^= 0xFF  # inside the compressed u.data
    cut.write_bytes(bytes(flipped))
    assert "not readable" in str(fails(cut, tmp_path))
