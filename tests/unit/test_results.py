"""Records: what is not measured is not a number, and what is written is what the published schema says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from safeml.gates import decide
from safeml.report.junit import junit
from safeml.results import (
    MOST_PANELS,
    Bars,
    Gate,
    Grid,
    GridCell,
    GridGroup,
    GridMark,
    GridRow,
    Matrix,
    Metric,
    ModelIdentity,
    Panel,
    ReliabilityBin,
    Run,
    Series,
    StageResult,
    Strip,
    StripRow,
    Verdict,
)
from safeml.store.files import to_json


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(Path("docs/results.schema.json").read_text()) == Run.model_json_schema()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_no_measurement(value: float) -> None:
    with pytest.raises(ValidationError):
        Metric(name="a", title="A", value=value)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": 0.5, "status": "undefined", "reason": "r"},
        {"value": None, "status": "undefined"},
        {"value": 0.5, "low": 0.4},
        {"value": 0.5, "unknown_field": 1},
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Metric(name="a", title="A", **fields)


def test_a_stage_that_did_not_run_says_why() -> None:
    with pytest.raises(ValidationError):
        StageResult(stage="a", title="A", status="skipped")


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), numbers, st.integers(0, 10**9), st.none() | st.tuples(numbers, numbers))
def test_a_metric_survives_its_json(
    name: str, value: float, n: int, ends: tuple[float, float] | None
) -> None:
    low, high = ends or (None, None)
    metric = Metric(name=name, title=name, value=value, low=low, high=high, n=n)
    assert Metric.model_validate(json.loads(to_json(metric))) == metric


@pytest.mark.parametrize(
    "build",
    [
        lambda: Series(name="a", x=[0, 1], y=[1]),
        lambda: Series(name="a", x=[0], y=[1], low=[0]),
        lambda: Bars(id="b", title="B", labels=["a"], values=[1, 2]),
        lambda: Matrix(id="m", title="M", row_labels=["a"], column_labels=["a", "b"], values=[[1]]),
    ],
)
def test_a_figure_whose_parts_do_not_match_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValidationError, match="differ"):
        build()


ROW = GridRow(label="fog", cells=[GridCell(value=0.5)])
PIXEL = Panel(label="", png="iVBORw0KGgoAAAANSUhEUgAA", width=1, height=1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: GridCell(value=1.5), "less than or equal to 1"),
        (lambda: GridCell(value=0.5, low=0.4), "both ends or neither"),
        (lambda: GridCell(value=None, low=0.1, high=0.2), "no interval"),
        (
            lambda: Grid(id="g", title="G", columns=["1", "2"], groups=[GridGroup(rows=[ROW])]),
            "differ in number",
        ),
        (lambda: Grid(id="g", title="G", columns=["1"], groups=[GridGroup(rows=[ROW, ROW])]), "occurs twice"),
        (
            lambda: Grid(
                id="g", title="G", columns=["1"], groups=[GridGroup(rows=[ROW])], marks=[GridMark(column="3")]
            ),
            "does not have",
        ),
        (lambda: Strip(id="s", title="S", columns=["a"], rows=[StripRow(panels=[])]), "differ in number"),
        (
            lambda: Strip(
                id="s", title="S", columns=["a"], rows=[StripRow(panels=[PIXEL])] * (MOST_PANELS + 1)
            ),
            f"at most {MOST_PANELS}",
        ),
        (lambda: ReliabilityBin(start=0.5, end=0.4), "ends before"),
        (lambda: ReliabilityBin(start=0, end=1, n=3), "exactly where the bin has images"),
        (lambda: ReliabilityBin(start=0, end=1, confidence=0.5, n=3), "both ends or neither"),
    ],
)
def test_a_grid_strip_or_reliability_bin_that_contradicts_itself_is_refused(
    build: Callable[[], object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        build()


@pytest.mark.parametrize("name", ["../escaped", "index", "", "A", "a/b", "x" * 41, ".hidden"])
def test_a_stage_name_that_is_no_page_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        StageResult(stage=name, title="A")


def test_what_is_written_without_a_subject_is_about_the_model() -> None:
    old_stage = {"stage": "clean", "title": "Clean"}
    old_gate = {"id": "g", "stage": "clean", "metric": "acc", "op": ">=", "threshold": 0.9}
    assert StageResult.model_validate(old_stage).subject == Gate.model_validate(old_gate).subject == "model"


@pytest.mark.parametrize("name", ["", "INT8", "8bit", "a b", "../a", "x" * 41])
def test_a_subject_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        StageResult(stage="clean", title="A", subject=name)


def run_fields(stages: list[StageResult], verdict: Verdict) -> dict:
    return {
        "safeml_version": "1",
        "model": ModelIdentity(name="m", fingerprint="f", input={}, parameters=1),
        "data": [],
        "stages": stages,
        "gates": [],
        "verdict": verdict,
        "versions": {},
        "configuration": {},
    }


@pytest.mark.parametrize(("subjects", "fits"), [(("model", "int8"), True), (("int8", "int8"), False)])
def test_a_run_records_a_stage_once_for_each_subject(subjects: tuple[str, ...], fits: bool) -> None:
    stages = [StageResult(stage="clean", title="Clean", subject=subject) for subject in subjects]
    fields = run_fields(stages, Verdict(status="passed", exit_code=0, sentence="", gates=[]))
    if fits:
        assert len(Run(**fields).stages) == 2
    else:
        with pytest.raises(ValidationError, match="a stage of one name is recorded twice"):
            Run(**fields)


def test_a_metric_without_a_value_states_its_reason_and_a_count_is_a_census() -> None:
    undefined = Metric.undefined("a", "A", "no images", direction="down", unit="count", slice="night")
    assert undefined == Metric(
        name="a", title="A", value=None, status="undefined", reason="no images", direction="down", unit="count", slice="night"
    )  # fmt: skip
    with pytest.raises(ValidationError, match="states its reason"):
        Metric.undefined("a", "A", "")
    count = Metric.count("c", "C", 3, 40)
    assert (count.low, count.value, count.high, count.n) == (3, 3, 3, 40)
    assert (count.clustering, count.direction, count.unit, count.method) == (
        "census", "down", "count", "complete count"
    )  # fmt: skip


def test_a_crash_on_one_subject_is_not_hidden_by_a_gate_on_another() -> None:
    metric = Metric.count("copies", "Copies", 0, 10)
    stages = [
        StageResult(stage="clean", title="Clean", metrics=[metric]),
        StageResult(stage="clean", title="Clean", subject="int8", status="error", reason="out of memory"),
    ]
    gate = Gate(id="g", stage="clean", metric="copies", op="==", threshold=0)
    verdict = decide(stages, [gate], "2026-06-15")
    assert (verdict.gates[0].status, verdict.exit_code) == ("pass", 4)
    assert verdict.sentence.startswith("The stage clean of int8 failed")
    assert 'errors="1"' in junit(Run(**run_fields(stages, verdict)))
