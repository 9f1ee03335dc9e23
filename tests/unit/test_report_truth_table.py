"""One truth table: what a state is in the exit code, in HTML, in JUnit and in Markdown."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from safeml.report.write import write_report
from tests.sample_run import CASES, TIMES, metric, run_of, run_with, sample_run, stage
from tests.sample_run import gate as gate_of

# state: exit code, the verdict's word, the gate's word, its symbol, the JUnit element and its type
TABLE = {
    "pass": (0, "passed", "passed", "i-pass", None, None),
    "fail": (1, "failed", "failed", "i-fail", "failure", "fail"),
    "not_proven": (3, "not proven", "not proven", "i-unsure", "failure", "not_proven"),
    "error": (4, "incomplete", "error", "i-error", "error", "error"),
    "skipped": (4, "incomplete", "not measured", "i-none", "error", "missing"),
    "waived": (0, "passed", "waived", "i-waived", None, None),
}


@pytest.mark.parametrize("state", TABLE)
def test_every_view_tells_the_same(state: str, tmp_path: Path) -> None:
    assert set(TABLE) == set(CASES)
    code, verdict, word, symbol, element, kind = TABLE[state]
    run = run_with(state)
    write_report(run, tmp_path, TIMES)
    assert run.verdict.gates[0].status == state
    assert run.verdict.exit_code == code

    html = (tmp_path / "index.html").read_text()
    colour = {"i-pass": "pass", "i-fail": "fail", "i-unsure": "unsure", "i-error": "error"}.get(
        symbol, "none"
    )
    assert f"<title>{verdict} · " in html
    assert (
        f'<span class="state {colour}"><svg class="icon" aria-hidden="true"><use href="#{symbol}"/></svg>{word}</span>'
        in html
    )
    assert f"exit code {code}" in html

    case = ET.parse(tmp_path / "junit.xml").find("testsuite/testcase")
    assert case is not None
    found = [child for child in case if child.tag in ("failure", "error", "skipped")]
    assert [(child.tag, child.get("type")) for child in found] == ([(element, kind)] if element else [])
    assert (case.find("system-out") is not None) == (state == "waived")

    summary = (tmp_path / "summary.md").read_text()
    assert f": {verdict.upper()} (exit code {code})" in summary
    assert f"\n| {word} |" in summary


@pytest.mark.parametrize("state", TABLE)
def test_junit_fails_exactly_when_the_exit_code_does(state: str, tmp_path: Path) -> None:
    run = run_with(state)
    write_report(run, tmp_path, None)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    bad = int(root.get("failures", "0")) + int(root.get("errors", "0"))
    assert (bad > 0) == (run.verdict.exit_code != 0)
    assert root.get("tests") == "1"


def test_a_crashed_stage_that_no_gate_reads_is_an_error_everywhere(tmp_path: Path) -> None:
    stages = [
        stage("performance", metrics=[metric("a")]),
        stage("balance", status="error", reason="it broke"),
    ]
    run = run_of(stages, [gate_of("a", "a")])
    write_report(run, tmp_path, None)
    assert run.verdict.exit_code == 4
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert root.get("errors") == "1"
    assert "INCOMPLETE (exit code 4)" in (tmp_path / "summary.md").read_text()
    assert "it broke" in (tmp_path / "index.html").read_text()
    assert "it broke" in (tmp_path / "balance.html").read_text()


def test_properties_carry_the_numbers(tmp_path: Path) -> None:
    write_report(run_with("fail"), tmp_path, None)
    found = {p.get("name"): p.get("value") for p in ET.parse(tmp_path / "junit.xml").iter("property")}
    assert float(found["value"] or "") == pytest.approx(0.8)
    assert float(found["limit"] or "") == pytest.approx(0.95)
    assert (found["op"], found["n"], found["signs"], found["status"]) == (">=", "6315", "421.0", "fail")


def test_the_worst_gate_stands_first_everywhere(tmp_path: Path) -> None:
    run, times = sample_run()
    write_report(run, tmp_path, times)
    ids = [result.gate.id for result in run.verdict.gates]
    html, summary = (tmp_path / "index.html").read_text(), (tmp_path / "summary.md").read_text()
    for text, shown in ((html, '<span class="id">{}</span>'), (summary, "({}) |")):
        places = [text.index(shown.format(gate_id)) for gate_id in ids]
        assert places == sorted(places)
    assert ids[0] == "fails"
