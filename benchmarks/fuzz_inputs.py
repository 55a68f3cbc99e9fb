"""Malformed inputs for :mod:`benchmarks.fuzz`: valid logs and simulators, and what may happen to their files.

An input is a function of the reader, the level, the seed and its number, so that each can be made again.
"""

import dataclasses
import hashlib
import io
import json
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as dump_arrays

from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.simulator.annex import annex_bytes
from recsim_hrl.simulator.folder import ABOUT_FILE, ARRAYS_FILE, load_data
from recsim_hrl.simulator.leaving import LEAVING_FILE, STEP_TERMS, LeaveModel, traces_of
from recsim_hrl.simulator.store import random_simulator, save_simulator
from recsim_hrl.simulator.support import CELLS, SUPPORT_FILE, Support

Files = dict[str, bytes]
"""Content by path inside the folder."""

LEVELS = ("bytes", "structure")
"""Bytes of a file are changed; or its cells, columns, types, entries and shapes, so that it stays one of its kind."""

_TEXTS = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "2",
        "3",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1.5",
        "0x10",
        "1_000",
        "+1",
        "007",
        "--",
        "null",
    ),
    *("skip", "order", "\u0661", "\ufeff", "\u2028", "\x00", '"', "'", ",", "\n", "\r", ";", "\t", "\\", "a" * 5000),
    *(str(2**63 - 1), str(-(2**63)), str(2**63), str(2**64), "9" * 400, "1" + "0" * 30, "2001-01-01", "True", "[1, 2]"),
)
_BITS = (
    b"\x00",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x80",
    b"PAR1",
    b"\x00" * 64,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 1.5, 1e308, float("nan"), float("inf"), 10**30, -(10**30), "", "x", "x" * 5000),
    *(
        [],
        {},
        [1],
        [[]],
        {"a": 1},
        ["a", None],
        "\x00",
        "../..",
        [0.0],
        [-1.0],
        [1e-300] * 3,
        [float("nan")],
        2**31,
        2**63,
    ),
)
_TYPES = (
    *(pa.int8(), pa.int32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string()),
    *(
        pa.large_string(),
        pa.binary(),
        pa.date32(),
        pa.timestamp("ns"),
        pa.decimal128(38, 3),
        pa.null(),
        pa.duration("s"),
    ),
)


def valid_files(reader: str) -> Files:
    """A log in the form "csv" or "parquet", or a "simulator", small and whole."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "input"
        if reader == "simulator":
            simulator = random_simulator(items=12, embedding_dim=3, users=4, categories=3)
            support = Support(np.arange(12, dtype=np.float32), np.arange(5.0), np.full(CELLS, 300))
            inputs = traces_of(simulator.model.config) + STEP_TERMS
            leaving = LeaveModel(*np.ones((3, inputs)), np.ones((inputs, 2)), *np.ones((2, 2)), np.ones(1))
            save_simulator(dataclasses.replace(simulator, support=support, leaving=leaving), folder)
        else:
            _write_log(folder, reader)
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }


def read_input(reader: str, folder: Path) -> None:
    """What a user's program does first with such a folder: every row of a log, the users of a simulator."""
    if reader == "simulator":
        data = load_data(folder)
        if data.leaving is not None:
            data.leaving.hazards(data.memories.whole, np.ones(len(data.visits), np.int64))
    else:
        InteractionLog.open(folder).validate()


