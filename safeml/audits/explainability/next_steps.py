"""What to do next, from what the explainability stage measured. Legend: N images."""

from __future__ import annotations

import numpy as np

from safeml.audits.explainability.measured import Measured
from safeml.audits.explainability.sanity import Sanity
from safeml.metrics.classification import NO_ANSWER
from safeml.results import Finding, Metric
from safeml.stages.explainability import ExplainabilitySettings
from safeml.wording import counted, interval, limit_percent, number, percent

# Shares from which on a note is due: of images without a map, and of the completeness error.
MANY = 0.1
INCOMPLETE = 0.05
LESS_SURROUNDINGS = (
    "Train with other surroundings: cut the signs out with their boxes and paste them before other images, or crop closer to the box; then "
    "audit again."
)


def findings(
    measured: Measured,
    metrics: dict[tuple[str, str], Metric],
    sanity: dict[str, Sanity],
    settings: ExplainabilitySettings,
) -> list[Finding]:
    """Return the findings of the stage, gravest first."""
    return [
        *_void(measured),
        *_surroundings(measured, metrics),
        *_lift(metrics),
        *_sanity(measured, sanity),
        *_no_maps(measured),
        *_unfaithful(measured, metrics),
        *_steps(metrics, settings),
        *_boxes(measured),
    ]


def _void(measured: Measured) -> list[Finding]:
    void = int((measured.answers == NO_ANSWER).sum())
    if not void:
        return []
    return [
        Finding(
            code="non-finite-logits",
            severity="serious",
            message=f"The logits are not finite for {counted(void, 'image')}; they count as incorrect and have no map.",
            remedy="Find the layer that overflows, and repair it.",
            evidence={"images": void},
        )
    ]


def _surroundings(measured: Measured, metrics: dict[tuple[str, str], Metric]) -> list[Finding]:
    """Report a loss of accuracy with other surroundings that chance does not explain."""
    loss, alone = metrics["background_swap_loss", "all"], metrics["sign_removed_accuracy", "all"]
    found = []
    if loss.low is not None and loss.value is not None and loss.low > 0:
        found.append(
            Finding(
                code="reads-the-surroundings",
                severity="warning",
                message=f"With the surroundings of images of other classes the accuracy falls by {percent(loss.value)}, 95 % interval "
                f"{interval(loss.low, loss.high)}.",
                remedy=LESS_SURROUNDINGS,
                evidence={"loss": loss.value},
            )
        )
    chance = float(np.bincount(measured.sample.labels).max() / len(measured.sample))
    if alone.low is not None and alone.value is not None and alone.low > chance:
        found.append(
            Finding(
                code="knows-without-the-sign",
                severity="warning",
                message=f"With a grey box instead of the sign {percent(alone.value)} of the images are classified correctly, more than the share of "
                f"the most frequent class, {percent(chance)}. The surroundings, or the size and place of the box, tell the class.",
                remedy="Check whether images of one class come from few places or recordings; collect each class in many places.",
                evidence={"accuracy": alone.value, "chance": chance},
            )
        )
    return found


def _lift(metrics: dict[tuple[str, str], Metric]) -> list[Finding]:
    lift = metrics["saliency_lift", "all"]
    if lift.high is None or lift.value is None or lift.high >= 1:
        return []
    return [
        Finding(
            code="attribution-off-the-sign",
            severity="warning",
            message=f"The maps put less on the sign than its share of the image: lift {number(lift.value)}, 95 % interval "
            f"{interval(lift.low, lift.high, unit='ratio')}.",
            remedy=f"Look at the maps below for what the model reads instead. {LESS_SURROUNDINGS}",
            evidence={"lift": lift.value},
        )
    ]


def _sanity(measured: Measured, sanity: dict[str, Sanity]) -> list[Finding]:
    """Name the methods that are not admissible, and the check that could not be made."""
    found = [
        Finding(
            code="method-not-admissible",
            severity="warning",
            message=f"{maps.row.title} is not admissible: {sanity[maps.name].problem}. Its other numbers are not recorded.",
            remedy="Read none of its pictures as evidence. Choose other methods in [stages.explainability].",
            evidence={"method": maps.name},
        )
        for maps in measured.methods
        if sanity[maps.name].problem and not maps.reason
    ]
    found += [
        Finding(
            code="method-not-applicable",
            severity="info",
            message=f"{maps.row.title} was not measured: {maps.reason}.",
            remedy="Choose another method in [stages.explainability].",
            evidence={"method": maps.name},
        )
        for maps in measured.methods
        if maps.reason
    ]
    if not measured.levels:
        found.append(
            Finding(
                code="weights-not-shuffled",
                severity="info",
                message="The weights of this file cannot be reached, so no weights were shuffled: the sanity of the methods rests on the maps of another "
                "class alone.",
                remedy="Audit the Keras model that the file was exported from as well, or set [model] gradients.",
            )
        )
    return found


def _no_maps(measured: Measured) -> list[Finding]:
    found = []
    for maps in measured.methods:
        missing = 0 if maps.reason else int((~maps.mapped).sum())
        if missing > MANY * len(measured.sample):
            found.append(
                Finding(
                    code="images-without-a-map",
                    severity="warning",
                    message=f"{maps.row.title} gives a map that is the same everywhere for {missing} of {len(measured.sample)} images; each counts as no "
                    "attribution on the sign.",
                    remedy="Read the masking checks of the stage adversarial: rounding or saturation may hide the gradient.",
                    evidence={"method": maps.name, "images": missing},
                )
            )
    return found


def _unfaithful(measured: Measured, metrics: dict[tuple[str, str], Metric]) -> list[Finding]:
    """Name the admissible methods that order the pixels no better than chance or than a preference for the centre."""
    found = []
    for maps in measured.methods:
        for control, words in (("random", "a random map"), ("centre", "a map that prefers the centre")):
            gain = metrics.get(("faithfulness_gain", f"{maps.name}-{control}"))
            if gain is not None and gain.value is not None and (gain.low is None or gain.low <= 0):
                found.append(
                    Finding(
                        code="no-better-than-control",
                        severity="info",
                        message=f"{maps.row.title} is not shown to order the pixels better than {words}: gain of insertion minus deletion AUC "
                        f"{number(gain.value)}, 95 % interval {interval(gain.low, gain.high, unit='ratio')}.",
                        remedy="Do not read single pixels of its maps.",
                        evidence={"method": maps.name, "control": control, "gain": gain.value},
                    )
                )
    return found


def _steps(metrics: dict[tuple[str, str], Metric], settings: ExplainabilitySettings) -> list[Finding]:
    error = metrics["completeness_error", "all"]
    if error.value is None or error.value <= INCOMPLETE:
        return []
    return [
        Finding(
            code="too-few-steps",
            severity="warning",
            message=f"The sums of the maps of integrated gradients miss the change of the logit by {percent(error.value)} (median), more than "
            f"{limit_percent(INCOMPLETE)}.",
            remedy=f"Set steps in [stages.explainability] above {settings.steps}.",
            evidence={"error": error.value},
        )
    ]


def _boxes(measured: Measured) -> list[Finding]:
    if measured.area is not None:
        return []
    return [
        Finding(
            code="no-boxes",
            severity="warning",
            message="The data have no boxes of the signs, so that nothing is measured about the sign and its surroundings.",
            remedy="Give the boxes: the column roi of an .npz file, or the annotations of GTSRB (docs/data-formats.md).",
        )
    ]
