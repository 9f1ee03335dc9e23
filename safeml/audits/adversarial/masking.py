"""Gradient-masking checks: whether attacks failed for reasons other than robustness, and the attacks that follow.

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

from dataclasses import dataclass

import numpy as np

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits import promises
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import CleanSample, Measured
from safeml.metrics.perturbation import project
from safeml.threats import Threat
from safeml.wording import counted, limit_percent, percent

TOLERANCE = 0.01  # accuracy; repetitions of an attack with random starts differ by about this
ZERO_SHARE = 0.01
# Change of the loss in the last tenth of the steps, relative to its range; above it, the loss has not converged.
MOVING = 0.05
LEAST_STEPS = 11  # with fewer steps, none is in the last tenth, and convergence is unknown
LONGER = 4  # factor on the steps, for images whose loss has not converged
FEW = 2  # images: successes on so few are counted and fail no check
BLACK_BOX_SHARE = 0.002  # of the sample: images that survive gradient attacks and that Square may break
PROMISE_STEP = 0.1  # of epsilon: attacks take steps between the clean image and the border of the ball
FAR_LOGIT = 0.01  # rounding of a logit far below the others changes no prediction
UNBOUNDED = Threat(norm="linf", epsilon=1.0)


@dataclass(frozen=True)
class MaskingCheck:
    """One gradient-masking check.

    code: of its finding.
    expectation: what holds for a model without gradient masking.
    measured: the measurement in words.
    expected: the largest allowed measurement in words.
    failed: whether the measurement exceeds it.
    value: the measurement.
    limit: the largest allowed measurement.
    remedy: what the user can do.
    view: the view of the model that the next attacks get if the check fails (see `safeml.attacks.views`).
    """

    code: str
    expectation: str
    measured: str
    expected: str
    failed: bool
    value: float
    limit: float
    remedy: str
    view: str = "straight_through"


def masking_checks(items: Items, campaign: Campaign, rng: np.random.Generator) -> list[MaskingCheck]:
    """Run the eleven checks, and a twelfth if there is a surrogate.

    At least one image must be classified correctly, and all attacks of the campaign must have run.
    """
    clean, main = items.clean, campaign.main
    right = np.flatnonzero(clean.right)
    probed = promises.probed(right, items.inputs.seed)
    single, iterative = (everywhere(campaign, name, main) for name in ("fgsm", "pgd"))
    checks = [
        _gradients_exist(single.zero_gradients[right]),
        _promise_kept(items, campaign, probed),
        _repeats_itself(clean, items.again()),
        _no_silent_success(single, iterative, right),
        _claims_hold(single, iterative, right),
        _converged(items, campaign, iterative),
        _unbounded_breaks_all(items, campaign, probed),
        _larger_epsilon(campaign),
        _iterative_beats_single(single, iterative),
        _noise_is_weaker(items, campaign, iterative.robust, rng),
        _gradients_beat_queries(campaign),
    ]
    return [*checks, _gradients_beat_a_copy(campaign)] if (TRANSFER, main) in campaign.hits else checks


def everywhere(campaign: Campaign, name: str, threat: Threat) -> Measured:
    """Return the result of a fast attack on the whole sample, and run it if needed; its successes are recorded."""
    if (name, threat) not in campaign.measured:
        rows = np.arange(len(campaign.items.clean.labels))
        if threat in campaign.settings.threats:
            campaign.one(name, threat, rows)
        else:
            spends = ROWS[name].spends(campaign.settings)
            campaign.measured[name, threat] = campaign.items.attacked(name, threat, rows, spends)
    return campaign.measured[name, threat]


def _gradients_exist(zero: np.ndarray) -> MaskingCheck:
    share = float(zero.mean())
    return MaskingCheck(
        "masking_zero_gradient",
        "the gradient at the clean image is not zero",
        f"zero for {percent(share, ZERO_SHARE)} of {counted(len(zero), 'image')}",
        f"at most {limit_percent(ZERO_SHARE)}",
        share > ZERO_SHARE,
        share,
        ZERO_SHARE,
        "The loss is flat: attack the difference of logits, and pass gradients straight through rounding and sign functions.",
    )


def _promise_kept(items: Items, campaign: Campaign, rows: np.ndarray) -> MaskingCheck:
    """Check for shattered gradients, along which every gradient attack is a random walk."""
    step = PROMISE_STEP * campaign.main.epsilon
    share = promises.broken(items.promises(rows, campaign.main.norm, step))
    return MaskingCheck(
        "masking_shattered",
        "a small step raises the loss as the gradient predicts",
        f"less than {limit_percent(promises.KEPT)} of the predicted gain for {percent(share)} of {counted(len(rows), 'image')}",
        f"at most {limit_percent(promises.BREAKING)}",
        share > promises.BREAKING,
        share,
        promises.BREAKING,
        "The loss surface is rough: average the gradient over small noise in the pixels, and use many more queries.",
        view="smoothed",
    )


def _repeats_itself(clean: CleanSample, again: np.ndarray) -> MaskingCheck:
    # Compare image by image, relative to the two largest logits: one extreme logit must not hide the others.
    best = np.sort(np.where(np.isfinite(clean.logits), clean.logits, 0.0), axis=1)[:, -2:]
    scale = np.maximum(np.abs(best).max(axis=1, keepdims=True), 1.0)
    close = np.abs(again - clean.logits) <= 1e-4 * np.maximum(scale, np.abs(clean.logits) * FAR_LOGIT)
    same = (close | (np.isnan(again) & np.isnan(clean.logits)) | (again == clean.logits)).all(axis=1)
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


def _no_silent_success(single: Measured, iterative: Measured, right: np.ndarray) -> MaskingCheck:
    silent = [float((result.wrong & ~result.claimed)[right].mean()) for result in (single, iterative)]
    share = max(silent)
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


def _claims_hold(single: Measured, iterative: Measured, right: np.ndarray) -> MaskingCheck:
    """Check for false successes: the attack breaks the model that it follows, and not the audited one."""
    false_successes = [
        float((result.claimed & ~result.wrong & (result.faults == 0))[right].mean())
        for result in (single, iterative)
    ]
    share = max(false_successes)
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


def _converged(items: Items, campaign: Campaign, iterative: Measured) -> MaskingCheck:
    """Check that more steps break no more images; a loss that still rises is common and harmless by itself."""
    main, (steps, attempts) = campaign.main, ROWS["pgd"].spends(campaign.settings)
    survivors = np.flatnonzero(campaign.survivors(main))
    moving = survivors if steps < LEAST_STEPS else survivors[iterative.unconverged[survivors] > MOVING]
    spends = (max(LONGER * steps, LEAST_STEPS), attempts)
    broken = 0
    if len(moving):
        longer = items.attacked("pgd", main, moving, spends, pictures=True)
        campaign.enter("pgd", main, moving, longer)
        broken = int((~longer.robust).sum())
    share = broken / len(items.clean.labels)
    return MaskingCheck(
        "masking_converged",
        "more steps of PGD break no survivor",
        f"{spends[0]} steps broke {broken} of {len(moving)} images with an unconverged loss, among {counted(len(survivors), 'survivor')}",
        f"at most {FEW} images, or {limit_percent(TOLERANCE)} of the sample",
        broken > FEW and share > TOLERANCE,
        share,
        TOLERANCE,
        "Increase the steps until more steps break no more images.",
        view="",
    )


def _unbounded_breaks_all(items: Items, campaign: Campaign, rows: np.ndarray) -> MaskingCheck:
    # One attempt only: with enough attempts, a random walk through the whole cube breaks everything too.
    steps, _ = ROWS["pgd"].spends(campaign.settings)
    unbounded = items.attacked("pgd", UNBOUNDED, rows, (2 * steps, 1))
    survivors = int(unbounded.robust.sum())
    return MaskingCheck(
        "masking_unbounded",
        "an unbounded attack breaks every image",
        f"{survivors} of {counted(len(unbounded.robust), 'image')} survive at epsilon = 1",
        "0",
        survivors > 0,
        float(survivors),
        0.0,
        "The attack misses adversarial examples that must exist: do not rely on any robust accuracy of this run.",
    )


def _larger_epsilon(campaign: Campaign) -> MaskingCheck:
    """Check the accuracy under PGD only: the worst case over all attacks never rises with epsilon."""
    clean, main = campaign.items.clean, campaign.main
    threats = set(campaign.settings.threats)
    if sum(threat.norm == main.norm for threat in threats) == 1:
        # A trend needs two values of epsilon: the second is measured only for this check.
        wider = 2 * main.epsilon if main.norm == "l2" else min(2 * main.epsilon, 1.0)
        threats.add(Threat(norm=main.norm, epsilon=wider))
    rise = 0.0
    for norm in sorted({threat.norm for threat in threats}):
        rising = sorted((t for t in threats if t.norm == norm), key=lambda threat: threat.epsilon)
        accuracies = [float(everywhere(campaign, "pgd", threat).robust.mean()) for threat in rising]
        rise = max([rise, *np.diff([float(clean.right.mean()), *accuracies]).tolist()])
    return MaskingCheck(
        "masking_epsilon",
        "robust accuracy does not rise with epsilon",
        f"accuracy under PGD rises by {percent(rise)} at most, over {counted(len(threats), 'threat')}",
        f"at most {limit_percent(TOLERANCE)}",
        rise > TOLERANCE,
        rise,
        TOLERANCE,
        "Increase steps and restarts; check the model for rounding, clipping or randomness.",
    )


def _iterative_beats_single(single: Measured, iterative: Measured) -> MaskingCheck:
    lead = float(iterative.robust.mean() - single.robust.mean())
    return MaskingCheck(
        "masking_iterative",
        "many steps are at least as strong as one",
        f"accuracy is {percent(iterative.robust.mean())} under PGD, {percent(single.robust.mean())} under FGSM",
        f"at most {limit_percent(TOLERANCE)} higher under PGD",
        lead > TOLERANCE,
        lead,
        TOLERANCE,
        "The loss surface is rough: average gradients over transformations, or use a gradient-free attack.",
    )


def _noise_is_weaker(
    items: Items, campaign: Campaign, iterative: np.ndarray, rng: np.random.Generator
) -> MaskingCheck:
    """Compare PGD with noise of norm epsilon: a random corner of the L-inf ball, or a random point of the L2 sphere."""
    clean, threat = items.clean, campaign.main
    noise = rng.standard_normal(clean.images.shape)
    if threat.norm == "linf":
        noise = threat.epsilon * np.sign(noise)
    else:
        noise = noise * (threat.epsilon / np.sqrt(np.square(noise).sum(axis=(1, 2, 3), keepdims=True)))
    noisy = project(clean.images, clean.images + noise, threat)
    survivors = clean.right & items.right("noise", noisy)
    campaign.count("random noise", np.arange(len(survivors)), noisy, clean.right & ~survivors)
    lead = float(iterative.mean() - survivors.mean())
    return MaskingCheck(
        "masking_noise",
        "random noise is weaker than PGD",
        f"accuracy is {percent(survivors.mean())} under noise, {percent(iterative.mean())} under PGD",
        "not lower under noise",
        lead > 0,
        lead,
        0.0,
        "The gradient misleads the attack: use a gradient-free attack, and do not rely on these results.",
    )


def _gradients_beat_queries(campaign: Campaign) -> MaskingCheck:
    """Run Square on survivors of the gradient attacks at the main threat, or use its result if it has run."""
    name, main = "square", campaign.main
    records = [record for record in campaign.records if (record.attack, record.threat) == (name, main)]
    if records:
        images, broken = records[0].images, records[0].broken
        total = len(campaign.items.clean.labels)
    else:
        rows = promises.probed(np.flatnonzero(campaign.survivors(main)), campaign.items.inputs.seed)
        measured = campaign.one(name, main, rows)
        images, broken = len(rows), 0 if measured is None else int((~measured.robust).sum())
        total = max(images, 1)
    share = broken / total
    return MaskingCheck(
        "masking_queries",
        "a query attack breaks no survivor of the gradient attacks",
        f"Square broke {broken} of {counted(images, 'survivor')}",
        f"at most {FEW} images, or {limit_percent(BLACK_BOX_SHARE)} of the sample",
        broken > FEW and share > BLACK_BOX_SHARE,
        share,
        BLACK_BOX_SHARE,
        "The gradient is less useful than a random search: use more queries, and gradients of a smoother version of the model.",
    )


def _gradients_beat_a_copy(campaign: Campaign) -> MaskingCheck:
    """Compare the transfer attack with all white-box attacks within the main threat, those of these checks included."""
    main, hits = campaign.main, campaign.hits
    broken = hits[TRANSFER, main] & campaign.items.clean.right
    correct = survivors = campaign.items.clean.right
    for (name, at), hit in hits.items():
        if ROWS[name].knowledge == "white box" and at.norm == main.norm and at.epsilon <= main.epsilon:
            survivors = survivors & ~hit
    new_successes = int((broken & survivors).sum())
    share = new_successes / len(correct)
    return MaskingCheck(
        "masking_surrogate",
        "a transfer attack breaks no survivor of the white-box attacks",
        f"the transfer attack broke {new_successes} of {counted(int(survivors.sum()), 'survivor')}",
        f"at most {FEW} images, or {limit_percent(BLACK_BOX_SHARE)} of the sample",
        new_successes > FEW and share > BLACK_BOX_SHARE,
        share,
        BLACK_BOX_SHARE,
        "The gradient of another model is more useful than that of this model: increase the steps, and find the part of the model that "
        "masks its gradient.",
        view="",
    )


def attack_again(campaign: Campaign, checks: list[MaskingCheck]) -> list[str]:
    """Attack the survivors again with the views of the failed checks; return these views.

    A view restores a useful gradient. Its adversarial examples are evaluated on the model itself.
    """
    views = sorted({check.view for check in checks if check.failed})
    for view in views:
        for threat in campaign.settings.threats:
            if not campaign.settings.is_full(threat):
                continue
            for name in ("apgd_ce", "apgd_t"):
                rows = np.flatnonzero(campaign.survivors(threat))
                campaign.one(name, threat, rows, view, harder=1 if view else 4)
    if views and "square" not in campaign.settings.attacks:
        for threat in filter(campaign.settings.is_full, campaign.settings.threats):
            campaign.one("square", threat, np.flatnonzero(campaign.survivors(threat)))
    return views
