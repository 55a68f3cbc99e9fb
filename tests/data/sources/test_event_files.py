"""Files of event logs, found wherever they lie, and parsed exactly or refused with file, row and column."""

import io
import re
import tarfile
import zipfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources import event_files
from recsim_hrl.data.sources.event_fields import optional_whole, signed, text, utc_time, whole, word
from recsim_hrl.data.sources.event_files import Place, TextTable, find_files, read_table

TABLE = TextTable("a.csv", (whole("id"), word("kind", ("view", "buy")), optional_whole("order")), is_headed=True)
BARE = TextTable("a.csv", (whole("id"), signed("time")), is_headed=False)
GOOD = b"id,kind,order\n7,view,\n8,buy,3\n"


def rows_of(path, table):
    """Every row as a tuple, and the number of the first row of each block."""
    rows, firsts = [], []
    for origin, columns in read_table(Place(path), table):
        firsts.append(origin.first_row)
        rows += zip(*(columns[name].to_pylist() for name in table.names), strict=True)
    return rows, firsts


def parsed(tmp_path, content, table=TABLE):
    (tmp_path / "a.csv").write_bytes(content)
    return rows_of(tmp_path / "a.csv", table)[0]


def fails(tmp_path, content, table=TABLE):
    with pytest.raises(LogError) as caught:
        parsed(tmp_path, content, table)
    assert caught.value.file == str(tmp_path / "a.csv")
    return caught.value


@pytest.mark.parametrize(
    "content",
    [GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD[:-1], b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"8,buy", b"\n\n8,buy")],
)
def test_line_ends_blank_lines_and_a_byte_order_mark(tmp_path, content):
    assert parsed(tmp_path, content) == [(7, 0, -1), (8, 1, 3)]


def test_a_file_without_header(tmp_path):
    assert parsed(tmp_path, b"1,-5\n2,1511544070\n", BARE) == [(1, -5), (2, 1511544070)]


def test_rows_are_counted_through_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(event_files, "_BLOCK_BYTES", 64)
    lines = [f"{row},{-row}\n".encode() for row in range(1, 101)]
    (tmp_path / "a.csv").write_bytes(b"".join(lines))
    rows, firsts = rows_of(tmp_path / "a.csv", BARE)
    assert rows == [(row, -row) for row in range(1, 101)] and len(firsts) > 5
    lines[77] = b"78,x\n"
    error = fails(tmp_path, b"".join(lines), BARE)
    assert (error.row, error.column) == (78, "time") and "row 78 (line 78): got 'x'" in str(error)
    lines[77], lines[80] = b"78,1\n", b"81\n"
    assert fails(tmp_path, b"".join(lines), BARE).row == 81


