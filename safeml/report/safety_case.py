"""The page of the safety case: requirements with their gates, evidence without a requirement, and documents that it may support."""

from __future__ import annotations

from typing import Any

from safeml.report import rows
from safeml.report.page import SAFETY_CASE, render_page, title_of_page, titles_of
from safeml.report.standards import DEMANDS, Demand
from safeml.report.states import REQUIREMENT_STATES, VERDICT_STATES, stage_state, worst_requirement
from safeml.report.text import cell, head
from safeml.requirements import without_requirement
from safeml.results import MODEL, GateResult, RequirementResult, Run, RunTimes, StageResult
from safeml.wording import counted

NONE_WRITTEN = (
    "safeml.toml has no [[requirements]], so nothing says what the gates are there for. A requirement has an id, a text, an owner and "
    "the ids of its gates."
)


def render_safety_case(run: Run, results_hash: str, times: RunTimes | None, note: str = "") -> str:
    """Return the page; `note`: a warning above everything."""
    entries = run.verdict.requirements
    gates = {result.gate.id: result for result in run.verdict.gates}
    alone = without_requirement(run.requirements, run.verdict.gates)
    worst = worst_requirement(run)
    state = REQUIREMENT_STATES[worst.status] if worst else VERDICT_STATES[run.verdict.status]
    titles = titles_of(run)
    return render_page(
        "safety_case.html",
        run,
        results_hash,
        times,
        note=note,
        current=SAFETY_CASE,
        kind="stage",
        page_title="Safety case",
        word=state.word,
        verdict=state,
        sentence=worst.message if worst else NONE_WRITTEN,
        count=counted(len(entries), "requirement"),
        requirements=[_requirement(entry, gates, titles) for entry in entries],
        without=[
            rows.gate_row(result, titles.get((result.gate.subject, result.gate.stage), result.gate.stage))
            for result in alone
        ],
        demands=_demands(run),
    )


def _requirement(
    entry: RequirementResult, gates: dict[str, GateResult], titles: dict[tuple[str, str], str]
) -> dict[str, Any]:
    requirement = entry.requirement
    own = [result for name, result in gates.items() if name in requirement.gates]
    return {
        "id": requirement.id,
        "text": requirement.text,
        "rationale": requirement.rationale,
        "owner": requirement.owner or "none",
        "state": REQUIREMENT_STATES[entry.status],
        "message": entry.message,
        "gates": [
            rows.gate_row(result, titles.get((result.gate.subject, result.gate.stage), result.gate.stage))
            for result in own
        ],
    }


def _demands(run: Run) -> dict[str, Any]:
    """The table of documents, each with the stages of this run whose evidence may support it."""
    stages = {stage.stage: stage for stage in run.stages if stage.subject == MODEL}
    return {
        "heads": [
            head(label) for label in ("Document", "What it asks for", "Evidence of this run", "Not given")
        ],
        "rows": [
            [
                cell(demand.document, sub="; ".join(filter(None, (demand.clause, demand.read)))),
                cell(demand.asks),
                cell(_evidence(demand, stages, run)),
                cell(demand.missing),
            ]
            for demand in DEMANDS
        ],
        "caption": "Evidence that may support; it shows no compliance. Of documents that are sold, only the part that is named was read.",
        "css": "",
    }


def _evidence(demand: Demand, stages: dict[str, StageResult], run: Run) -> str:
    """Name the stages with their state; a stage that did not run is named as missing."""
    if not demand.stages:
        return f"this report: {VERDICT_STATES[run.verdict.status].word}"
    measured = [stages[name] for name in demand.stages if name in stages and stages[name].status == "ok"]
    absent = [
        name.replace("_", " ") for name in demand.stages if name not in stages or stages[name].status != "ok"
    ]
    parts = [f"{title_of_page(stage)} ({stage_state(run, stage).word})" for stage in measured]
    if absent:
        parts.append(f"missing: {', '.join(absent)}")
    return "; ".join(parts)
