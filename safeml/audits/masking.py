"""Is the robustness real? Six signs that an attack failed for a bad reason (gradient masking).

References:
    A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018.
    N. Carlini et al., "On evaluating adversarial robustness", 2019.
    M. Pintor et al., "Indicators of attack failure", 2022.

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.audits.adversarial_measure import CleanSample, Measured
from safeml.config import Threat
from safeml.metrics.perturbation import project
from safeml.wording import counted, limit_percent, percent

TOLERANCE = 0.01  # accuracy; an attack with random starts repeats itself to about this much
ZERO_SHARE = 0.01
UNBOUNDED_IMAGES = 64
UNBOUNDED = Threat(norm="linf", epsilon=1.0)

# (attack, threat, rows, hard) -> what it achieves on those rows; `hard` doubles the steps.
RunAttack = Callable[[str, Threat, np.ndarray, bool], Measured]
# (item, images float32 [N, H, W, C]) -> bool [N], which of them are answered right
Right = Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Check:
    """One sign of honest gradients: what was found and what was expected. raised: it speaks of gradient masking."""

    code: str
    sign: str
    found: str
    expected: str
    raised: bool
    value: float
    limit: float
    remedy: str


def self_checks(
    answers_right: Right,
    answers_again: Callable[[], np.ndarray],
    clean: CleanSample,
    worst: dict[Threat, np.ndarray],
    main: Threat,
    run_attack: RunAttack,
    rng: np.random.Generator,
) -> list[Check]:
    """The six checks. At least one image of `clean` must be classified correctly.

    answers_again: gives float32 [N, K], the logits of the clean images asked for a second time.
    worst: threat -> bool [N], robust in the worst case over attacks. main: the threat for the checks of one threat.
    """
    everything = np.arange(len(clean.labels))
    right = np.flatnonzero(clean.right)
    single, iterative = (run_attack(name, main, everything, False) for name in ("fgsm", "pgd"))
    if sum(threat.norm == main.norm for threat in worst) == 1:
        # One epsilon says nothing about a trend: a second one is measured for this check alone.
        wider = Threat(
            norm=main.norm, epsilon=2 * main.epsilon if main.norm == "l2" else min(2 * main.epsilon, 1.0)
        )
        worst = {**worst, wider: run_attack("pgd", wider, everything, False).robust}
    return [
        _larger_epsilon(clean, worst),
        _iterative_beats_single(single, iterative),
        _gradients_exist(single.zero_gradients[right]),
        _unbounded_breaks_all(run_attack("pgd", UNBOUNDED, right[:UNBOUNDED_IMAGES], True)),
        _noise_is_weaker(answers_right, clean, worst[main] & iterative.robust, main, rng),
        _repeats_itself(clean, answers_again()),
    ]


def _larger_epsilon(clean: CleanSample, worst: dict[Threat, np.ndarray]) -> Check:
    rise = 0.0
    for norm in ("linf", "l2"):
        threats = sorted(
            (threat for threat in worst if threat.norm == norm), key=lambda threat: threat.epsilon
        )
        accuracy = [float(clean.right.mean()), *(float(worst[threat].mean()) for threat in threats)]
        rise = max([rise, *np.diff(accuracy).tolist()])
    return Check(
        "masking_epsilon",
        "a larger epsilon never helps the model",
        f"robust accuracy rises by {percent(rise)} at most, over {counted(len(worst), 'threat')}",
        f"at most {limit_percent(TOLERANCE)}",
        rise > TOLERANCE,
        rise,
        TOLERANCE,
        "Attack with more steps and restarts; look for rounding, clipping or randomness inside the model.",
    )


def _iterative_beats_single(single: Measured, iterative: Measured) -> Check:
    lead = float(iterative.robust.mean() - single.robust.mean())
    return Check(
        "masking_iterative",
        "many steps are at least as strong as one",
        f"{percent(iterative.robust.mean())} left by PGD, {percent(single.robust.mean())} by FGSM",
        f"at most {limit_percent(TOLERANCE)} more left by PGD",
        lead > TOLERANCE,
        lead,
        TOLERANCE,
        "The loss surface is rough: average gradients over transformations, or use a gradient-free attack.",
    )


def _gradients_exist(zero: np.ndarray) -> Check:
    share = float(zero.mean())
    return Check(
        "masking_zero_gradient",
        "the gradient at the clean image is not zero",
        f"zero for {percent(share, ZERO_SHARE)} of {counted(len(zero), 'image')}",
        f"at most {limit_percent(ZERO_SHARE)}",
        share > ZERO_SHARE,
        share,
        ZERO_SHARE,
        "Attack the logits before any rounding or saturated softmax, or replace the step by its smooth approximation.",
    )


def _unbounded_breaks_all(unbounded: Measured) -> Check:
    left = int(unbounded.robust.sum())
    return Check(
        "masking_unbounded",
        "an unbounded attack breaks every image",
        f"{left} of {counted(len(unbounded.robust), 'image')} resist epsilon = 1",
        "0",
        left > 0,
        float(left),
        0.0,
        "The attack does not find what must exist: no robust accuracy of this run can be believed.",
    )


def _noise_is_weaker(
    answers_right: Right, clean: CleanSample, attacked: np.ndarray, threat: Threat, rng: np.random.Generator
) -> Check:
    """Noise of full size: a random corner of the L-inf ball, a random direction of the L2 sphere."""
    noise = rng.standard_normal(clean.images.shape)
    if threat.norm == "linf":
        noise = threat.epsilon * np.sign(noise)
    else:
        noise = noise * (threat.epsilon / np.sqrt(np.square(noise).sum(axis=(1, 2, 3), keepdims=True)))
    noisy = project(clean.images, clean.images + noise, threat)
    answers = clean.right & answers_right("noise", noisy)
    lead = float(attacked.mean() - answers.mean())
    return Check(
        "masking_noise",
        "random noise is weaker than the gradient",
        f"{percent(answers.mean())} right under noise, {percent(attacked.mean())} under attack",
        "no lower under noise",
        lead > 0,
        lead,
        0.0,
        "The gradient misleads the attack: use a gradient-free attack (Square, boundary) before believing the numbers.",
    )


def _repeats_itself(clean: CleanSample, again: np.ndarray) -> Check:
    scale = float(np.abs(clean.logits[np.isfinite(clean.logits)]).max(initial=1.0))
    same = np.isclose(again, clean.logits, rtol=0.0, atol=1e-4 * scale, equal_nan=True).all(axis=1)
    differ = float((~same).mean())
    return Check(
        "masking_random",
        "the same image gets the same answer twice",
        f"{percent(differ)} of the images differ",
        limit_percent(0.0),
        differ > 0,
        differ,
        0.0,
        "The model is random at inference: attack its expectation (average the gradient over draws).",
    )
