"""Imports go one way: types <- data <- simulator <- vector, envs <- wrappers; nothing imports the benchmarks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    *("types", "random", "compiled", "replaced", "arrays_file", "semantic_ids", "data", "simulator"),
    *("render", "vector", "envs", "wrappers", "commands", "cli"),
)
"""Parts of ``recsim_hrl``; each may import itself and those before it."""
FOR_AGENTS = ("recsim_hrl.types", "recsim_hrl.semantic_ids", "recsim_hrl.wrappers")
"""What the agents may know of ``recsim_hrl``: the glossary, semantic ids and the public wrappers, and no simulator."""
OURS = ("recsim_hrl", "recsim_hrl_agents", "benchmarks", "tests")


def modules(folder):
    """Dotted name and source of every module under ``folder``."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield ".".join(path.relative_to((ROOT / folder).parent).with_suffix("").parts), path.read_text(encoding="utf-8")


def imports(name, source):
    """Dotted names of this repository that a module imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} line {node.lineno}: write imports from the root of the package"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (one for one in found if one.split(".")[0] in OURS)


def within(name, package):
    return f"{name}.".startswith(f"{package}.")


def is_allowed(importer, imported):
    """Whether the module ``importer`` may import ``imported``, both dotted names."""
    package = importer.split(".")[0]
    if package == "benchmarks":
        return not within(imported, "tests")
    if package == "recsim_hrl_agents":
        return within(imported, "recsim_hrl_agents") or any(within(imported, one) for one in FOR_AGENTS)
    part = importer.split(".")[1]
    if part == "__init__":
        return within(imported, "recsim_hrl.registration")
    if part not in ORDER:  # registration, which names entry points as strings, or a part without a place
        return False
    below = ORDER[: ORDER.index(part) + 1]
    if imported.startswith("recsim_hrl.") and imported.split(".")[1] in below:
        return True
    return imported == "recsim_hrl"


def violations(name, source):
    return [f"{name} imports {one}" for one in imports(name, source) if not is_allowed(name, one)]


@pytest.mark.parametrize("folder", ["recsim_hrl", "agents/recsim_hrl_agents", "benchmarks"])
def test_imports_go_one_way(folder):
    found = dict(modules(folder))
    assert len(found) > 5
    assert [line for name, source in found.items() for line in violations(name, source)] == []


def test_every_part_of_the_package_has_its_place():
    parts = {
        path.stem for path in (ROOT / "recsim_hrl").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {"__init__", "registration"} <= set(ORDER)


@pytest.mark.parametrize(
    ("importer", "source", "allowed"),
    [
        ("recsim_hrl.data.log", "from recsim_hrl.types import Catalogue", True),
        ("recsim_hrl.data.log", "from recsim_hrl import types", True),
        ("recsim_hrl.data.log", "from recsim_hrl import simulator", False),
        ("recsim_hrl.data.log", "def f():\n    import recsim_hrl.simulator.store", False),
        ("recsim_hrl.simulator.core", "from recsim_hrl.data.world import World", True),
        ("recsim_hrl.simulator.core", "from recsim_hrl.envs.session import RecSessionEnv", False),
        ("recsim_hrl.vector.session", "from recsim_hrl.envs.session import RecSessionEnv", False),
        ("recsim_hrl.envs.session", "from recsim_hrl.vector.session import load_core", True),
        ("recsim_hrl.cli", "import recsim_hrl_agents", False),
        ("recsim_hrl.cli", "from benchmarks import run", False),
        ("recsim_hrl.registration", "import recsim_hrl.envs", False),
        ("recsim_hrl.__init__", "from recsim_hrl.registration import register_environments", True),
        ("recsim_hrl.__init__", "from recsim_hrl.simulator.store import load_simulator", False),
        ("recsim_hrl_agents.loop", "from recsim_hrl.wrappers.infos import step_values", True),
        ("recsim_hrl_agents.loop", "from recsim_hrl.semantic_ids import SemanticIds", True),
        ("recsim_hrl.semantic_ids.ids", "from recsim_hrl.simulator.folder import load_data", False),
        ("recsim_hrl_agents.loop", "from recsim_hrl.types_of_mine import R", False),
        ("recsim_hrl_agents.loop", "from recsim_hrl.simulator.store import load_simulator", False),
        ("recsim_hrl_agents.loop", "import benchmarks.tasks", False),
        ("benchmarks.training", "import recsim_hrl_agents, recsim_hrl.simulator.core, numpy", True),
        ("benchmarks.training", "from tests.reference import market", False),
    ],
)
def test_the_rule_itself(importer, source, allowed):
    assert (violations(importer, source) == []) is allowed
