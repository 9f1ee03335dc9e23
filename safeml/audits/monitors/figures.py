"""The figures of the monitor stage. Legend: N images, T sign tracks."""

from __future__ import annotations

import numpy as np

from safeml.audits.gallery import panel
from safeml.audits.monitors.adversary import adversary_table
from safeml.audits.monitors.alarm_figures import alarm_table, delay_figure, shift_table
from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import FROM, IN, Numbers, values_of
from safeml.metrics.calibration.selective import augrc_loss, aurc_loss, risk_coverage
from safeml.metrics.hazard import cost_matrix
from safeml.results import (
    Column,
    Curve,
    Dot,
    DotPlot,
    Figure,
    Gallery,
    GalleryItem,
    Metric,
    Scalar,
    Series,
    Table,
)
from safeml.stages.monitors import (
    ATTACKED,
    BASELINE,
    CLEAN,
    COMPARED,
    RANDOM,
    SHIFTED,
    MonitorsSettings,
    attacked_names,
)
from safeml.wording import interval

MOST_PICTURES = 12
POINTS = 200
ERRORS = "error-auroc"


def figures(measured: Measured, numbers: Numbers, settings: MonitorsSettings, seed: int) -> list[Figure]:
    """Return every figure and table of the page in its order."""
    shown: list[Figure] = []
    where = hardest(numbers)
    if where:
        shown.append(error_dots(numbers, where))
        shown.append(risk_figure(measured, where, seed))
    shown.append(score_table(measured, numbers, seed))
    shown.append(decision_table(measured, numbers))
    if attacked_names(settings):
        shown.append(adversary_table(measured, numbers, settings))
    if measured.fitted.tried:
        shown.append(rate_table(measured))
    shown.append(outside_table(measured, numbers))
    shown.append(alarm_table(measured, numbers, settings))
    if len(numbers.passes) > 1:
        shown.append(delay_figure(numbers))
    shown.append(shift_table(numbers, settings))
    return shown


def hardest(numbers: Numbers) -> str:
    """Return CLEAN where the model errs on clean images, else SHIFTED; "" where it errs on neither."""
    return next((where for where in (CLEAN, SHIFTED) if (where, BASELINE) in numbers.rates), "")


def error_dots(numbers: Numbers, where: str) -> DotPlot:
    """Draw the AUROC of incorrect predictions of each score with its interval."""
    dots = []
    for name, title in COMPARED.items():
        metric = numbers.one(f"error_auroc.{name}", where)
        if metric.value is not None:
            dots.append(Dot(label=title, value=metric.value, low=metric.low, high=metric.high, n=metric.n))
    dots.sort(key=lambda dot: dot.value or 0.0)
    return DotPlot(
        id=ERRORS,
        title=f"How well each score separates incorrect predictions, {IN[where]}",
        dots=dots,
        overall=0.5,
        caption="AUROC: the chance that an incorrect prediction has a lower score than a correct one; 50 % is what random numbers give. "
        "The line is there. Weakest first.",
    )


def risk_figure(measured: Measured, where: str, seed: int) -> Curve:
    """Draw the error of the most trusted images against their share, for the deployed score and both baselines."""
    part = measured.judged[where]
    deployed = measured.fitted.deployed
    series = []
    for name in dict.fromkeys((deployed, BASELINE, RANDOM)):
        values = values_of(measured.fitted, name, part.outputs, seed)
        if values is None:
            continue
        coverage, risk = risk_coverage(values, part.hits)
        rows = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).astype(int))
        series.append(
            Series(
                name=COMPARED[name],
                x=[float(value) for value in coverage[rows]],
                y=[float(value) for value in risk[rows]],
                role="main" if name == deployed else "context",
            )
        )
    return Curve(
        id="risk-coverage",
        title=f"Error among the trusted predictions, {IN[where]}",
        x_label="share of predictions trusted, highest score first",
        y_label="error among them",
        series=series,
        percent=True,
        x_ticks=[(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")],
        caption="A good monitor keeps the curve low until nearly all predictions are trusted. Random numbers leave the error as it is.",
    )


def score_table(measured: Measured, numbers: Numbers, seed: int) -> Table:
    """List the measures of each score on incorrect predictions."""
    rows: list[list[Scalar]] = []
    for where in (CLEAN, SHIFTED, ATTACKED):
        part = measured.judged.get(where)
        if part is None:
            continue
        for name, title in COMPARED.items():
            rates = numbers.rates.get((where, name))
            values = values_of(measured.fitted, name, part.outputs, seed)
            if rates is None or values is None:
                continue
            gain = next(
                (m for m in numbers.metrics if (m.name, m.slice) == (f"error_auroc_gain.{name}", where)), None
            )
            rows.append(
                [
                    IN[where],
                    title,
                    rates["auroc"],
                    "" if gain is None else interval(gain.low, gain.high),
                    rates["aupr_reject"],
                    rates["aupr_trust"],
                    rates["fpr_at_95"],
                    aurc_loss(values, part.hits),
                    augrc_loss(values, part.hits),
                    rates["coverage_at_1_percent"],
                ]
            )
    return Table(
        id="scores",
        title="Scores on incorrect predictions",
        columns=[
            Column(key="set", label="Images"),
            Column(key="score", label="Score"),
            Column(key="auroc", label="AUROC", kind="percent"),
            Column(key="gain", label="AUROC above maximum probability, 95 % interval"),
            Column(key="aupr_reject", label="AUPR, incorrect positive", kind="percent"),
            Column(key="aupr_trust", label="AUPR, correct positive", kind="percent"),
            Column(key="fpr", label="Errors trusted at 95 % of correct", kind="percent"),
            Column(key="aurc", label="AURC", kind="number"),
            Column(key="augrc", label="AUGRC", kind="number"),
            Column(key="coverage", label="Coverage at a risk of 1 %", kind="percent"),
        ],
        rows=rows,
        caption="The coverage at a risk is the best threshold on these images and guarantees nothing.",
    )


def decision_table(measured: Measured, numbers: Numbers) -> Table:
    """List what the deployed monitor leaves and rejects."""
    rows: list[list[Scalar]] = []
    for where, slice in ((CLEAN, "all"), (SHIFTED, SHIFTED)):
        part = measured.judged.get(where)
        hazard, gain = numbers.one("residual_hazard", slice), numbers.one("safety_gain", slice)
        available, stopped = numbers.one("availability", slice), numbers.one("errors_stopped", where)
        errors = None if part is None else int((~part.hits).sum())
        before = None if hazard.value is None or gain.value is None else hazard.value + gain.value
        rows.append(
            [
                IN[where],
                errors,
                stopped.value,
                before,
                hazard.value,
                gain.value,
                available.value,
                _ends(available),
            ]
        )
    return Table(
        id="decisions",
        title="The deployed monitor at its calibrated threshold",
        columns=[
            Column(key="set", label="Images"),
            Column(key="errors", label="Incorrect predictions", kind="number"),
            Column(key="stopped", label="Of these rejected", kind="percent"),
            Column(key="before", label="Hazard without a monitor", kind="number"),
            Column(key="residual", label="Residual hazard", kind="number"),
            Column(key="gain", label="Safety gain", kind="number"),
            Column(key="availability", label="Correct predictions trusted", kind="percent"),
            Column(key="interval", label="95 % interval"),
        ],
        rows=rows,
        caption="Hazard: the mean cost of a prediction, 0 to 1. A rejected prediction costs nothing here; what the system then does is not part of this audit.",
    )


def rate_table(measured: Measured) -> Table:
    """List what the deployed score rejects at other rates of false alarms, each with its calibrated threshold."""
    rows: list[list[Scalar]] = []
    values = {
        where: measured.fitted.scores(measured.fitted.deployed, measured.judged[where].outputs)
        for where in (CLEAN, SHIFTED)
        if where in measured.judged
    }
    for rate, limit in measured.fitted.tried.items():
        row: list[Scalar] = [1000 * rate, limit.value]
        for where in (CLEAN, SHIFTED):
            hits = measured.judged[where].hits if where in values else np.zeros(0, bool)
            for part in (~hits, hits):
                known = limit.value is not None and part.any()
                row.append(float((values[where][part] < limit.value).mean()) if known else None)
        rows.append(row)
    return Table(
        id="rates",
        title="The same score at other rates of false alarms",
        columns=[
            Column(key="rate", label="False alarms per 1,000 signs", kind="number"),
            Column(key="threshold", label="Threshold", kind="number"),
            Column(key="errors", label="Incorrect predictions rejected, clean", kind="percent"),
            Column(key="lost", label="Correct predictions rejected, clean", kind="percent"),
            Column(key="shifted_errors", label="Incorrect predictions rejected, corrupted", kind="percent"),
            Column(key="shifted_lost", label="Correct predictions rejected, corrupted", kind="percent"),
        ],
        rows=rows,
        caption="Thresholds come from validation signs. A rate without a threshold needs more of them. Choose the rate for the system, not by this table of test images.",
    )


def outside_table(measured: Measured, numbers: Numbers) -> Table:
    """List how each score separates images from outside."""
    rows: list[list[Scalar]] = []
    for where in measured.outside:
        for name, title in COMPARED.items():
            rates = numbers.rates.get((where, name))
            if rates is None:
                continue
            metric = numbers.one(f"ood_auroc.{name}", where)
            rows.append(
                [
                    FROM[where],
                    title,
                    rates["auroc"],
                    _ends(metric),
                    rates["aupr_reject"],
                    rates["aupr_trust"],
                    rates["fpr_at_95"],
                ]
            )
    return Table(
        id="outside",
        title="Scores on images that show no class of the model",
        columns=[
            Column(key="set", label="Images"),
            Column(key="score", label="Score"),
            Column(key="auroc", label="AUROC", kind="percent"),
            Column(key="interval", label="95 % interval"),
            Column(key="aupr_reject", label="AUPR, outside positive", kind="percent"),
            Column(key="aupr_trust", label="AUPR, test images positive", kind="percent"),
            Column(key="fpr", label="Trusted at 95 % of test images", kind="percent"),
        ],
        rows=rows,
        caption="A good separation of such images does not show that incorrect predictions for traffic signs are rejected.",
    )


def trusted_errors(measured: Measured, numbers: Numbers) -> Gallery | None:
    """Show the clean test images that are misclassified and trusted, most hazardous first; None without any."""
    part, trusted, sample = measured.judged[CLEAN], numbers.trusted, measured.sample
    if trusted is None:
        return None
    rows = np.flatnonzero(trusted & ~part.hits)
    if not len(rows):
        return None
    costs = cost_matrix(sample.class_names, sample.costs)
    predicted = part.outputs.predicted
    values = measured.fitted.scores(measured.fitted.deployed, part.outputs)
    order = rows[np.lexsort((-values[rows], -costs[sample.labels[rows], predicted[rows]]))][:MOST_PICTURES]
    ids = np.arange(len(sample)) if sample.ids is None else sample.ids
    return Gallery(
        id="trusted-errors",
        title="Incorrect predictions that the monitor trusts",
        items=[
            GalleryItem(
                panels=[panel(f"image {ids[row]}", sample.images[row])],
                true_name=sample.class_names[int(sample.labels[row])],
                predicted_name=sample.class_names[int(predicted[row])],
                index=int(ids[row]),
            )
            for row in order
        ],
        caption=f"At most {MOST_PICTURES} of {len(rows)}, most hazardous first.",
    )


def _ends(metric: Metric) -> str:
    return "" if metric.low is None else interval(metric.low, metric.high)
