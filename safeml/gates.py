"""Decide a release from recorded evidence: (stages, gates, date) -> verdict. Pure: no files, no clock, no arrays.

A gate reads the end of its metric's interval that is worse for the model:

    pass        the whole interval is on the right side (>=: low >= limit; <=: high <= limit; ==: a complete count equals it)
    fail        the whole interval is on the wrong side, or the gate's waiver has expired
    not_proven  the interval contains the limit, there are fewer images than `min_n`, or there is no interval
    error       the stage crashed; the metric is absent, undefined, recorded twice or contradicts itself
    skipped     the stage was not run
    waived      an owner accepts, until a date, a gate that fails, is not proven or was skipped

What is measured and not gated does not pass in silence: a metric beyond the alarm level of its stage, a serious finding of a
stage without gates, and an accepted entry without an owner leave the verdict not proven; so does the quick profile, unless
the user accepts it. A failure is graver than missing evidence, so that missing evidence never hides it.

Doubt never passes. Broken evidence (`error`) cannot be waived, because no owner can accept a number that does not exist;
a stage that was left out on purpose can. An expired waiver fails its gate, except where the evidence is missing as well,
which is the graver state. Gates are joined by "and": each is tested at its own level and all must pass, so several gates
need no correction for multiple testing (intersection-union test; R. L. Berger, "Multiparameter hypothesis testing and
acceptance sampling", Technometrics, 1982). That one gate failed does not prove that no other would.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Literal

from safeml.errors import PRECEDENCE, ConfigError, ExitCode
from safeml.not_gated import not_gated
from safeml.profiles import proves
from safeml.requirements import traced
from safeml.results import (
    BASELINE,
    MODEL,
    WITHOUT_EVIDENCE,
    Accepted,
    Gate,
    GateResult,
    GateStatus,
    Metric,
    Requirement,
    StageResult,
    Verdict,
)
from safeml.verdict_text import Decided, is_count, stage_words, state_at, title_of, verdict_words
from safeml.wording import counted, interval, limit_quantity, number, quantity

# Worst first, as gates are listed.
ORDER: tuple[GateStatus, ...] = ("fail", "error", "not_proven", "skipped", "waived", "pass")
EXIT_CODE: dict[GateStatus, ExitCode] = {
    "fail": ExitCode.FAILED,
    "error": ExitCode.INCOMPLETE,
    "not_proven": ExitCode.NOT_PROVEN,
    "skipped": ExitCode.INCOMPLETE,
    "waived": ExitCode.PASSED,
    "pass": ExitCode.PASSED,
}
VERDICT: dict[ExitCode, Literal["passed", "failed", "not_proven", "incomplete"]] = {
    ExitCode.PASSED: "passed",
    ExitCode.FAILED: "failed",
    ExitCode.NOT_PROVEN: "not_proven",
    ExitCode.INCOMPLETE: "incomplete",
}
# Version of the rules of a verdict. Runs recorded by version 1 are still read (safeml/recorded_verdict.py).
RULES = 2
LEAST_LEVEL = 0.95
# Ends and value are computed apart, so they may disagree by rounding.
ROUNDING = 1e-9
NOT_PROVEN = "Not proven: "
NO_BASELINE = "no baseline was given; name the earlier run with --baseline"
GROWING = (
    "Fix the number in advance: each further audit of a growing test set is one more chance of a false pass."
)


def decide(
    stages: Sequence[StageResult],
    gates: Sequence[Gate],
    today: str,
    *,
    accepted: Sequence[Accepted] = (),
    requirements: Sequence[Requirement] = (),
    profile: str = "full",
    accept_quick: bool = False,
) -> Verdict:
    """Decide each gate, and the release, from what the stages recorded.

    today: ISO date (UTC), against which waivers expire; a waiver holds on its last day.
    accepted: measurements that an owner accepts without a gate.
    requirements: what the gates are there for; one that nothing verifies leaves the verdict not proven.
    profile: of the run; what would pass is not proven in the quick one, unless `accept_quick`: see `safeml.profiles`.
    Raises: ConfigError for no gates, a repeated gate id, a date that does not exist, or a gate that asks a metric for the
    wrong direction.
    """
    _check(gates)
    day = _date(today, "today")
    results = [_waive(_decide(stages, gate), day) for gate in gates]
    results.sort(key=_worst_first)
    crashed = sorted(
        (stage for stage in stages if stage.status == "error"), key=lambda stage: (stage.stage, stage.subject)
    )
    ungated = not_gated(stages, gates, accepted)
    codes = {EXIT_CODE[result.status] for result in results}
    if crashed:
        codes.add(ExitCode.INCOMPLETE)
    if any(entry.state in ("alarm", "unsigned") for entry in ungated):
        codes.add(ExitCode.NOT_PROVEN)
    unproven_profile = not proves(profile, accept_quick)
    requirement_results = traced(requirements, results, unproven_profile)
    if any(entry.status in WITHOUT_EVIDENCE for entry in requirement_results):
        codes.add(ExitCode.NOT_PROVEN)
    if unproven_profile:
        codes.add(ExitCode.NOT_PROVEN)
    code = next(code for code in PRECEDENCE if code in codes)
    sentence, detail = verdict_words(
        Decided(results, ungated, stages, crashed, code, unproven_profile, requirement_results)
    )
    return Verdict(
        status=VERDICT[code],
        exit_code=int(code),
        sentence=sentence,
        detail=detail,
        gates=results,
        ungated=ungated,
        requirements=requirement_results,
        rules=RULES,
    )


def _check(gates: Sequence[Gate]) -> None:
    if not gates:
        raise ConfigError(
            "gates: there are none; expected at least one, because a release without a limit proves nothing."
        )
    repeated = [gate_id for gate_id, count in Counter(gate.id for gate in gates).items() if count > 1]
    if repeated:
        raise ConfigError(f"gates: the id {repeated[0]} is used more than once; give each gate another id.")


def _date(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is not a date; expected YYYY-MM-DD.") from None


def _worst_first(result: GateResult) -> tuple[int, bool, bool, float, str]:
    """Sort by state; a count that holds follows the intervals, because a count of 0 has no margin and is not near its limit."""
    unmeasured = result.margin is None
    holds = result.status == "pass" and is_count(result.metric)
    return ORDER.index(result.status), holds, unmeasured, result.margin or 0.0, result.gate.id


def _waive(result: GateResult, today: date) -> GateResult:
    """Apply the gate's waiver, if it has one."""
    waiver = result.gate.waiver
    if waiver is None:
        return result
    expired = today > _date(waiver.until, f"gates.{result.gate.id}.waiver.until")
    status = result.status
    if status == "pass":
        note = "Its waiver is not needed."
    elif status == "error":
        note = "Its waiver does not hold: missing or broken evidence cannot be waived."
    elif not expired:
        status = "waived"
        note = f"Waived by {waiver.owner} until {waiver.until}: {waiver.reason.rstrip('.')}."
    else:
        status = "skipped" if status == "skipped" else "fail"
        note = f"The waiver of {waiver.owner} expired on {waiver.until}."
    message = f"{result.message} {note}"
    return result.model_copy(
        update={"status": status, "message": message, "decided_without_waiver": result.status}
    )


