"""What an attack really achieved, measured again by the audit. Legend: N images, H W C pixels, K classes.

A buggy attack must not make a model look robust: whatever an attack hands back is projected onto the ball of the
threat, clipped to 0..1 and predicted again, and every doubt counts for the attacker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.classifiers.base import Classifier
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import perturbation_size, project
from safeml.threats import Threat

# Float32 rounding of pixels in 0..1; anything further out is an attack that does not keep its threat model.
ROUNDING = 1e-6
NOT_FINITE, OUTSIDE, BEYOND, OTHER_SHAPE, NO_VERDICT = 1, 2, 4, 8, 16
FAULTS = {
    NOT_FINITE: "it returned NaN or infinity",
    OUTSIDE: "it left the ball of its threat",
    BEYOND: "it left the pixel range 0..1",
    OTHER_SHAPE: "it returned images of another shape or type than the ones it was given",
    NO_VERDICT: "it returned no verdict for each image",
}


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
    size: float32 [N]; norm of the change that broke it, in pixel units; infinite where it is robust, 0 where wrong when clean.
    claimed, wrong: bool [N]; broken in the attack's eyes, and answered wrong when asked again.
    step, attempt, looks: int64 [N]; unconverged: float32 [N]; zero_gradients: bool [N], as the attack reports them.
    faults: uint8 [N]; what was wrong with what it gave back, as a sum of the keys of `FAULTS`.
    attacked: float32 [N, H, W, C]; inside the ball and 0..1. logits: float32 [N, K], of `attacked`. Both are empty where only
        the verdicts are wanted.
    """

    robust: np.ndarray
    size: np.ndarray
    claimed: np.ndarray
    wrong: np.ndarray
    step: np.ndarray
    attempt: np.ndarray
    looks: np.ndarray
    unconverged: np.ndarray
    zero_gradients: np.ndarray
    faults: np.ndarray
    attacked: np.ndarray
    logits: np.ndarray


VERDICTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "robust": ("bool", ()),
    "size": ("float32", ()),
    "claimed": ("bool", ()),
    "wrong": ("bool", ()),
    "step": ("int64", ()),
    "attempt": ("int64", ()),
    "looks": ("int64", ()),
    "unconverged": ("float32", ()),
    "zero_gradients": ("bool", ()),
    "faults": ("uint8", ()),
}


def problems(faults: np.ndarray) -> list[str]:
    """What an attack did wrong, a clause each. faults: uint8 [N], see `Measured`."""
    return [
        f"{text} for {int(rows.sum())} of {len(faults)} images, which count as attacked"
        for fault, text in FAULTS.items()
        if (rows := (faults & fault) > 0).any()
    ]


def measure(
    classifier: Classifier,
    clean: CleanSample,
    outcome: AttackOutcome,
    threat: Threat,
    elsewhere: bool = False,
) -> Measured:
    """Project, clip, predict again, and count an image as robust only if nothing speaks against it.

    elsewhere: the images were made on another model, so that what the attack claims is claimed of that one.
    """
    count = len(clean.labels)
    found, first_step = outcome.adversarial, outcome.first_step
    if found.shape != clean.images.shape or found.dtype != np.float32:
        return _all_attacked(clean, OTHER_SHAPE)
    numbers = (first_step, outcome.zero_gradients, outcome.attempt, outcome.looks, outcome.unconverged)
    if any(array.shape != (count,) for array in numbers):
        return _all_attacked(clean, NO_VERDICT)

    finite = np.isfinite(found).all(axis=(1, 2, 3))
    usable = np.where(finite[:, None, None, None], found, clean.images)
    reached = perturbation_size(clean.images, usable, threat.norm)
    slack = ROUNDING * (1.0 if threat.norm == "linf" else np.sqrt(clean.images[0].size))
    outside = reached > threat.epsilon + slack
    beyond = (usable < 0).any(axis=(1, 2, 3)) | (usable > 1).any(axis=(1, 2, 3))
    faults = NOT_FINITE * ~finite + OUTSIDE * outside + BEYOND * beyond

    attacked = project(clean.images, usable, threat)
    logits = classifier.predict_logits(attacked)
    wrong = ~right_answers(logits, clean.labels)
    claimed = first_step != SURVIVED
    robust = clean.right & ~wrong & ~(claimed & (not elsewhere)) & (faults == 0)
    # What an attack with faults has broken counts at every epsilon: its images say nothing about how far they are.
    size = np.where(robust, np.inf, perturbation_size(clean.images, attacked, threat.norm))
    size = np.where(~clean.right | (faults != 0), 0.0, size)
    return Measured(
        robust=robust,
        size=size.astype(np.float32),
        claimed=claimed,
        wrong=wrong,
        step=first_step.astype(np.int64),
        attempt=outcome.attempt.astype(np.int64),
        looks=outcome.looks.astype(np.int64),
        unconverged=outcome.unconverged.astype(np.float32),
        zero_gradients=outcome.zero_gradients.astype(bool),
        faults=faults.astype(np.uint8),
        attacked=attacked,
        logits=logits,
    )


def _all_attacked(clean: CleanSample, fault: int) -> Measured:
    count = len(clean.labels)
    nothing = {name: np.zeros(count, kind) for name, (kind, _) in VERDICTS.items()}
    nothing["faults"] += np.uint8(fault)
    return Measured(**nothing, attacked=clean.images, logits=clean.logits)
