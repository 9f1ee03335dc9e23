"""The interval glyph: better is right, the limit is the middle, and nothing is clipped."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.gates import decide
from safeml.report.glyph import draw_glyph
from safeml.results import GateResult
from tests.sample_run import TODAY, gate, metric, run_with, stage


def result(value: float, limit: float, op: str = ">=", half: float = 0.01, **fields: object) -> GateResult:
    direction = "down" if op == "<=" else "up"
    measured = metric("m", value, half, direction=direction, **fields)
    asked = gate("g", "m", threshold=limit).model_copy(update={"op": op})
    return decide([stage("performance", metrics=[measured])], [asked], TODAY).gates[0]


def mark(drawn: str) -> float:
    root = ET.fromstring(drawn)
    for element in root.iter():
        if element.get("class") == "mark":
            return float(element.get("cx") or float(element.get("x", "0")) + 4)
        if element.get("class") == "hollow":
            return float(re.findall(r"[\d.]+", element.get("d", ""))[0]) + 6
    raise AssertionError("no mark")


@pytest.mark.parametrize(
    ("value", "limit", "op", "side"),
    [
        (0.97, 0.9, ">=", 1),
        (0.8, 0.9, ">=", -1),
        (0.01, 0.05, "<=", 1),
        (0.2, 0.05, "<=", -1),
        (0.95, 0.9, "==", -1),
    ],
)
def test_better_is_right(value: float, limit: float, op: str, side: int) -> None:
    assert (mark(draw_glyph(result(value, limit, op))) - 124) * side > 0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_the_whole_interval_is_inside(value: float, limit: float, half: float) -> None:
    drawn = draw_glyph(result(value, limit, half=half))
    for element in ET.fromstring(drawn).iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.get(name, "0")) <= 248


def test_the_label_says_the_numbers() -> None:
    label = ET.fromstring(draw_glyph(result(0.412, 0.45))).get("aria-label", "")
    assert "41.2" in label
    assert "40.2 to 42.2" in label
    assert "45" in label


def test_a_waived_gate_keeps_the_mark_of_what_was_found() -> None:
    waived = run_with("waived").verdict.gates[0]
    assert 'class="mark" x=' in draw_glyph(waived)  # the square of a failed gate


def test_nothing_measured_draws_no_mark() -> None:
    drawn = draw_glyph(run_with("error").verdict.gates[0])
    assert "not measured" in drawn
    assert 'class="mark"' not in drawn
