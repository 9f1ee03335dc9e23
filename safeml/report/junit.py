"""The verdict as JUnit XML: a suite a stage, a case a gate. What has not passed is a failure or an error, never `skipped`.

Readers of JUnit count a skipped case as not failing; missing evidence is not that, so it is an error of type "missing".
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from safeml.profiles import FULL, proves
from safeml.report.text import LONGEST_TEXT, visible
from safeml.results import MODEL, Gate, GateResult, Metric, Run, StageResult, Ungated
from safeml.verdict_text import QUICK, title_of, verdict_line

ELEMENT = {
    "fail": ("failure", "fail"),
    "not_proven": ("failure", "not_proven"),
    "error": ("error", "error"),
    "skipped": ("error", "missing"),
}
# Entries that no gate reads and that prevent a pass.
UNGATED_ELEMENT = {"alarm": "alarm", "unsigned": "not_signed"}
VERDICT = "verdict"


def junit(run: Run) -> str:
    """The verdict as XML; some case fails or errs exactly when the exit code is not 0."""
    root = ET.Element("testsuites", name=_clean(run.title))
    names = [suite_name(stage) for stage in run.stages]
    names += [suite_name(result.gate) for result in run.verdict.gates]
    line = verdict_line(run)
    for name in dict.fromkeys(names):
        gates = [result for result in run.verdict.gates if suite_name(result.gate) == name]
        suite = _suite(root, name, line)
        for result in gates:
            _case(suite, result)
        for stage in run.stages:
            if (suite_name(stage), stage.status) == (name, "error") and not gates:
                _crashed(suite, stage)
        for entry in run.verdict.ungated:
            if suite_name(entry) == name:
                _not_gated(suite, entry)
    if run.profile != FULL or run.loosened:
        _about_the_run(_suite(root, VERDICT, line), run)
    for element in (*root, root):
        _count(element, list(element.iter("testcase")))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def suite_name(entry: StageResult | Gate | Ungated) -> str:
    """Name the suite of a stage, gate or entry; a subject other than the model itself is part of the name."""
    return entry.stage if entry.subject == MODEL else f"{entry.subject}.{entry.stage}"


def _case(suite: ET.Element, result: GateResult) -> None:
    gate, metric = result.gate, result.metric
    case = _plain_case(suite, suite_name(gate), gate.id)
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


def _suite(root: ET.Element, name: str, line: str) -> ET.Element:
    """Add a suite, which names verdict and profile."""
    suite = ET.SubElement(root, "testsuite", name=_clean(name))
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="verdict", value=_clean(line))
    return suite


def _not_gated(suite: ET.Element, entry: Ungated) -> None:
    """Add a case for what no gate reads; it fails where the verdict cannot pass for it."""
    what = entry.title if entry.metric is None else _metric_id(entry.metric)
    case = _plain_case(suite, suite_name(entry), f"not gated: {what}")
    if entry.state in UNGATED_ELEMENT:
        ET.SubElement(case, "failure", type=UNGATED_ELEMENT[entry.state], message=_clean(entry.message))
    else:
        word = "ACCEPTED" if entry.state == "accepted" else "NOT GATED"
        ET.SubElement(case, "system-out").text = _clean(f"{word}. {entry.message}")


def _about_the_run(suite: ET.Element, run: Run) -> None:
    """Add a case for a profile other than the full one, and a case for each looser limit."""
    if run.profile != FULL:
        case = _plain_case(suite, VERDICT, "profile")
        if proves(run.profile, run.accept_quick):
            ET.SubElement(case, "system-out").text = _clean(verdict_line(run))
        elif run.verdict.rules > 1:  # by the first rules a quick run passed
            ET.SubElement(case, "failure", type="profile", message=QUICK)
    for change in run.loosened:
        case = _plain_case(suite, VERDICT, f"looser: {change.old.id}")
        ET.SubElement(case, "system-out").text = _clean(f"LOOSER. {change.message}")


def _plain_case(suite: ET.Element, where: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"safeml.{_clean(where)}", name=_clean(name))


def _metric_id(metric: Metric) -> str:
    return metric.name if metric.slice == "all" else f"{metric.name} {metric.slice}"


def _crashed(suite: ET.Element, stage: StageResult) -> None:
    case = _plain_case(suite, stage.stage, f"stage {stage.stage}")
    ET.SubElement(case, "error", type="error", message=_clean(stage.reason))


def _count(element: ET.Element, cases: list[ET.Element]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", str(sum(case.find("error") is not None for case in cases)))


def _clean(text: str) -> str:
    """XML 1.0 has no way to write most control characters, not even escaped: they become visible marks."""
    return visible(text, LONGEST_TEXT)
