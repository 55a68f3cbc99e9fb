"""Finds the pages of the documentation and runs the Python code that they print.

Every Python block of a page runs, top to bottom, in one namespace, as a reader would type it. A comment behind a
``print`` is what it prints. A block is left out only after a line that tells the reader so and why::

    *Not run by the tests: downloads 5 MB.*
"""

import contextlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"\*Not run by the tests: \w.*\*")
_PROMISE = re.compile(r"print\(.*\)  # (.+)")


def page_paths() -> list[Path]:
    """README.md and every page under docs/, without what Sphinx builds there."""
    written = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(path for path in written if "_build" not in path.parts)]


@dataclass(frozen=True)
class Block:
    """One ```` ```python ```` block."""

    line: int
    """Line of the page, from 1, on which the code begins."""
    code: str
    is_run: bool


def find_blocks(text: str) -> list[Block]:
    """The Python blocks of a page, in order."""
    blocks, lines = [], text.splitlines()
    before = ""
    index = 0
    while index < len(lines):
        if not lines[index].startswith("```"):
            before = lines[index] or before
            index += 1
            continue
        end = index + 1
        while end < len(lines) and lines[end] != "```":
            end += 1
        if end == len(lines):
            raise ValueError(f"line {index + 1}: the block that begins here is not closed; end it with ```")
        if lines[index] == "```python":
            code = "\n".join(lines[index + 1 : end]) + "\n"
            blocks.append(Block(index + 2, code, NOT_RUN.fullmatch(before) is None))
        before, index = "", end + 1
    return blocks


@dataclass
class Session:
    """A page's code while and after it runs."""

    names: dict[str, Any] = field(default_factory=dict)
    """The namespace that the blocks share."""
    printed: dict[int, list[str]] = field(default_factory=dict)
    """What was printed, by the line of the page."""

    def run(self, block: Block, path: Path) -> None:
        """Run one block of the page at ``path``; errors point into the page."""
        padded = "\n" * (block.line - 1) + block.code
        exec(compile(padded, str(path), "exec"), self.names)


def broken_promises(block: Block, printed: dict[int, list[str]]) -> list[str]:
    """Comments behind a ``print`` that are not what it printed, the last time it ran."""
    broken = []
    for line, code in enumerate(block.code.splitlines(), start=block.line):
        promise = _PROMISE.fullmatch(code.strip())
        said = printed.get(line, ["nothing"])[-1]
        if promise and promise[1] != said:
            broken.append(f"line {line}: the page promises {promise[1]!r}, the code printed {said!r}")
    return broken


@dataclass(frozen=True)
class Preparation:
    """What a page takes for granted, and what in it would take a test too long."""

    given: Callable[[], dict[str, Any]] = dict
    """Makes the names that the page begins with; called in the page's working directory, to put files there."""
    smaller: tuple[tuple[str, str], ...] = ()
    """Texts of the code and what replaces them, where the page prints a budget for a reader."""

    def shrink(self, text: str) -> str:
        """The page with smaller budgets."""
        for old, new in self.smaller:
            assert old in text, f"{old!r} is no longer on the page; correct tests/docs/preparations.py"
            text = text.replace(old, new)
        return text


def run_page(path: Path, folder: Path, preparation: Preparation | None = None) -> Session:
    """Run the blocks of the page at ``path`` in the working directory ``folder``.

    Raises:
        AssertionError: if a ``print`` does not print what the comment behind it says.
    """
    preparation = preparation or Preparation()
    session = Session()

    def record(*values: object, sep: str = " ", **_: object) -> None:
        line = sys._getframe(1).f_lineno
        session.printed.setdefault(line, []).append(sep.join(map(str, values)))

    with contextlib.chdir(folder):
        session.names.update(preparation.given(), __name__="__page__", print=record)
        for block in find_blocks(preparation.shrink(path.read_text(encoding="utf-8"))):
            if block.is_run:
                session.run(block, path)
                broken = broken_promises(block, session.printed)
                assert not broken, f"{path}: {broken}"
    return session
