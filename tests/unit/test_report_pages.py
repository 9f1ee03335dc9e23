"""Pages: hostile strings stay text, nothing is remote, sizes and time are bounded, bytes repeat."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from safeml.report.text import duration, short_hash, visible, when
from safeml.report.write import write_report
from safeml.results import Finding
from tests.sample_run import (
    CLASSES,
    HOSTILE,
    TIMES,
    gate,
    grid,
    hostile_run,
    metric,
    run_of,
    sample_run,
    stage,
)

pytestmark = pytest.mark.slow

TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "div",
    "header",
    "span",
    "b",
    "a",
    "nav",
    "main",
    "section",
    "p",
    "h1",
    "h2",
    "h3",
    "small",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
    "br",
    "code",
    "pre",
    "details",
    "summary",
    "figure",
    "g",
    "figcaption",
    "img",
    "footer",
    "svg",
    "symbol",
    "path",
    "circle",
    "rect",
    "line",
    "use",
    "text",
}
STRIP = re.compile(r"⟨U\+[0-9A-F]{4,6}⟩")


class Reader(HTMLParser):
    """Collects every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


@pytest.fixture(scope="module", params=[sample_run, hostile_run], ids=["sample", "hostile"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(*(lambda run, times: (run, folder, times))(*request.param()))
    return folder


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text())
    return reader


def test_pages_hold_known_elements_and_nothing_active(report: Path) -> None:
    for page in report.glob("*.html"):
        reader = read(page)
        assert reader.tags <= TAGS, page
        for _, name, value in reader.attributes:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src"):
                assert re.fullmatch(
                    r"#i-[a-z]+|[a-z_]+\.html|data:image/png;base64,[A-Za-z0-9+/=]+", value
                ), value


def test_nothing_is_remote_and_the_policy_names_the_style(report: Path) -> None:
    for page in report.glob("*.html"):
        text = page.read_text()
        style = text.split("<style>")[1].split("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert text.count("<style>") == 1
        assert (
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
            in text
        )
        assert text.index("Content-Security-Policy") < text.index("<style>")
        assert not re.search(r"url\(|@import|<script|<link|<iframe", text)


def test_hostile_strings_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    run, times = hostile_run()
    write_report(run, tmp_path, times)
    for name in ("index.html", "performance.html", "junit.xml", "summary.md"):
        text = (tmp_path / name).read_text()
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text), name
        assert "<script>" not in text
    page = (tmp_path / "performance.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{7*7}}" in page
    assert "⟨U+202E⟩" in page
    assert "x" * 2100 not in page
    ET.parse(tmp_path / "junit.xml")
    for row in (tmp_path / "summary.md").read_text().splitlines():
        if row.startswith("| "):
            assert row.count("|") == 8, row
        assert not re.search(r"<[a-zA-Z/!]", row)


def test_sizes_and_time_are_bounded(tmp_path: Path) -> None:
    run, times = sample_run()
    write_report(run, tmp_path, times)
    began = time.process_time()
    write_report(run, tmp_path, times)
    assert time.process_time() - began < 1
    assert (tmp_path / "index.html").stat().st_size <= 100_000
    page = (tmp_path / "performance.html").read_text()
    assert page.count("<img ") >= 24
    for file in tmp_path.glob("*.html"):
        assert file.stat().st_size <= 400_000, file.name
    conditions = (tmp_path / "model.html").read_text()
    assert conditions.count("<img ") == 16 + 5 * 4 - 2
    assert conditions.count(">no picture<") == 2
    assert 'alt="Class 1, Class 2 2: 96.1"' in conditions


def test_a_page_of_a_thousand_findings_is_bounded(tmp_path: Path) -> None:
    """19 corruptions of 5 severities for each of 43 classes, and 1,000 findings."""
    metrics = [
        metric("corruption_accuracy", 0.9, slice=f"corruption:{kind}:{severity}:{label}")
        for kind in range(19)
        for severity in range(1, 6)
        for label in CLASSES
    ]
    findings = [
        Finding(code=f"finding-{k}", severity="warning", message=f"Finding {k}. {'x ' * 100}")
        for k in range(1000)
    ]
    result = stage("perturbation", metrics=metrics, findings=findings, figures=[grid(CLASSES)])
    limit = gate("a", "corruption_accuracy", "perturbation", slice=metrics[0].slice)
    began = time.process_time()
    write_report(run_of([result], [limit]), tmp_path, TIMES)
    assert time.process_time() - began < 20
    sizes = {file.name: file.stat().st_size for file in tmp_path.glob("*.html")}
    assert max(sizes.values()) < 5_000_000, sizes
    assert "Finding 999." in (tmp_path / "perturbation.html").read_text()


def test_a_second_drawing_is_the_same_and_the_checksums_hold(report: Path, tmp_path: Path) -> None:
    run, times = sample_run()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_report(run, tmp_path / folder, times)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    lines = (report / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == {p.name for p in report.iterdir()} - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((report / name).read_bytes()).hexdigest() == digest


def test_a_stage_page_has_the_seven_blocks_in_order(tmp_path: Path) -> None:
    run, times = sample_run()
    write_report(run, tmp_path, times)
    blocks = [
        "What was tested",
        "On what",
        "Result",
        "What it means",
        "Limits",
        "Worst cases",
        "How to reproduce",
    ]
    for name in ("performance", "balance", "training"):
        page = (tmp_path / f"{name}.html").read_text()
        places = [page.index(f"<h2>{block}") for block in blocks]
        assert places == sorted(places)
    assert "crashed on Class 0" in (tmp_path / "balance.html").read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_visible_text_has_no_hidden_character(text: str) -> None:
    shown = visible(text, 100)
    assert shown.isprintable()
    assert len(STRIP.sub("?", shown)) <= 100
    assert visible("plain näme 停") == "plain näme 停"


def test_small_words() -> None:
    assert short_hash("9f2c41d7" + "0" * 52 + "b8e1") == "9f2c 41d7 … b8e1"
    assert [duration(s) for s in (0.84, 42, 2472, 7500)] == ["0.8 s", "42 s", "41 min 12 s", "2 h 5 min"]
    assert when("2026-11-21T07:20:33+00:00") == "2026-11-21 07:20 UTC"
    assert when("yesterday") == "yesterday"


def test_a_second_subject_has_a_page_of_its_own(tmp_path: Path) -> None:
    """The INT8 artefact of a model is measured by the same stages: no page replaces another."""
    metrics = [metric("clean_accuracy")]
    stages = [stage("performance", metrics=metrics), stage("performance", subject="int8", metrics=metrics)]
    write_report(run_of(stages, [gate("accuracy", "clean_accuracy")]), tmp_path, TIMES)
    first, second = (tmp_path / name for name in ("performance.html", "int8-performance.html"))
    assert "<h1>Performance</h1>" in first.read_text(encoding="utf-8")
    assert "<h1>Performance (int8)</h1>" in second.read_text(encoding="utf-8")
    for page in (first, second, tmp_path / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert 'href="performance.html"' in text
        assert 'href="int8-performance.html"' in text
    assert second.read_text(encoding="utf-8").count('aria-current="page"') == 1