def _decide(stages: Sequence[StageResult], gate: Gate) -> GateResult:
    """The gate's state without its waiver."""
    of_subject = [stage for stage in stages if stage.subject == gate.subject]
    if gate.subject == BASELINE and not of_subject:
        return _unmeasured(gate, "skipped", NO_BASELINE)
    if gate.subject != MODEL and not of_subject:
        return _unmeasured(gate, "skipped", f"{gate.subject} was not audited")
    matching = [stage for stage in of_subject if stage.stage == gate.stage]
    here = stage_words(gate.stage, gate.subject)
    if not matching:
        return _unmeasured(gate, "skipped", f"{here} was not run")
    if len(matching) > 1:
        return _unmeasured(gate, "error", f"{here} is recorded {counted(len(matching), 'time')}")
    stage = matching[0]
    if stage.status == "skipped":
        return _unmeasured(gate, "skipped", f"{here} was skipped: {stage.reason}")
    if stage.status == "error":
        return _unmeasured(gate, "error", f"{here} failed: {stage.reason}")
    metrics = [metric for metric in stage.metrics if (metric.name, metric.slice) == (gate.metric, gate.slice)]
    where = gate.metric if gate.slice == "all" else f"{gate.metric} for {gate.slice}"
    if not metrics:
        return _unmeasured(gate, "error", f"{here} recorded no {where}")
    if len(metrics) > 1:
        return _unmeasured(gate, "error", f"{here} recorded {where} {counted(len(metrics), 'time')}")
    return _decide_on(gate, metrics[0])


def _decide_on(gate: Gate, metric: Metric) -> GateResult:
    """The gate's state on its one metric."""
    wrong = {"up": "<=", "down": ">="}[metric.direction]
    if gate.op == wrong:
        better = "higher" if metric.direction == "up" else "lower"
        right = ">=" if wrong == "<=" else "<="
        raise ConfigError(
            f"gates.{gate.id}: op is {wrong}, but {better} is better for {gate.metric}; use {right} or ==."
        )
    if metric.unit == "proportion" and gate.op != "==" and 1 < abs(gate.threshold) < math.inf:
        raise ConfigError(
            f"gates.{gate.id}: threshold is {gate.threshold:g}; {gate.metric} is a proportion, so write {gate.threshold / 100:g}."
        )
    broken = _contradiction(gate, metric)
    if broken:
        return _unmeasured(gate, "error", broken, title_of(gate, metric))
    if metric.low is None or metric.high is None:
        return _without_interval(gate, metric)
    status = _side(gate, metric, metric.low, metric.high)
    margin = _margin(gate, metric.low, metric.high)
    measured = f"{_measured(gate, metric)}; {_limit(gate, metric)}."
    if metric.n < gate.min_n:
        needs = _signs_for(metric, gate.min_n)
        why = (
            f" {NOT_PROVEN}{counted(metric.n, 'image')} are too few; the gate asks for {number(gate.min_n)}."
        )
        return GateResult(
            gate=gate,
            status="not_proven",
            message=measured + why,
            metric=metric,
            margin=margin,
            needs_signs=needs,
        )
    if status != "not_proven":
        return GateResult(gate=gate, status=status, message=measured, metric=metric, margin=margin)
    near = _is_near(gate, metric)
    needs = None if near else _further_signs(gate, metric)
    return GateResult(
        gate=gate,
        status=status,
        message=f"{measured} {_open_words(gate, metric, near, needs)}",
        metric=metric,
        margin=margin,
        needs_signs=needs,
    )


def _side(gate: Gate, metric: Metric, low: float, high: float) -> GateStatus:
    """On which side of the limit the whole interval lies."""
    limit = gate.threshold
    if gate.op == ">=":
        passes, fails = low >= limit, high < limit
    elif gate.op == "<=":
        passes, fails = high <= limit, low > limit
    else:
        passes = metric.clustering == "census" and low == high == metric.value == limit
        fails = high < limit or low > limit
    return "pass" if passes else "fail" if fails else "not_proven"


def _margin(gate: Gate, low: float, high: float) -> float:
    """Signed distance of the worse end to the limit; positive is good."""
    if gate.op == ">=":
        return low - gate.threshold
    if gate.op == "<=":
        return gate.threshold - high
    return -max(abs(low - gate.threshold), abs(high - gate.threshold))


def _contradiction(gate: Gate, metric: Metric) -> str:
    """Why the metric is no evidence, or nothing. Records are checked when they are made; this holds for any other."""
    if metric.status != "ok":
        return metric.reason or f"its status is {metric.status}"
    numbers = [gate.threshold, metric.level, metric.value, metric.low, metric.high]
    if metric.value is None or not all(math.isfinite(x) for x in numbers if x is not None):
        return "its value, interval or limit is not a finite number"
    if (metric.low is None) != (metric.high is None):
        return "its interval has one end"
    if metric.level < LEAST_LEVEL:
        return f"its interval holds at {quantity(metric.level, 'proportion')}; gates read 95 % or more"
    if metric.low is not None and metric.high is not None:
        slack = ROUNDING * max(1.0, abs(metric.value))
        if not metric.low - slack <= metric.value <= metric.high + slack:
            return "its value lies outside its own interval"
    return ""


def _unmeasured(gate: Gate, status: GateStatus, why: str, title: str = "") -> GateResult:
    """A gate without a usable number; a metric that contradicts itself is not carried into the verdict."""
    message = f"{title or title_of(gate)} is not measured: {why.rstrip('.')}."
    return GateResult(gate=gate, status=status, message=message)


def _without_interval(gate: Gate, metric: Metric) -> GateResult:
    if metric.clustering == "unknown":
        why = (
            "no confidence interval: the data have no track ids and frames_per_sign is not set. Set frames_per_sign in "
            "[data.test] (1 if all images are independent; when unsure declare the largest track)"
        )
    else:
        why = "no confidence interval" + (
            f" ({metric.method.removeprefix('none: ')})" if metric.method else ""
        )
    return GateResult(
        gate=gate,
        status="not_proven",
        message=f"{_measured(gate, metric)}; {_limit(gate, metric)}. {NOT_PROVEN}{why}.",
        metric=metric,
    )


def _measured(gate: Gate, metric: Metric) -> str:
    """Title, value and interval, without a full stop."""
    value = quantity(metric.value, metric.unit, gate.threshold)
    text = f"{title_of(gate, metric)}: {value}"
    if metric.low is None or metric.low == metric.high:
        return text
    level = limit_quantity(metric.level, "proportion")
    ends = interval(metric.low, metric.high, gate.threshold, metric.unit)
    return (
        f"{text}, one-sided {level} bounds {ends}"
        if metric.sides == 1
        else f"{text}, {level} interval {ends}"
    )


def _limit(gate: Gate, metric: Metric) -> str:
    return f"the limit is {limit_quantity(gate.threshold, metric.unit)}"


def _open_words(gate: Gate, metric: Metric, near: bool, needs: int | None) -> str:
    """Say why an open gate is open, what would decide it, and as which state if the value stays."""
    if gate.op == "==":
        return f"{NOT_PROVEN}only a complete count can prove an equality."
    contains = f"{NOT_PROVEN}the confidence interval contains the threshold"
    if near:
        return f"{contains}, and the value is within one standard error of it."
    if needs is None:
        return f"{contains}; no feasible number of additional sign tracks would decide it at this value."
    return (
        f"{contains}; about {counted(needs, 'more sign track')} would decide it with even odds, "
        f"as {state_at(gate, metric.value or 0.0)} at this value. {GROWING}"
    )


def _signs_for(metric: Metric, images: int) -> int | None:
    """Return the number of additional sign tracks until the metric counts `images` images, at its present number of images for each sign."""
    if not metric.signs or not metric.n:
        return None
    return math.ceil((images - metric.n) * metric.signs / metric.n)


def _is_near(gate: Gate, metric: Metric) -> bool:
    """Whether the value is within one standard error of the threshold: a number of signs would be noise."""
    from safeml.statistics.planning import standard_error

    error = standard_error(metric)
    return error is not None and metric.value is not None and abs(metric.value - gate.threshold) < error


def _further_signs(gate: Gate, metric: Metric) -> int | None:
    # Only an open gate needs numpy and scipy: the command line starts without them.
    from safeml.statistics.planning import further_signs

    return further_signs(metric, gate.threshold, gate.op)
