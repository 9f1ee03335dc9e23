"""Images whose label may be incorrect, by confident learning. Legend: N images, K classes.

Source: C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident learning: Estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70 (2021). The predictions must be out of sample: a model that was trained on an image has learnt
its label, correct or not.
"""

from __future__ import annotations

import numpy as np


def class_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean probability of each class over the images that have its label, float64 [K]; NaN for a class without images.

    probabilities: float [N, K], rows that add up to 1.
    labels: int [N], 0..K-1.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    means: np.ndarray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def confident_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the class of which each image is a confident example, int64 [N]; -1 where it is of none.

    An image is a confident example of a class if its probability reaches the threshold of the class; of several classes, of the
    most probable one. A class without images has no threshold.
    """
    thresholds = class_thresholds(probabilities, labels)
    reaches = probabilities >= np.where(np.isnan(thresholds), np.inf, thresholds - 1e-6)
    best = np.where(reaches, probabilities, -1.0)
    classes: np.ndarray = np.where(reaches.any(axis=1), best.argmax(axis=1), -1)
    return classes


def label_error_candidates(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rows of the images whose label may be incorrect, int64 [C], least probable label first.

    These are the off-diagonal entries of the confident joint, confident examples of another class than their label, without
    those whose label is as probable as any class.
    """
    classes = confident_classes(probabilities, labels)
    own = probabilities[np.arange(len(labels)), labels]
    rows = np.flatnonzero((classes >= 0) & (classes != labels) & (own < probabilities.max(axis=1)))
    candidates: np.ndarray = rows[np.argsort(own[rows], kind="stable")]
    return candidates
