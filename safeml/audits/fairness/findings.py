"""The findings of the fairness stage, each with its numbers and what to do next. Legend: N images, G groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safeml.audits.fairness.conditions import FIXED_SOURCE, MEASURES, Column, is_of_class
from safeml.audits.fairness.metrics import ByGroup
from safeml.audits.fairness.search import Found, Slice
from safeml.data.dataset import ImageDataset
from safeml.data.group_table import MISSING
from safeml.results import Finding, Metric
from safeml.stages.base import COLUMNS
from safeml.stages.fairness import GATED_CONDITIONS, LEAST_GROUP_SIGNS
from safeml.statistics.between import extreme_pair
from safeml.wording import PERCENT, counted, interval, percent

SLICES_NAMED = 5
GROUPS_NAMED = 8
# What a training set or a camera can do against a gap.
REMEDIES = {
    "brightness": "Vary the brightness in the augmentation, collect images in such light, or adapt the exposure of the camera.",
    "contrast": "Vary the contrast in the augmentation, or collect images in fog and against the light.",
    "blur": "Add blurred images to the training set, or shorten the exposure of the camera.",
    "size": "Add small and large crops of signs to the training set, or a camera of higher resolution.",
    "aspect": "Add signs seen from the side to the training set.",
    "family": "Collect more signs of this family, or give its classes more weight in training.",
    "criticality": "Collect more signs of these classes, or give them more weight in training.",
}
OTHER_REMEDY = "Collect more training images of the weaker group, and check its labels."
NOT_MEASURED = {
    "size": "the data have no original sizes",
    "aspect": "the data have no original sizes",
    "blur": "neither training nor validation images of this size set its edges",
}


def all_findings(
    test: ImageDataset, groups: Sequence[ByGroup], metrics: Sequence[Metric], found: Found
) -> list[Finding]:
    """Return the findings, the most important first."""
    columns = [by.column for by in groups]
    return [
        *[_slice(one) for one in found.slices[:SLICES_NAMED]],
        *widest_gap(groups, metrics),
        *untested(groups),
        *unmeasured(columns),
        *one_group(columns),
        *of_class(columns, test.labels),
        *missing_values(columns),
        *fixed_edges(columns),
    ]


def _slice(one: Slice) -> Finding:
    metric = one.accuracy
    signs = f" of {counted(round(metric.signs), 'sign track')}" if metric.signs is not None else ""
    return Finding(
        code="weak-slice",
        severity="warning",
        message=f"{one.words[:1].upper()}{one.words[1:]}: {percent(metric.value)} of {counted(metric.n, 'image')}{signs} are classified "
        f"correctly, 95 % interval {interval(metric.low, metric.high)}, against {percent(one.compared)}.",
        remedy="Look at these images below. Collect or augment such images, train again, and compare this slice.",
        evidence={"slice": one.words, "accuracy": metric.value, "images": metric.n},
    )


def widest_gap(groups: Sequence[ByGroup], metrics: Sequence[Metric]) -> list[Finding]:
    """Name the column with the largest gap that is proven to be above 0."""
    by_name = {by.column.name: by for by in groups}
    gaps = [
        metric
        for metric in metrics
        if metric.name == "accuracy_gap" and metric.low is not None and metric.low > 0
    ]
    if not gaps:
        return []
    gap = max(gaps, key=lambda metric: metric.value or 0.0)
    by = by_name[gap.slice.removeprefix(COLUMNS)]
    pair = extreme_pair(by.compared)
    if pair is None:
        return []
    return [
        Finding(
            code="widest-gap",
            severity="warning",
            message=f"The accuracy differs most by {by.column.name}: {by.column.phrase(pair.low)} is {percent(gap.value).removesuffix(PERCENT)} "
            f"percentage points below {by.column.phrase(pair.high)}, 95 % interval {interval(gap.low, gap.high)}.",
            remedy=REMEDIES.get(by.column.name, OTHER_REMEDY),
            evidence={"column": by.column.name, "gap": gap.value},
        )
    ]


def untested(groups: Sequence[ByGroup]) -> list[Finding]:
    """Name the groups that are left out of gap, ratio and weakest group."""
    small = [
        (by.column.phrase(name), float(by.rates.groups.signs[code]))
        for by in groups
        for code, name in enumerate(by.column.names)
        if not by.tested[code]
    ]
    if not small:
        return []
    shown = "; ".join(
        f"{words} ({counted(round(signs), 'sign track')})" for words, signs in small[:GROUPS_NAMED]
    )
    more = f" and {len(small) - GROUPS_NAMED} more" if len(small) > GROUPS_NAMED else ""
    return [
        Finding(
            code="group-untested",
            severity="warning",
            message=f"Untested: {shown}{more}. Gaps and ratios leave out groups of fewer than {LEAST_GROUP_SIGNS} sign tracks, because their "
            "intervals are wide whatever the model.",
            remedy=f"Add test images of these groups until each has {LEAST_GROUP_SIGNS} sign tracks.",
            evidence={"groups": len(small), "least_signs": LEAST_GROUP_SIGNS},
        )
    ]


def unmeasured(columns: Sequence[Column]) -> list[Finding]:
    """Name the conditions that the test images cannot be sorted by; one of the default gate is a warning."""
    absent = [name for name in MEASURES if name not in {column.name for column in columns}]
    if not absent:
        return []
    gated = [name for name in absent if name in GATED_CONDITIONS]
    return [
        Finding(
            code="condition-not-measured",
            severity="warning" if gated else "info",
            message="Not measured: "
            + "; ".join(
                f"{name} ({NOT_MEASURED.get(name, 'the images do not differ in it')})" for name in absent
            )
            + f". {'The gap between conditions does not include it.' if gated else 'No gap includes it.'}",
            remedy="Supply the original sizes with the test data, and set [data.train] or [data.valid].",
            evidence={"conditions": ", ".join(absent)},
        )
    ]


def one_group(columns: Sequence[Column]) -> list[Finding]:
    """Name the columns in which all images are in one group."""
    return [
        Finding(
            code="one-group",
            severity="warning",
            message=f"All images are {column.phrase(column.names[0])}, so no gap by {column.name} is measured.",
            remedy="Add test images of the other groups.",
            evidence={"column": column.name, "group": column.names[0]},
        )
        for column in columns
        if len(column.names) == 1
    ]


def of_class(columns: Sequence[Column], labels: np.ndarray) -> list[Finding]:
    """Name the user's columns whose groups are groups of classes."""
    return [
        Finding(
            code="column-of-classes",
            severity="warning",
            message=f"The column {column.name} sorts the images by their class: each class is in one group. Its gap is that of the classes, "
            "and demographic parity and equalised odds are not defined.",
            remedy="Use [data] families for groups of classes.",
            evidence={"column": column.name, "groups": len(column.names)},
        )
        for column in columns
        if column.kind == "user" and is_of_class(column, labels)
    ]


