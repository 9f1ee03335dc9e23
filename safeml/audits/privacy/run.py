"""Measure membership inference on training and test images. Legend: N images, K classes, M members, O non-members."""

from __future__ import annotations

from typing import Literal

from safeml.audits.base import AuditInputs
from safeml.audits.predictions import clustering_statement, predicted_logits
from safeml.audits.privacy.attacks import TITLES, Outputs, Part, constant, finite
from safeml.audits.privacy.figures import (
    ROC,
    attack_table,
    class_table,
    rate_table,
    roc_figure,
    score_bars,
)
from safeml.audits.privacy.measure import Measured, measure
from safeml.audits.privacy.metrics import undefined_stage
from safeml.audits.privacy.next_steps import leak, not_by_sign, shift, training_data
from safeml.audits.privacy.sides import VALIDATION, Pair, Sides, draw, sign_shares, signs_of, units_of
from safeml.audits.slices import Slices
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.privacy import ART, LIRA, PRIVACY, PrivacySettings
from safeml.wording import counted, interval, number, percent

SLICE = 1024
CONSTANT = "every image has the same score, so no attack on the outputs can tell two images apart"
SHARED_SIGNS = (
    "the sign tracks of one side are not known, so the attack would recognise the signs that it was fitted on"
)


def run(inputs: AuditInputs, settings: PrivacySettings) -> StageResult:
    """Run every membership attack of the settings on members and non-members."""
    sides = draw(inputs, settings)
    if isinstance(sides, str):
        return _undefined(inputs, settings, sides)
    slices = Slices(inputs.work, SLICE, {"members and non-members": inputs.predicting})
    calibration = _outputs(inputs, slices, sides.calibration, "calibration")
    evaluation = _outputs(inputs, slices, sides.evaluation, "evaluation")
    void = finite(calibration) + finite(evaluation)
    if void:
        reason = f"the logits are not finite for {counted(void, 'image')}"
        return _undefined(inputs, settings, reason, severity="serious")
    if constant(calibration) or constant(evaluation):
        return _undefined(inputs, settings, CONSTANT, severity="serious")
    inputs.progress("membership attacks", 0, len(settings.attacks))
    return _result(inputs, settings, sides, measure(inputs, settings, sides, calibration, evaluation), slices)


def _outputs(inputs: AuditInputs, slices: Slices, pair: Pair, part: str) -> Part:
    sides = []
    for role, words, data in (
        ("members", "training images", pair.members),
        ("non-members", "non-members", pair.others),
    ):
        logits = predicted_logits(inputs, slices, data, f"{part}-{role}", f"predict {words}, {part}")
        sides.append(Outputs(logits, data.labels, sign_shares(data), units_of(data)))
    return Part(*sides)


def _undefined(
    inputs: AuditInputs, settings: PrivacySettings, reason: str, severity: Literal["info", "serious"] = "info"
) -> StageResult:
    """Return a result whose metrics are undefined. reason: a clause."""
    finding = Finding(
        code="membership-not-measured",
        severity=severity,
        message=f"Membership inference was not measured: {reason}.",
        remedy="Set [data.train] to the images that the model was trained on, with track ids or frames_per_sign, and images in [stages.privacy] to the "
        "frames of more sign tracks.",
    )
    return StageResult(
        stage=PRIVACY.name,
        title=PRIVACY.title,
        tested="Nothing: membership inference needs training images and as many others.",
        on_what=f"{inputs.test.name}: {counted(len(inputs.test), 'image')}.",
        metrics=undefined_stage(settings, reason, len(inputs.test)),
        findings=[*training_data(inputs), finding],
        not_tested=[Fact(label="Membership inference", value="not tested", detail=reason)],
        card=Card(headline="not measured", text=reason),
    )


