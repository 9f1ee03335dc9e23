"""Run the attacks on recorded outputs, each after its control. Legend: N images, M members, O non-members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.privacy.attacks import (
    TITLES,
    Attacked,
    Part,
    art_attack,
    or_reason,
    threshold_attack,
    threshold_attacks,
)
from safeml.audits.privacy.blind import blind_scores
from safeml.audits.privacy.control import planted
from safeml.audits.privacy.metrics import (
    STRONGEST,
    Resamples,
    advantage_metric,
    class_metrics,
    resamples_of,
    separation_metrics,
    sign_metrics,
    strongest,
    two_sided_metric,
    undefined_attack,
)
from safeml.audits.privacy.next_steps import control
from safeml.audits.privacy.shadows import lira_attack, shadow_recipe
from safeml.audits.privacy.sides import Pair, Sides, signs_of
from safeml.metrics.membership import resampled_separation, separation
from safeml.results import Finding, Metric
from safeml.stages.privacy import ART, LEAST_CONTROL, LIRA, PLANTED, THRESHOLD, PrivacySettings
from safeml.wording import percent

NO_ATTACK = "no attack passed its control"
SHARED_SIGNS = (
    "the sign tracks of one side are not known, so the attack would recognise the signs that it was fitted on"
)
Attack = Callable[[Part, Part], Attacked]


@dataclass(frozen=True, eq=False)
class Measured:
    """What the attacks found.

    attacks: those that passed their control.
    tried: the scores of the threshold attack, the chosen one first.
    gap: accuracy of the members minus that of the non-members.
    accuracy: of members and of non-members.
    blind: scores of the blind baseline, float64 [M] and [O].
    """

    attacks: list[Attacked]
    tried: list[Attacked]
    accuracy: tuple[float, float]
    blind: tuple[np.ndarray, np.ndarray]
    metrics: list[Metric] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def gap(self) -> float:
        return self.accuracy[0] - self.accuracy[1]

    @property
    def strongest(self) -> Attacked | None:
        """Return the attack with the largest advantage; None if no attack passed its control."""
        return max(self.attacks, key=_advantage) if self.attacks else None


def _advantage(attacked: Attacked) -> float:
    hits = (attacked.members >= attacked.threshold, attacked.others >= attacked.threshold)
    return float(hits[0].mean() - hits[1].mean())


def measure(
    inputs: AuditInputs, settings: PrivacySettings, sides: Sides, calibration: Part, evaluation: Part
) -> Measured:
    """Run every attack of the settings that passes its control, and the blind baseline."""
    pair, seed = sides.evaluation, inputs.seed
    images = len(pair.members) + len(pair.others)
    metrics: list[Metric] = []
    findings: list[Finding] = []
    attacks: list[Attacked] = []
    of_control = planted(calibration.others, evaluation.others, seed)
    resamples = resamples_of(pair, settings.bootstrap, seed)
    for place, name in enumerate(settings.attacks):
        inputs.progress("membership attacks", place, len(settings.attacks))
        attacked, checked = _attack(inputs, settings, sides, name, calibration, evaluation, of_control)
        if isinstance(checked, Metric):
            metrics.append(checked)
            if isinstance(attacked, str) and checked.value is not None:
                findings.append(control(name, TITLES[name], checked, PLANTED, LEAST_CONTROL))
        if isinstance(attacked, str):
            metrics += undefined_attack(name, attacked, images)
            continue
        attacks.append(attacked)
        metrics.append(advantage_metric(attacked, pair))
        metrics += separation_metrics(attacked, pair, resamples)
    inputs.progress("membership attacks", len(settings.attacks), len(settings.attacks))
    blind = blind_scores(pair, seed)
    accuracy = tuple(
        float((side.logits.argmax(axis=1) == side.labels).mean())
        for side in (evaluation.members, evaluation.others)
    )
    measured = Measured(
        attacks,
        threshold_attacks(calibration, evaluation),
        (accuracy[0], accuracy[1]),
        blind,
        metrics,
        findings,
    )
    metrics.insert(0, _strongest(attacks, pair, images))
    threshold = next((one for one in attacks if one.name == THRESHOLD), None)
    lira = next((one for one in attacks if one.name == LIRA), None)
    metrics += sign_metrics(lira or threshold or NO_ATTACK, sides.calibration, pair, settings.bootstrap, seed)
    if measured.strongest is not None:
        metrics += class_metrics(measured.strongest, pair)
    metrics += _blind_metrics(measured, pair, resamples)
    return measured


def _attack(
    inputs: AuditInputs,
    settings: PrivacySettings,
    sides: Sides,
    name: str,
    calibration: Part,
    evaluation: Part,
    of_control: tuple[Part, Part],
) -> tuple[Attacked | str, Metric | None]:
    """Return the attack, or a clause that says why it has no result; and its control, if it has one."""
    if name == LIRA:
        recipe = shadow_recipe(inputs, settings)
        if isinstance(recipe, str):
            return recipe, None
        return or_reason(lambda: lira_attack(inputs, settings, recipe, sides, calibration, evaluation)), None
    if name == ART and not sides.by_sign:
        return SHARED_SIGNS, _no_control(name, SHARED_SIGNS)
    attack: Attack = (
        threshold_attack
        if name == THRESHOLD
        else lambda fitted, asked: art_attack(fitted, asked, settings.art_images, inputs.seed)
    )
    tested = or_reason(lambda: attack(*of_control))
    if isinstance(tested, str):
        return tested, _no_control(name, tested)
    checked = control_metric(name, tested, sides.evaluation)
    if (checked.value or 0.0) < LEAST_CONTROL:
        return f"the attack misses a planted leak (advantage {percent(checked.value)})", checked
    return or_reason(lambda: attack(calibration, evaluation)), checked


def control_metric(name: str, tested: Attacked, pair: Pair) -> Metric:
    """Return the advantage of an attack on the planted leak, of which no interval is given: the images are resampled ones."""
    value = _advantage(tested)
    signs = signs_of(pair.others)
    return Metric(
        name="membership_control",
        title=f"Advantage on the planted leak: {TITLES[name]}",
        value=max(0.0, value),
        method="none: the leak is planted into a random share of the images",
        n=len(tested.members) + len(tested.others),
        signs=signs,
        slice=name,
    )


def _no_control(name: str, reason: str) -> Metric:
    return Metric.undefined(
        "membership_control", f"Advantage on the planted leak: {TITLES[name]}", reason, slice=name
    )


def _strongest(attacks: list[Attacked], pair: Pair, images: int) -> Metric:
    if attacks:
        return strongest(attacks, pair)
    return Metric.undefined("membership_advantage", STRONGEST, NO_ATTACK, direction="down", n=images)


def _blind_metrics(measured: Measured, pair: Pair, resamples: Resamples) -> list[Metric]:
    """Return the area of the blind baseline, and how far that of the strongest attack is above it, on the same resamples.

    A baseline below one half counts as one half: a guess reaches that. Halves of two splits of one source differ in opposite
    directions, so the baseline is often below it where the splits do not differ.
    """
    drawn = (resamples.members, resamples.others)
    value = separation(*measured.blind, ()).auc
    areas, _ = resampled_separation(*measured.blind, *drawn, ())
    title = "AUC above that of the blind baseline"
    metrics = [two_sided_metric("blind_auc", "AUC of the blind baseline", value, areas, pair)]
    attacked = measured.strongest
    if attacked is None:
        return [
            *metrics,
            Metric.undefined("membership_auc_over_blind", title, NO_ATTACK, direction="down"),
        ]
    others, _ = resampled_separation(attacked.members, attacked.others, *drawn, ())
    gain = separation(attacked.members, attacked.others, ()).auc - max(value, 0.5)
    metrics.append(
        two_sided_metric(
            "membership_auc_over_blind",
            title,
            gain,
            others - np.maximum(areas, 0.5),
            pair,
            bounds=(-1.0, 1.0),
        )
    )
    return metrics