def malformed(reader: str, level: str, files: Files, seed: int, number: int) -> Files:
    """The input with this number: ``files`` with one to three changes."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{reader} {level}".encode()), number])
    for _ in range(int(rng.integers(1, 4))):
        name = str(rng.choice(sorted(files)))
        change = _changed_bytes if level == "bytes" else _structure_of(name)
        files = files | {name: change(rng, files[name])}
        if reader == "simulator" and rng.random() < 0.8:
            files = _with_checksum(files)  # or nothing behind the checksum is ever looked at
        if rng.random() < 0.02:
            files = {kept: content for kept, content in files.items() if kept != name}
        if not files:
            break
    return files


def _write_log(folder: Path, form: str) -> None:
    rows = np.arange(30)
    catalogue = random_simulator(items=8, embedding_dim=3, categories=3).catalogue
    columns = {
        "session_id": rows // 5,
        "step": rows % 5,
        "user_id": rows // 10,
        "item_index": rows * 3 % 8,
        "response": rows % 3,
        "timestamp": rows // 5 * 3600.0 + rows % 5,
        "propensity": 1.0 / (1 + rows),
        "context_hour": rows % 24,
    }
    with LogWriter(folder, catalogue, {"source": "fuzz"}, form, shard_rows=20) as writer:
        writer.append(columns)


def _structure_of(name: str) -> Callable[[np.random.Generator, bytes], bytes]:
    return {
        ".json": _changed_json,
        ".csv": _changed_cells,
        ".parquet": _changed_table,
        ".safetensors": _changed_arrays,
    }[Path(name).suffix]


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _changed_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Bits flipped, or a span cut, repeated, moved, overwritten or inserted."""
    size = len(content)
    start, other = sorted(int(at) for at in rng.integers(0, size + 1, 2))
    stop = min(size, start + int(rng.integers(1, 65)))
    extra = _pick(rng, _BITS) if rng.random() < 0.5 else _pick(rng, _TEXTS).encode()
    kind = int(rng.integers(7))
    if kind == 0 and size:
        changed = bytearray(content)
        for at in rng.integers(0, size, int(rng.integers(1, 9))):
            changed[at] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    changes = {
        1: content[:start],
        2: content[:start] + content[stop:],
        3: content[:stop] + content[start:],
        4: content[:start] + content[other:] + content[start:other],
        5: content[:start] + extra + content[start + len(extra) :],
    }
    return changes.get(kind, content[:start] + extra + content[start:])


def _changed_cells(rng: np.random.Generator, content: bytes) -> bytes:
    """A cell, row or column of a CSV file set, removed, repeated or moved."""
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()] or [[""]]
    row, other = (int(at) for at in rng.integers(0, len(rows), 2))
    width = len(rows[0])
    column = int(rng.integers(width))
    kind = int(rng.integers(8))
    if kind < 3:
        rows[row] = [*rows[row][:column], _pick(rng, _TEXTS), *rows[row][column + 1 :]]
    elif kind == 3:
        rows[0] = [*rows[0][:column], _pick(rng, (*_TEXTS, *rows[0], "context_x")), *rows[0][column + 1 :]]
    elif kind == 4:
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    elif kind == 5:
        rows = [cells + cells[column : column + 1] for cells in rows]
    elif kind == 6:
        rows[row], rows[other] = rows[other], rows[row]
    else:
        rows = rows[:row] + rows[other:]
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "surrogatepass") + b"\n"


def _changed_json(rng: np.random.Generator, content: bytes) -> bytes:
    """An entry somewhere in the tree replaced, renamed or removed; or the whole nested deeply."""
    try:
        whole = {"": json.loads(content)}
    except (ValueError, RecursionError):  # of an earlier change
        return _changed_bytes(rng, content)
    if rng.random() < 0.02:
        return b"[" * 100_000
    at: Any = whole
    key: Any = ""
    while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
        at = at[key]
        key = _pick(rng, list(at)) if isinstance(at, dict) else int(rng.integers(len(at)))
    kind = rng.random()
    if kind < 0.7 or at is whole:
        at[key] = _pick(rng, _VALUES)
    elif kind < 0.85 and isinstance(at, dict):
        at[_pick(rng, _TEXTS)] = at.pop(key)
    else:
        del at[key]
    return json.dumps(whole[""]).encode()


def _changed_table(rng: np.random.Generator, content: bytes) -> bytes:
    """A column of a Parquet file in other values, type or name, removed or repeated; or its rows removed or moved."""
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError):  # of an earlier change
        return _changed_bytes(rng, content)
    names, columns = list(table.schema.names), [column.combine_chunks() for column in table.columns]
    if not names:
        return content
    at, kind = int(rng.integers(len(names))), int(rng.integers(9))
    if kind < 2:
        columns[at] = _retyped(rng, columns[at])
    elif kind == 2:
        values = _values(columns[at])
        for row in rng.integers(0, max(len(values), 1), 2)[: len(values)]:
            values[row] = _pick(rng, (None, 0, -1, 3, 2**63 - 1, -(2**63)))
        columns[at] = _array(values, columns[at])
    elif kind == 3:
        columns[at] = _array([_pick(rng, _TEXTS) for _ in range(len(columns[at]))], columns[at])
    elif kind == 4:
        names[at] = _pick(rng, (*_TEXTS, *names, "context_x", "embedding_0"))
    elif kind == 5:
        del names[at], columns[at]
    elif kind == 6:
        names, columns = [*names, names[at]], [*columns, columns[at]]
    else:
        rows = rng.integers(0, max(table.num_rows, 1), int(rng.integers(0, table.num_rows + 1))) if kind == 7 else None
        order = np.sort(rows) if rows is not None else rng.permutation(table.num_rows)
        columns = [column.take(pa.array(order, pa.int64())) for column in columns]
    return _parquet(rng, pa.Table.from_arrays(columns, names), content)


