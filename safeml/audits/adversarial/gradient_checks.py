"""Masking checks of the gradient itself, at the clean images: that it exists, and that nothing in the model stops it.

Legend: N images, M probed images, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.evidence import Evidence
from safeml.classifiers.base import GradientStoppers
from safeml.wording import counted, limit_percent, percent

# Largest share of images whose gradient is zero.
ZERO_SHARE = 0.01
# Log-odds below which float32 has no gradient of the cross entropy: the probability of misclassification underflows.
UNDERFLOW = float(np.log(np.finfo(np.float32).tiny))
# Largest share of images on which the softmax is saturated. Confident models without a defence reach some percent.
SATURATED_SHARE = 0.25
# Largest relative distance between the gradient of the model and the straight-through one; rounding is far below.
HIDDEN = 0.05
# Characters of the list of operations in a sentence.
LISTED = 160


def gradients_exist(evidence: Evidence) -> MaskingCheck:
    zero = evidence.fgsm.zero_gradients[evidence.clean.right]
    share = float(zero.mean())
    return MaskingCheck(
        "masking_zero_gradient",
        "the gradient of the logits at the clean image is not zero",
        f"zero for {percent(share, ZERO_SHARE)} of {counted(len(zero), 'image')}",
        f"at most {limit_percent(ZERO_SHARE)}",
        share > ZERO_SHARE,
        share,
        ZERO_SHARE,
        "The logits are flat: find the operation that rounds or saturates, and pass gradients straight through it.",
        view_past_zero(evidence),
    )


def softmax_is_not_saturated(evidence: Evidence) -> MaskingCheck:
    """Check for logits so large that tools that follow the cross entropy see no gradient; the attacks here do not depend on it."""
    right = evidence.clean.right
    saturated = _log_odds(evidence.clean.logits, evidence.clean.labels)[right] < UNDERFLOW
    share = float(saturated.mean())
    return MaskingCheck(
        "masking_saturated",
        "the cross entropy at the clean image has a gradient in float32",
        f"it underflows for {percent(share, SATURATED_SHARE)} of {counted(len(saturated), 'image')}",
        f"at most {limit_percent(SATURATED_SHARE)}",
        share > SATURATED_SHARE,
        share,
        SATURATED_SHARE,
        "The logits are scaled up until the softmax saturates: divide them by a constant, which changes no prediction.",
        view="",
    )


def no_operation_stops_the_gradient(evidence: Evidence) -> MaskingCheck:
    """Check for operations without a gradient; inside a formula whose gradient is exact, such as a variance, they hide nothing."""
    stopped = evidence.stopped
    hidden = float((~(stopped.hidden <= HIDDEN)).mean()) if len(stopped.hidden) else 0.0
    share = 1.0 if stopped.blocked else hidden
    if stopped.blocked:
        measured = f"{_listed(stopped.blocked)} cannot be passed"
    elif stopped.operations:
        images = counted(len(stopped.hidden), "image")
        measured = f"{_listed(stopped.operations)} change the gradient of {percent(hidden)} of {images}"
    else:
        measured = "no such operation" if stopped.known else "the operations of this model are not known"
    return MaskingCheck(
        "masking_stopped",
        "no operation between pixels and logits stops the gradient",
        measured,
        limit_percent(0.0),
        share > 0,
        share,
        0.0,
        "A classifier needs no such operation before its logits: remove it, or audit the model before it was added.",
        view="straight_through",
    )


def view_past_zero(evidence: Evidence) -> str:
    """Return the view that can help where the gradient is zero or of no use: straight through the operations that stop it, if any."""
    return "smoothed" if evidence.stopped.known and not evidence.stopped.operations else "straight_through"


def _log_odds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return float64 [N]: log-odds of misclassification, -inf where the true logit is infinite. logits: float [N, K]."""
    values = np.array(logits, np.float64)
    rows = np.arange(len(labels))
    true = values[rows, labels]
    values[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):
        odds = np.logaddexp.reduce(values, axis=1) - true
    return np.where(np.isnan(odds), 0.0, odds)


def _listed(operations: GradientStoppers) -> str:
    """Return operations with their layers, "Round (encoder/round_1)", as far as a sentence has room."""
    names = [f"{operation} ({_layer(node)})" for operation, node in operations]
    listed: list[str] = []
    for name in names:
        if listed and sum(map(len, listed)) + len(name) > LISTED:
            return f"{', '.join(listed)} and {len(names) - len(listed)} more"
        listed.append(name)
    return ", ".join(listed)


def _layer(node: str) -> str:
    """Return the layer of a node: its path without the operation itself."""
    path = node.split("/")
    return "/".join(path[:-1] or path)[-60:]
