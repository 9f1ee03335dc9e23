"""The verdict as JUnit XML: a suite a stage, a case a gate. What has not passed is a failure or an error, never `skipped`.

Readers of JUnit count a skipped case as not failing; missing evidence is not that, so it is an error of type "missing".
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from safeml.report.text import LONGEST_TEXT, visible
from safeml.results import MODEL, Gate, GateResult, Run, StageResult
from safeml.verdict_text import title_of

ELEMENT = {
    "fail": ("failure", "fail"),
    "not_proven": ("failure", "not_proven"),
    "error": ("error", "error"),
    "skipped": ("error", "missing"),
}


def junit(run: Run) -> str:
    """The verdict as XML; some case fails or errs exactly when the exit code is not 0."""
    root = ET.Element("testsuites", name=_clean(run.title))
    names = [suite_name(stage) for stage in run.stages]
    names += [suite_name(result.gate) for result in run.verdict.gates]
    for name in dict.fromkeys(names):
        gates = [result for result in run.verdict.gates if suite_name(result.gate) == name]
        suite = ET.SubElement(root, "testsuite", name=_clean(name))
        for result in gates:
            _case(suite, result)
        for stage in run.stages:
            if (suite_name(stage), stage.status) == (name, "error") and not gates:
                _crashed(suite, stage)
        _count(suite, list(suite))
    _count(root, [case for suite in root for case in suite])
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def suite_name(entry: StageResult | Gate) -> str:
    """Name the suite of a stage or gate; a subject other than the model itself is part of the name."""
    return entry.stage if entry.subject == MODEL else f"{entry.subject}.{entry.stage}"


def _case(suite: ET.Element, result: GateResult) -> None:
    gate, metric = result.gate, result.metric
    case = ET.SubElement(
        suite, "testcase", classname=f"safeml.{_clean(suite_name(gate))}", name=_clean(gate.id)
    )
    properties = ET.SubElement(case, "properties")
    values: dict[str, object] = {
        "title": title_of(gate, metric), "metric": gate.metric, "slice": gate.slice, "op": gate.op, "limit": gate.threshold, "status": result.status,
    }  # fmt: skip
    if metric is not None:
        values |= {name: getattr(metric, name) for name in ("value", "low", "high", "level", "n", "signs")}
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value="" if value is None else _clean(str(value)))
    if result.status in ELEMENT:
        tag, kind = ELEMENT[result.status]
        ET.SubElement(case, tag, type=kind, message=_clean(result.message))
    elif result.status == "waived":
        ET.SubElement(case, "system-out").text = _clean(f"WAIVED. {result.message}")


def _crashed(suite: ET.Element, stage: StageResult) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"safeml.{_clean(stage.stage)}", name=f"stage {_clean(stage.stage)}"
    )
    ET.SubElement(case, "error", type="error", message=_clean(stage.reason))


def _count(element: ET.Element, cases: list[ET.Element]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", str(sum(case.find("error") is not None for case in cases)))


def _clean(text: str) -> str:
    """XML 1.0 has no way to write most control characters, not even escaped: they become visible marks."""
    return visible(text, LONGEST_TEXT)