def _retyped(rng: np.random.Generator, column: pa.Array) -> pa.Array:
    """The column in another type, in lists, in structs or as a dictionary."""
    kind = int(rng.integers(5))
    if kind == 0:
        return pa.array([[value] * (row % 3) for row, value in enumerate(_values(column))])
    if kind == 1:
        return pa.array([{"a": value} for value in _values(column)])
    target = _pick(rng, _TYPES)
    try:
        return column.dictionary_encode() if kind == 2 else column.cast(target, safe=False)
    except (pa.ArrowException, TypeError):
        return pa.nulls(len(column), target)


def _values(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()
    except ValueError:  # Python has no type for moments in nanoseconds, of an earlier change
        return column.cast(pa.int64()).to_pylist()


def _array(values: list[Any], otherwise: pa.Array) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return otherwise


def _parquet(rng: np.random.Generator, table: pa.Table, otherwise: bytes) -> bytes:
    """The table as a file of one of the many layouts that writers choose."""
    sink = io.BytesIO()
    settings = {
        "compression": _pick(rng, ("zstd", "snappy", "gzip", "none")),
        "row_group_size": _pick(rng, (1, 7, None)),
        "data_page_version": _pick(rng, ("1.0", "2.0")),
        "use_dictionary": bool(rng.integers(2)),
        "write_statistics": bool(rng.integers(2)),
    }
    try:
        pq.write_table(table, sink, **settings)
    except (pa.ArrowException, ValueError):  # not every type has a form in Parquet
        return otherwise
    return sink.getvalue()


def _changed_arrays(rng: np.random.Generator, content: bytes) -> bytes:
    """The header of a safetensors file, or one of its arrays in another shape, type or with impossible values."""
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.3 and 0 < size <= len(content) - 8:
        header = _changed_json(rng, content[8 : 8 + size])
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    try:
        arrays = load_arrays(content)
    except Exception:  # of an earlier change; safetensors raises several kinds
        return _changed_bytes(rng, content)
    if not arrays:
        return content
    name = _pick(rng, sorted(arrays))
    value, kind = arrays.pop(name), int(rng.integers(7))
    if kind == 0:
        return dump_arrays(arrays)
    if kind == 1:
        return dump_arrays(arrays | {_pick(rng, ("x", "model.x", f"{name}.x")): value})
    with np.errstate(all="ignore"):
        changed = {
            2: lambda: value.astype(_pick(rng, ("f8", "f4", "f2", "i8", "i4", "u1", "?"))),
            3: lambda: value.reshape(-1) if value.ndim > 1 else value[None],
            4: lambda: value.T if value.ndim > 1 else value[: len(value) // 2],
            5: lambda: value[:0],
        }.get(kind, lambda: _with_odd_value(rng, value))()
    return dump_arrays(arrays | {name: np.ascontiguousarray(changed)})


def _with_odd_value(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    changed = value.copy()
    if changed.size:
        odd = _pick(rng, (np.nan, np.inf, -np.inf, -1.0, -2.0, 1e30, 3.0, 1e300))
        changed.reshape(-1)[int(rng.integers(changed.size))] = np.array(odd).astype(changed.dtype)
    return changed


def _with_checksum(files: Files) -> Files:
    """The checksums of the arrays as they are, where the JSON and what lies beside it can still state one."""
    try:
        about = json.loads(files[ABOUT_FILE])
        about["tensors_sha256"] = hashlib.sha256(files[ARRAYS_FILE]).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError):
        return files
    files = files | {ABOUT_FILE: json.dumps(about).encode()}
    for name, kind in ((SUPPORT_FILE, Support), (LEAVING_FILE, LeaveModel)):
        try:
            files = files | {name: annex_bytes(kind(**load_arrays(files[name])), about["tensors_sha256"])}
        except Exception:  # damaged, or of other arrays; safetensors raises several kinds
            continue
    return files
