"""Certified robustness to L-infinity changes of the pixels, by interval bound propagation.

The box of all images within epsilon of one, clipped to 0..1, is propagated through the network operation by operation. An
image is certified if no logit within the resulting bounds can reach that of its label. The bounds hold for float32 arithmetic
(see `interval`) and for the deployed model: nothing is retrained or smoothed. They are loose for networks that were not
trained for them, and looser for deeper ones. An image without a certificate may still be robust; only an attack shows otherwise.

References:
    S. Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models", 2018.

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml import framework
from safeml.certification.base import NotCertifiable
from safeml.certification.bounds import Outgoing, Propagation
from safeml.certification.network import read_network
from safeml.classifiers.base import DifferentiableClassifier
from safeml.errors import StageError


def certify_linf(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    batch: int = 64,
) -> np.ndarray:
    """Certify that images are classified correctly under every change of at most `epsilon` per pixel: bool [N].

    images: float32 [N, H, W, C], 0..1.
    labels: int [N], 0..K-1.
    epsilon: 0..1, pixel units; changed images are clipped to 0..1.
    batch: images at a time; it determines the memory, N does not.

    Raises NotCertifiable if the model has an operation without a rule, or computes logits outside their bounds;
    StageError for arrays of another shape or type; MemoryError if a batch does not fit.
    """
    prover = _Prover(classifier, images, labels, epsilon, batch)
    return prover.certified(np.arange(len(images)), np.full(len(images), float(epsilon)))


def certified_radius(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    most: float,
    halvings: int = 12,
    batch: int = 64,
) -> np.ndarray:
    """Return a certified epsilon of each image by bisection: float64 [N], 0..`most`; 0 if none or misclassified.

    The bisection between 0 and `most` has the resolution most / 2^halvings. Each returned value is certified, and smaller balls
    lie in larger ones, so certified accuracy at an epsilon > 0 is at least the share of radii >= epsilon. For the arguments
    and errors see `certify_linf`.
    """
    if halvings < 0:
        raise StageError(f"certification: halvings is {halvings}; expected 0 or more.")
    prover = _Prover(classifier, images, labels, most, batch)
    proven, open_above = np.zeros(len(images)), np.full(len(images), float(most))
    rows = np.flatnonzero(prover.right)
    whole = prover.certified(rows, open_above[rows])
    proven[rows[whole]] = most
    rows = rows[~whole]
    for _ in range(halvings):
        middle = (proven[rows] + open_above[rows]) / 2
        held = prover.certified(rows, middle)
        proven[rows[held]] = middle[held]
        open_above[rows[~held]] = middle[~held]
    return proven


def logit_bounds(
    classifier: DifferentiableClassifier, images: np.ndarray, epsilon: float, batch: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bound of each logit within `epsilon` of each image, float64 [N, K] each.

    Infinite if a value may leave the range in which float32 rounding is bounded. For the arguments and errors see `certify_linf`.
    """
    prover = _Prover(classifier, images, np.zeros(len(images), dtype=np.int64), epsilon, batch)
    rows = np.arange(len(images))
    batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    bounds = [prover.outgoing(part, np.full(len(part), float(epsilon))).logits() for part in batches]
    nothing = np.zeros((0, classifier.classes))
    return (
        np.concatenate([lower for lower, _ in bounds] or [nothing]),
        np.concatenate([upper for _, upper in bounds] or [nothing]),
    )


class _Prover:
    """One network, read and compiled once, with the images and labels to certify."""

    def __init__(
        self,
        classifier: DifferentiableClassifier,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        batch: int,
    ) -> None:
        _check(images, labels, classifier.classes, epsilon, batch)
        with framework.memory_errors():
            network = read_network(classifier, images.shape[1:], batch)
            self._propagation = Propagation(network, images.shape[1:])
        self._images, self._labels, self._batch = images, labels, batch
        # Some runtimes reject an empty batch.
        self._logits = classifier.predict_logits(images) if len(images) else np.zeros((0, classifier.classes))
        self.right: np.ndarray = np.isfinite(self._logits).all(axis=1) & (
            self._logits.argmax(axis=1) == labels
        )

    def certified(self, rows: np.ndarray, epsilons: np.ndarray) -> np.ndarray:
        """Return bool [M]: whether each image of `rows` (int [M]) is certified at its epsilon (float64 [M])."""
        certified = np.zeros(len(rows), dtype=bool)
        for start in range(0, len(rows), self._batch):
            turn = slice(start, start + self._batch)
            outgoing = self.outgoing(rows[turn], epsilons[turn])
            certified[turn] = self.right[rows[turn]] & (outgoing.least_margins(self._labels[rows[turn]]) > 0)
        return certified

    def outgoing(self, rows: np.ndarray, epsilons: np.ndarray) -> Outgoing:
        """Return the bounds of at most one batch, after a comparison with the logits of the clean images."""
        outgoing = self._propagation(self._images[rows], epsilons)
        lower, upper = outgoing.logits()
        logits = self._logits[rows]
        outside = ((logits < lower) | (logits > upper)).any(axis=1)
        if outside.any():
            raise NotCertifiable(
                f"the model's own logits leave their float32 bounds on {outside.sum()} of {len(rows)} images; "
                "it does not compute in float32 here, so no bound is valid."
            )
        return outgoing


def _check(images: np.ndarray, labels: np.ndarray, classes: int, epsilon: float, batch: int) -> None:
    if images.dtype != np.float32 or images.ndim != 4:
        raise StageError(
            f"certification: images are {images.dtype} {list(images.shape)}; expected float32 [N, H, W, C]."
        )
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise StageError("certification: images have pixels outside 0..1; expected pixels in 0..1.")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise StageError(
            f"certification: labels are {labels.dtype} {list(labels.shape)}; "
            f"expected one whole number for each of {len(images)} images."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise StageError(f"certification: a label is outside 0-{classes - 1}; expected class ids.")
    if not 0 <= epsilon <= 1 or batch < 1:
        raise StageError(
            f"certification: epsilon is {epsilon} and batch {batch}; expected 0..1 and at least one image."
        )
