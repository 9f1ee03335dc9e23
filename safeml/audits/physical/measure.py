"""What an attack on a sign really achieved, measured again by the audit. Legend: N images, H W C pixels, K classes.

Whatever an attack hands back is checked against the bounds of its threat and predicted again, and every doubt counts for
the attacker: an attack that breaks its own rules never makes a model look robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs.base import Claim, SignOutcome, SignThreat
from safeml.audits.adversarial.measure import CleanSample
from safeml.audits.gallery import to_uint8
from safeml.classifiers.base import Classifier
from safeml.metrics.classification import right_answers
from safeml.stages.physical import PhysicalSettings

NOT_FINITE, NOT_ALLOWED, BEYOND, OTHER_SHAPE, NO_VERDICT = 1, 2, 4, 8, 16
FAULTS = {
    NOT_FINITE: "it returned NaN or infinity",
    NOT_ALLOWED: "it changed what its threat does not allow",
    BEYOND: "it left the pixel range 0..1",
    OTHER_SHAPE: "it returned images of another shape or type than the ones it was given",
    NO_VERDICT: "it returned no verdict for each image",
}


@dataclass(frozen=True, eq=False)
class SignMeasured:
    """One threat, recomputed by the audit.

    robust: bool [N]; classified correctly when clean and when attacked, and not reported as broken by the attack.
    attacked: uint8 [N, H, W, C], rounded for showing. logits: float32 [N, K], of the attacked image before rounding.
    choice: int64 [N]; zero_gradients: bool [N], both as the attack reports them (`SignOutcome`). faults: uint8 [N]; what
        was wrong with what it gave back, as a sum of the keys of `FAULTS`.
    """

    robust: np.ndarray
    attacked: np.ndarray
    logits: np.ndarray
    choice: np.ndarray
    zero_gradients: np.ndarray
    faults: np.ndarray


def measure_sign(
    classifier: Classifier,
    threat: SignThreat,
    clean: CleanSample,
    boxes: np.ndarray,
    outcome: SignOutcome,
    settings: PhysicalSettings,
    seed: int,
    ids: np.ndarray,
) -> SignMeasured:
    """Check and predict again; count an image as robust only if every check holds.

    boxes: int64 [N, 4]. ids: int [N].
    """
    count = len(clean.labels)
    found = outcome.adversarial
    if found.shape != clean.images.shape or found.dtype != np.float32:
        return _all_attacked(clean, OTHER_SHAPE)
    rows = (outcome.first_step, outcome.choice, outcome.zero_gradients)
    if any(row.shape != (count,) for row in rows) or outcome.choice.dtype.kind != "i":
        return _all_attacked(clean, NO_VERDICT)

    finite = np.isfinite(found).all(axis=(1, 2, 3))
    usable = np.where(finite[:, None, None, None], found, clean.images)
    beyond = (usable < 0).any(axis=(1, 2, 3)) | (usable > 1).any(axis=(1, 2, 3))
    usable = np.clip(usable, 0.0, 1.0)
    claim = Claim(clean.images, usable, boxes, outcome.choice, settings, seed, ids)
    outside = finite & ~threat.allowed(claim)
    faults = NOT_FINITE * ~finite + NOT_ALLOWED * outside + BEYOND * beyond

    logits = np.asarray(classifier.predict_logits(usable), np.float32)
    survived = outcome.first_step == SURVIVED
    robust = clean.right & right_answers(logits, clean.labels) & survived & (faults == 0)
    return SignMeasured(
        robust,
        to_uint8(usable),
        logits,
        outcome.choice.astype(np.int64),
        outcome.zero_gradients.astype(bool),
        faults.astype(np.uint8),
    )


def sign_problems(faults: np.ndarray) -> list[str]:
    """Return the faults of an attack, one clause each. faults: uint8 [N], see `SignMeasured`."""
    return [
        f"{text} for {int(rows.sum())} of {len(faults)} images, which count as broken"
        for fault, text in FAULTS.items()
        if (rows := (faults & fault) > 0).any()
    ]


def _all_attacked(clean: CleanSample, fault: int) -> SignMeasured:
    count = len(clean.labels)
    nothing = np.zeros(count, dtype=bool)
    return SignMeasured(
        nothing,
        to_uint8(clean.images),
        clean.logits,
        np.full(count, -1, np.int64),
        nothing,
        np.full(count, fault, np.uint8),
    )
