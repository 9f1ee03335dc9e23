"""Leakage between the splits of a regression, and how the targets of each split cover their range. Legend: N images, T targets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from safeml.audits.balance.leakage import copies_table, leakage_findings, leakage_metrics
from safeml.audits.balance.split import Split
from safeml.audits.base import AuditInputs
from safeml.audits.measured import undefined_metrics
from safeml.results import Bars, Card, Fact, Finding, StageResult
from safeml.stages.balance import BALANCE, LEAKAGE, BalanceSettings
from safeml.wording import counted, quantity

BINS = 10
FOR_CLASSES = "it is defined for classes, and this is a regression model"


def run_of_regression(inputs: AuditInputs, settings: BalanceSettings, splits: list[Split]) -> StageResult:
    """Count what the splits share, and compare how their targets are distributed. The model is asked for nothing."""
    leaks = leakage_metrics(splits)
    declared = (row for row in BALANCE.records(settings) if row.name not in LEAKAGE)
    shared = next(metric for metric in leaks if (metric.name, metric.slice) == ("shared_duplicates", "all"))
    roles = [split.role for split in splits]
    count = 0 if inputs.test.targets is None else len(inputs.test.targets.settings)
    return StageResult(
        stage=BALANCE.name,
        title=BALANCE.title,
        tested="Whether images or signs of the test set are also in the other splits, and how the targets of each split cover the range.",
        on_what="; ".join(
            f"{split.role}: {split.data.name}, {counted(len(split.data), 'image')}" for split in splits
        )
        + ".",
        facts=[
            Fact(
                label="Test images in other splits",
                value=quantity(shared.value, "count"),
                detail=shared.reason,
            )
        ],
        metrics=[*leaks, *undefined_metrics(declared, FOR_CLASSES, len(inputs.test))],
        findings=[*leakage_findings(splits, leaks), *_gaps(splits)],
        figures=[*(target_bars(splits, column) for column in range(count)), copies_table(splits)],
        meaning=[
            "An image used to train or select the model is not evidence about new images; each copy in the test set deflates the error.",
            "A part of the range with few training images is where a regression model is least reliable.",
        ],
        limits=[
            "Copies are byte-identical pixels at the size of the data.",
            "Tracks are compared by the track ids in the data.",
            *(
                f"No {role} split was configured, so its overlap with the test set is unknown."
                for role in ("train", "valid")
                if role not in roles
            ),
        ],
        not_tested=[Fact(label="Balance of classes", value="not tested", detail=FOR_CLASSES)],
        reproduce=[f"{split.role} images {split.data.fingerprint}" for split in splits],
        card=Card(
            headline=quantity(shared.value, "count"),
            text=shared.reason or "test images also in train or valid",
        ),
    )


def _counts(split: Split, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the bins of a target's range, and the images of a split in each."""
    targets = split.data.targets
    assert targets is not None
    low, high = targets.settings[column].range
    counts, edges = np.histogram(targets.values[:, column], BINS, (low, high))
    return edges, counts


def target_bars(splits: list[Split], column: int) -> Bars:
    """Count the images of the test set, and of the training set beside it, by their target."""
    targets = splits[0].data.targets
    assert targets is not None
    target = targets.settings[column]
    edges, counts = _counts(splits[0], column)
    train = next((split for split in splits if split.role == "train"), None)
    return Bars(
        id=f"targets-{target.name}",
        title=f"Images by {target.name}",
        labels=[f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)],
        values=[float(count) for count in counts],
        compare=None if train is None else [float(count) for count in _counts(train, column)[1]],
        value_label="test images",
        compare_label="training images",
        caption=f"Tenths of the declared range of {target.name}, {target.unit}.",
    )


def _gaps(splits: list[Split]) -> list[Finding]:
    """Report test images whose target lies in a tenth of the range without a training image."""
    train = next((split for split in splits if split.role == "train"), None)
    targets = splits[0].data.targets
    if train is None or targets is None:
        return []
    findings = []
    for column, target in enumerate(targets.settings):
        _, tested = _counts(splits[0], column)
        _, trained = _counts(train, column)
        missed = int(tested[trained == 0].sum())
        if missed:
            findings.append(
                Finding(
                    code="targets-not-trained",
                    severity="warning",
                    message=f"{counted(missed, 'test image')} have a {target.name} in a tenth of the range without a training image.",
                    remedy="Add training images there, or declare a smaller range, outside which the model is not used.",
                    evidence={"images": missed, "target": target.name},
                )
            )
    return findings
