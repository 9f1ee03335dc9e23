"""The pages of a run: the index with the verdict, and one page for each stage."""

from __future__ import annotations

from typing import Any

from safeml.report import rows
from safeml.report.charts.grid import marked
from safeml.report.figures import draw_card, figure_view
from safeml.report.manifest import artefacts, commands, identity, manifest, provenance, taken_over
from safeml.report.page import page_of, render_page, title_of_page, titles_of
from safeml.report.states import (
    VERDICT_STATES,
    counts,
    stage_gates,
    stage_state,
    stage_ungated,
    ungated_counts,
)
from safeml.results import Fact, GateResult, Grid, Metric, Run, RunTimes, StageResult, Table, Ungated
from safeml.verdict_text import verdict_line
from safeml.wording import counted

LEDGER_ROWS = 200
ALWAYS_UNTESTED = (
    Fact(
        label="The device",
        value="No target device was attached: latency, power and the camera are not measured.",
    ),
    Fact(label="Other places and times", value="The results hold for the tested images only."),
)


def render_index(run: Run, results_hash: str, times: RunTimes | None, note: str = "") -> str:
    """The page with the verdict; `note`: a warning above everything."""
    titles = titles_of(run)
    gates = run.verdict.gates
    state = VERDICT_STATES[run.verdict.status]
    noted = [entry for entry in run.verdict.ungated if entry.state != "noted"]
    strip = [*counts(gates), *ungated_counts(noted)]
    return render_page(
        "index.html",
        run,
        results_hash,
        times,
        note=note,
        current="",
        kind="index",
        page_title=run.title,
        word=state.word,
        verdict=state,
        sentence=run.verdict.sentence,
        detail=run.verdict.detail,
        line=verdict_line(run),
        gate_count=counted(len(gates), "gate"),
        strip=[{"state": state, "count": count} for state, count in strip],
        identity=identity(run, times),
        gates=[
            rows.gate_row(result, titles.get((result.gate.subject, result.gate.stage), result.gate.stage))
            for result in gates
        ],
        ungated=[
            rows.ungated_row(entry, titles.get((entry.subject, entry.stage), entry.stage))
            for entry in run.verdict.ungated
        ],
        loosened=rows.loosened_table(run.loosened) if run.loosened else None,
        not_tested=_not_tested(run),
        cards=[_card(run, stage) for stage in run.stages],
        manifest=manifest(run, times),
        commands=commands(run),
    )


def render_stage(
    run: Run,
    stage: StageResult,
    results_hash: str,
    times: RunTimes | None,
    note: str = "",
    alone: bool = False,
) -> str:
    """The page of one stage, in seven fixed blocks; `note`: a warning above them; `alone`: there is no index to link to."""
    gates = stage_gates(run, stage)
    ungated = stage_ungated(run, stage)
    state = stage_state(run, stage)
    read = {(result.gate.metric, result.gate.slice) for result in gates}
    whole = [
        metric
        for metric in stage.metrics
        if _is_headline(metric, stage) or (metric.name, metric.slice) in read
    ]
    slices = [metric for metric in stage.metrics if metric not in whole]
    return render_page(
        "stage.html",
        run,
        results_hash,
        times,
        current=page_of(stage),
        alone=alone,
        note=note,
        kind="stage",
        page_title=title_of_page(stage),
        word=state.word,
        verdict=state,
        sentence=_stage_sentence(stage, gates, ungated),
        gate_count=counted(len(gates), "gate") if gates else "No gate reads this stage",
        gates=[rows.gate_row(result, stage.title) for result in gates],
        facts=stage.facts,
        tested=stage.tested or stage.reason or "Not recorded by this stage.",
        on_what=stage.on_what or "Not recorded by this stage.",
        metrics=rows.metric_table(whole) if whole else None,
        slices={
            "title": counted(len(slices), "more number") + " by slice or part",
            **rows.metric_table(slices),
        }
        if slices
        else None,
        findings=rows.finding_rows(stage),
        next_steps=rows.next_steps(stage),
        figures=[
            *(
                figure_view(marked(figure, read) if isinstance(figure, Grid) else figure, gates)
                for figure in stage.figures
            ),
            *([_ledger(stage.ledger)] if stage.ledger else []),
        ],
        meaning=stage.meaning,
        limits=stage.limits,
        worst_cases=rows.gallery_view(stage.worst_cases)
        if stage.worst_cases and stage.worst_cases.items
        else None,
        reproduce=[" ".join(run.command), *stage.reproduce] if run.command else stage.reproduce,
        artefacts=artefacts(stage),
        provenance=[*provenance(stage), *(taken_over(times) if alone else [])],
    )


def _is_headline(metric: Metric, stage: StageResult) -> bool:
    """Numbers of a slice, and parts of another number (`robust_accuracy.linf_4` and its `.pgd`), are folded away."""
    part = any(metric.name.startswith(f"{other.name}.") for other in stage.metrics)
    return metric.slice == "all" and not part


def _not_tested(run: Run) -> list[Fact]:
    skipped = [
        Fact(label=stage.title, value=stage.reason)
        for stage in run.stages
        if stage.status in ("skipped", "error")
    ]
    named = [fact for stage in run.stages for fact in stage.not_tested]
    seen: dict[str, Fact] = {}
    for fact in (*skipped, *named, *ALWAYS_UNTESTED):
        seen.setdefault(fact.label, fact)
    return list(seen.values())


def _card(run: Run, stage: StageResult) -> dict[str, Any]:
    gates, ungated = stage_gates(run, stage), stage_ungated(run, stage)
    state = stage_state(run, stage)
    figure = None
    if stage.card is not None:
        figure = next((f for f in stage.figures if f.id == stage.card.figure_id), None)
    words = ", ".join(f"{count} {found.word}" for found, count in (*counts(gates), *ungated_counts(ungated)))
    return {
        "href": page_of(stage),
        "title": title_of_page(stage),
        "state": state,
        "picture": draw_card(figure),
        "headline": stage.card.headline if stage.card else state.word,
        "text": stage.card.text if stage.card else stage.reason,
        "foot": words or "no gate",
    }


def _stage_sentence(stage: StageResult, gates: list[GateResult], ungated: list[Ungated]) -> str:
    """Say what decides the state of the stage."""
    if stage.status == "error":
        return f"This stage failed, and its evidence is missing: {stage.reason}"
    if stage.status == "skipped":
        return f"This stage was not run: {stage.reason}"
    if gates and gates[0].status not in ("pass", "waived"):
        return gates[0].message
    if ungated and (ungated[0].state in ("alarm", "unsigned") or not gates):
        return ungated[0].message
    return gates[0].message if gates else "No gate reads this stage: its numbers do not affect the verdict."


def _ledger(ledger: Table) -> dict[str, Any]:
    """The first rows of a table that may have one row for each of a million images."""
    first = ledger.model_copy(
        update={
            "rows": ledger.rows[:LEDGER_ROWS],
            "fold": True,
            "title": f"{ledger.title}: {min(LEDGER_ROWS, len(ledger.rows)):,} of {counted(len(ledger.rows), 'image')}",
            "caption": f"{ledger.caption} results.json has all of them.",
        }
    )
    return figure_view(first)
