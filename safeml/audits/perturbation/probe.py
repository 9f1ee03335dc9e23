"""Would training on the worst corruption help? Measured by a linear head on the model's own features.

Legend: N images, F features, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.corruptions.engine import corrupt
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.data.dataset import ImageDataset
from safeml.errors import SafemlError
from safeml.results import Finding
from safeml.statistics import paired_difference_metric
from safeml.wording import counted, interval, percent

# The middle one: the mildest hardly changes the accuracy, and the strongest may leave nothing to learn.
SEVERITY = SEVERITIES[len(SEVERITIES) // 2]
# Of the mean squared length of a feature vector. Fixed: nothing is chosen on the test images.
RIDGE = 1e-3
MOST_FEATURES = 1 << 14


def linear_head(features: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression of the classes on centred features, in its dual form.

    features: float [N, F]. labels: int [N], 0..K-1. Returns weights, float64 [F, K], and the means of the features, float64 [F].

    Source: C. Saunders, A. Gammerman, V. Vovk, "Ridge regression learning algorithm in dual variables", 1998.
    """
    means = features.mean(axis=0, dtype=np.float64)
    centred = features - means
    kernel = centred @ centred.T
    strength = RIDGE * max(float(np.trace(kernel)) / len(kernel), np.finfo(float).tiny)
    dual = np.linalg.solve(kernel + strength * np.eye(len(kernel)), np.eye(classes)[labels])
    return centred.T @ dual, means


def probe(inputs: AuditInputs, sample: ImageDataset, name: str, images: int) -> list[Finding]:
    """Compare two linear heads on the features of the model, fitted with and without the corruption `name`.

    sample: the corrupted test images. images: how many training images are drawn; 0 for no probe.

    Both heads see the same clean training images; one also sees them corrupted. Both classify the corrupted test images, and the
    difference is paired by sign track. Returns one finding, and none without training images or without features.

    Source: G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
    """
    if inputs.train is None or images == 0:
        return []
    train = inputs.train.sample(images, inputs.seed)

    def features(data: ImageDataset, severity: int) -> np.ndarray:
        changed = corrupt(data.images, name, severity, inputs.seed, numbers(data))
        return np.asarray(inputs.classifier.features(changed), np.float64).reshape(len(data), -1)

    try:
        clean, corrupted = features(train, 0), features(train, SEVERITY)
        seen = features(sample, SEVERITY)
    except SafemlError:  # a file without features; the accuracies of the stage do not need them
        return []
    if clean.shape[1] > MOST_FEATURES or not all(
        np.isfinite(part).all() for part in (clean, corrupted, seen)
    ):
        return []

    def hits(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        weights, means = linear_head(rows, labels, sample.classes)
        return np.asarray(((seen - means) @ weights).argmax(axis=1) == sample.labels)

    without = hits(clean, train.labels)
    having = hits(np.concatenate([clean, corrupted]), np.tile(train.labels, 2))
    gain = paired_difference_metric("gain", "Gain", having, without, clustering=sample.clustering)
    title = CORRUPTIONS[name].title.lower()
    if gain.low is not None and gain.low > 0:
        remedy = (
            f"Add {title} to the augmentation and train again: the present features already gain from it."
        )
    else:
        remedy = f"Train the whole network with {title}, or collect such images: with the present features, a new last layer shows no gain."
    return [
        Finding(
            code="augmentation-probe",
            severity="info",
            message=f"A linear layer on the model's features, fitted to {counted(len(train), 'training image')}, classifies "
            f"{percent(float(without.mean()))} of the test images under {title}, severity {SEVERITY}, correctly; fitted also to the same "
            f"images under {title}, {percent(float(having.mean()))}. 95 % interval of the gain: {interval(gain.low, gain.high)}.",
            remedy=remedy,
            evidence={"corruption": name, "severity": SEVERITY, "gain": gain.value, "images": len(train)},
        )
    ]
