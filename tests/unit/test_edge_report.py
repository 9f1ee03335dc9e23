"""The device page: what it states, what it leaves open, and that no text of a bundle becomes an element."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import safeml.report
from safeml.edge.bench import histogram as counted
from safeml.edge.errors import EdgeError
from safeml.edge.facts import DeviceFacts, as_record
from safeml.edge.page_parts import MARKS, histogram, shares, table, text
from safeml.edge.page_style import SHARED
from safeml.edge.records import KINDS, finite, read_record, write_record
from safeml.edge.report import missing, page, verdict

STATIC = Path(safeml.report.__file__).parent / "static"
ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "svg",
    "symbol",
    "circle",
    "path",
    "use",
    "div",
    "span",
    "header",
    "main",
    "footer",
    "h1",
    "h2",
    "p",
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
    "rect",
    "line",
    "text",
    "b",
}
HOSTILE = '</style><script>alert(1)</script><img src=x onerror="x">&\u202e\x00'


def identity(**changes: Any) -> dict[str, Any]:
    return {
        "product": "signs",
        "release": 7,
        "version": "1.7",
        "verdict": "passed",
        "profile": "full",
        "overridden": False,
        "override": None,
        "keyid": "a" * 64,
        "device_id": "car-1",
        "at": "2026-11-29T12:00:00Z",
        "facts": as_record(
            DeviceFacts("aarch64", "6.2", "36.4.3", "10.3.0", "8.7", "Jetson Orin Nano", 7620)
        ),
        **changes,
    }


def records(word: str = "x", **changes: Any) -> dict[str, Any]:
    """Return the records of all commands. word: is in every text that a bundle or device gives."""
    state = {"clocks": None, "clocks_locked": True, "temperatures": {word: 60.0}, "power": None}
    return {
        "preflight": {
            "facts": as_record(DeviceFacts(device_name=word)),
            "findings": [{"name": word, "status": "passed", "sentence": word}],
        },
        "build": identity(
            backend="tensorrt",
            precision="int8",
            details={"engine": "built", "layers": {word: 3}, "flags": [word], "note": word},
        ),
        "selftest": identity(
            passed=True,
            precision="int8",
            details={},
            checks=[{"name": word, "status": "passed", "sentence": word, "numbers": {}}],
            **changes,
        ),
        "bench": identity(
            backend="tensorrt",
            precision="int8",
            batch=1,
            calls=100,
            warm_up=10,
            latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 9.0},
            images_per_second=900.0,
            power_w={"mean": 5.0, "max": 6.0},
            temperature_c={"max": 61.0},
            throttled=False,
            before=state,
            after=state,
            histogram=counted(np.linspace(0.001, 0.009, 200)),
        ),
        "run": identity(
            backend="tensorrt",
            precision="int8",
            source="camera",
            frames=100,
            seconds=4.0,
            frames_per_second=25.0,
            decisions={"TRUST": 90, "FALL_BACK": 10},
            reasons={"score-low": 8, "input": 2},
            checks={"blank": 2},
            trusted=0.9,
            paused=0,
            latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 9.0},
            note=word,
        ),
    }


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.add(tag)
        self.handlers += [
            name for name, _ in attrs if name.startswith("on") or name in ("src", "srcdoc", "action")
        ]
        if tag not in ("meta", "use", "circle", "path", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def parsed(html: str) -> Elements:
    parser = Elements()
    parser.feed(html)
    return parser


def test_the_page_of_a_tested_device() -> None:
    html = page(records())
    assert "self-test passed" in html
    for words in (
        "Jetson Orin Nano",
        "signs, release 7",
        "90 (90.0 %)",
        "p99 3 ms",
        "below its threshold",
        "5.0 W on average",
    ):
        assert words in html
    seen = parsed(html)
    assert seen.names <= ELEMENTS
    assert not seen.handlers
    assert not seen.open
    assert page(records()) == html


def test_no_text_becomes_an_element() -> None:
    html = page(
        records(HOSTILE)
        | {"selftest": {**records(HOSTILE)["selftest"], "override": HOSTILE, "product": HOSTILE}}
    )
    seen = parsed(html)
    assert seen.names <= ELEMENTS
    assert not seen.handlers
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x00" not in html


@given(st.text(max_size=40))
def test_text_is_escaped(value: str) -> None:
    shown = text(value)
    assert not set("<>\"'") & set(shown)
    assert text(shown) == shown


@pytest.mark.parametrize(
    ("change", "colour", "word"),
    [
        ({}, "pass", "self-test passed"),
        ({"selftest": None}, "none", "not tested"),
        ({"selftest": {**records()["selftest"], "passed": False}}, "fail", "self-test failed"),
        ({"selftest": {**records()["selftest"], "release": 6}}, "unsure", "records differ"),
        ({"selftest": {**records()["selftest"], "overridden": True}}, "unsure", "tested, overridden"),
    ],
)
def test_the_verdict_is_that_of_the_self_test_and_doubt_never_passes(
    change: dict, colour: str, word: str
) -> None:
    whole = {**records(), **change}
    assert verdict(whole)[:2] == (colour, word)
    assert f'class="word {colour}"' in page(whole)


def test_what_was_not_measured_is_listed() -> None:
    lines = missing(dict.fromkeys(KINDS))
    assert len([line for line in lines if line.endswith("was not run.")]) == len(KINDS)
    host = {**records(), "run": identity(facts=as_record(DeviceFacts()), frames=0)}
    assert "No latency on this page is one of a Jetson." in " ".join(missing(host))
    orin = " ".join(missing(records()))
    assert "Jetson" not in orin
    assert "The power mode could not be read." in orin
    assert page(dict.fromkeys(KINDS)).startswith("<!doctype html>")


def test_an_override_is_shown() -> None:
    html = page(
        {**records(), "run": {**records()["run"], "override": "pilot of ten cars", "overridden": True}}
    )
    assert "Override: pilot of ten cars" in html


def test_the_look_is_that_of_the_safety_report() -> None:
    rules = set((STATIC / "report.css").read_text().splitlines()) | set(
        (STATIC / "charts.css").read_text().splitlines()
    )
    assert set(SHARED.strip().splitlines()) <= rules
    marks = (STATIC.parent / "templates" / "_marks.html").read_text()
    assert set(re.findall(r'<symbol id="i-\w+".*', MARKS)) <= set(re.findall(r'<symbol id="i-\w+".*', marks))


def test_charts_draw_each_number() -> None:
    drawn = histogram([0.0, 1.0, 2.0], [3, 1], {"p50": 0.5, "p99": 9.0})
    assert drawn.count("<rect") == 2
    assert "p99 9 ms" in drawn
    assert histogram([], [], {}) == ""
    assert shares([("TRUST", 0)]).count("<rect") == 1
    assert 'class="num"' in table(("a", "b"), [("x", 1)], (1,))


def test_a_record_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = Path(
        write_record(
            str(tmp_path), "bench", {"value": np.float32(0.5), "bad": float("nan"), "list": (1, np.int64(2))}
        )
    )
    assert read_record(str(tmp_path), "bench") == {"kind": "bench", "value": 0.5, "bad": None, "list": [1, 2]}
    assert read_record(str(tmp_path), "run") is None
    assert [one.name for one in path.parent.iterdir()] == ["bench.json"]
    path.write_text('{"kind": "run"}')
    with pytest.raises(EdgeError, match="is no record"):
        read_record(str(tmp_path), "bench")
    assert finite({"a": float("inf")}) == {"a": None}


def test_a_record_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(EdgeError, match="cannot be"):
        write_record(str(tmp_path), "bench", {})
