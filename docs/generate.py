"""Write the environment pages from the docstrings: ``python docs/generate.py``."""

import inspect
from pathlib import Path

from recsim_hrl.envs.session import RecSessionEnv

PAGES = {"rec_session.md": ("RecSession", RecSessionEnv)}
FOLDER = Path(__file__).parent / "environments"


def page(title: str, environment: type) -> str:
    """The page of one environment, as Markdown."""
    note = "<!-- Written by docs/generate.py from the docstring of the environment: edit it there. -->"
    return f"{note}\n# {title}\n\n{inspect.getdoc(environment)}\n"


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, (title, environment) in PAGES.items():
        (FOLDER / name).write_text(page(title, environment), encoding="utf-8")


if __name__ == "__main__":
    main()
