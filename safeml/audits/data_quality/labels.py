"""Labels that may be incorrect, by confident learning, as pictures for a person to judge. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.gallery import panel
from safeml.audits.predictions import predicted_logits
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import predictions
from safeml.metrics.label_errors import label_error_candidates
from safeml.results import Column, Finding, Gallery, GalleryItem, Metric, Table
from safeml.stages.data_quality import DataQualitySettings
from safeml.wording import counted

SLICE = 1024
PICTURED = 12
LISTED = 200
METRIC = "label_error_candidates"
IN_SAMPLE = {
    "test": "the model was not trained on them",
    "valid": "the model was not trained on them, but its checkpoint may have been chosen on them",
    "train": "the model was trained on them and has learnt their labels, so that few errors show",
}


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a split against the predictions.

    candidates: int64 [C], rows whose label may be incorrect, least probable label first; None if they were not compared.
    probabilities: float64 [N, K]. rows: int64 [N], rows of `data` with finite logits.
    reason: why they were not compared, as a clause.
    """

    role: str
    data: ImageDataset | None
    candidates: np.ndarray | None
    probabilities: np.ndarray
    void: int = 0
    reason: str = ""


def compared_labels(inputs: AuditInputs, settings: DataQualitySettings, slices: Slices) -> list[Labels]:
    """Compare the labels of the splits of the settings with the predictions of the model."""
    by_role = {"test": inputs.test, "valid": inputs.valid, "train": inputs.train}
    return [_compared(inputs, slices, role, by_role[role]) for role in settings.label_splits]


def _compared(inputs: AuditInputs, slices: Slices, role: str, data: ImageDataset | None) -> Labels:
    none = np.zeros((0, 0))
    if data is None:
        return Labels(role, None, None, none, reason=f"no [data.{role}] is configured")
    if data.class_names != inputs.test.class_names:
        return Labels(role, data, None, none, reason=f"the {role} split has other classes than the test set")
    logits = predicted_logits(inputs, slices, data, f"labels-{role}", f"predict {role} images")
    made = predictions(logits)
    answered = np.flatnonzero(made.answered)
    rows = label_error_candidates(made.probabilities[answered], data.labels[answered])
    return Labels(role, data, answered[rows], made.probabilities, int((~made.answered).sum()))


def label_metrics(labels: list[Labels]) -> list[Metric]:
    """Return the number of candidates of each split."""
    metrics = []
    for split in labels:
        title, where = f"Labels that may be incorrect, {split.role}", f"split:{split.role}"
        n = 0 if split.data is None else len(split.data)
        if split.candidates is None:
            metrics.append(
                Metric.undefined(
                    METRIC, title, split.reason, direction="down", unit="count", slice=where, n=n
                )
            )
        else:
            method = f"confident learning (Northcutt, Jiang, Chuang, 2021); {IN_SAMPLE[split.role]}"
            metrics.append(Metric.count(METRIC, title, len(split.candidates), n, slice=where, method=method))
    return metrics


def label_findings(labels: list[Labels]) -> list[Finding]:
    """Report candidates, and images without a prediction."""
    findings = []
    for split in labels:
        count = 0 if split.candidates is None else len(split.candidates)
        if count and split.data is not None:
            findings.append(
                Finding(
                    code=f"label-candidates-{split.role}",
                    severity="info",
                    message=f"{counted(count, 'label')} of {counted(len(split.data), 'image')} of {split.role} may be incorrect, or the model "
                    f"is: a confident prediction names another class ({IN_SAMPLE[split.role]}).",
                    remedy="Look at the pictures, and correct the labels that are incorrect.",
                    evidence={"candidates": count, "images": len(split.data)},
                )
            )
        if split.void:
            findings.append(
                Finding(
                    code=f"labels-not-compared-{split.role}",
                    severity="warning",
                    message=f"The logits of {counted(split.void, 'image')} of {split.role} are not finite; their labels were not compared.",
                    remedy="Fix the layer that overflows or divides by zero.",
                    evidence={"images": split.void},
                )
            )
    return findings


def label_gallery(labels: list[Labels]) -> Gallery | None:
    """Picture the candidates, least probable label first; None without one."""
    ranked = _ranked(labels)
    if not ranked:
        return None
    items = []
    for split, row in ranked[:PICTURED]:
        assert split.data is not None
        given, predicted = int(split.data.labels[row]), int(split.probabilities[row].argmax())
        items.append(
            GalleryItem(
                panels=[panel(f"{split.role} #{int(numbers(split.data)[row])}", split.data.images[row])],
                true_name=split.data.class_names[given],
                true_confidence=float(split.probabilities[row, given]),
                predicted_name=split.data.class_names[predicted],
                predicted_confidence=float(split.probabilities[row, predicted]),
            )
        )
    return Gallery(
        id="label-candidates",
        title="Labels that may be incorrect, least probable label first",
        items=items,
        caption=f"{len(items)} of {counted(len(ranked), 'candidate')}. The first name is the label, the second the prediction, each with the "
        "model's confidence. Either may be incorrect: decide by eye.",
    )


def label_table(labels: list[Labels]) -> Table | None:
    """List the candidates, least probable label first; None without one."""
    ranked = _ranked(labels)
    if not ranked:
        return None
    rows = []
    for split, row in ranked[:LISTED]:
        assert split.data is not None
        given, predicted = int(split.data.labels[row]), int(split.probabilities[row].argmax())
        rows.append(
            [
                split.role,
                int(numbers(split.data)[row]),
                split.data.class_names[given],
                float(split.probabilities[row, given]),
                split.data.class_names[predicted],
                float(split.probabilities[row, predicted]),
            ]
        )
    return Table(
        id="label-candidates-list",
        title="Labels that may be incorrect",
        columns=[
            Column(key="split", label="Split"),
            Column(key="image", label="Image", kind="id"),
            Column(key="label", label="Label"),
            Column(key="given", label="Its confidence", kind="percent"),
            Column(key="predicted", label="Prediction"),
            Column(key="confidence", label="Its confidence", kind="percent"),
        ],
        rows=rows,
        caption=f"{len(rows)} of {counted(len(ranked), 'candidate')}. Image: its number in the source.",
        fold=True,
    )


def _ranked(labels: list[Labels]) -> list[tuple[Labels, int]]:
    """Return the candidates of all splits with their rows, least probable label first."""
    found = [
        (float(split.probabilities[row, split.data.labels[row]]), order, int(row))
        for order, split in enumerate(labels)
        if split.candidates is not None and split.data is not None
        for row in split.candidates
    ]
    return [(labels[order], row) for _, order, row in sorted(found)]
