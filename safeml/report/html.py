"""The pages: an index and one page a stage, from a run. No script, no remote asset, every user's string escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safeml.report import rows
from safeml.report.charts import draw_bars, draw_card, draw_curve, draw_dots, draw_matrix
from safeml.report.resume import resume_sentence, stage_seconds
from safeml.report.states import VERDICT_STATES, counts, stage_gates, stage_state
from safeml.report.text import LONGEST_TEXT, duration, short_hash, visible, when
from safeml.results import (
    Bars,
    Curve,
    DataIdentity,
    DotPlot,
    Fact,
    Gallery,
    Matrix,
    Metric,
    Run,
    RunTimes,
    StageResult,
    Table,
)
from safeml.store.files import content_key
from safeml.wording import NARROW_SPACE, counted, number

LEDGER_ROWS = 200
WIDE, NARROW = 760, 358
ALWAYS_UNTESTED = (
    Fact(
        label="The device",
        value="No target device was attached: latency, power and the camera are not measured.",
    ),
    Fact(label="Other places and times", value="Nothing here extends beyond the images that were tested."),
)


def render_index(run: Run, results_hash: str, times: RunTimes | None) -> str:
    """The page with the verdict."""
    titles = {stage.stage: stage.title for stage in run.stages}
    gates = run.verdict.gates
    state = VERDICT_STATES[run.verdict.status]
    return _page(
        "index.html",
        run,
        results_hash,
        times,
        current="",
        kind="index",
        page_title=run.title,
        word=state.word,
        verdict=state,
        sentence=run.verdict.sentence,
        detail=run.verdict.detail,
        exit_code=run.verdict.exit_code,
        gate_count=counted(len(gates), "gate"),
        strip=[{"state": state, "count": count} for state, count in counts(gates)],
        identity=_identity(run, times),
        gates=[rows.gate_row(result, titles.get(result.gate.stage, result.gate.stage)) for result in gates],
        not_tested=_not_tested(run),
        cards=[_card(run, stage) for stage in run.stages],
        manifest=_manifest(run, times),
        commands=_commands(run),
    )


def render_stage(
    run: Run, stage: StageResult, results_hash: str, times: RunTimes | None, alone: bool = False
) -> str:
    """The page of one stage, in its seven fixed blocks; `alone`: there is no index to link to."""
    gates = stage_gates(run, stage)
    state = stage_state(stage, gates)
    read = {(result.gate.metric, result.gate.slice) for result in gates}
    whole = [
        metric
        for metric in stage.metrics
        if _is_headline(metric, stage) or (metric.name, metric.slice) in read
    ]
    slices = [metric for metric in stage.metrics if metric not in whole]
    return _page(
        "stage.html",
        run,
        results_hash,
        times,
        current=stage.stage,
        alone=alone,
        kind="stage",
        page_title=stage.title,
        word=state.word,
        verdict=state,
        sentence=_stage_sentence(stage, gates),
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
        figures=[*map(_figure, stage.figures), *([_ledger(stage.ledger)] if stage.ledger else [])],
        meaning=stage.meaning,
        limits=stage.limits,
        worst_cases=rows.gallery_view(stage.worst_cases)
        if stage.worst_cases and stage.worst_cases.items
        else None,
        reproduce=[" ".join(run.command), *stage.reproduce] if run.command else stage.reproduce,
        provenance=[*_provenance(stage), *(_taken_over(times) if alone else [])],
    )


def _is_headline(metric: Metric, stage: StageResult) -> bool:
    """Numbers of a slice, and parts of another number (`robust_accuracy.linf_4` and its `.pgd`), are folded away."""
    part = any(metric.name.startswith(f"{other.name}.") for other in stage.metrics)
    return metric.slice == "all" and not part


def _page(
    template: str,
    run: Run,
    results_hash: str,
    times: RunTimes | None,
    *,
    current: str,
    alone: bool = False,
    **context: Any,
) -> str:
    style = _style()
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # our own file, not the user's
            style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            nav=[] if alone else [_nav(run, stage, current) for stage in run.stages],
            alone=alone,
            report_title=run.title,
            profile=run.profile,
            results_hash=short_hash(results_hash),
            schema=run.schema_version,
            version=run.safeml_version,
            date=when(times.started) if times else "",
            nnbsp=NARROW_SPACE,
            **context,
        )
        .strip()
        + "\n"
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("safeml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Every plain string passes here before it is escaped; what we drew ourselves passes unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return (
            value
            if value.isascii() and value.isprintable() and len(value) < LONGEST_TEXT
            else _visible_or_picture(value)
        )
    return value


def _visible_or_picture(value: str) -> str:
    """A picture's base64 is longer than any text may be and is plain by construction."""
    return (
        value
        if value.isascii() and value.isprintable() and " " not in value and value.startswith("iVBOR")
        else visible(value, LONGEST_TEXT)
    )


