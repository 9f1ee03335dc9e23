"""The verdict in words: one sentence that names the worst gate, then the other gates and the scope. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.results import MODEL, Gate, GateResult, GateStatus, Metric, StageResult
from safeml.wording import counted

# How a list of gates in this state is introduced after the sentence about the worst.
ALSO: tuple[tuple[GateStatus, str], ...] = (
    ("fail", "Failed"),
    ("error", "Without usable evidence"),
    ("not_proven", "Not proven"),
    ("skipped", "Not measured"),
    ("waived", "Waived"),
)


def title_of(gate: Gate, metric: Metric | None = None) -> str:
    """Return the gate's own title, else the title or name of its metric with the subject and the slice."""
    if gate.title:
        return gate.title
    title = metric.title if metric is not None and metric.title else gate.metric
    parts = [gate.subject] * (gate.subject != MODEL) + [gate.slice] * (gate.slice != "all")
    return f"{title} ({', '.join(parts)})" if parts else title


def stage_words(stage: str, subject: str) -> str:
    """Name a stage in a sentence; the subject is named where it is not the model itself."""
    return f"the stage {stage}" if subject == MODEL else f"the stage {stage} of {subject}"


def verdict_words(
    results: Sequence[GateResult], stages: Sequence[StageResult], crashed: Sequence[StageResult]
) -> tuple[str, str]:
    """Sentence and detail of a verdict; `results` are sorted worst first, and missing evidence precedes a failure.

    A verdict with missing evidence is incomplete even if gates failed, and its sentence says so.
    """
    missing = [result for result in results if result.status in ("error", "skipped")]
    worst = missing[0] if missing else results[0]
    others = [result for result in results if result is not worst]
    settled = worst.status in ("pass", "waived")
    if settled and crashed:
        sentence = f"T{stage_words(crashed[0].stage, crashed[0].subject)[1:]} failed, so the evidence is incomplete: {crashed[0].reason.rstrip('.')}."
        named = crashed[1:]
    else:
        sentence = _all_pass(results) if settled else worst.message
        named = crashed
    detail = [_others(status, label, results if settled else others) for status, label in ALSO]
    read = {(result.gate.subject, result.gate.stage) for result in results}
    unread = [stage.title for stage in named if (stage.subject, stage.stage) not in read]
    if unread:
        detail.append(f"Failed stages that no gate reads: {'; '.join(unread)}.")
    if settled and not crashed:
        detail.append(_scope(stages))
    return sentence, " ".join(part for part in detail if part)


def _all_pass(results: Sequence[GateResult]) -> str:
    waived = sum(result.status == "waived" for result in results)
    passed = len(results) - waived
    if not passed:
        return f"No gate passes on its evidence: {counted(waived, 'gate')} waived."
    closest = next(result for result in results if result.status == "pass")
    count = f"{counted(passed, 'gate passes', 'gates pass')}" + (f" and {waived} waived" if waived else "")
    return f"{count}; nearest to its limit: {closest.message}"


def _others(status: GateStatus, label: str, results: Sequence[GateResult]) -> str:
    titles = [title_of(result.gate, result.metric) for result in results if result.status == status]
    return f"{label}: {'; '.join(titles)}." if titles else ""


def _scope(stages: Sequence[StageResult]) -> str:
    """What a pass is about: the stages that ran, and those that did not."""
    ran = sorted(
        f"{stage.title} ({stage.on_what.rstrip('.')})" if stage.on_what else stage.title
        for stage in stages
        if stage.status == "ok"
    )
    left_out = sorted(stage.title for stage in stages if stage.status == "skipped")
    text = f"This holds for what was tested: {'; '.join(ran)}." if ran else ""
    return text + (f" Not tested: {'; '.join(left_out)}." if left_out else "")
