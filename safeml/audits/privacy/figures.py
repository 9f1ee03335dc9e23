"""The figures of the stage. Legend: M members, O non-members, T thresholds."""

from __future__ import annotations

import math

import numpy as np

from safeml.audits.privacy.attacks import Attacked
from safeml.audits.privacy.metrics import advantage_metric
from safeml.audits.privacy.sides import Pair
from safeml.metrics.membership import separation
from safeml.results import Bars, Column, Curve, Metric, Scalar, Series, Table
from safeml.stages.privacy import THRESHOLD
from safeml.wording import counted

LOWEST = 1e-3
POINTS = 40
BINS = 16
RATES = (0.001, 0.01, 0.05, 0.1, 0.5)
ROC = "membership-roc"


def roc_figure(attacks: list[Attacked], blind: tuple[np.ndarray, np.ndarray], strongest: str) -> Curve:
    """Draw the ROC curve of each attack over a logarithmic axis of false positive rates.

    strongest: name of the attack that is drawn bold.
    """
    lines = [(one.title, one.members, one.others, one.name == strongest) for one in attacks]
    lines.append(("Blind baseline", *blind, False))
    at = np.logspace(math.log10(LOWEST), 0, POINTS)
    series = [
        Series(
            name=name.partition(":")[0],
            x=np.log10(at).tolist(),
            y=separation(members, others, tuple(at.tolist())).tpr.tolist(),
            role="main" if bold else "context",
        )
        for name, members, others, bold in lines
    ]
    series.append(Series(name="Chance", x=np.log10(at).tolist(), y=at.tolist(), role="bound"))
    return Curve(
        id=ROC,
        title="Members named, against non-members accused",
        x_label="false positive rate, logarithmic",
        y_label="true positive rate",
        series=series,
        percent=True,
        x_ticks=[(-3.0, "0.1 %"), (-2.0, "1 %"), (-1.0, "10 %"), (0.0, "100 %")],
        caption="True positive rate: share of the training images that an attack names. False positive rate: share of the other images "
        "that it names too. Bold: the strongest attack. Dotted: an attack that guesses. The axis is logarithmic because an attack that "
        "names few images without an error is a leak, although its mean is near chance.",
    )


def attack_table(tried: list[Attacked], metrics: list[Metric], pair: Pair, chosen: str) -> Table:
    """List every score that was tried and every attack, with its AUC and its advantage.

    tried: the scores of the threshold attack. metrics: those of the attacks. chosen: title of the score that was best on the
    calibration images.
    """
    rows: list[list[Scalar]] = []
    for one in tried:
        metric = advantage_metric(one, pair)
        area = separation(one.members, one.others, ()).auc
        role = "chosen on the calibration images" if one.title == chosen else "not chosen"
        rows.append([one.title, area, metric.value, metric.low, metric.high, role])
    areas = {metric.slice: metric.value for metric in metrics if metric.name == "membership_auc"}
    rows += [
        [
            metric.title.removeprefix("Advantage: "),
            areas.get(metric.slice),
            metric.value,
            metric.low,
            metric.high,
            metric.reason or "runs beside it",
        ]
        for metric in metrics
        if metric.name == "membership_advantage" and metric.slice not in ("all", THRESHOLD)
    ]
    return Table(
        id="membership-attacks",
        title="Attacks",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="auc", label="AUC", kind="number"),
            Column(key="advantage", label="Advantage", kind="percent"),
            Column(key="low", label="from", kind="percent"),
            Column(key="high", label="to", kind="percent"),
            Column(key="note", label="Note"),
        ],
        rows=rows,
        caption="Advantage: true minus false positive rate, with its 95 % interval. The score and its threshold are chosen on the calibration "
        "images; all numbers are of the evaluation images.",
    )


def rate_table(attacks: list[Attacked], blind: tuple[np.ndarray, np.ndarray]) -> Table:
    """List the true positive rate of each attack at several false positive rates; None where a rate needs more non-members."""
    lines = [(one.title, one.members, one.others) for one in attacks]
    lines.append(("Blind baseline", *blind))
    rows: list[list[Scalar]] = []
    for title, members, others in lines:
        rates = separation(members, others, RATES).tpr
        rows.append(
            [
                title,
                *(
                    float(rate) if len(others) * at >= 1 else None
                    for rate, at in zip(rates, RATES, strict=True)
                ),
            ]
        )
    return Table(
        id="membership-rates",
        title="True positive rate at false positive rates",
        columns=[
            Column(key="attack", label="Attack"),
            *(Column(key=f"at-{at:g}", label=f"at {100 * at:g} %", kind="percent") for at in RATES),
        ],
        rows=rows,
        caption="Values without intervals; the metrics have those at 1 % and, with enough sign tracks, at 0.1 %.",
    )


def score_bars(attacked: Attacked) -> Bars:
    """Draw how the scores of the strongest attack are distributed on both sides, in bins of equal counts of non-members."""
    edges = np.unique(np.quantile(attacked.others, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) / len(side)
        for side in (attacked.members, attacked.others)
    ]
    return Bars(
        id="membership-scores",
        title="Scores of members and non-members",
        labels=[_label(edges, bin) for bin in range(len(edges) + 1)],
        values=(100 * shares[0]).tolist(),
        compare=(100 * shares[1]).tolist(),
        value_label="members, %",
        compare_label="non-members, %",
        caption=f"{attacked.title}. Bars: share of the members in each range of scores. Rings: share of the non-members; the ranges are chosen so that these are about equal. "
        "Bars as high as the rings mean that the score reveals nothing.",
    )


def class_table(metrics: list[Metric]) -> Table | None:
    """List the advantage by class, largest first; None where no class was measured."""
    own = [metric for metric in metrics if metric.name == "membership_class_advantage"]
    if not own:
        return None
    rows: list[list[Scalar]] = [
        [
            metric.title.removeprefix("Advantage: "),
            metric.n,
            metric.signs,
            metric.value,
            metric.low,
            metric.high,
        ]
        for metric in sorted(own, key=lambda metric: -(metric.value or 0.0))
    ]
    return Table(
        id="membership-classes",
        title="Advantage by class",
        columns=[
            Column(key="class", label="Class"),
            Column(key="images", label="Images", kind="number"),
            Column(key="signs", label="Sign tracks", kind="number"),
            Column(key="advantage", label="Advantage", kind="percent"),
            Column(key="low", label="from", kind="percent"),
            Column(key="high", label="to", kind="percent"),
        ],
        rows=rows,
        caption=f"{counted(len(own), 'row')}. Sign tracks: of the smaller side. Each interval is that of its class alone; of many classes some are above their true value by "
        "chance.",
        fold=len(own) > 8,
    )


def _label(edges: np.ndarray, bin: int) -> str:
    if not len(edges):
        return "all"
    if bin == 0:
        return f"below {edges[0]:.3g}"
    return f"from {edges[bin - 1]:.3g}"
