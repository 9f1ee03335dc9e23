"""The figures of the stage *regression error*. Legend: N images, T targets."""

from __future__ import annotations

import numpy as np

from safeml.audits.gallery import panel
from safeml.audits.regression.measure import Measured
from safeml.audits.slices import numbers
from safeml.results import (
    Bars,
    Column,
    Curve,
    Dot,
    DotPlot,
    Gallery,
    GalleryItem,
    Metric,
    Scalar,
    Series,
    Table,
)
from safeml.settings.targets import TargetSettings
from safeml.wording import number

MOST_CASES = 24
BINS = 21
POINTS = 12
# Images of a point of the curve; fewer images are joined with their neighbours.
LEAST_IMAGES = 10
NOT_FINITE = "not finite"


def histogram(measured: Measured, column: int) -> Bars:
    """Count the images by error, in bins of one width; the outer bins are open."""
    target, errors = measured.targets.settings[column], measured.errors[:, column]
    known = errors[np.isfinite(errors)]
    reach = _reach(target, known)
    edges = np.linspace(-reach, reach, BINS + 1)
    place = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    outside = int((np.abs(known) > reach).sum())
    within = (
        ""
        if target.tolerance is None
        else f" The tolerance is {number(target.tolerance)} {target.unit} to either side."
    )
    return Bars(
        id=f"errors-{target.name}",
        title=f"Images by error of {target.name}",
        labels=[number(float(_round(middle, reach))) for middle in middles],
        values=[float(count) for count in counts],
        value_label="images",
        caption=f"Prediction minus target in {target.unit}, at the middle of each bin; above 0 the prediction is too high.{within}"
        + (f" The outer bins hold {number(outside)} images of larger errors too." if outside else ""),
    )


def _round(value: float, reach: float) -> float:
    """Round to the digits that tell two bins apart; the middle bin is 0."""
    digits = 2 - int(np.floor(np.log10(reach)))
    return round(value, digits) + 0.0


def _reach(target: TargetSettings, errors: np.ndarray) -> float:
    """Return the largest error that a histogram shows: twice the tolerance, or the 99 % quantile where that is larger."""
    most = float(np.quantile(np.abs(errors), 0.99)) if len(errors) else 0.0
    return max(2 * (target.tolerance or 0.0), most) or 1.0


