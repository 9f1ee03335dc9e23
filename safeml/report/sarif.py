"""The verdict as SARIF 2.1.0, for code scanning: one result for each gate that did not pass, and one for the verdict.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from safeml.report.junit import suite_name
from safeml.report.text import LONGEST_TEXT, visible
from safeml.results import GateResult, GateStatus, Run
from safeml.verdict_text import title_of, verdict_line

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERDICT_RULE = "safeml-verdict"
# A pass has no entry: a reader without the concept of `kind` would show it as a finding.
LEVELS: dict[GateStatus, str] = {
    "fail": "error",
    "error": "error",
    "skipped": "error",
    "not_proven": "warning",
    "waived": "note",
}


def sarif(run: Run, file: str, lines: dict[str, int]) -> str:
    """Return the JSON text.

    file: the settings file with the limits, or the results, as a relative path. lines: gate id -> line of its threshold.
    """
    gates = [result for result in run.verdict.gates if result.status in LEVELS]
    rules = [_rule(VERDICT_RULE, "Verdict of the audit", "")]
    rules += [_rule(g.gate.id, title_of(g.gate, g.metric), g.gate.rationale) for g in gates]
    results = [_result(g, file, lines.get(g.gate.id, 1)) for g in gates]
    for rule, title, level, message in beside_the_gates(run):
        if rule not in {entry["id"] for entry in rules}:  # a stage may have several findings
            rules.append(_rule(rule, title, ""))
        results.append(_entry(rule, level, message, file, 1))
    if run.verdict.exit_code != 0:
        text = f"{verdict_line(run)}: {run.verdict.sentence}"
        results.insert(0, _entry(VERDICT_RULE, "error", text, file, 1))
    driver = {
        "name": "safeml",
        "version": run.safeml_version,
        "semanticVersion": run.safeml_version,
        "rules": rules,
    }
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def beside_the_gates(run: Run) -> list[tuple[str, str, str, str]]:
    """Return rule, title, level and message of what no gate reads, unless it is only noted, and of each looser limit."""
    ungated = [
        (
            f"not-gated/{suite_name(entry)}/{entry.metric.name if entry.metric else 'stage'}",
            entry.title,
            "note" if entry.state == "accepted" else "warning",
            entry.message,
        )
        for entry in run.verdict.ungated
        if entry.state != "noted"
    ]
    looser = [(f"looser/{change.old.id}", "Looser limit", "note", change.message) for change in run.loosened]
    return [*ungated, *looser]


def _rule(rule: str, title: str, rationale: str) -> dict[str, Any]:
    text = {"shortDescription": {"text": visible(title or rule, LONGEST_TEXT)}}
    if rationale:
        text["fullDescription"] = {"text": visible(rationale, LONGEST_TEXT)}
    return {"id": rule, **text}


def _result(result: GateResult, file: str, line: int) -> dict[str, Any]:
    entry = _entry(result.gate.id, LEVELS[result.status], result.message, file, line)
    # The same gate of the same stage is the same alert in the next run, whatever it measured.
    entry["partialFingerprints"] = {"gate/v1": f"{suite_name(result.gate)}/{result.gate.id}"}
    return entry


def _entry(rule: str, level: str, text: str, file: str, line: int) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": line}}
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": visible(text, LONGEST_TEXT)},
        "locations": [{"physicalLocation": place}],
    }
