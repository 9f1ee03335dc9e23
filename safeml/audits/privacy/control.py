"""The control of the attacks: each must find a leak that was planted, else its failure on the model proves nothing.

Non-members alone are split at random into pretended members and non-members, so that nothing tells them apart, and a share of the
pretended members gets outputs more certain than any other. Legend: N images, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.privacy.attacks import Outputs, Part
from safeml.metrics.membership import true_class_score
from safeml.stages.privacy import PLANTED

PURPOSE = 0xC07


def planted(calibration: Outputs, evaluation: Outputs, seed: int) -> tuple[Part, Part]:
    """Return both parts of the control, made of the non-members of both parts.

    The true advantage is PLANTED: an attack that finds every planted image and no other reaches it.
    """
    rng = np.random.default_rng([seed, PURPOSE])
    highest = max(
        float(np.max(true_class_score(side.logits, side.labels))) for side in (calibration, evaluation)
    )
    return _plant(calibration, highest, rng), _plant(evaluation, highest, rng)


def _plant(outputs: Outputs, highest: float, rng: np.random.Generator) -> Part:
    """Split into halves, and raise the true logit of PLANTED of the first half until its score is above `highest`."""
    order = rng.permutation(len(outputs.labels))
    members, others = outputs.take(order[: len(order) // 2]), outputs.take(order[len(order) // 2 :])
    count = round(PLANTED * len(members.labels))
    scores = true_class_score(members.logits, members.labels)
    spread = float(np.std(scores)) or 1.0
    logits = members.logits.astype(np.float64)
    rows = np.arange(count)
    # Raising a logit raises its log odds by as much.
    logits[rows, members.labels[:count]] += highest + spread - scores[:count]
    return Part(Outputs(logits, members.labels, members.shares, members.units), others)
