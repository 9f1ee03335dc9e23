"""The figures of the perturbation stage. Legend: N images, K classes, A corruptions, S severities."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from safeml.audits.gallery import panel
from safeml.audits.perturbation.measure import NO_ANSWER, Measured
from safeml.corruptions.engine import corrupt
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.data.signs import families
from safeml.results import (
    Column,
    Curve,
    Gallery,
    GalleryItem,
    Grid,
    GridCell,
    GridGroup,
    GridRead,
    GridRow,
    Metric,
    Scalar,
    Series,
    Strip,
    StripRow,
    Table,
)
from safeml.wording import limit_percent, percent

HEAT, ECE_HEAT = "accuracy-by-corruption", "ece-by-corruption"
MOST_CASES = 8
NO_CROSSING = "none"


def heat_grid(measured: Measured, cells: dict[str, Metric]) -> Grid:
    """Draw the accuracy of every cell, by corruption and severity."""
    return Grid(
        id=HEAT,
        title="Accuracy by corruption and severity",
        columns=[str(severity) for severity in SEVERITIES],
        groups=_groups(measured, cells),
        row_label="Corruption",
        column_label="Severity",
        reads=[
            *_reads(measured, "corruption_accuracy"),
            *(
                GridRead(metric="corruption_accuracy", slice=n, row=CORRUPTIONS[n].title)
                for n in measured.names
            ),
            *(
                GridRead(
                    metric="corruption_accuracy_mean", slice=f"severity-{severity}", column=str(severity)
                )
                for severity in SEVERITIES
            ),
        ],
        caption=f"All {len(measured.sample):,} images in every cell; clean accuracy {percent(float(measured.clean_hits.mean()))}. "
        "The severities are steps of this suite and no measure of real weather.",
    )


def ece_grid(measured: Measured, cells: dict[str, Metric]) -> Grid:
    """Draw the ECE of every cell, by corruption and severity."""
    return Grid(
        id=ECE_HEAT,
        title="ECE by corruption and severity",
        columns=[str(severity) for severity in SEVERITIES],
        groups=_groups(measured, cells),
        value_label="ECE",
        row_label="Corruption",
        column_label="Severity",
        worse="high",
        reads=_reads(measured, "corruption_ece"),
        caption="Expected calibration error in 15 equal-mass bins, of the images of the accuracy table. It is above 0 by "
        "chance alone.",
        fold=True,
    )


def _reads(measured: Measured, metric: str) -> list[GridRead]:
    """Return the place of each cell's metric, and of their mean."""
    return [
        GridRead(metric=f"{metric}_mean"),
        *(
            GridRead(
                metric=metric, slice=f"{name}-{severity}", row=CORRUPTIONS[name].title, column=str(severity)
            )
            for name in measured.names
            for severity in SEVERITIES
        ),
    ]


def _groups(measured: Measured, cells: dict[str, Metric]) -> list[GridGroup]:
    """Return one row for each corruption. cells: by slice, such as `fog-2`."""
    groups = []
    for heading, names in groupby(measured.names, key=lambda name: CORRUPTIONS[name].group):
        rows = []
        for name in names:
            own = [cells[f"{name}-{severity}"] for severity in SEVERITIES]
            drawn = [GridCell(value=m.value, low=m.low, high=m.high, n=m.n) for m in own]
            rows.append(GridRow(label=CORRUPTIONS[name].title, cells=drawn))
        groups.append(GridGroup(heading=heading, rows=rows))
    return groups


def group_curve(measured: Measured) -> Curve:
    """Draw the mean accuracy of each group of corruptions against the severity, from the clean images on."""
    clean = float(measured.clean_hits.mean())
    groups = [CORRUPTIONS[name].group for name in measured.names]
    by_severity = measured.hits.mean(axis=1)
    x = [0.0, *map(float, SEVERITIES)]
    series = [Series(name="All", x=x, y=[clean, *by_severity.mean(axis=0).tolist()], role="main")]
    for group in dict.fromkeys(groups):
        rows = [number for number, own in enumerate(groups) if own == group]
        series.append(Series(name=group, x=x, y=[clean, *by_severity[rows].mean(axis=0).tolist()]))
    return Curve(
        id="accuracy-by-severity",
        title="Mean accuracy by severity",
        x_label="Severity (0: clean)",
        y_label="Accuracy",
        series=series,
        percent=True,
        caption="Mean over the corruptions of a group.",
    )


def first_below(accuracies: np.ndarray, limit: float) -> str:
    """Return the first severity with an accuracy below `limit`, or NO_CROSSING. accuracies: float [S]."""
    below = np.flatnonzero(accuracies < limit)
    return str(SEVERITIES[below[0]]) if len(below) else NO_CROSSING