@cache
def _style() -> str:
    static = files("safeml.report") / "static"
    return "".join((static / name).read_text(encoding="utf-8") for name in ("report.css", "charts.css"))


def _nav(run: Run, stage: StageResult, current: str) -> dict[str, Any]:
    state = stage_state(stage, stage_gates(run, stage))
    return {
        "href": f"{stage.stage}.html",
        "title": stage.title,
        "state": state,
        "current": stage.stage == current,
    }


def _identity(run: Run, times: RunTimes | None) -> list[Fact]:
    commit = f" · {times.code_commit}" if times and times.code_commit else ""
    return [
        Fact(label="Model", value=run.model.name, detail=f"sha256 {short_hash(run.model.fingerprint)}"),
        _data_fact(run.test_data),
        Fact(
            label="Run",
            value=when(times.started) if times else "date not recorded",
            detail=f"safeml {run.safeml_version}{commit}",
        ),
        Fact(
            label="Responsible",
            value=run.responsible or "nobody named",
            detail="set run.responsible" if not run.responsible else "",
        ),
    ]


def _data_fact(test: DataIdentity | None) -> Fact:
    if test is None:
        return Fact(label="Data", value="no test data recorded")
    signs = (
        f"about {number(round(test.signs))} signs ({test.clustering})"
        if test.signs
        else "clustering of frames unknown"
    )
    return Fact(
        label="Data", value=f"{test.name}, {number(test.images)} images, {test.classes} classes", detail=signs
    )


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
    gates = stage_gates(run, stage)
    figure = None
    if stage.card is not None:
        figure = next((f for f in stage.figures if f.id == stage.card.figure_id), None)
    words = ", ".join(f"{count} {state.word}" for state, count in counts(gates))
    return {
        "href": f"{stage.stage}.html",
        "title": stage.title,
        "state": stage_state(stage, gates),
        "picture": draw_card(figure),
        "headline": stage.card.headline if stage.card else stage_state(stage, gates).word,
        "text": stage.card.text if stage.card else stage.reason,
        "foot": words or "no gate",
    }


def _stage_sentence(stage: StageResult, gates: list[Any]) -> str:
    if stage.status == "error":
        return f"This stage failed, and its evidence is missing: {stage.reason}"
    if stage.status == "skipped":
        return f"This stage was not run: {stage.reason}"
    if not gates:
        return "No gate reads this stage: its numbers are recorded and decide nothing."
    return str(gates[0].message)


def _ledger(ledger: Table) -> dict[str, Any]:
    """The first rows of a table that may have one row for each of a million images."""
    first = ledger.model_copy(
        update={
            "rows": ledger.rows[:LEDGER_ROWS],
            "fold": True,
            "title": f"{ledger.title}: {min(LEDGER_ROWS, len(ledger.rows)):,} of {counted(len(ledger.rows), 'image')}",
            "caption": f"{ledger.caption} All of them stand in results.json.",
        }
    )
    return _figure(first)