def missing_values(columns: Sequence[Column]) -> list[Finding]:
    """Count the images without a value."""
    return [
        Finding(
            code="missing-values",
            severity="info",
            message=f"{counted(int(column.groups.n[column.names.index(MISSING)]), 'image')} without a value of {column.name} are the group "
            f"{MISSING}.",
            remedy="Fill in the values, if they are known.",
            evidence={"column": column.name},
        )
        for column in columns
        if MISSING in column.names
    ]


def fixed_edges(columns: Sequence[Column]) -> list[Finding]:
    """Report conditions whose edges are fixed, one finding for each reason."""
    fixed = [column for column in columns if column.edges is not None and column.edges.source == FIXED_SOURCE]
    reasons = dict.fromkeys(column.edges.reason for column in fixed if column.edges is not None)
    findings = []
    for reason in reasons:
        names = ", ".join(
            column.name for column in fixed if column.edges is not None and column.edges.reason == reason
        )
        findings.append(
            Finding(
                code="fixed-edges",
                severity="info",
                message=f"The groups by {names} are cut at {FIXED_SOURCE}{f', because {reason}' if reason else ''}.",
                remedy=""
                if reason
                else "Set [data.train] or [data.valid] to cut them at the thirds of your images.",
                evidence={"columns": names},
            )
        )
    return findings
