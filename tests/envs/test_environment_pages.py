"""The documentation of the environments says what the code says."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.registration import ENVIRONMENTS
from recsim_hrl.vector.session import RecSessionVectorEnv

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = (
    "Description, Action Space, Observation Space, Rewards, Starting State, Episode End, Info, Arguments, "
    "Vectorized environment, Version History, References"
).split(", ")


@pytest.fixture
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(generate):
    for name, (title, environment) in generate.PAGES.items():
        written = (DOCS / "environments" / name).read_text(encoding="utf-8")
        assert written == generate.page(title, environment), f"{name} is old: run `python docs/generate.py`"


def test_results_on_pages_are_those_of_the_files(generate):
    pages = {path: path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    assert sum(text.count("<!-- from ") for text in pages.values()) >= 3
    for path, text in pages.items():
        assert generate.with_results(text) == text, f"{path} is old: run `python docs/generate.py`"


def test_the_docstring_has_gymnasiums_sections_and_every_id_and_argument():
    text = inspect.getdoc(RecSessionEnv)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert all(f"`{name}`" in text for name in ENVIRONMENTS)
    single, vector = (list(inspect.signature(one).parameters) for one in (RecSessionEnv, RecSessionVectorEnv))
    assert vector == ["num_envs", "max_episode_steps", *single, "threads"]
    assert all(f"| `{argument}` |" in text for argument in single)