def _figure(figure: Any) -> dict[str, Any]:
    view: dict[str, Any] = {
        "title": figure.title, "hint": "", "folded": False, "table": None, "gallery": None,
        "wide": "", "narrow": "", "reading": [*getattr(figure, "reading", []), *([figure.caption] if figure.caption else [])],
    }  # fmt: skip
    if isinstance(figure, Table):
        return {**view, "table": rows.table_view(figure), "folded": figure.fold}
    if isinstance(figure, Gallery):
        return {**view, "gallery": rows.gallery_view(figure)}
    return {**view, "wide": _draw(figure, WIDE), "narrow": _draw(figure, NARROW)}


def _draw(figure: Curve | Bars | DotPlot | Matrix, width: int) -> Markup:
    match figure:
        case Curve():
            return draw_curve(figure, width)
        case Bars():
            return draw_bars(figure, width)
        case DotPlot():
            return draw_dots(figure, width)
        case Matrix():
            return draw_matrix(figure, width)


def _scaling(inputs: dict[str, Any]) -> str:
    """What is done to the values after the range, in a clause."""
    if inputs.get("standardise"):
        return "then standardised image by image; "
    parts = [
        f"{word} {', '.join(map(str, inputs[key]))}"
        for key, word in (("mean", "minus"), ("std", "divided by"))
        if inputs.get(key)
    ]
    return f"then {' and '.join(parts)}; " if parts else ""


def _manifest(run: Run, times: RunTimes | None) -> list[Fact]:
    facts = [Fact(label="Model", value=short_hash(run.model.fingerprint), detail="; ".join(run.model.notes))]
    inputs = run.model.input
    facts.append(
        Fact(
            label="Input",
            value=f"{inputs.get('height')} × {inputs.get('width')} {inputs.get('channels')}, {inputs.get('low')} to {inputs.get('high')}",
            detail=f"{_scaling(inputs)}{number(run.model.parameters)} parameters; the file gives {inputs.get('outputs')}",
        )
    )
    facts += [
        Fact(
            label=f"Data, {entry.role}",
            value=short_hash(entry.fingerprint),
            detail=f"{entry.name}, {number(entry.images)} images",
        )
        for entry in run.data
    ]
    facts.append(
        Fact(
            label="Configuration",
            value=short_hash(content_key(run.configuration)),
            detail=f"{run.profile} profile",
        )
    )
    facts.append(Fact(label="Seed", value=str(run.configuration.get("run", {}).get("seed", "not recorded"))))
    facts.append(
        Fact(label="Software", value=", ".join(f"{name} {version}" for name, version in run.versions.items()))
    )
    if times:
        facts.append(Fact(label="Hardware", value=", ".join(f"{k} {v}" for k, v in times.hardware.items())))
        total = duration(sum(times.seconds.values()))
        facts.append(
            Fact(
                label="Duration",
                value=total,
                detail=stage_seconds(times, [stage.stage for stage in run.stages]),
            )
        )
        facts += _taken_over(times)
        facts.append(
            Fact(
                label="Model file",
                value=short_hash(times.model_file_sha256),
                detail="sha256 of the file itself",
            )
        )
    return facts


def _taken_over(times: RunTimes | None) -> list[Fact]:
    """What was taken over from an earlier run that did not finish, where anything was."""
    if times is None:
        return []
    text = " ".join([resume_sentence(times.resume), *times.notes]).strip()
    return [Fact(label="Resumed", value=text)] if text else []


def _commands(run: Run) -> list[str]:
    lines = [" ".join(run.command)] if run.command else []
    return [
        *lines,
        "safeml gate .      # decide again from results.json",
        "safeml report .    # draw again, without model, data or framework",
        "",
        "# exit codes: 0 passed · 1 failed · 2 usage · 3 not proven · 4 incomplete · 5 refused",
    ]


def _provenance(stage: StageResult) -> list[Fact]:
    made = stage.provenance
    if made is None:
        return []
    return [
        Fact(label="Model", value=short_hash(made.model)),
        Fact(label="Data", value=short_hash(made.data)),
        Fact(label="Seed", value=str(made.seed)),
        Fact(label="Evidence key", value=short_hash(made.key) if made.key else "not recorded"),
    ]