def error_curve(measured: Measured, column: int) -> Curve:
    """Draw the absolute error against the target: its mean and its 95 % quantile in parts of equal numbers of images."""
    target = measured.targets.settings[column]
    values = measured.targets.values[:, column]
    sizes = np.abs(measured.errors[:, column])
    usable = np.flatnonzero(np.isfinite(sizes))
    order = usable[np.argsort(values[usable], kind="stable")]
    count = max(1, min(POINTS, len(order) // LEAST_IMAGES))
    rows = [part for part in np.array_split(order, count) if len(part)]
    x = [float(values[part].mean()) for part in rows]
    series = [
        Series(name="mean", x=x, y=[float(sizes[part].mean()) for part in rows], role="main"),
        Series(
            name="95 % quantile",
            x=x,
            y=[float(np.quantile(sizes[part], 0.95, method="inverted_cdf")) for part in rows],
        ),
    ]
    if target.tolerance is not None and x:
        ends = [x[0], x[-1]] if len(x) > 1 else x
        series.append(Series(name="tolerance", x=ends, y=[target.tolerance] * len(ends), role="bound"))
    return Curve(
        id=f"error-by-{target.name}",
        title=f"Absolute error by {target.name}",
        x_label=f"{target.name}, {target.unit}",
        y_label=f"Absolute error, {target.unit}",
        series=series,
        caption=f"{len(rows)} parts of the test images with equal numbers of images, by their target.",
    )


def part_plot(measured: Measured, metrics: list[Metric]) -> DotPlot | None:
    """Draw the share within the tolerance of each part of the range and each group; None without a tolerance."""
    shown = [metric for metric in metrics if metric.name == "within_tolerance_of"]
    hits = measured.hits
    if hits is None or not shown:
        return None
    dots = [
        Dot(
            label=metric.slice.partition(":")[2],
            value=metric.value,
            low=metric.low,
            high=metric.high,
            n=metric.n,
        )
        for metric in shown
    ]
    return DotPlot(
        id="within-tolerance",
        title="Predictions within the tolerance by part of the range and group",
        dots=dots,
        overall=float(hits.mean()),
        caption="Parts of the range in its order, then the groups of the data. The line is the share of all images.",
    )


def worst_images(measured: Measured) -> Gallery:
    """Show the images with the largest error in units of the tolerance (of the range without one), at most one a sign track."""
    targets, test = measured.targets, measured.test
    scale = targets.tolerances
    if scale is None:
        scale = np.array([target.range[1] - target.range[0] for target in targets.settings])
    with np.errstate(invalid="ignore"):
        each = np.abs(measured.errors) / scale
    each = np.where(np.isfinite(each), each, np.inf)
    size = each.max(axis=1)
    ids, tracks = numbers(test), test.tracks
    seen: set[int] = set()
    items: list[GalleryItem] = []
    for row in np.argsort(-size, kind="stable").tolist():
        track = row if tracks is None else int(tracks[row])
        if track in seen or size[row] == 0:
            continue
        seen.add(track)
        column = int(each[row].argmax())
        target, value = targets.settings[column], targets.values[row, column]
        error = measured.errors[row, column]
        items.append(
            GalleryItem(
                panels=[panel(f"image {ids[row]}", test.images[row])],
                true_name=_value(target, value),
                predicted_name=_value(target, value + error),
                index=int(ids[row]),
                note=f"error {number(round(float(error), 3))} {target.unit}"
                if np.isfinite(error)
                else NOT_FINITE,
            )
        )
        if len(items) == MOST_CASES:
            break
    return Gallery(
        id="worst-errors",
        title="Largest errors",
        items=items,
        caption=f"{len(items)} images with the largest errors"
        + (", at most one of each sign track." if tracks is not None else "."),
    )


def _value(target: TargetSettings, value: float) -> str:
    """Write a value with its unit, to a thousandth of the range."""
    if not np.isfinite(value):
        return f"{target.name} {NOT_FINITE}"
    digits = max(0, 3 - int(np.ceil(np.log10(target.range[1] - target.range[0]))))
    return f"{target.name} {value:.{digits}f} {target.unit}".replace("-", "\u2212")


def ledger_table(measured: Measured) -> Table:
    """Return one row per image, so that two models can be compared image by image."""
    test, targets, hits = measured.test, measured.targets, measured.hits
    tracks = test.tracks
    names = [target.name for target in targets.settings]
    rows: list[list[Scalar]] = []
    for row, image in enumerate(numbers(test)):
        values: list[Scalar] = []
        for column in range(len(names)):
            value, error = float(targets.values[row, column]), float(measured.errors[row, column])
            values += [round(value, 6), round(value + error, 6) if np.isfinite(error) else None]
        state: list[Scalar] = [] if hits is None else ["right" if hits[row] else "wrong"]
        rows.append([int(image), *([] if tracks is None else [int(tracks[row])]), *state, *values])
    columns = [Column(key="image", label="Image", kind="number")]
    columns += [] if tracks is None else [Column(key="track", label="Sign track", kind="id")]
    columns += [] if hits is None else [Column(key="clean", label="Clean")]
    for target in targets.settings:
        columns += [
            Column(key=target.name, label=f"{target.name}, {target.unit}", kind="number"),
            Column(key=f"predicted_{target.name}", label=f"Predicted {target.name}", kind="number"),
        ]
    return Table(
        id="ledger",
        title="Ledger",
        columns=columns,
        rows=rows,
        caption="Every test image, its target and its prediction"
        + (", right where the error is within the tolerance." if hits is not None else "."),
    )
