"""Sphinx: ``pip install -e ".[docs]" && sphinx-build -W docs docs/_build``."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "RecSim-HRL"
author = _PROJECT["authors"][0]["name"]
copyright = author
version = release = _PROJECT["version"]

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"RecSim-HRL {version}"
