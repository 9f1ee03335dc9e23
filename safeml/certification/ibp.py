"""Certified robustness to L-infinity changes of the pixels, by interval bound propagation.

The box of all images within epsilon of one, cut at 0..1, is sent through the network operation by operation; an image is
certified where no logit in the outgoing bounds can reach that of its label. All of it holds for what float32 computes (see
`interval`), and for the model as it is deployed: nothing is retrained or smoothed. The bounds are loose for networks that
were not trained for them, the more so the deeper they are. What is not certified is not shown to be breakable; an attack
shows that.

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
    """Which images are right and provably stay so under every change of at most `epsilon` a pixel: bool [N].

    images: float32 [N, H, W, C], 0..1. labels: int [N], 0..K-1. epsilon: 0..1, in pixel units; changed images are cut at
    0..1. batch: images at a time; memory goes by it and not by N.

    Raises NotCertifiable where the model holds an operation without a rule, or computes logits outside of their bounds;
    StageError for arrays of another shape or type; MemoryError where a batch does not fit.
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
    """The largest epsilon found at which each image is certified: float64 [N], 0..`most`; 0 where none is or it is wrong.

    Bisection between 0 and `most`, to within most / 2^halvings. Each value was certified itself, and smaller balls lie in
    larger ones, so certified accuracy at an epsilon > 0 is at least the share of radii >= epsilon. For the arguments and
    errors see `certify_linf`.
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
    """The least and the largest value of each logit within `epsilon` of each image, float64 [N, K] each.

    Infinite where a value may leave the range that float32 is followed in. For the arguments and errors see `certify_linf`.
    """
    prover = _Prover(classifier, images, np.zeros(len(images), dtype=np.int64), epsilon, batch)
    rows = np.arange(len(images))
    turns = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    found = [prover.outgoing(turn, np.full(len(turn), float(epsilon))).logits() for turn in turns]
    nothing = np.zeros((0, classifier.classes))
    return (
        np.concatenate([lower for lower, _ in found] or [nothing]),
        np.concatenate([upper for _, upper in found] or [nothing]),
    )


class _Prover:
    """One network, read and compiled once, and the images and labels that are asked about."""

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
        # Some runtimes do not take an empty batch.
        self._logits = classifier.predict_logits(images) if len(images) else np.zeros((0, classifier.classes))
        self.right: np.ndarray = np.isfinite(self._logits).all(axis=1) & (
            self._logits.argmax(axis=1) == labels
        )

    def certified(self, rows: np.ndarray, epsilons: np.ndarray) -> np.ndarray:
        """Whether each image of `rows` (int [M]) is certified at its own epsilon (float64 [M]): bool [M]."""
        found = np.zeros(len(rows), dtype=bool)
        for start in range(0, len(rows), self._batch):
            turn = slice(start, start + self._batch)
            outgoing = self.outgoing(rows[turn], epsilons[turn])
            found[turn] = self.right[rows[turn]] & (outgoing.least_margins(self._labels[rows[turn]]) > 0)
        return found

    def outgoing(self, rows: np.ndarray, epsilons: np.ndarray) -> Outgoing:
        """The bounds of at most one batch, held against the logits that the model really gives for the clean images."""
        outgoing = self._propagation(self._images[rows], epsilons)
        lower, upper = outgoing.logits()
        logits = self._logits[rows]
        outside = ((logits < lower) | (logits > upper)).any(axis=1)
        if outside.any():
            raise NotCertifiable(
                f"the model's own logits leave their float32 bounds on {outside.sum()} of {len(rows)} images; "
                "it computes in another precision here, so no bound can be relied on."
            )
        return outgoing


def _check(images: np.ndarray, labels: np.ndarray, classes: int, epsilon: float, batch: int) -> None:
    if images.dtype != np.float32 or images.ndim != 4:
        raise StageError(
            f"certification: images are {images.dtype} {list(images.shape)}; expected float32 [N, H, W, C]."
        )
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise StageError("certification: images have pixels outside of 0..1; expected pixels in 0..1.")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise StageError(
            f"certification: labels are {labels.dtype} {list(labels.shape)}; "
            f"expected one whole number for each of {len(images)} images."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise StageError(f"certification: a label is outside of 0-{classes - 1}; expected class ids.")
    if not 0 <= epsilon <= 1 or batch < 1:
        raise StageError(
            f"certification: epsilon is {epsilon} and batch {batch}; expected 0..1 and at least one image."
        )
