"""Write what pages take from elsewhere: ``python docs/generate.py``.

Environment pages come from docstrings; a part of a page that begins with ``<!-- from PATH -->`` is a file of results.
"""

import inspect
import re
from pathlib import Path

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.envs.slate import RecSlateEnv

PAGES = {"rec_session.md": ("RecSession", RecSessionEnv), "rec_slate.md": ("RecSlate", RecSlateEnv)}
FOLDER = Path(__file__).parent / "environments"


def page(title: str, environment: type) -> str:
    """The page of one environment, as Markdown."""
    note = "<!-- Written by docs/generate.py from the docstring of the environment: edit it there. -->"
    return f"{note}\n# {title}\n\n{inspect.getdoc(environment)}\n"


def with_results(text: str) -> str:
    """A page with the results that it takes from files."""

    def filled(part: re.Match) -> str:
        results = (FOLDER.parents[1] / part[1]).read_text(encoding="utf-8").strip()
        return f"<!-- from {part[1]} -->\n\n{results}\n\n<!-- /from -->"

    return re.sub(r"<!-- from (\S+) -->\n.*?<!-- /from -->", filled, text, flags=re.DOTALL)


def main() -> None:
    """Write every page."""
    for path in FOLDER.parent.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        if (filled := with_results(text)) != text:
            path.write_text(filled, encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    for name, (title, environment) in PAGES.items():
        (FOLDER / name).write_text(page(title, environment), encoding="utf-8")


if __name__ == "__main__":
    main()
