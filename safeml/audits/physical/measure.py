"""Recompute the result of an attack on a sign. Legend: N images, H W C pixels, K classes.

The audit checks what an attack returns against the bounds of its threat and predicts it again; in doubt an image counts as
broken. An attack that breaks its own rules never makes a model look robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs.base import Claim, SignOutcome, SignThreat
from safeml.audits.gallery import to_uint8
from safeml.audits.measured import BEYOND, NO_VERDICT, NOT_FINITE, OTHER_SHAPE, OUTSIDE, CleanSample
from safeml.classifiers.base import Classifier
from safeml.metrics.classification import right_answers
from safeml.stages.physical import PhysicalSettings


@dataclass(frozen=True, eq=False)
class SignMeasured:
    """One threat, recomputed by the audit.

    robust: bool [N]; classified correctly when clean and when attacked, and not reported as broken by the attack.
    attacked: uint8 [N, H, W, C], rounded for the report.
    logits: float32 [N, K], of the attacked image before rounding.
    choice: int64 [N]; as in `SignOutcome`.
    zero_gradients: bool [N]; as in `SignOutcome`.
    faults: uint8 [N]; a sum of the keys of `FAULTS`.
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
        return _all_broken(clean, OTHER_SHAPE)
    rows = (outcome.first_step, outcome.choice, outcome.zero_gradients)
    if any(row.shape != (count,) for row in rows) or outcome.choice.dtype.kind != "i":
        return _all_broken(clean, NO_VERDICT)

    finite = np.isfinite(found).all(axis=(1, 2, 3))
    usable = np.where(finite[:, None, None, None], found, clean.images)
    beyond = (usable < 0).any(axis=(1, 2, 3)) | (usable > 1).any(axis=(1, 2, 3))
    usable = np.clip(usable, 0.0, 1.0)
    claim = Claim(clean.images, usable, boxes, outcome.choice, settings, seed, ids)
    outside = finite & ~threat.allowed(claim)
    faults = NOT_FINITE * ~finite + OUTSIDE * outside + BEYOND * beyond

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


def _all_broken(clean: CleanSample, fault: int) -> SignMeasured:
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
