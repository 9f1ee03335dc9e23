"""Gradient-masking checks: whether attacks failed for reasons other than robustness. Each reads evidence and runs nothing.

References:
    A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018.
    N. Carlini et al., "On evaluating adversarial robustness", 2019.
    F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks", 2020 (black box against white box).
    M. Pintor et al., "Indicators of attack failure: debugging and improving optimization of adversarial examples", 2022
        (the six indicators).

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.evidence import Evidence, Rival
from safeml.audits.adversarial.gradient_checks import (
    gradients_exist,
    no_operation_stops_the_gradient,
    softmax_is_not_saturated,
    view_past_zero,
)
from safeml.audits.adversarial.power import evidence_of_gradients, without_power
from safeml.audits.linearity import LEAST_GAIN, MOST_NONLINEAR, nonlinear_share
from safeml.wording import counted, limit_percent, percent

# Of accuracy. Repetitions of an attack with random starts differ by about this.
TOLERANCE = 0.01
# Images. Successes on so few are counted and fail no check.
FEW = 2
# Of the sample: images that survive the gradient attacks and that another kind of attack may break.
RIVAL_SHARE = 0.002
# Rounding of a logit far below the others changes no prediction.
FAR_LOGIT = 0.01


def masking_checks(evidence: Evidence) -> list[MaskingCheck]:
    """Judge the evidence: thirteen checks, and a fourteenth if there is a surrogate.

    A regression model has no softmax that could be saturated, so it has twelve.
    """
    unsuited = () if evidence.clean.targets is None else (softmax_is_not_saturated,)
    checks = [check(evidence) for check in CHECKS if check not in unsuited]
    return checks if evidence.transfer is None else [*checks, _gradients_beat_transfer(evidence)]


def _steps_gain_as_predicted(evidence: Evidence) -> MaskingCheck:
    """Check for shattered gradients, along which every gradient attack is a random walk."""
    gains = evidence.linearity
    share = nonlinear_share(gains)
    images = counted(len(gains), "image") if len(gains) else "no image with a gradient"
    return MaskingCheck(
        "masking_shattered",
        "a small step raises the loss as the gradient predicts",
        f"less than {limit_percent(LEAST_GAIN)} of the predicted gain for {percent(share)} of {images}",
        f"at most {limit_percent(MOST_NONLINEAR)}",
        share > MOST_NONLINEAR,
        share,
        MOST_NONLINEAR,
        "The loss surface is rough: average the gradient over small noise in the pixels, and use many more queries.",
        view="smoothed",
    )


def _outputs_are_deterministic(evidence: Evidence) -> MaskingCheck:
    # Compare image by image, relative to the two largest logits: one extreme logit must not hide the others.
    first, second = evidence.clean.logits, evidence.repeated
    best = np.sort(np.where(np.isfinite(first), first, 0.0), axis=1)[:, -2:]
    scale = np.maximum(np.abs(best).max(axis=1, keepdims=True), 1.0)
    # The difference of equal infinities is NaN, which is not close; the comparison below finds them equal.
    with np.errstate(invalid="ignore"):
        difference = np.abs(second - first)
    close = difference <= 1e-4 * np.maximum(scale, np.abs(first) * FAR_LOGIT)
    same = (close | (np.isnan(second) & np.isnan(first)) | (second == first)).all(axis=1)
    different = float((~same).mean())
    return MaskingCheck(
        "masking_random",
        "the same image gets the same logits twice",
        f"{percent(different)} of the images differ",
        limit_percent(0.0),
        different > 0,
        different,
        0.0,
        "The model is random at inference: attack its expectation (average the gradient over random outputs).",
        view="expectation",
    )


def _no_unreported_success(evidence: Evidence) -> MaskingCheck:
    right = evidence.clean.right
    share = max(
        float((result.wrong & ~result.claimed)[right].mean()) for result in (evidence.fgsm, evidence.pgd)
    )
    return MaskingCheck(
        "masking_silent",
        "an image that an attack reports as a survivor is classified correctly",
        f"{percent(share, TOLERANCE)} of the correctly classified images are unreported successes",
        f"at most {limit_percent(TOLERANCE)}",
        share > TOLERANCE,
        share,
        TOLERANCE,
        "The attack misses its own successes: compare the model that it attacks with the deployed model.",
        view="expectation",
    )


def _no_false_success(evidence: Evidence) -> MaskingCheck:
    """Check for false successes: the attack breaks the model that it follows, and not the audited one."""
    right = evidence.clean.right
    share = max(
        float((result.claimed & ~result.wrong & (result.faults == 0))[right].mean())
        for result in (evidence.fgsm, evidence.pgd)
    )
    return MaskingCheck(
        "masking_transfer",
        "an image that an attack reports as broken is misclassified",
        f"{percent(share, TOLERANCE)} of the correctly classified images are false successes",
        f"at most {limit_percent(TOLERANCE)}",
        share > TOLERANCE,
        share,
        TOLERANCE,
        "Attack and audit get different models, or a random one: average over random outputs. The images still count as broken.",
        view="expectation",
    )


def _converged(evidence: Evidence) -> MaskingCheck:
    """Check that more steps break no more images; a loss that still rises is common and harmless by itself."""
    longer = evidence.longer
    share = longer.broken / len(evidence.clean.labels)
    return MaskingCheck(
        "masking_converged",
        "more steps of PGD break no survivor",
        f"{longer.steps} steps broke {longer.broken} of {longer.unconverged} images with an unconverged loss, "
        f"among {counted(longer.survivors, 'survivor')}{evidence_of_gradients(evidence, longer.survivors)}",
        f"at most {FEW} images, or {limit_percent(TOLERANCE)} of the sample",
        longer.broken > FEW and share > TOLERANCE,
        share,
        TOLERANCE,
        "Increase the steps until more steps break no more images.",
        view="",
        unproven=without_power(evidence, longer.survivors, longer.survivors),
    )


def _unbounded_breaks_all(evidence: Evidence) -> MaskingCheck:
    survivors = int(evidence.unbounded.sum())
    return MaskingCheck(
        "masking_unbounded",
        "an unbounded attack breaks every image",
        f"{survivors} of {counted(len(evidence.unbounded), 'image')} survive at epsilon = 1",
        "0",
        survivors > 0,
        float(survivors),
        0.0,
        "The attack misses adversarial examples that must exist: robust accuracy can be far below the measured value.",
        view_past_zero(evidence),
    )


def _accuracy_falls_with_epsilon(evidence: Evidence) -> MaskingCheck:
    rise = max(
        [0.0, *(float(step) for accuracies in evidence.trend.values() for step in np.diff(accuracies))]
    )
    return MaskingCheck(
        "masking_epsilon",
        "robust accuracy does not rise with epsilon",
        f"accuracy under PGD rises by {percent(rise)} at most, over {counted(evidence.threats, 'threat')}",
        f"at most {limit_percent(TOLERANCE)}",
        rise > TOLERANCE,
        rise,
        TOLERANCE,
        "Increase steps and restarts; check the model for rounding, clipping or randomness.",
        view_past_zero(evidence),
    )


def _iterative_beats_single(evidence: Evidence) -> MaskingCheck:
    single, iterative = evidence.fgsm.robust.mean(), evidence.pgd.robust.mean()
    lead = float(iterative - single)
    return MaskingCheck(
        "masking_iterative",
        "many steps are at least as strong as one",
        f"accuracy is {percent(iterative)} under PGD, {percent(single)} under FGSM",
        f"at most {limit_percent(TOLERANCE)} higher under PGD",
        lead > TOLERANCE,
        lead,
        TOLERANCE,
        "The loss surface is rough: average gradients over transformations, or use a gradient-free attack.",
        view="smoothed",
    )


def _noise_is_weaker(evidence: Evidence) -> MaskingCheck:
    noise, iterative = evidence.noise.mean(), evidence.pgd.robust.mean()
    lead = float(iterative - noise)
    return MaskingCheck(
        "masking_noise",
        "random noise is weaker than PGD",
        f"accuracy is {percent(noise)} under noise, {percent(iterative)} under PGD",
        "not lower under noise",
        lead > 0,
        lead,
        0.0,
        "The gradient misleads the attack: use a gradient-free attack.",
        view_past_zero(evidence),
    )


def _gradients_beat_queries(evidence: Evidence) -> MaskingCheck:
    return _rival_check(
        evidence,
        evidence.queries,
        "masking_queries",
        "a query attack breaks no survivor of the gradient attacks",
        "Square",
        "The gradient is less useful than a random search: use more queries, and gradients of a smoother version of the model.",
        view_past_zero(evidence),
    )


def _gradients_beat_transfer(evidence: Evidence) -> MaskingCheck:
    assert evidence.transfer is not None
    return _rival_check(
        evidence,
        evidence.transfer,
        "masking_surrogate",
        "a transfer attack breaks no survivor of the white-box attacks",
        "the transfer attack",
        "The gradient of another model is more useful than that of this model: increase the steps, and find the part of the model that "
        "masks its gradient.",
        "",
    )


def _rival_check(
    evidence: Evidence, rival: Rival, code: str, expectation: str, name: str, remedy: str, view: str
) -> MaskingCheck:
    share = rival.broken / rival.total
    survivors = counted(rival.attacked, "survivor")
    budget = "" if rival.queries is None else f" with {counted(rival.queries, 'query', 'queries')} each"
    return MaskingCheck(
        code,
        expectation,
        f"{name} broke {rival.broken} of {survivors}{budget}{evidence_of_gradients(evidence, rival.survivors)}",
        f"at most {FEW} images, or {limit_percent(RIVAL_SHARE)} of the sample",
        rival.broken > FEW and share > RIVAL_SHARE,
        share,
        RIVAL_SHARE,
        remedy,
        view,
        without_power(evidence, rival.survivors, rival.attacked, rival.queries),
    )


CHECKS: tuple[Callable[[Evidence], MaskingCheck], ...] = (
    gradients_exist,
    softmax_is_not_saturated,
    no_operation_stops_the_gradient,
    _steps_gain_as_predicted,
    _outputs_are_deterministic,
    _no_unreported_success,
    _no_false_success,
    _converged,
    _unbounded_breaks_all,
    _accuracy_falls_with_epsilon,
    _iterative_beats_single,
    _noise_is_weaker,
    _gradients_beat_queries,
)
