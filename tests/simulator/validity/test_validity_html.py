"""The HTML report: one file that needs no other, in order, and safe whatever a log is called."""

import base64
import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.validity.disagreement import PlayConfig
from recsim_hrl.simulator.validity.evaluate import Evaluation, EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.report import validity_html, validity_page

HOSTILE = '<script>alert("&")</script><img src="https://example.org/x.png" onerror=alert(1)> | `code`'
PLAY = PlayConfig(length=5, users=8, candidates=40)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A log of a small world with all that a report can use, and two simulators of its items."""
    folder = tmp_path_factory.mktemp("report")
    world = World(WorldConfig(items=60, categories=3, embedding_dim=6))
    write_log(world, folder / "log", impressions=2500)
    pair = [random_simulator(items=60, embedding_dim=6, seed=seed) for seed in (0, 1)]
    pair = [dataclasses.replace(one, catalogue=world.catalogue, name=f"market-{n}") for n, one in enumerate(pair)]
    return InteractionLog.open(folder / "log"), pair


@pytest.fixture(scope="module")
def evaluation(market) -> Evaluation:
    log, (simulator, other) = market
    config = EvaluationConfig(sessions=60, fidelity=False)
    return evaluate_simulator(simulator, log, config, report=lambda _: None, others=[other], play=PLAY)


@pytest.fixture(scope="module")
def bare(market, tmp_path_factory) -> Evaluation:
    """Of a log that holds what a log must hold and no more: each user comes once, no times, no propensities."""
    log, (simulator, _) = market
    names = ("session_id", "step", "user_id", "item_id", "response")
    blocks = list(log.batches(optional=()))
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in names}
    arrays["user_id"] = arrays["session_id"]
    path = tmp_path_factory.mktemp("bare") / "log"
    real = InteractionLog.from_arrays(arrays, log.items, path, {"name": HOSTILE})
    return evaluate_simulator(simulator, real, EvaluationConfig(sessions=60), report=lambda _: None, play=PLAY)


@pytest.fixture(scope="module")
def content(evaluation) -> str:
    """The page of a log with everything."""
    return validity_html(evaluation)


@pytest.fixture(scope="module")
def bare_content(bare) -> str:
    return validity_html(bare)


class Page(HTMLParser):
    """What a page holds, and whether its elements are closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags, self.headings, self.links, self.alts, self.anchors, self.open = [], [], [], [], [], []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        self.tags.append(tag)
        self.links += [about[name] for name in ("src", "href", "data", "action") if name in about]
        assert not [name for name in about if name.startswith("on")]
        if tag == "img":
            self.alts.append(about.get("alt"))
        if "id" in about:
            self.anchors.append(about["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("which", ["content", "bare_content"])
def test_a_page_that_needs_no_other_file(which, request):
    content = request.getfixturevalue(which)
    page = Page(content)
    assert page.open == [] and "script" not in page.tags and "link" not in page.tags
    assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in page.links)
    assert len(page.anchors) == len(set(page.anchors))
    assert {link[1:] for link in page.links if link.startswith("#")} == set(page.anchors)
    assert "@import" not in content and "url(" not in content
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.alts) >= 9 and all(page.alts)
    assert 'name="viewport"' in content and re.search("<title>Validity of the simulator market-0</title>", content)
    assert len(content) < 1_500_000


def test_figures_take_their_ink_from_the_scheme_and_refer_to_nothing(content):
    for link in Page(content).links:
        if link.startswith("data:"):
            svg = base64.b64decode(link.partition(",")[2]).decode()
            assert svg.startswith("<svg") and "prefers-color-scheme" in svg and "var(--ink)" in svg
            refers = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg)
            assert all((one or other).startswith("#") for one, other in refers)


def test_the_same_numbers_make_the_same_file(evaluation, content):
    assert validity_html(evaluation) == content


def test_a_hostile_name_is_text(bare, bare_content):
    assert HOSTILE in Page(bare_content).text and "<script" not in bare_content
    assert "<script" not in validity_page(bare) and "\\|" in validity_page(bare)


def test_what_cannot_be_judged_says_why(bare, bare_content):
    text = Page(bare_content).text
    for reason in (
        "the true world behind the log is not known",
        "one visit of each user",
        "the log has no times",
        "no column propensity",
        "no other simulator was given (--ensemble)",
        "Fit one to other sessions of the same items",
    ):
        assert reason in text
    verdicts = {criterion.name: criterion.verdict for criterion in bare.criteria}
    assert verdicts["value of policies by the log's own evidence, largest error shown"] == "cannot be judged"
    assert verdicts["disagreement of simulators where policies go, in units of that on the log"] == "cannot be judged"


def test_every_section_of_a_log_with_everything(evaluation, content):
    page = Page(content)
    assert page.anchors == [
        "verdict",
        "prediction",
        "sessions",
        "segments",
        "trajectories",
        "two-samples",
        "off-policy",
        "where-it-does-not-know",
    ]
    assert "promised by market-1" in page.text and "best of 5 random items" in page.text
    assert "criteria, met: " in page.text and "never" not in page.text
    names = [criterion.name for criterion in evaluation.criteria]
    assert len(names) == len(set(names)) == 14 and all(name in page.text for name in names)


def test_new_keys_stand_beside_the_old_ones(evaluation):
    content = evaluation.to_json()
    assert list(content)[:5] == ["simulator", "log", "targets", "validity", "fidelity"]
    assert {"criteria", "segments", "trajectories", "two_samples", "off_policy", "disagreement"} <= set(content)
    assert [row["name"] for row in content["targets"]] == [target.name for target in evaluation.targets]


def test_details_can_be_left_out(market):
    log, (simulator, _) = market
    config = EvaluationConfig(sessions=20, fidelity=False, details=False)
    found = evaluate_simulator(simulator, log, config, report=lambda _: None)
    assert found.evidence is None and "segments" not in found.to_json()
    assert Page(validity_html(found)).anchors == ["verdict", "prediction", "sessions"]


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_in_a_browser(content, tmp_path, width):
    """Nothing but scrolling tables is wider than the screen: the margin at the right stays empty all the way down."""
    (tmp_path / "validity.html").write_text(content, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},12000"]
    picture = tmp_path / "page.png"
    command = [BROWSER, *options, f"--screenshot={picture}", (tmp_path / "validity.html").as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == width and pixels.std() > 10.0  # not an empty page
    assert (pixels[:, -12:] == pixels[0, -1]).all()
