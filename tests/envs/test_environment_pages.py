"""The documentation of the environments says what the code says."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.envs.slate import RecSlateEnv
from recsim_hrl.registration import ENVIRONMENTS
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.vector.slate import RecSlateVectorEnv

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


@pytest.mark.parametrize(
    ("task", "single", "vector"),
    [("RecSession", RecSessionEnv, RecSessionVectorEnv), ("RecSlate", RecSlateEnv, RecSlateVectorEnv)],
)
def test_the_docstring_has_gymnasiums_sections_and_every_id_and_argument(task, single, vector):
    text = inspect.getdoc(single)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    names = [name for name, (its_task, _) in ENVIRONMENTS.items() if its_task == task]
    assert names and all(name in text for name in names)
    arguments, of_vector = (list(inspect.signature(one).parameters) for one in (single, vector))
    assert of_vector == ["num_envs", "max_episode_steps", *arguments, "threads"]
    assert all(f"| `{argument}` |" in text for argument in arguments)


def test_every_task_has_a_page(generate):
    tasks = {task for task, _ in ENVIRONMENTS.values()}
    assert {title for title, _ in generate.PAGES.values()} == tasks
