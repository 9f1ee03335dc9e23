"""What an attack really achieved, measured again by the audit. Legend: N images, H W C pixels, K classes.

A buggy attack must not make a model look robust: whatever an attack hands back is projected onto the ball of the
threat, clipped to 0..1 and predicted again, and every doubt counts for the attacker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.classifiers.base import Classifier
from safeml.config import Threat
from safeml.metrics.perturbation import perturbation_size, project

# Float32 rounding of pixels in 0..1; anything further out is an attack that does not keep its threat model.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class CleanSample:
    """The images under attack and how the classifier does without one.

    images: float32 [N, H, W, C], 0..1. labels: int64 [N]. logits: float32 [N, K]. right: bool [N].
    """

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, eq=False)
class Measured:
    """One attack at one threat, measured again.

    robust: bool [N]; right on the clean image, right on the attacked one, and not broken in the attack's own eyes.
    attacked: float32 [N, H, W, C]; inside the ball and 0..1. logits: float32 [N, K], of `attacked`.
    zero_gradients: bool [N], as the attack reports it. problems: what was wrong with what the attack gave back.
    """

    robust: np.ndarray
    attacked: np.ndarray
    logits: np.ndarray
    zero_gradients: np.ndarray
    problems: tuple[str, ...]


def right_answers(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: the largest logit is the label's. Logits that are not finite are never right."""
    return np.asarray(np.isfinite(logits).all(axis=1) & (logits.argmax(axis=1) == labels))


def clean_sample(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> CleanSample:
    """The classifier's clean answers. images: uint8 [N, H, W, C]. labels: int [N]."""
    pixels = images.astype(np.float32) / np.float32(255)
    logits = classifier.predict_logits(pixels)
    return CleanSample(pixels, labels, logits, right_answers(logits, labels))


def measure(classifier: Classifier, clean: CleanSample, outcome: AttackOutcome, threat: Threat) -> Measured:
    """Project, clip, predict again, and count an image as robust only if nothing speaks against it."""
    count = len(clean.labels)
    found, first_step, flat = outcome.adversarial, outcome.first_step, outcome.zero_gradients
    if found.shape != clean.images.shape or found.dtype != np.float32:
        problem = f"it returned {found.dtype} {list(found.shape)} for images float32 {list(clean.images.shape)}; all count as attacked"
        return _all_attacked(clean, problem)
    if first_step.shape != (count,) or flat.shape != (count,):
        return _all_attacked(
            clean, f"it returned no verdict for each of {count} images; all count as attacked"
        )

    finite = np.isfinite(found).all(axis=(1, 2, 3))
    usable = np.where(finite[:, None, None, None], found, clean.images)
    size = perturbation_size(clean.images, usable, threat.norm)
    slack = ROUNDING * (1.0 if threat.norm == "linf" else np.sqrt(clean.images[0].size))
    outside = size > threat.epsilon + slack
    beyond = finite & ((usable < 0).any(axis=(1, 2, 3)) | (usable > 1).any(axis=(1, 2, 3)))
    problems = [
        f"{text} for {int(rows.sum())} of {count} images, which count as attacked"
        for text, rows in (
            ("it returned NaN or infinity", ~finite),
            (f"it left the ball of {threat.label}", outside),
            ("it left the pixel range 0..1", beyond),
        )
        if rows.any()
    ]

    attacked = project(clean.images, usable, threat)
    logits = classifier.predict_logits(attacked)
    survived = first_step == SURVIVED
    trusted = finite & ~outside & ~beyond
    robust = clean.right & right_answers(logits, clean.labels) & survived & trusted
    return Measured(robust, attacked, logits, flat, tuple(problems))


def _all_attacked(clean: CleanSample, problem: str) -> Measured:
    nothing = np.zeros(len(clean.labels), dtype=bool)
    return Measured(nothing, clean.images, clean.logits, nothing, (problem,))
