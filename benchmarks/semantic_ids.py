"""Semantic ids of small and large catalogues: ``python -m benchmarks.semantic_ids``.

``recsim-hrl semantic-ids`` runs in a fresh process that is watched from outside (:mod:`benchmarks.watch`), on the
default catalogue or, with ``--items``, on one that is made larger by near copies. A second process reads the file and
looks up every code there is, in blocks: each item has to be found once, and nothing else. A case that is in
OUT/semantic_ids.csv is kept; to measure it again, delete its row there.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks.aggregate import read_csv, write_csv, write_text
from benchmarks.semantic_ids_meaning import largest_category, write_meaning
from benchmarks.throughput import machine
from benchmarks.throughput_cases import enlarged
from benchmarks.watch import CLI, watch
from recsim_hrl.semantic_ids import load_semantic_ids, measure_ids
from recsim_hrl.simulator.folder import load_data
from recsim_hrl.types import NO_ITEM

RESULTS, LEVELS, REPORT = "semantic_ids.csv", "semantic_ids_levels.csv", "semantic_ids.md"
CASE = ("items", "levels", "codes")
COLUMNS = (
    *(*CASE, "seconds", "cpu_seconds", "rss_mib", "looked_up", "found", "check_cpu_seconds", "check_rss_mib"),
    *("collision_rate", "moved", "nearest_unexplained", "unique_unexplained"),
)
LEVEL_COLUMNS = (
    *(*CASE, "level", "usage", "perplexity", "nearest_unexplained", "unique_unexplained", "kept"),
    *("largest_category", "largest_by_chance"),
)
BLOCK = 1 << 16
"""Codes that are looked up together."""
_CHECK = "import sys; from benchmarks.semantic_ids import check; print(*check(sys.argv[1]))"


@dataclass(frozen=True)
class SemanticIdsConfig:
    """Which catalogue, and how many levels and codes."""

    out: Path = Path("runs/semantic_ids")
    """Folder of the results."""
    scratch: Path = Path("runs/semantic_ids-scratch")
    """Folder of the simulators and the ids; it may be deleted afterwards."""
    items: int = 10_000
    """Size of the catalogue."""
    shapes: tuple[tuple[int, int], ...] = ((3, 32), (2, 128), (4, 16), (3, 22))
    """Levels, and codes of each level."""

    def __post_init__(self) -> None:
        if not self.shapes or any(codes**levels < self.items for levels, codes in self.shapes):
            raise ValueError(
                f"semantic_ids shapes: got {self.shapes}, allowed one or more with {self.items:,} codes or more each; "
                "raise levels or codes"
            )


def check(path: str | Path) -> tuple[int, int]:
    """Look up every code of the ids in the file ``path``; how many there are, and how many name an item.

    Raises:
        ValueError: if an item is not found by its code, or a code names an item that has another.
    """
    ids = load_semantic_ids(path)
    size, found = ids.codes_per_level**ids.levels, np.zeros(len(ids), np.int64)
    for start in range(0, size, BLOCK):
        keys = np.arange(start, min(start + BLOCK, size))
        codes = np.stack(np.unravel_index(keys, (ids.codes_per_level,) * ids.levels), -1)  # (b, L)
        items = ids.items(codes)  # (b,)
        named = items != NO_ITEM
        if not np.array_equal(ids.codes[items[named]], codes[named]):
            raise ValueError(f"{path}: a code names an item that has another; the lookup is wrong")
        np.add.at(found, items[named], 1)
    if not (found == 1).all():
        raise ValueError(f"{path}: {(found != 1).sum():,} items were not found exactly once; the lookup is wrong")
    return size, int(found.sum())


def catalogue_folder(config: SemanticIdsConfig) -> Path:
    """A simulator with a catalogue of so many items, on disk."""
    from recsim_hrl.simulator.store import Simulator, save_simulator

    folder = config.scratch / f"simulator-{config.items}"
    if not folder.exists():
        data = replace(enlarged(config.items), support=None)  # it counts the items of the default
        save_simulator(Simulator.of(data), folder)
    return folder


def measure(config: SemanticIdsConfig, levels: int, codes: int) -> tuple[list[object], list[list[object]]]:
    """A row of the results, and a row for each of its levels."""
    folder, path = catalogue_folder(config), config.scratch / f"ids-{config.items}-{levels}-{codes}.safetensors"
    made = watch([*CLI, "semantic-ids", str(folder), "--out", str(path), f"--levels={levels}", f"--codes={codes}"])
    checked = watch([sys.executable, "-c", _CHECK, str(path)])
    catalogue = load_data(folder).catalogue
    ids = load_semantic_ids(path, *catalogue.embeddings.shape)
    metrics = measure_ids(ids, catalogue.embeddings)
    nearest, unique = metrics.unexplained(metrics.nearest_error), metrics.unexplained(metrics.unique_error)
    case = [config.items, levels, codes]
    row = [*case, made.seconds, made.cpu_seconds, made.rss_mib]
    row += [*checked.output.split(), checked.cpu_seconds, checked.rss_mib]
    row += [metrics.collision_rate, metrics.moved, nearest[-1], unique[-1]]
    by_level = zip(metrics.usage, metrics.perplexity, nearest, unique, metrics.kept, strict=True)
    return row, [
        [*case, level, *values, *largest_category(ids.codes[:, :level], catalogue.categories)]
        for level, values in enumerate(by_level, start=1)
    ]


def to_text(rows: Iterable[Sequence[str]], level_rows: Iterable[Sequence[str]]) -> str:
    """The tables for people."""
    head = "| items | levels x codes | processor time | peak memory | nearest codes collide | items moved | "
    head += "unexplained, nearest codes | unexplained, own codes | codes looked up | items found |"
    lines = [head, "|---:|---|" + "---:|" * 8]
    for row in rows:
        of = dict(zip(COLUMNS, row, strict=True))
        shares = " | ".join(f"{float(share):.1%}" for share in row[-4:])
        lines.append(
            f"| {int(of['items']):,} | {of['levels']} x {of['codes']} | {float(of['cpu_seconds']):.0f} s "
            f"| {float(of['rss_mib']):.0f} MiB | {shares} | {int(of['looked_up']):,} in "
            f"{float(of['check_cpu_seconds']):.0f} s, {float(of['check_rss_mib']):.0f} MiB | {int(of['found']):,} |"
        )
    head = (
        "| items | levels x codes | level | in use | perplexity | unexplained, nearest codes | unexplained, own codes"
    )
    head += " | first tokens are the nearest | of the largest category | the same by chance |"
    lines += ["", head, "|---:|---|---:|" + "---:|" * 7]
    for row in level_rows:
        of = dict(zip(LEVEL_COLUMNS, row, strict=True))
        shares = " | ".join(f"{float(share):.1%}" for share in row[6:])
        lines.append(
            f"| {int(of['items']):,} | {of['levels']} x {of['codes']} | {of['level']} | {float(of['usage']):.1%} "
            f"| {float(of['perplexity']):.1f} | {shares} |"
        )
    return "\n".join(lines)


def main(config: SemanticIdsConfig) -> None:
    """Measure the shapes that are missing, and write tables and figure."""
    results, levels_file = config.out / RESULTS, config.out / LEVELS
    rows, level_rows = (read_csv(path) if path.exists() else [] for path in (results, levels_file))
    for shape in config.shapes:
        case = [str(number) for number in (config.items, *shape)]
        if case in (row[:3] for row in rows):
            continue
        row, by_level = measure(config, *shape)
        rows.append(_cells(row))
        level_rows = [one for one in level_rows if one[:3] != case] + [_cells(one) for one in by_level]
        write_csv(levels_file, LEVEL_COLUMNS, level_rows)
        write_csv(results, COLUMNS, rows)  # last, as a case that is in it is done
    text = to_text(rows, level_rows)
    about = f"Measured on: {machine()}; one thread.\nMade by `python -m benchmarks.semantic_ids`.\n"
    write_text(config.out / REPORT, f"{text}\n\n{about}")
    print(text)
    print(write_meaning(config.out))


def _cells(row: Iterable[object]) -> list[str]:
    return [f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row]


if __name__ == "__main__":
    main(tyro.cli(SemanticIdsConfig, description=__doc__))