DAMAGE = {
    "another header": (
        b"id,kind,number\n7,view,\n",
        None,
        None,
        "got the header 'id,kind,number', allowed",
    ),
    "no header": (b"7,view,\n8,buy,3\n", None, None, "got the header '7,view,'"),
    "header of other width": (b"id,kind\n7,view\n", None, None, "got the header 'id,kind'"),
    "cut row": (GOOD[:-6], None, 2, "a broken row: got 2 fields ('8,'), allowed 3 (id, kind, order)"),
    "cut row, not UTF-8": (GOOD + b"9,\xff\n", "order", 3, "got 2 fields ('9,\\\\xff'), allowed 3"),
    "field too many": (GOOD + b"9,view,,\n", None, 3, "got 4 fields ('9,view,,'), allowed 3"),
    "not a number": (GOOD.replace(b"8", b"eight"), "id", 2, "row 2 (line 3): got 'eight', allowed a whole number"),
    "negative": (GOOD.replace(b"8", b"-8"), "id", 2, "got '-8'"),
    "a half": (GOOD.replace(b"8", b"8.5"), "id", 2, "got '8.5'"),
    "space": (GOOD.replace(b"8", b" 8"), "id", 2, "got ' 8'"),
    "nothing": (GOOD.replace(b"8", b""), "id", 2, "got ''"),
    "too large": (GOOD.replace(b"8", b"9" * 19), "id", 2, "got '9999999999999999999'"),
    "unknown word": (GOOD.replace(b"buy", b"sell"), "kind", 2, "got 'sell', allowed view or buy"),
    "quotes": (GOOD.replace(b"8", b'"8"'), "id", 2, "got '\"8\"'"),
    "not utf-8": (GOOD.replace(b"buy", b"b\xff"), "kind", 2, "got 'b\\\\xff'"),
    "no utf-8 header": (b"\xff" + GOOD, None, None, "got the header '\\\\xffid,kind,order'"),
    "empty": (b"", None, None, "the file is empty"),
    "blank": (b"\n\r\n\n", None, None, "the file holds no rows"),
    "header alone": (b"id,kind,order\n", None, None, "the file holds no rows"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    content, column, row, message = DAMAGE[case]
    error = fails(tmp_path, content)
    assert error.row == row and message in str(error)
    assert column is None or error.column == column


NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
SIGNED = re.compile(r"-?[0-9]{1,15}", re.ASCII)
CELL = st.one_of(
    st.integers(-5, 10**19).map(str),
    st.text(st.characters(exclude_characters=",\r\n", exclude_categories=("Cs",)), max_size=6),
    st.sampled_from(["view", "buy", "View", "", "0x1F", "+1", "1e3", "-", "--1", "\u0663", "1\x00"]),
)


@settings(deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6))
def test_the_parser_takes_what_a_slow_one_takes(tmp_path_factory, cells):
    def allowed(number, kind, order):
        return NUMBER.fullmatch(number) and kind in ("view", "buy") and (not order or NUMBER.fullmatch(order))

    content = "id,kind,order\n" + "".join(",".join(row) + "\n" for row in cells)
    folder = tmp_path_factory.mktemp("cells")
    if all(allowed(*row) for row in cells):
        expected = [(int(a), ("view", "buy").index(b), int(c) if c else -1) for a, b, c in cells]
        assert parsed(folder, content.encode()) == expected
    else:
        assert not allowed(*cells[fails(folder, content.encode()).row - 1])


@settings(deadline=None)
@given(st.integers(-(10**18), 10**18) | CELL)
def test_signed_numbers(value):
    written = str(value)
    found = signed("time").convert(pa.array([written]))
    assert found.to_pylist() == [int(written) if SIGNED.fullmatch(written) else None]


@settings(deadline=None)
@given(st.datetimes(datetime(2014, 1, 1), datetime(2014, 12, 31)))
def test_moments(moment):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    field = utc_time("time", "a moment", 0, 2**60)
    written = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
    assert field.convert(pa.array([written])).to_pylist() == [round(moment.timestamp() * 1000)]


@pytest.mark.parametrize(
    "text",
    ["2014-02-30T00:00:00.000Z", "2014-04-07 10:51:09.277Z", "2014-04-07T10:51:09.277", "2014-04-07T25:51:09.277Z"],
)
def test_what_is_no_moment(tmp_path, text):
    table = TextTable("a.csv", (utc_time("time", "a moment in UTC", 0, 2**60),), is_headed=False)
    error = fails(tmp_path, f"2014-04-07T10:51:09.277Z\n{text}\n".encode(), table)
    assert (error.row, error.column) == (2, "time") and f"got '{text}', allowed a moment in UTC" in str(error)


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_files_are_found_wherever_they_lie(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_bytes(GOOD)
    zipped(folder / "b.csv.zip", {"b.csv": GOOD})
    archive = zipped(tmp_path / "all.zip", {"data/a.csv": GOOD, "data/b.csv": GOOD, "__MACOSX/data/._a.csv": b"x"})
    for source in (folder, folder / "a.csv", archive):
        found = find_files(source, ("a.csv", "b.csv"), "Some Shop")
        for place in found.values():
            assert sum(len(columns["id"]) for _, columns in read_table(place, TABLE)) == 2
    assert found["a.csv"].label == f"{archive}/data/a.csv"
    assert list(find_files(archive, ("a.csv",), "Some Shop", optional=("b.csv", "c.csv"))) == ["a.csv", "b.csv"]


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_files_lie_below_the_folder_or_in_tar_archives(tmp_path):
    members = {"all/x/a.csv": GOOD, "all/y/a.csv": GOOD, "all/b.csv": GOOD, "all/b.csv.md5": b"x"}
    folder = tmp_path / "folder"
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "y").mkdir()
    (packed / "y" / "a.csv").write_bytes(GOOD)
    tarred(packed / "rest.tar", {"all/b.csv": GOOD}, "w")
    names = ("y/a.csv", "b.csv")
    for source in (folder, tarred(tmp_path / "all.tar.gz", members), packed, packed / "rest.tar"):
        found = find_files(source, names, "Some Shop", archives=("rest.tar",))
        assert [rows_of_place(found[name]) for name in names] == [2, 2]
    assert found["b.csv"].label == f"{packed}/rest.tar/all/b.csv"
    with pytest.raises(LogError, match=r"got a.csv as \['all/x/a.csv', 'all/y/a.csv'\], allowed once"):
        find_files(folder, ("a.csv",), "Some Shop")
    (folder / "a.csv").write_bytes(GOOD)  # where it was looked for first
    assert find_files(folder, ("a.csv",), "Some Shop")["a.csv"].path == folder / "a.csv"


def rows_of_place(place):
    return sum(len(columns["id"]) for _, columns in read_table(place, TABLE))


def test_other_separators_and_quotes(tmp_path):
    table = TextTable("a.csv", (whole("id"), text("words")), is_headed=True, separator="@")
    assert parsed(tmp_path, b"id@words\n1@a,b\n", table) == [(1, "a,b")]
    error = fails(tmp_path, b"id@words\n1,a\n", table)
    assert error.row == 1 and "got 1 fields ('1,a'), allowed 2 (id, words) separated by '@'" in str(error)
    assert "got the header 'id@word', allowed 'id@words'" in str(fails(tmp_path, b"id@word\n1@a\n", table))
    quoted = TextTable("a.csv", (whole("id"), text("words")), is_headed=True, is_quoted=True)
    assert parsed(tmp_path, b'id,words\n1,"a,b"\n2,c\n', quoted) == [(1, "a,b"), (2, "c")]
    error = fails(tmp_path, b'id,words\n1,"a,b"\n2,"c,d",\xff\n', quoted)  # a separator in quotes breaks no row
    assert error.row == 2 and "got 3 fields ('2,\"c,d\",\\\\xff'), allowed 2" in str(error)


def test_separators_of_two_characters(tmp_path):
    table = TextTable("a.csv", (whole("id"), text("words")), True, separator="::", headings=("Id", "Words"))
    assert parsed(tmp_path, b"Id::Words\n1::a\n2::b\n", table) == [(1, "a"), (2, "b")]
    error = fails(tmp_path, b"Id::Words\n1::a\n2:b:c\n", table)
    assert (error.row, error.column) == (2, "words") and "got 1 fields ('2:b:c'), allowed 2" in str(error)
    assert "got the header 'Id:x:Words', allowed 'Id::Words'" in str(fails(tmp_path, b"Id:x:Words\n1::a\n", table))


def test_an_error_inside_an_archive_names_the_row(tmp_path):
    archive = zipped(tmp_path / "all.zip", {"data/a.csv": GOOD.replace(b"8", b"x")})
    with pytest.raises(LogError, match=r"all.zip/data/a.csv, column 'id', row 2: got 'x'"):
        list(read_table(find_files(archive, ("a.csv",), "Some Shop")["a.csv"], TABLE))


def test_sources_that_do_not_hold_the_files(tmp_path):
    def message(source):
        with pytest.raises(LogError) as caught:
            find_files(source, ("a.csv", "b.csv"), "Some Shop")
        return str(caught.value)

    (tmp_path / "a.csv").write_bytes(GOOD)
    assert "no such file or folder; check the path, or download Some Shop there" in message(tmp_path / "nowhere")
    assert "not all of Some Shop: ['b.csv'] missing; got ['a.csv'], required ['a.csv', 'b.csv']" in message(tmp_path)
    assert "['b.csv'] missing" in message(tmp_path / "a.csv")
    (tmp_path / "data.7z").write_bytes(b"7z")
    assert "got a .7z file, allowed .zip and .tar.gz; extract it and pass the folder" in message(tmp_path / "data.7z")
    (tmp_path / "other.csv").write_bytes(GOOD)
    assert "not readable as a zip archive" in message(tmp_path / "other.csv")
    assert "allowed once" in message(zipped(tmp_path / "two.zip", {"x/a.csv": b"", "y/a.csv": b""}))
    assert "['a.csv', 'b.csv'] missing" in message(zipped(tmp_path / "none.zip", {"c.csv": b""}))


def test_damaged_archives(tmp_path):
    noise = np.random.default_rng(0).integers(0, 10**15, 5000)
    content = b"id,kind,order\n" + b"".join(b"%d,view,\n" % number for number in noise)
    good = zipped(tmp_path / "all.zip", {"a.csv": content}).read_bytes()
    cut = tmp_path / "cut.zip"
    for size in (0, 10, len(good) // 2, len(good) - 30):
        cut.write_bytes(good[:size])
        with pytest.raises(LogError, match="truncated, damaged or of another kind"):
            find_files(cut, ("a.csv",), "Some Shop")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    cut.write_bytes(bytes(flipped))
    with pytest.raises(LogError, match="cut.zip/a.csv"):
        list(read_table(find_files(cut, ("a.csv",), "Some Shop")["a.csv"], TABLE))
    stored = tmp_path / "stored.zip"
    with zipfile.ZipFile(stored, "w") as file:
        file.writestr("a.csv", GOOD)
    stored.write_bytes(stored.read_bytes().replace(b"8,buy", b"9,buy"))  # a good file, but not the one of the checksum
    with pytest.raises(LogError, match="Bad CRC-32 for file 'a.csv'.; the file is damaged"):
        list(read_table(find_files(stored, ("a.csv",), "Some Shop")["a.csv"], TABLE))
