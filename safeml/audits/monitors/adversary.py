"""What two adversaries achieve against the deployed monitor: one who attacks the model alone, and one who knows the score and its threshold."""

from __future__ import annotations

from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import IN, Numbers
from safeml.results import Column, Finding, Metric, Scalar, Table
from safeml.stages.monitors import ATTACKED, COMPARED, KNOWING, MonitorsSettings, attacked_names
from safeml.statistics import proportion_metric
from safeml.wording import counted, interval, number, percent

WHO = {ATTACKED: "attacks the model alone", KNOWING: "knows the score and its threshold"}


def adversary_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings) -> None:
    """Measure the share of attacked images that are misclassified and trusted: what an adversary wants."""
    for where in attacked_names(settings):
        part = measured.judged.get(where)
        title = f"Misclassified and trusted, {IN[where]}"
        trusted = None if part is None else measured.fitted.trusted(part.outputs)
        if part is None or trusted is None:
            reason = measured.not_measured.get(where, measured.fitted.reason)
            metric = Metric.undefined("trusted_errors", title, reason, direction="down", slice=where)
        else:
            metric = proportion_metric(
                "trusted_errors",
                title,
                trusted & ~part.hits,
                direction="down",
                clustering=part.clustering,
                slice=where,
            )
        numbers.metrics.append(metric)


def adversary_table(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> Table:
    """List what each adversary achieves."""
    rows: list[list[Scalar]] = []
    for where in attacked_names(settings):
        part = measured.judged.get(where)
        stopped, passed = numbers.one("errors_stopped", where), numbers.one("trusted_errors", where)
        rows.append(
            [
                WHO[where],
                None if part is None else len(part.labels),
                None if part is None else int((~part.hits).sum()),
                stopped.value,
                passed.value,
                passed.reason or interval(passed.low, passed.high),
            ]
        )
    return Table(
        id="adversaries",
        title="Attacks on the model and on its monitor",
        columns=[
            Column(key="adversary", label="The adversary"),
            Column(key="images", label="Images", kind="number"),
            Column(key="errors", label="Incorrect predictions", kind="number"),
            Column(key="stopped", label="Of these rejected", kind="percent"),
            Column(key="passed", label="Of all images, misclassified and trusted", kind="percent"),
            Column(key="interval", label="95 % interval"),
        ],
        rows=rows,
        caption=f"Both may change each pixel by at most {number(255 * settings.epsilon)} of 255. Every attacked image is clipped to that and predicted again, and the "
        "score is computed by the monitor itself.",
    )


def adversary_findings(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> list[Finding]:
    """Report how much of what the monitor stops depends on an adversary who does not know it."""
    if KNOWING not in attacked_names(settings):
        return []
    blind, knowing = (numbers.one("trusted_errors", where) for where in (ATTACKED, KNOWING))
    if blind.value is None or knowing.value is None:
        return []
    evaded = knowing.value > blind.value
    score = COMPARED[measured.fitted.deployed]
    return [
        Finding(
            code="monitor-evaded" if evaded else "monitor-not-evaded",
            severity="warning" if evaded else "info",
            message=f"An adversary who knows {score} and its threshold gets {percent(knowing.value)} of {counted(knowing.n, 'attacked image')} misclassified and "
            f"trusted (95 % interval {interval(knowing.low, knowing.high)}); one who attacks the model alone gets {percent(blind.value)}.",
            remedy="Do not count the monitor as a defence; raise the accuracy under attack by adversarial training."
            if evaded
            else "Raise knowing_steps and knowing_restarts before you rely on it.",
            evidence={"knowing": knowing.value, "blind": blind.value, "images": knowing.n},
        )
    ]
