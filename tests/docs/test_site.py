"""README.md has its two commands, .ci/run uses one, every page is in the site, and local links lead somewhere."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from recsim_hrl import cli, commands
from tests.docs import pages

README = (pages.ROOT / "README.md").read_text(encoding="utf-8")
DOCS = pages.ROOT / "docs"
SOURCES = [*pages.page_paths(), *(pages.ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md"))]
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def typed(text):
    """Lines of the console blocks of a page."""
    return [
        line.removeprefix("$ ")
        for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
        for line in block.splitlines()
    ]


def test_the_readme_begins_with_two_commands_that_stand_alone():
    before_uses = README.split("## Three uses")[0]
    start = "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e "
    assert typed(before_uses) == [
        start + ". -e agents && python -m benchmarks.run",
        start + '".[test]" -e agents && pytest',
    ]


def test_ci_runs_the_test_command_of_the_readme_in_a_copy(tmp_path):
    """With stand-ins for everything slow, .ci/run executes the README's own line, then the other checks."""
    tools, copy = tmp_path / "tools", tmp_path / "copy"
    (copy / ".ci").mkdir(parents=True)
    tools.mkdir()
    for name in ("README.md", ".ci/run"):
        (copy / name).write_bytes((pages.ROOT / name).read_bytes())
    stand_in = f'#!/bin/sh\necho "$(basename "$0") $*" >> {tmp_path}/calls\npwd >> {tmp_path}/folders\n'
    for name in ("pip", "pytest", "ruff", "python"):
        (tools / name).write_text(stand_in, encoding="utf-8")
    (tools / "python3").write_text(stand_in + "mkdir -p .venv/bin && : > .venv/bin/activate\n", encoding="utf-8")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["bash", copy / ".ci" / "run"], check=True, env=environment, timeout=60)
    assert (tmp_path / "calls").read_text(encoding="utf-8").splitlines() == [
        "python3 -m venv .venv",
        "pip install -c constraints.txt -e .[test] -e agents",
        "pytest ",
        "pip install -c constraints.txt -e .[dev]",
        "ruff check .",
        "ruff format --check .",
        "python -m benchmarks.run --help",
    ]
    folders = set((tmp_path / "folders").read_text(encoding="utf-8").split())
    assert len(folders) == 1 and not Path(folders.pop()).exists(), "the copy is removed at the end"


def test_ci_fails_when_the_tests_fail(tmp_path):
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes((pages.ROOT / ".ci" / "run").read_bytes())
    (tmp_path / "README.md").write_text("exit 3 && pytest\n", encoding="utf-8")
    assert subprocess.run(["bash", tmp_path / ".ci" / "run"], timeout=60).returncode == 3


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_the_command_line_understands_what_the_page_types(path, monkeypatch):
    for kind in vars(commands).values():
        if isinstance(kind, type) and hasattr(kind, "run"):
            monkeypatch.setattr(kind, "run", lambda self: None)
    lines = [shlex.split(line, comments=True) for line in typed(path.read_text(encoding="utf-8"))]
    assert [words for words in lines if words[:1] == ["recsim-hrl"] and cli.main(words[1:]) != 0] == []


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    entries = [
        line
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.M | re.S)
        for line in tree.splitlines()
        if line and not line.startswith(":")
    ]
    written = [path.relative_to(DOCS).with_suffix("") for path in pages.page_paths() if path.is_relative_to(DOCS)]
    lost = [str(page) for page in written if str(page) != "index" and not any(page.match(one) for one in entries)]
    empty = [one for one in entries if not any(page.match(one) for page in written)]
    assert (lost, empty) == ([], [])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_local_links_lead_somewhere(path):
    targets = LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8")))
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []
