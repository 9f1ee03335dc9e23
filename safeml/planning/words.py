"""Sentences of a plan, without decisions."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.errors import ExitCode
from safeml.gates import NOT_PROVEN
from safeml.planning.base import Allowed, GatePlan, GateState, Seconds
from safeml.results import Gate, GateResult, Metric
from safeml.wording import counted, interval, limit_quantity, number, quantity

CANNOT: tuple[tuple[GateState, str], ...] = (
    ("missing", "the evidence for {} will be missing"),
    ("fails", "{} fails for every model"),
    ("not_provable", "{} cannot be proven with these images"),
)

UNGATED_FINDING = "a stage without gates has a serious finding, which no entry in [[accepted]] names"

MISSING = "Will be missing (exit code 4): "


def gate_words(
    state: GateState,
    gate: Gate,
    result: GateResult | None,
    allowed: Allowed | None = None,
    needs: int | None = None,
    group: str = "",
    model_free: bool = False,
) -> str:
    """State the possible result of a gate in one sentence; model_free: no model changes its metric."""
    metric = None if result is None else result.metric
    if state == "depends":
        if metric is None:
            return "Depends on the model."
        return "Depends on the model; a perfect model has no confidence interval here."
    if state == "missing" and result is not None:
        why = result.message.partition(" is not measured: ")[2] or result.message
        return f"{MISSING}{why}"
    if metric is None or result is None:
        return "Depends on the model."
    if metric.clustering == "census" and metric.low is not None:
        value = quantity(metric.value, metric.unit)
        if not model_free:
            return (
                f"Can be proven; a perfect model has {value}."
                if state == "provable"
                else f"Fails: a perfect model has {value}."
            )
        verb = "Already counted" if state == "provable" else "Fails for every model; already counted"
        return f"{verb}: {value}."
    if state == "provable":
        return _allowed_words(allowed, metric, gate)
    if state == "waived":
        return "Waived: " + result.message.rpartition(" Waived by ")[2]
    if metric.low is None:
        return f"Cannot be proven: {result.message.partition(NOT_PROVEN)[2]}"
    return _open_words(state, gate, metric, needs, group)


def _open_words(state: GateState, gate: Gate, metric: Metric, needs: int | None, group: str) -> str:
    where = f" of {group.partition(':')[2]}" if group else ""
    ends = interval(metric.low, metric.high, gate.threshold, metric.unit)
    signs = counted(round(metric.signs or metric.n), "sign") + where
    if state == "fails":
        return f"Fails for every model: the confidence interval of a perfect one is {ends}."
    if metric.n < gate.min_n:
        return f"Cannot be proven: {counted(metric.n, 'image')}{where}, but the gate requires {number(gate.min_n)}."
    end = metric.low if metric.direction == "up" else metric.high
    text = f"Cannot be proven: with {signs}, even a perfect model proves only {quantity(end, metric.unit, gate.threshold)}"
    return f"{text}; {number(needs)} sign tracks would suffice." if needs is not None else f"{text}."


def _allowed_words(allowed: Allowed | None, metric: Metric, gate: Gate) -> str:
    if allowed is None:
        return "Can be proven."
    where = f" of {allowed.group.partition(':')[2]}" if allowed.group else ""
    value = quantity(allowed.value, metric.unit, gate.threshold)
    if allowed.wrong == 0:
        return f"Can be proven if none of {counted(allowed.of, allowed.unit)}{where} is misclassified."
    return (
        f"Can be proven with up to {number(allowed.wrong)} of {counted(allowed.of, allowed.unit)}{where} "
        f"misclassified ({value})."
    )


def plan_words(gates: Sequence[GatePlan], code: int, unsettled: Sequence[str] = ()) -> str:
    """State the best result that any model can reach in one sentence. unsettled: clauses that hold for every model."""
    depends = [plan.gate.id for plan in gates if plan.state == "depends"]
    rest = f" Unknown before the audit: {_listed(depends)}." if depends else ""
    if code == ExitCode.PASSED:
        return f"A good enough model can pass (exit code 0).{rest}"
    parts = [
        words.format(_listed([plan.gate.id for plan in gates if plan.state == state]))
        for state, words in CANNOT
        if any(plan.state == state for plan in gates)
    ]
    parts += unsettled
    serious = code == ExitCode.NOT_PROVEN
    why = "; ".join(parts) or (UNGATED_FINDING if serious else "a stage cannot be measured")
    return f"Even a perfect model cannot pass: {why}. The best exit code is {code}.{rest}"


def duration(seconds: Seconds | None) -> str:
    """Format a range of time in the unit of its upper end: 4 to 9 s, 3 to 6 min, 1.5 to 3 h."""
    if seconds is None:
        return ""
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds.high >= 1.5 * size or unit == "s":
            if seconds.high < 1:
                return "< 1 s"
            low, high = _rounded(seconds.low / size), _rounded(seconds.high / size)
            return f"{high} {unit}" if low == high else f"{low} to {high} {unit}"
    return ""


def limit_words(gate: Gate, metric: Metric | None) -> str:
    """Format a limit for a table: ≥ 95 %."""
    sign = {">=": "≥", "<=": "≤", "==": "="}[gate.op]
    unit = (
        metric.unit
        if metric is not None
        else ("proportion" if abs(gate.threshold) < 1 and gate.op != "==" else "count")
    )
    return f"{sign} {limit_quantity(gate.threshold, unit)}"


def _rounded(x: float) -> str:
    """Round to one decimal below 2, with a minimum of 0.1, else to an integer."""
    return f"{max(x, 0.1):.1f}".removesuffix(".0") if x < 2 else f"{x:.0f}"


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
