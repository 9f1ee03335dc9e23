"""The gates that can pass on these images, and the permitted number of mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safeml.comparison.baseline import LEVEL
from safeml.errors import ExitCode
from safeml.gates import decide
from safeml.planning.base import Allowed, GatePlan, GateState
from safeml.planning.best_case import BestCase
from safeml.planning.words import gate_words
from safeml.results import BASELINE, Gate, GateResult, Metric, StageResult
from safeml.stages import STAGES, settings_of
from safeml.stages.base import COLUMNS
from safeml.statistics.bootstrap import NO_VARIATION
from safeml.statistics.clusters import clusters_of
from safeml.statistics.noninferiority import signs_for_identical_models
from safeml.wording import counted, number

ROWS = {stage.name: stage for stage in STAGES}
STATES: dict[str, GateState] = {
    "pass": "provable",
    "fail": "fails",
    "not_proven": "not_provable",
    "error": "missing",
    "skipped": "missing",
    "waived": "waived",
}


def plan_gates(
    best: BestCase, gates: Sequence[Gate], today: str, allowances: bool = True
) -> tuple[list[GatePlan], int]:
    """Plan each gate in the order of the settings, and the best exit code of all.

    today: ISO date, against which waivers expire.
    allowances: search the number of mistakes that a gate permits, which takes most of the time.
    """
    stages = best.stages()
    ran = {(stage.subject, stage.stage) for stage in stages}
    known = [gate for gate in gates if (gate.subject, gate.stage) in ran]
    results = {result.gate.id: result for result in decide(stages, known, today).gates} if known else {}
    plans = [_plan(best, gate, results.get(gate.id), stages, today, allowances) for gate in gates]
    sure = [plan.gate for plan in plans if plan.state != "depends" and plan.gate.subject != BASELINE]
    config = best.data.config
    code = int(ExitCode.PASSED)
    if sure:
        code = decide(
            stages, sure, today, accepted=config.accepted, requirements=config.requirements
        ).exit_code
    open_loss = any(plan.state == "not_provable" and plan.gate.subject == BASELINE for plan in plans)
    return plans, int(ExitCode.NOT_PROVEN) if open_loss and code == ExitCode.PASSED else code


def _depends(result: GateResult) -> bool:
    """Return whether a perfect model has no interval, because all resamples are equal."""
    metric = result.metric
    return result.status == "not_proven" and metric is not None and metric.method == NO_VARIATION


def _plan(
    best: BestCase,
    gate: Gate,
    result: GateResult | None,
    stages: list[StageResult],
    today: str,
    allowances: bool,
) -> GatePlan:
    if gate.subject == BASELINE:
        return _against_baseline(best, gate)
    group = _weakest(best, gate, stages) or (gate.slice if ":" in gate.slice else "")
    if result is None or _depends(result):
        return GatePlan(gate=gate, state="depends", message=gate_words("depends", gate, result))
    metric, state = result.metric, STATES[result.status]
    searched = allowances and state == "provable" and metric is not None
    allowed = _allowed(best, gate, metric, group, today) if searched and metric is not None else None
    needs = None
    if metric is not None and metric.signs is not None and result.needs_signs is not None:
        needs = round(metric.signs) + result.needs_signs
    message = gate_words(state, gate, result, allowed, needs, group, best.is_model_free(gate.stage))
    return GatePlan(gate=gate, state=state, message=message, best=metric, needs_signs=needs, allowed=allowed)


def _against_baseline(best: BestCase, gate: Gate) -> GatePlan:
    """Plan a loss against a baseline: two models that agree on every image need enough sign tracks."""
    images = best.data.images_of(ROWS[gate.stage])
    clusters = None if images is None else clusters_of(gate.metric, len(images), images.clustering)
    if clusters is None or not clusters.signs:
        words = "Depends on the baseline; without sign tracks or frames_per_sign it cannot be proven."
        return GatePlan(gate=gate, state="not_provable", message=words)
    if gate.threshold <= 0:
        words = "Depends on the baseline; the model must be better than it."
        return GatePlan(gate=gate, state="depends", message=words)
    least = signs_for_identical_models(gate.threshold, best.data.config.baseline.largest_loss, LEVEL)
    enough = clusters.signs >= least
    words = (
        f"Depends on the baseline; models that agree on every image need {counted(least, 'sign track')}, and these images "
        f"have {number(round(clusters.signs))}."
    )
    return GatePlan(
        gate=gate,
        state="depends" if enough else "not_provable",
        message=words,
        needs_signs=None if enough else least,
    )


def _weakest(best: BestCase, gate: Gate, stages: list[StageResult]) -> str:
    """Return the weakest group of a perfect model: of those that are tested, the one with the fewest sign tracks."""
    row = ROWS.get(gate.stage)
    records = row.records(settings_of(best.data.config.stages, row)) if row is not None else ()
    start, least = next(
        ((record.weakest_of, record.least_signs) for record in records if record.name == gate.metric), ("", 0)
    )
    column = gate.slice.removeprefix(COLUMNS) if gate.slice.startswith(COLUMNS) else ""
    groups = [
        ((metric.signs or 0.0) < least, metric.low, metric.slice)
        for stage in stages
        for metric in stage.metrics
        if (stage.subject, stage.stage) == (gate.subject, gate.stage)
        and start
        and metric.slice.startswith(start)
        and (not column or f":{column}=" in metric.slice)
        and metric.low is not None
    ]
    return min(groups)[2] if groups else ""


def _allowed(best: BestCase, gate: Gate, metric: Metric, group: str, today: str) -> Allowed | None:
    """Find the largest permitted number of wholly misclassified sign tracks, by bisection through stage and gate."""
    if metric.clustering == "census" or not best.can_simulate(ROWS[gate.stage]):
        return None
    signs = best.signs(ROWS[gate.stage], group)

    some, too_many, value = 0, signs.count + 1, metric.value or 0.0
    while too_many - some > 1:
        middle = (some + too_many) // 2
        found = _passed(best, gate, signs.wrong(middle), today)
        if found is None:
            too_many = middle
        else:
            some, value = middle, found.value if found.value is not None else value
    return Allowed(wrong=some, of=signs.count, unit=signs.unit, value=value, group=group)


def _passed(best: BestCase, gate: Gate, wrong: np.ndarray, today: str) -> Metric | None:
    """Return the metric of a model that misclassifies the images `wrong` (bool [N]) if the gate passes, else None."""
    found = _metric(best, gate, wrong)
    stage = StageResult(stage=gate.stage, subject=gate.subject, title=gate.stage, metrics=[found])
    ruling = decide([stage], [gate.model_copy(update={"waiver": None})], today).gates[0]
    return found if ruling.status == "pass" else None


def _metric(best: BestCase, gate: Gate, wrong: np.ndarray) -> Metric:
    result = best.run(ROWS[gate.stage], wrong, gate.metric)
    [metric] = [m for m in result.metrics if (m.name, m.slice) == (gate.metric, gate.slice)]
    return metric
