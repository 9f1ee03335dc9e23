"""Class balance, and leakage of test images into training and validation.

Legend: N images, K classes. The splits are called test, train and valid.
"""

from __future__ import annotations

import math

from safeml.audits.balance.leakage import copies_table, leakage_findings, leakage_metrics
from safeml.audits.balance.near import near_gallery, near_pairs, near_table
from safeml.audits.balance.split import Split
from safeml.audits.base import AuditInputs
from safeml.metrics.balance import class_counts, effective_classes, imbalance_ratio
from safeml.metrics.duplicates import pixel_digests
from safeml.results import (
    Bars,
    Card,
    Column,
    Direction,
    Fact,
    Finding,
    Metric,
    StageResult,
    Table,
    Unit,
)
from safeml.stages.balance import BalanceSettings
from safeml.wording import counted, number, percent, quantity

SMALL_CLASS = 150


def run(inputs: AuditInputs, settings: BalanceSettings) -> StageResult:
    """Count the images of each class and compare the splits, without running the model."""
    splits = []
    given = [("test", inputs.test), ("train", inputs.train), ("valid", inputs.valid)]
    for step, (role, data) in enumerate(given):
        inputs.progress("digest of every image", step, len(given))
        if data is not None:
            splits.append(Split(role, data, pixel_digests(data.images)))
    inputs.progress("digest of every image", len(given), len(given))
    near = near_pairs(splits)
    near_skipped = [pair.pair for pair in near if pair.images is None]
    leaks = leakage_metrics(splits)
    metrics = [*leaks, *(metric for split in splits for metric in split_metrics(split))]
    measured = {metric.name: metric for metric in metrics if metric.slice in ("all", "split:test")}
    copies = copies_table(splits)
    shared = measured["shared_duplicates"]
    roles = [split.role for split in splits]
    return StageResult(
        stage="balance",
        title="Class balance",
        tested="How many images each class has, and whether images or signs of the test set are also in the other splits.",
        on_what="; ".join(
            f"{split.role}: {split.data.name}, {counted(len(split.data), 'image')}" for split in splits
        )
        + ".",
        facts=[
            Fact(label="Images", value=number(len(inputs.test)), detail="in the test set"),
            *(
                Fact(
                    label=label,
                    value=quantity(measured[key].value, measured[key].unit),
                    detail=measured[key].reason,
                )
                for key, label in (
                    ("imbalance_ratio", "Largest to smallest class"),
                    ("effective_classes", f"Effective classes of {inputs.test.classes}"),
                    ("shared_duplicates", "Test images in other splits"),
                    ("shared_tracks", "Test sign tracks in other splits"),
                )
            ),
        ],
        metrics=metrics,
        findings=[*leakage_findings(splits, leaks, near_skipped), *_small_findings(splits)],
        figures=[_bars(splits), _counts_table(splits), copies, near_table(near)],
        worst_cases=near_gallery(near),
        meaning=[
            "An image used to train or select the model is not evidence about new images; each copy in the test set "
            "inflates the accuracy.",
            f"A class with fewer than {SMALL_CLASS} images has a wide confidence interval, whatever the model.",
        ],
        limits=[
            "Copies are byte-identical pixels at the size of the data. The same picture with another crop or compression is "
            "not detected.",
            "Near duplicates are candidates by a 64-bit difference hash; many are different signs of one class.",
            "Tracks are compared by the track ids in the data.",
            *(
                f"No {role} split was configured, so its overlap with the test set is unknown."
                for role in ("train", "valid")
                if role not in roles
            ),
        ],
        not_tested=[
            Fact(
                label="Label errors",
                value="not tested",
                detail="labels are compared only between identical images",
            )
        ],
        reproduce=[f"{split.role} images {split.data.fingerprint}" for split in splits],
        card=Card(
            headline=quantity(shared.value, "count"),
            text=shared.reason or "test images also in train or valid",
            figure_id="class-counts",
        ),
    )


def split_metrics(split: Split) -> list[Metric]:
    """Return the counts of one split; they are complete, so without sampling error."""
    counts = class_counts(split.data.labels, split.data.classes)
    where, images = f"split:{split.role}", len(split.data)
    return [
        _count(
            "imbalance_ratio",
            f"Largest to smallest class, {split.role}",
            imbalance_ratio(counts),
            images,
            where,
            "ratio",
        ),
        _count(
            "effective_classes",
            f"Effective number of classes, {split.role}",
            effective_classes(counts),
            images,
            where,
        ),
        _count(
            "small_classes",
            f"Classes with fewer than {SMALL_CLASS} images, {split.role}",
            float((counts < SMALL_CLASS).sum()),
            images,
            where,
        ),
    ]


def _count(name: str, title: str, value: float, images: int, where: str, unit: Unit = "count") -> Metric:
    direction: Direction = "up" if name == "effective_classes" else "down"
    if math.isnan(value):
        reason = "a class has no image"
        return Metric.undefined(name, title, reason, direction=direction, unit=unit, slice=where, n=images)
    return Metric.count(name, title, value, images, direction=direction, unit=unit, slice=where)


def _small_findings(splits: list[Split]) -> list[Finding]:
    findings = []
    for split in splits:
        counts = class_counts(split.data.labels, split.data.classes)
        small = [
            name for name, images in zip(split.data.class_names, counts, strict=True) if images < SMALL_CLASS
        ]
        if small:
            smallest = split.data.class_names[int(counts.argmin())]
            findings.append(
                Finding(
                    code=f"small-classes-{split.role}",
                    severity="warning",
                    message=f"{counted(len(small), 'class', 'classes')} of the {split.role} split have fewer "
                    f"than {SMALL_CLASS} images; "
                    f"the smallest is {smallest} with {counted(int(counts.min()), 'image')}.",
                    remedy="Collect more signs of these classes, or pool the classes before you judge their recall.",
                    evidence={"classes": len(small), "smallest": smallest, "images": int(counts.min())},
                )
            )
    return findings


def _bars(splits: list[Split]) -> Bars:
    """Draw images per class: train if configured, with the test set scaled to the same total as an outline."""
    by_role = {split.role: class_counts(split.data.labels, split.data.classes) for split in splits}
    test, train = by_role["test"], by_role.get("train")
    names = list(splits[0].data.class_names)
    if train is None or len(train) != len(test):
        return Bars(
            id="class-counts",
            title="Images by class",
            labels=names,
            values=test.tolist(),
            value_label="test images",
            caption="Images of each class in the test set, in class order.",
        )
    scale = train.sum() / test.sum()
    return Bars(
        id="class-counts",
        title="Images by class",
        labels=names,
        values=train.tolist(),
        compare=(test * scale).tolist(),
        value_label="train images",
        compare_label=f"test images, times {scale:.3g}",
        caption="Bars: train. Outline: test, scaled to the same total, so equal heights mean equal shares.",
    )


def _counts_table(splits: list[Split]) -> Table:
    names = splits[0].data.class_names
    known = {
        split.role: dict(
            zip(
                split.data.class_names,
                class_counts(split.data.labels, split.data.classes).tolist(),
                strict=True,
            )
        )
        for split in splits
    }
    total = len(splits[0].data)
    return Table(
        id="counts-by-class",
        title="Images by class and split",
        columns=[
            Column(key="class", label="Class"),
            *(Column(key=role, label=role, kind="number") for role in known),
            Column(key="share", label="Share of test", kind="percent"),
        ],
        rows=[
            [name, *(counts.get(name) for counts in known.values()), known["test"][name] / total]
            for name in names
        ],
        caption=f"In class order. The smallest share of the test set is {percent(min(known['test'].values()) / total)}.",
        fold=True,
    )