def weakest_group(hits: np.ndarray, codes: np.ndarray, names: tuple[str, ...]) -> tuple[str, float]:
    """Return the name and the recall of the group with the lowest recall. hits: bool [N]; codes: int [N], into `names`."""
    present = np.unique(codes)
    recalls = [float(hits[codes == code].mean()) for code in present]
    worst = int(np.argmin(recalls))
    return names[present[worst]], recalls[worst]


def corruption_table(measured: Measured, limit: float, metrics: dict[str, Metric]) -> Table:
    """List for each corruption its mean accuracy, where it crosses the limit, and its weakest class and family at severity 5."""
    sample = measured.sample
    known = families(sample.class_names)
    kinds = tuple(dict.fromkeys(known)) if known is not None else ()
    of_family = np.array([kinds.index(kind) for kind in known])[sample.labels] if known is not None else None
    rows: list[list[Scalar]] = []
    for name, hits in zip(measured.names, measured.hits, strict=True):
        label, recall = weakest_group(hits[:, -1], sample.labels, sample.class_names)
        family, of_kind = ("", None) if of_family is None else weakest_group(hits[:, -1], of_family, kinds)
        row = CORRUPTIONS[name]
        source = "own" if not row.published else "published"
        if row.own:
            source = f"own at {', '.join(map(str, row.own))}, else published"
        crossing = first_below(hits.mean(axis=0), limit)
        rows.append([row.title, metrics[name].value, crossing, label, recall, family, of_kind, source])
    rows.sort(key=lambda row: float(row[1] or 0.0))
    return Table(
        id="corruptions",
        title="Corruptions, weakest first",
        columns=[
            Column(key="corruption", label="Corruption"),
            Column(key="accuracy", label="Mean accuracy", kind="percent"),
            Column(key="crossing", label=f"Severity below {limit_percent(limit)}"),
            Column(key="class", label="Weakest class at 5"),
            Column(key="recall", label="Recall", kind="percent"),
            Column(key="family", label="Weakest family at 5"),
            Column(key="family_recall", label="Recall", kind="percent"),
            Column(key="constants", label="Constants (small images)"),
        ],
        rows=rows,
        caption="Classes and families of few images vary by chance. Published constants: Hendrycks and Dietterich, 2019.",
        fold=True,  # the grid above has the same accuracies
    )


def strips(measured: Measured, seed: int) -> list[Strip]:
    """Show one image of the sample under each corruption at each severity."""
    image, ids = _example(measured)
    figures = []
    for key, title, published in (
        ("published", "One image under the published corruptions", True),
        ("road", "One image under the corruptions of the road", False),
    ):
        rows = [
            StripRow(
                label=CORRUPTIONS[name].title,
                panels=[panel("", corrupt(image, name, severity, seed, ids)[0]) for severity in SEVERITIES],
            )
            for name in measured.names
            if CORRUPTIONS[name].published == published
        ]
        if rows:
            columns = [f"severity {severity}" for severity in SEVERITIES]
            figures.append(Strip(id=f"strip-{key}", title=title, columns=columns, rows=rows))
    return figures


def _example(measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Return the brightest-contrast image among those classified correctly, or among all, and its id."""
    sample = measured.sample
    candidates = np.flatnonzero(measured.clean_hits) if measured.clean_hits.any() else np.arange(len(sample))
    spread = sample.images[candidates[:256]].std(axis=(1, 2, 3))
    row = candidates[int(np.argmax(spread))]
    assert sample.ids is not None
    return sample.images[row : row + 1], sample.ids[row : row + 1]


def worst_failures(measured: Measured, seed: int) -> Gallery:
    """Show the most confident misclassification of each of the weakest corruptions; the clean image is classified correctly."""
    sample = measured.sample
    items: list[GalleryItem] = []
    for number in np.argsort(measured.hits.mean(axis=(1, 2)), kind="stable"):
        name = measured.names[number]
        broken = (
            measured.clean_hits[:, None] & ~measured.hits[number] & (measured.answers[number] != NO_ANSWER)
        )
        if not broken.any() or len(items) == MOST_CASES:
            continue
        confidence = np.where(broken, measured.confidence[number], -1.0)
        row, column = np.unravel_index(int(confidence.argmax()), confidence.shape)
        assert sample.ids is not None
        severity = SEVERITIES[int(column)]
        part = slice(int(row), int(row) + 1)
        after = corrupt(sample.images[part], name, severity, seed, sample.ids[part])[0]
        items.append(
            GalleryItem(
                panels=[panel("clean", sample.images[row]), panel("corrupted", after)],
                true_name=sample.class_names[int(sample.labels[row])],
                predicted_name=sample.class_names[int(measured.answers[number, row, column])],
                predicted_confidence=float(measured.confidence[number, row, column]),
                index=int(sample.ids[row]),
                note=f"{CORRUPTIONS[name].title}, severity {severity}",
            )
        )
    return Gallery(
        id="worst-corrupted",
        title="Most confident misclassification under each of the weakest corruptions",
        items=items,
        caption="Each clean image is classified correctly.",
    )
