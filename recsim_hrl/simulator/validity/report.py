"""The validity report on disk: ``validity.json`` (everything), ``validity.html`` (to read, figures included),
``validity.md`` with ``validity.png`` (for places that show Markdown)."""

import json
from pathlib import Path

from recsim_hrl.replaced import replaced_file
from recsim_hrl.simulator.validity.evaluate import Evaluation
from recsim_hrl.simulator.validity.figures import draw_validity
from recsim_hrl.simulator.validity.html import html_page
from recsim_hrl.simulator.validity.report_content import Block, Chart, Table, Warned
from recsim_hrl.simulator.validity.sections import introduction, sections_of

VALIDITY_JSON = "validity.json"


def write_validity(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write the four files to ``folder``, which may hold others; each whole or not at all."""
    folder = Path(folder)
    content = json.dumps(evaluation.to_json(), indent=2, allow_nan=False) + "\n"
    pages = {
        VALIDITY_JSON: content,
        "validity.md": validity_page(evaluation),
        "validity.html": validity_html(evaluation),
    }
    with replaced_file(folder / "validity.png") as beside:
        draw_validity(evaluation.validity, evaluation.fidelity, beside)
    for name, page in pages.items():
        with replaced_file(folder / name) as beside:
            beside.write_text(page, encoding="utf-8")
    return folder


def _title(evaluation: Evaluation) -> str:
    return f"Validity of the simulator {evaluation.simulator['name']}"


def validity_html(evaluation: Evaluation) -> str:
    """The page in HTML, which needs no other file."""
    return html_page(_title(evaluation), introduction(evaluation), list(sections_of(evaluation)))


def validity_page(evaluation: Evaluation) -> str:
    """The page in Markdown; it refers to ``validity.png`` in the same folder and has no other figures."""
    parts = [f"# {_escaped(_title(evaluation))}", *map(_markdown, introduction(evaluation))]
    parts.append("![validity](validity.png)")
    for section in sections_of(evaluation):
        parts.append(f"## {section.title}")
        parts += [_markdown(block) for block in section.blocks if not isinstance(block, Chart)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        return _table(block)
    return f"**{_escaped(block.text)}**" if isinstance(block, Warned) else _escaped(block)


def _table(table: Table) -> str:
    rule = ["---" if place == 0 or place in table.texts else "---:" for place in range(len(table.head))]
    lines = [table.head, rule, *table.rows]
    rows = "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)
    return f"*{_escaped(table.caption)}*\n\n{rows}"


def _escaped(text: str) -> str:
    """``text`` without what Markdown would take for markup of its own: names come from logs of others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "\\`").replace("\n", " ")
