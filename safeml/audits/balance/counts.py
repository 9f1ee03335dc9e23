"""Counts of images and sign tracks by class and split, as metrics, findings and figures. Legend: N images, K classes."""

from __future__ import annotations

import math

import numpy as np

from safeml.audits.balance.split import Split
from safeml.data.dataset import ImageDataset
from safeml.metrics.balance import class_counts, effective_classes, imbalance_ratio, normalised_entropy
from safeml.results import Bars, Column, Direction, Finding, Metric, Table, Unit
from safeml.stages.balance import BalanceSettings
from safeml.wording import counted, percent

EMPTY = "a class has no image"


def sign_counts(data: ImageDataset) -> np.ndarray | None:
    """Return the sign tracks of each class, float64 [K]: counted, else images by declared frames; None where neither is known."""
    if data.tracks is not None:
        pairs = np.unique(np.stack([data.labels, data.tracks]), axis=1)
        return np.bincount(pairs[0], minlength=data.classes).astype(np.float64)
    if data.frames_per_sign is None:
        return None
    return class_counts(data.labels, data.classes) / data.frames_per_sign


def split_metrics(split: Split, settings: BalanceSettings) -> list[Metric]:
    """Return the counts of one split; they are complete, so without sampling error."""
    counts = class_counts(split.data.labels, split.data.classes)
    signs = sign_counts(split.data)
    few = math.nan if signs is None else float((signs < settings.min_signs).sum())
    role = split.role
    entries: list[tuple[str, str, float, Unit, str]] = [
        ("imbalance_ratio", "Largest to smallest class", imbalance_ratio(counts), "ratio", EMPTY),
        ("effective_classes", "Effective number of classes", effective_classes(counts), "count", EMPTY),
        ("normalised_entropy", "Normalised entropy of the classes", normalised_entropy(counts), "ratio", EMPTY),
        (
            "small_classes",
            f"Classes with fewer than {settings.min_images} images",
            float((counts < settings.min_images).sum()),
            "count",
            "",
        ),
        (
            "classes_of_few_signs",
            f"Classes with fewer than {settings.min_signs} sign tracks",
            few,
            "count",
            "the sign tracks are not known; declare frames_per_sign, or supply track ids",
        ),
    ]  # fmt: skip
    return [
        _count(name, f"{title}, {role}", value, len(split.data), f"split:{role}", unit, reason)
        for name, title, value, unit, reason in entries
    ]


def _count(name: str, title: str, value: float, images: int, where: str, unit: Unit, reason: str) -> Metric:
    direction: Direction = "up" if name in ("effective_classes", "normalised_entropy") else "down"
    if math.isnan(value):
        return Metric.undefined(name, title, reason, direction=direction, unit=unit, slice=where, n=images)
    return Metric.count(name, title, value, images, direction=direction, unit=unit, slice=where)


def small_findings(splits: list[Split], settings: BalanceSettings) -> list[Finding]:
    """Name the classes of few images or few sign tracks in each split."""
    findings = []
    for split in splits:
        counts = class_counts(split.data.labels, split.data.classes)
        small = int((counts < settings.min_images).sum())
        if small:
            smallest = split.data.class_names[int(counts.argmin())]
            findings.append(
                Finding(
                    code=f"small-classes-{split.role}",
                    severity="warning",
                    message=f"{counted(small, 'class', 'classes')} of the {split.role} split have fewer "
                    f"than {settings.min_images} images; "
                    f"the smallest is {smallest} with {counted(int(counts.min()), 'image')}.",
                    remedy="Collect more signs of these classes, or pool the classes before you judge their recall.",
                    evidence={"classes": small, "smallest": smallest, "images": int(counts.min())},
                )
            )
        signs = sign_counts(split.data)
        few = 0 if signs is None else int((signs < settings.min_signs).sum())
        if signs is not None and few:
            fewest = split.data.class_names[int(signs.argmin())]
            findings.append(
                Finding(
                    code=f"few-signs-{split.role}",
                    severity="warning",
                    message=f"{counted(few, 'class', 'classes')} of the {split.role} split show fewer than "
                    f"{settings.min_signs} signs; {fewest} shows {counted(round(float(signs.min())), 'sign')}. "
                    "More frames of the same signs do not help.",
                    remedy="Photograph other signs of these classes.",
                    evidence={"classes": few, "fewest": fewest, "signs": round(float(signs.min()), 2)},
                )
            )
    return findings


def class_bars(splits: list[Split]) -> Bars:
    """Draw images per class: train if configured, with the test set scaled to the same total as an outline."""
    by_role = {split.role: class_counts(split.data.labels, split.data.classes) for split in splits}
    test, train = by_role["test"], by_role.get("train")
    names = list(splits[0].data.class_names)
    same = any(
        split.role == "train" and split.data.class_names == splits[0].data.class_names for split in splits
    )
    if train is None or not same:
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


def counts_table(splits: list[Split]) -> Table:
    """List images and sign tracks of each class in each split."""
    names = splits[0].data.class_names
    images, signs = {}, {}
    for split in splits:
        by_class = class_counts(split.data.labels, split.data.classes).tolist()
        images[split.role] = dict(zip(split.data.class_names, by_class, strict=True))
        tracks = sign_counts(split.data)
        if tracks is not None:
            signs[split.role] = dict(zip(split.data.class_names, tracks.round(1).tolist(), strict=True))
    total = len(splits[0].data)
    return Table(
        id="counts-by-class",
        title="Images and sign tracks by class and split",
        columns=[
            Column(key="class", label="Class"),
            *(Column(key=role, label=role, kind="number") for role in images),
            *(Column(key=f"signs_{role}", label=f"{role} signs", kind="number") for role in signs),
            Column(key="share", label="Share of test", kind="percent"),
        ],
        rows=[
            [
                name,
                *(counts.get(name) for counts in images.values()),
                *(counts.get(name) for counts in signs.values()),
                images["test"][name] / total,
            ]
            for name in names
        ],
        caption=f"In class order. The smallest share of the test set is {percent(min(images['test'].values()) / total)}.",
        fold=True,
    )
