"""The verdict in words: one sentence that names the worst gate, then the other gates and the scope. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safeml.errors import ExitCode
from safeml.profiles import proves
from safeml.results import (
    MODEL,
    WITHOUT_EVIDENCE,
    Gate,
    GateResult,
    GateStatus,
    Metric,
    RequirementResult,
    Run,
    StageResult,
    Ungated,
)
from safeml.wording import counted, number

# How a list of gates in this state is introduced after the sentence about the worst.
ALSO: tuple[tuple[GateStatus, str], ...] = (
    ("fail", "Failed"),
    ("error", "Without usable evidence"),
    ("not_proven", "Not proven"),
    ("skipped", "Not measured"),
    ("waived", "Waived"),
)
REMEDY = "Set a limit for it in [[gates]], or name in [[accepted]] who accepts it and why."
# How many of the values below their alarm level are named beside the verdict; the list below it has all.
NOTED = 3
AND_MISSING = " And evidence is missing."
QUICK = (
    "The quick profile measures fewer images, steps and threats, so its pass proves nothing: run the full profile, or "
    "accept the quick one with --accept-quick."
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


def verdict_line(run: Run) -> str:
    """Return state, exit code and profile of the verdict in one line."""
    return line_of(run.verdict.status, run.verdict.exit_code, run.profile, run.accept_quick)


def line_of(status: str, exit_code: int, profile: str, accept_quick: bool) -> str:
    """Return the same of a verdict that a statement holds."""
    accepted = ", accepted by --accept-quick" if accept_quick and not proves(profile, False) else ""
    return f"{status.replace('_', ' ').upper()} (exit code {exit_code}), {profile} profile{accepted}"


@dataclass(frozen=True)
class Decided:
    """What a verdict is about.

    results: gates, worst first.
    ungated: what no gate reads, worst first.
    crashed: stages that failed.
    code: the exit code.
    unproven_profile: the quick profile, whose pass is not accepted.
    requirements: each requirement, in the order of the settings.
    """

    results: Sequence[GateResult]
    ungated: Sequence[Ungated]
    stages: Sequence[StageResult]
    crashed: Sequence[StageResult]
    code: ExitCode
    unproven_profile: bool = False
    requirements: Sequence[RequirementResult] = ()


def verdict_words(decided: Decided) -> tuple[str, str]:
    """Return sentence and detail of a verdict. The sentence is about what decides the exit code."""
    results, crashed = decided.results, decided.crashed
    sentence, named = _sentence(decided)
    detail = [_others(status, label, [r for r in results if r is not named]) for status, label in ALSO]
    read = {(result.gate.subject, result.gate.stage) for result in results}
    unread = [stage.title for stage in crashed if (stage.subject, stage.stage) not in read]
    if unread:
        detail.append(f"Failed stages that no gate reads: {'; '.join(unread)}.")
    detail += [
        f"Model file not audited: {stage.reason.rstrip('.')}."
        for stage in decided.stages
        if (stage.subject, stage.stage, stage.status) == (MODEL, "model", "skipped")
    ]
    if decided.code == ExitCode.FAILED and _missing(decided):
        detail.insert(0, "Evidence is missing, so other gates may fail as well.")
    if decided.code not in (ExitCode.FAILED, ExitCode.INCOMPLETE) and named is None:
        detail.append(_scope(decided))
    detail.append(_not_gated(decided.ungated))
    detail.append(_requirements(decided.requirements, sentence))
    if decided.unproven_profile and decided.code == ExitCode.NOT_PROVEN and QUICK not in sentence:
        detail.append(QUICK)
    return sentence, " ".join(part for part in detail if part)


def _sentence(decided: Decided) -> tuple[str, GateResult | None]:
    """Return the sentence, and the gate that it is about, if it is about one."""
    results, crashed = decided.results, decided.crashed
    if decided.code == ExitCode.FAILED:
        worst = results[0]
        return f"{worst.message}{AND_MISSING if _missing(decided) else ''}", worst
    missing = [result for result in results if result.status in ("error", "skipped")]
    if missing:
        return missing[0].message, missing[0]
    if crashed:
        stage = crashed[0]
        words = stage_words(stage.stage, stage.subject)
        return f"T{words[1:]} failed, so the evidence is incomplete: {stage.reason.rstrip('.')}.", None
    if results[0].status not in ("pass", "waived"):
        return results[0].message, results[0]
    open_entries = [entry for entry in decided.ungated if entry.state in ("alarm", "unsigned")]
    if open_entries:
        return f"{open_entries[0].message} {REMEDY}", None
    open_requirements = [entry for entry in decided.requirements if entry.status in WITHOUT_EVIDENCE]
    if open_requirements:
        return open_requirements[0].message, None
    passed = _all_pass(results)
    if decided.unproven_profile:
        return f"{QUICK} {passed}", None
    return f"{passed}{_accepted(decided.ungated)}", None


def _missing(decided: Decided) -> bool:
    missing = any(result.status in ("error", "skipped") for result in decided.results)
    return missing or bool(decided.crashed)


def _all_pass(results: Sequence[GateResult]) -> str:
    """Count the gates that hold, and name the interval that is nearest to its limit, with its margin."""
    waived = sum(result.status == "waived" for result in results)
    passed = len(results) - waived
    if not passed:
        return f"No gate passes on its evidence: {counted(waived, 'gate')} waived."
    count = f"{counted(passed, 'gate passes', 'gates pass')}" + (f" and {waived} waived" if waived else "")
    closest = next(result for result in results if result.status == "pass")
    if is_count(closest.metric):  # counts are last, so there is no interval
        return f"{count}, on complete counts: {closest.message}"
    return f"{count}; nearest to its limit: {closest.message} {_margin(closest)}"


def is_count(metric: Metric | None) -> bool:
    """Return whether a metric is a complete count, which has no sampling error."""
    return metric is not None and metric.clustering == "census"


def state_at(gate: Gate, value: float) -> str:
    """Return in which state a gate is decided if its metric keeps this value: passed or failed."""
    better = value > gate.threshold if gate.op == ">=" else value < gate.threshold
    return "passed" if better else "failed"


def needs_words(result: GateResult) -> str:
    """Say what more sign tracks would do for an open gate; "" where no number is known."""
    metric, needs = result.metric, result.needs_signs
    if not needs or metric is None or metric.value is None:
        return ""
    tracks = f"about {counted(needs, 'more sign track')}"
    if metric.n < result.gate.min_n:
        return f"{tracks} would give {counted(result.gate.min_n, 'image')}"
    return f"{tracks} would decide it with even odds, as {state_at(result.gate, metric.value)} at this value"


def _margin(result: GateResult) -> str:
    """Say how far the worse end of the interval is from the limit."""
    margin = result.margin or 0.0
    metric = result.metric
    if metric is not None and metric.unit == "proportion":
        points = f"{100 * margin:.1f}" if margin >= 0.001 or margin == 0 else f"{100 * margin:.2g}"
        return f"The margin of its interval is {points} percentage points."
    return f"The margin of its interval is {number(margin)}."


def _others(status: GateStatus, label: str, results: Sequence[GateResult]) -> str:
    titles = [title_of(result.gate, result.metric) for result in results if result.status == status]
    return f"{label}: {'; '.join(titles)}." if titles else ""


def _accepted(ungated: Sequence[Ungated]) -> str:
    """Name what owners accept without a gate, by owner."""
    by_owner: dict[str, list[str]] = {}
    for entry in ungated:
        if entry.state == "accepted" and entry.accepted is not None:
            by_owner.setdefault(entry.accepted.owner, []).append(_value(entry))
    return "".join(
        f" Accepted without a gate by {owner}: {'; '.join(values)}." for owner, values in by_owner.items()
    )


def _not_gated(ungated: Sequence[Ungated]) -> str:
    """Name what no gate reads, worst first: all that needs or has an owner, and of the rest the NOTED worst that have a value."""
    noted = [entry for entry in ungated if entry.state == "noted"]
    measured = [entry for entry in noted if entry.metric is None or entry.metric.value is not None]
    named = [*(entry for entry in ungated if entry.state != "noted"), *measured[:NOTED]]
    if not named:
        return f"Not gated: {'; '.join(map(_value, noted))}." if noted else ""
    more = len(ungated) - len(named)
    return (
        f"Not gated: {'; '.join(map(_value, named))}{f'; and {more} more, each in the list' if more else ''}."
    )


def _requirements(results: Sequence[RequirementResult], sentence: str) -> str:
    """Name the requirements that nothing verifies, but for the one that the sentence is about."""
    ids = [
        entry.requirement.id
        for entry in results
        if entry.status in WITHOUT_EVIDENCE and entry.message not in sentence
    ]
    return f"Requirements without evidence: {', '.join(ids)}." if ids else ""


def _value(entry: Ungated) -> str:
    return f"{entry.title}: {entry.finding}" if entry.finding else f"{entry.title} {entry.value}".strip()


def _scope(decided: Decided) -> str:
    """What a pass is about: the stages that a gate reads; and the stages that did not run."""
    read = {(result.gate.subject, result.gate.stage) for result in decided.results}
    ran = sorted(
        f"{stage.title} ({stage.on_what.rstrip('.')})" if stage.on_what else stage.title
        for stage in decided.stages
        if stage.status == "ok" and (stage.subject, stage.stage) in read
    )
    left_out = sorted(stage.title for stage in decided.stages if stage.status == "skipped")
    what = "This" if decided.code == ExitCode.PASSED else "Every gate passes or is waived, which"
    text = f"{what} holds for the gated stages: {'; '.join(ran)}." if ran else ""
    return text + (f" Not tested: {'; '.join(left_out)}." if left_out else "")