def _result(
    inputs: AuditInputs, settings: PrivacySettings, sides: Sides, measured: Measured, slices: Slices
) -> StageResult:
    pair, metrics = sides.evaluation, measured.metrics
    whole = metrics[0]
    by_name = {metric.name: metric for metric in metrics if metric.slice == "all"}
    blind, over = by_name["blind_auc"], by_name["membership_auc_over_blind"]
    strong = measured.strongest
    classes = class_table(metrics)
    return StageResult(
        stage=PRIVACY.name,
        title=PRIVACY.title,
        tested="Whether the outputs of the model reveal which images it was trained on (membership inference).",
        on_what=f"{counted(len(pair.members), 'training image')} and {counted(len(pair.others), 'other image')} of {pair.others.name}.",
        facts=_facts(measured, sides, whole, blind),
        metrics=metrics,
        findings=[
            *training_data(inputs),
            *measured.findings,
            *leak(whole, measured.gap),
            *shift(blind, over),
            *sides.findings,
            *not_by_sign(sides),
            *slices.halved(),
        ],
        figures=[
            *([roc_figure(measured.attacks, measured.blind, strong.name)] if strong else []),
            attack_table(measured.tried, metrics, pair, measured.tried[0].title),
            *([rate_table(measured.attacks, measured.blind), score_bars(strong)] if strong else []),
            *([classes] if classes else []),
        ],
        meaning=_meaning(measured, whole, blind, over),
        limits=[
            "The members are the images of [data.train]. Whether the model was trained on them cannot be known from the model; training.json is compared where it exists.",
            "An attack gives a lower bound: a stronger attack may find more. Only training with differential privacy gives an upper bound, and safeml does not offer it.",
            "The attacks see logits and true labels. An adversary who sees only the predicted class learns less.",
            "Signs that are in both splits are counted by the stage balance; only byte-identical images are left out here.",
            *(
                ["The validation images chose the checkpoint, so they are not fully unknown to the model."]
                if settings.non_members == "valid" or sides.split == VALIDATION
                else []
            ),
            clustering_statement(pair.others),
        ],
        not_tested=_not_tested(settings, metrics),
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"training images {sides.training.fingerprint}",
            f"non-members {pair.others.fingerprint}",
            f"calibration on {sides.split}",
            f"seed {inputs.seed}, {counted(settings.bootstrap, 'bootstrap resample')}",
        ],
        card=Card(
            headline=percent(whole.value),
            text=f"advantage of the strongest membership attack, 95 % interval {interval(whole.low, whole.high)}"
            if whole.value is not None
            else whole.reason,
            figure_id=ROC if strong else "",
        ),
        provenance=inputs.provenance(settings, pair.others.fingerprint),
    )


def _facts(measured: Measured, sides: Sides, whole: Metric, blind: Metric) -> list[Fact]:
    strong, pair = measured.strongest, sides.evaluation
    signs = [signs_of(data) for data in (pair.members, pair.others)]
    return [
        Fact(
            label="Strongest attack",
            value=percent(whole.value),
            detail=strong.title if strong else whole.reason,
        ),
        Fact(
            label="Members and non-members",
            value=f"{len(pair.members):,} and {len(pair.others):,} images",
            detail=" and ".join("unknown" if count is None else number(round(count)) for count in signs)
            + " sign tracks",
        ),
        Fact(label="Calibrated on", value=sides.split, detail="the metrics are of the other images"),
        Fact(
            label="Accuracy of members and non-members",
            value=f"{percent(measured.accuracy[0])} and {percent(measured.accuracy[1])}",
        ),
        Fact(
            label="Blind baseline",
            value="undefined" if blind.value is None else f"AUC {blind.value:.3f}",
            detail="pixels alone, without the model",
        ),
    ]


def _meaning(measured: Measured, whole: Metric, blind: Metric, over: Metric) -> list[str]:
    if whole.value is None:
        return []
    sentences = [
        f"An adversary who knows the label of an image and sees the outputs decides whether it was a training image with an advantage of {percent(whole.value)} over "
        f"guessing, 95 % interval {interval(whole.low, whole.high)}. 0 is a guess, 100 % is certainty.",
        f"The accuracy of the training images is {percent(measured.accuracy[0])}, that of the others {percent(measured.accuracy[1])}. A gap alone makes an attack possible.",
    ]
    if blind.value is not None and over.value is not None:
        sentences.append(
            f"A classifier that never asks the model has an AUC of {blind.value:.3f}, and the strongest attack one of {blind.value + over.value:.3f}. What the baseline finds is a difference between "
            "the data sets, not membership."
        )
    return sentences


def _not_tested(settings: PrivacySettings, metrics: list[Metric]) -> list[Fact]:
    facts = [
        Fact(label=TITLES[metric.slice], value="not tested", detail=metric.reason)
        for metric in metrics
        if metric.name == "membership_advantage" and metric.value is None and metric.slice in TITLES
    ]
    for name, wanted, key in (
        (ART, settings.art, "art = true"),
        (LIRA, settings.shadows > 0, "shadows = 16"),
    ):
        if not wanted:
            facts.append(
                Fact(
                    label=TITLES[name], value="not tested", detail=f"set {key} in [stages.privacy] to run it"
                )
            )
    return [
        *facts,
        Fact(
            label="Reconstruction",
            value="not tested",
            detail="recovering pixels of training images or properties of the training set",
        ),
    ]
