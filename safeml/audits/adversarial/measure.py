"""Recompute the result of an attack. Legend: N images, H W C pixels, K classes.

A faulty attack must not make a model look robust. The audit projects each returned image onto the ball of the threat, clips
it to 0..1 and predicts it again. An attack's own success flag never makes an image count as robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.audits.measured import BEYOND, NO_VERDICT, NOT_FINITE, OTHER_SHAPE, OUTSIDE, CleanSample
from safeml.classifiers.base import Classifier
from safeml.classifiers.judged import predict
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import perturbation_size, project
from safeml.threats import Threat

# Float32 rounding of pixels in 0..1; an image further out violates the threat model.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Measured:
    """The recomputed result of one attack at one threat.

    robust: bool [N], classified correctly when clean and when attacked, and not reported as broken by the attack.
    size: float32 [N], pixel units, norm of the change; infinite where robust, 0 where the clean image is misclassified.
    claimed: bool [N], reported as broken by the attack.
    wrong: bool [N], misclassified when the audit predicts again.
    step: int64 [N], as reported by the attack.
    attempt: int64 [N], as reported by the attack.
    evaluations: int64 [N], gradients or queries, as reported by the attack.
    unconverged: float32 [N], as reported by the attack.
    zero_gradients: bool [N], as reported by the attack.
    faults: uint8 [N], sum of the keys of `FAULTS` that apply to the returned image.
    attacked: float32 [N, H, W, C], 0..1, inside the ball; empty where only the verdicts are requested.
    logits: float32 [N, K], of `attacked`; empty where only the verdicts are requested.
    """

    robust: np.ndarray
    size: np.ndarray
    claimed: np.ndarray
    wrong: np.ndarray
    step: np.ndarray
    attempt: np.ndarray
    evaluations: np.ndarray
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
    "evaluations": ("int64", ()),
    "unconverged": ("float32", ()),
    "zero_gradients": ("bool", ()),
    "faults": ("uint8", ()),
}


def measure(
    classifier: Classifier,
    clean: CleanSample,
    outcome: AttackOutcome,
    threat: Threat,
    elsewhere: bool = False,
) -> Measured:
    """Project, clip and predict again; count an image as robust only if no evidence contradicts it.

    elsewhere: the attack ran on another model, so that its success flags refer to that model.
    """
    count = len(clean.labels)
    returned, first_step = outcome.adversarial, outcome.first_step
    if returned.shape != clean.images.shape or returned.dtype != np.float32:
        return _all_broken(clean, OTHER_SHAPE)
    counters = (first_step, outcome.zero_gradients, outcome.attempt, outcome.evaluations, outcome.unconverged)
    if any(array.shape != (count,) for array in counters):
        return _all_broken(clean, NO_VERDICT)

    finite = np.isfinite(returned).all(axis=(1, 2, 3))
    usable = np.where(finite[:, None, None, None], returned, clean.images)
    reached = perturbation_size(clean.images, usable, threat.norm)
    slack = ROUNDING * (1.0 if threat.norm == "linf" else np.sqrt(clean.images[0].size))
    outside = reached > threat.epsilon + slack
    beyond = (usable < 0).any(axis=(1, 2, 3)) | (usable > 1).any(axis=(1, 2, 3))
    faults = NOT_FINITE * ~finite + OUTSIDE * outside + BEYOND * beyond

    attacked = project(clean.images, usable, threat)
    logits, _ = predict(classifier, attacked, clean.truths)
    wrong = ~right_answers(logits, clean.labels)
    claimed = first_step != SURVIVED
    robust = clean.right & ~wrong & ~(claimed & (not elsewhere)) & (faults == 0)
    # A faulty result counts at every epsilon: its distance is unknown.
    size = np.where(robust, np.inf, perturbation_size(clean.images, attacked, threat.norm))
    size = np.where(~clean.right | (faults != 0), 0.0, size)
    return Measured(
        robust=robust,
        size=size.astype(np.float32),
        claimed=claimed,
        wrong=wrong,
        step=first_step.astype(np.int64),
        attempt=outcome.attempt.astype(np.int64),
        evaluations=outcome.evaluations.astype(np.int64),
        unconverged=outcome.unconverged.astype(np.float32),
        zero_gradients=outcome.zero_gradients.astype(bool),
        faults=faults.astype(np.uint8),
        attacked=attacked,
        logits=logits,
    )


def _all_broken(clean: CleanSample, fault: int) -> Measured:
    count = len(clean.labels)
    nothing = {name: np.zeros(count, kind) for name, (kind, _) in VERDICTS.items()}
    nothing["faults"] += np.uint8(fault)
    return Measured(**nothing, attacked=clean.images, logits=clean.logits)
