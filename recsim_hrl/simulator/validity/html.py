"""The report as one HTML file: styles and figures are in it, so it opens offline, and it runs no code."""

import base64
import io
import re

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from recsim_hrl.simulator.validity.figures import FAINT, INK
from recsim_hrl.simulator.validity.report_content import Block, Chart, Section, Table, Warned

_WIDTH = 4.4  # inches: text of 9 points is then as large as that of a page on a phone
_COLOURS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
_STYLE = {name: INK for name in _COLOURS} | {"font.size": 9, "savefig.transparent": True}
_SVG_STYLE = (
    "<style>:root{--ink:#222;--faint:#ddd}@media(prefers-color-scheme:dark){:root{--ink:#e4e4e4;--faint:#444}}</style>"
)


def html_page(title: str, introduction: list[Block], sections: list[Section]) -> str:
    """The page.

    Args:
        title: Of the page; any text, like all others here: what would be markup is shown as it is.
        introduction: Blocks under the title.
        sections: The rest.
    """
    loader = PackageLoader("recsim_hrl.simulator.validity")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = chart_uri
    environment.filters["kind"] = _kind
    template = environment.get_template("validity.html")
    return template.render(title=title, introduction=introduction, sections=sections)


def _kind(block: Block) -> str:
    return {str: "text", Warned: "warned", Table: "table", Chart: "chart"}[type(block)]


def chart_uri(chart: Chart) -> str:
    """The chart as a data URI of an SVG image, which takes its colours from the reader's light or dark scheme."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": chart.name}):  # the same file from the same numbers
        figure = Figure(figsize=(_WIDTH, chart.height), layout="constrained")
        chart.draw(figure.subplots())
        content = io.StringIO()
        FigureCanvasSVG(figure)
        figure.savefig(content, format="svg", metadata={"Date": None})
    drawn = content.getvalue()
    drawn = drawn[drawn.index("<svg") :]  # without the reference to a document type on the web
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.S)
    drawn = drawn.replace(INK.lower(), "var(--ink)").replace(FAINT.lower(), "var(--faint)")
    drawn = re.sub(r"(<svg[^>]*>)", lambda head: head[1] + _SVG_STYLE, drawn, count=1)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()
