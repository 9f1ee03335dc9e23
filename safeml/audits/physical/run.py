"""Accuracy when an adversary changes the traffic sign: stickers, shadows, graffiti, other views, one patch.

Legend: N images, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.attacks.signs.registry import SIGN_THREATS
from safeml.audits.adversarial.gradient_checks import ZERO_SHARE
from safeml.audits.base import AuditInputs
from safeml.audits.linearity import LEAST_GAIN, MOST_NONLINEAR, PROBE_SIZE
from safeml.audits.measured import CleanSample, fault_clauses
from safeml.audits.physical.figures import (
    THREAT_PLOT,
    patch_table,
    sign_cases,
    sticker_class_plot,
    threat_plot,
    threat_table,
)
from safeml.audits.physical.items import VIEWS, SignItems
from safeml.audits.physical.measure import SignMeasured
from safeml.audits.physical.patch import PatchMeasured, measure_patch
from safeml.classifiers.base import is_differentiable
from safeml.data.dataset import ImageDataset
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.physical import PhysicalSettings
from safeml.statistics import proportion_metric
from safeml.statistics.proportions import mean_metric
from safeml.wording import counted, interval, limit_percent, percent

HIDDEN = "one-sided: the gradient is not usable"
NO_GRADIENT = "not measured: the model gives no gradient"


def run(inputs: AuditInputs, settings: PhysicalSettings) -> StageResult:
    """Attack the signs in a sample of the test images, and recompute every adversarial example.

    An image counts as robust when it is classified correctly without and with the attack. A classifier without a gradient
    gets only the threats that work by queries; the others, and the worst of all threats, are then recorded as not measured.
    """
    gradient = is_differentiable(inputs.classifier)
    sample = inputs.test.sample(settings.images, inputs.seed)
    items = SignItems.of(inputs, sample, settings)
    total = len(SIGN_THREATS) + 2
    measured: dict[str, SignMeasured] = {}
    for number, (name, threat) in enumerate(SIGN_THREATS.items()):
        inputs.progress(threat.title.lower(), number, total)
        if gradient or not threat.gradient:
            measured[name] = items.attacked(name)
    inputs.progress("random views", total - 2, total)
    views = items.random_views()
    inputs.progress("universal patch", total - 1, total)
    patch = measure_patch(items) if gradient else NO_GRADIENT
    inputs.progress("universal patch", total, total)

    # Where the gradient is not usable, a sticker or patch without success proves nothing. The patch is about one class, and the
    # sample may hold few of its images, so the check runs on the images of the patch too.
    nonlinear = items.nonlinear_share(sample, items.clean.right) if gradient else 0.0
    patched = patch.data if isinstance(patch, PatchMeasured) else None
    nonlinear_patch = items.nonlinear_share(patched, np.ones(len(patched), bool)) if patched else 0.0
    zero = any(gradient_zero(found, items.clean) for found in measured.values())
    hidden = zero or nonlinear > MOST_NONLINEAR
    metrics = [
        *_accuracies(sample, items.clean, measured, views, hidden),
        *_patch_metrics(patch, hidden or nonlinear_patch > MOST_NONLINEAR),
    ]
    by_name = {metric.name: metric for metric in metrics}
    worst = by_name["physical_accuracy.worst"]
    return StageResult(
        stage="physical",
        title="Physical threats",
        tested="Whether the predicted class stays correct when an adversary changes the sign itself, or the camera sees it from another position.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, each attacked separately.",
        facts=_facts(sample, settings, by_name, patch),
        metrics=metrics,
        findings=[
            *_findings(sample, settings, measured, patch, gradient),
            *([] if zero else _shattered(max(nonlinear, nonlinear_patch))),
            *items.slices.halved(),
        ],
        figures=[
            threat_plot(by_name),
            threat_table(settings, by_name),
            patch_table(settings, by_name),
            sticker_class_plot(sample, items.clean, measured.get("sticker")),
        ],
        meaning=_meaning(worst, by_name, patch, settings),
        worst_cases=sign_cases(
            sample, items.clean, measured, patch if isinstance(patch, PatchMeasured) else None, settings
        ),
        limits=[
            "Simulated in pixels: nothing was printed, lit or filmed, and no viewing angle or distance beyond the grid was tested.",
            "An attack gives an upper bound of the accuracy under its threat: a stronger attack may exist.",
            "Shadows and graffiti are the worst of a seeded sample of shapes; an adversary can search longer.",
            "A sticker covers whole pixels, at least one. Its colours are not rounded to 8 bits and are optimised for each image.",
            "Paint and print keep their colours in every light. On a dark image they appear lit, which makes the attack stronger.",
            "The grid moves the whole image and repeats its border where no pixels exist.",
        ],
        not_tested=[
            Fact(label="Real prints", value="not tested", detail="ink, gloss, weather, wear"),
            Fact(label="Projected or infrared light", value="not tested"),
            Fact(
                label="Perspective and distance",
                value="not tested",
                detail="the grid turns, shifts and zooms in the plane",
            ),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}, {counted(settings.sticker_steps, 'step')}, {counted(settings.grid_points, 'grid point')}",
        ],
        card=Card(
            headline=percent(worst.value),
            text=worst.reason
            or f"accuracy under the worst threat to the sign, 95 % interval {interval(worst.low, worst.high)}",
            figure_id=THREAT_PLOT,
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )


def gradient_zero(found: SignMeasured, clean: CleanSample) -> bool:
    """Tell whether the gradient was zero, so that a gradient attack gives no bound."""
    return bool(clean.right.any() and found.zero_gradients[clean.right].mean() > ZERO_SHARE)


def _accuracies(
    sample: ImageDataset,
    clean: CleanSample,
    measured: dict[str, SignMeasured],
    views: np.ndarray,
    hidden: bool,
) -> list[Metric]:
    """hidden: gradient attacks give no bound, because the gradient is not usable."""

    def accuracy(name: str, title: str, hits: np.ndarray, unbounded: bool = False) -> Metric:
        found = proportion_metric(name, title, hits, clustering=sample.clustering)
        return (
            found.model_copy(update={"low": 0.0, "method": HIDDEN})
            if unbounded and found.low is not None
            else found
        )

    metrics = [
        accuracy("clean_accuracy_physical_sample", "Clean accuracy of the attacked images", clean.right)
    ]
    for name, threat in SIGN_THREATS.items():
        metric, title = f"physical_accuracy.{name}", f"Accuracy under threat: {threat.title.lower()}"
        found = measured.get(name)
        metrics.append(
            Metric.undefined(metric, title, NO_GRADIENT)
            if found is None
            else accuracy(metric, title, found.robust, hidden and threat.gradient)
        )
    metric, title = "physical_accuracy.worst", "Accuracy under the worst threat to the sign"
    if len(measured) < len(SIGN_THREATS):
        missing = ", ".join(
            threat.title.lower() for name, threat in SIGN_THREATS.items() if name not in measured
        )
        metrics.append(Metric.undefined(metric, title, f"{NO_GRADIENT}, which is needed for: {missing}"))
    else:
        hits = np.logical_and.reduce([found.robust for found in measured.values()])
        metrics.append(accuracy(metric, title, hits, hidden))
    metrics.append(
        mean_metric(
            "physical_accuracy.random_view",
            f"Accuracy on random points of the grid, {VIEWS} an image",
            views.mean(axis=1),
            upper=1.0,
            clustering=sample.clustering,
            direction="up",
            unit="proportion",
        )
    )
    return metrics


def _patch_metrics(patch: PatchMeasured | str, hidden: bool) -> list[Metric]:
    names = {
        "universal_patch_success": "Success of the universal patch on held-out signs",
        "universal_patch_success.random": "Success of a patch of random colours",
    }
    if isinstance(patch, str):
        return [Metric.undefined(name, title, patch, direction="down") for name, title in names.items()]
    trained, at_random = (
        proportion_metric(
            name,
            title,
            hits,
            clustering=patch.data.clustering,
            direction="down",
        )
        for (name, title), hits in zip(names.items(), (patch.fooled, patch.at_random), strict=True)
    )
    if hidden and trained.high is not None:
        trained = trained.model_copy(update={"high": 1.0, "method": HIDDEN})
    return [trained, at_random]


def _findings(
    sample: ImageDataset,
    settings: PhysicalSettings,
    measured: dict[str, SignMeasured],
    patch: PatchMeasured | str,
    gradient: bool,
) -> list[Finding]:
    findings = []
    if settings.images > len(sample):
        message = f"{counted(settings.images, 'image')} were requested; the test set has {len(sample)}, and all were attacked."
        evidence = {"asked": settings.images, "attacked": len(sample)}
        findings.append(
            Finding(code="fewer_images", severity="info", message=message, evidence=dict(evidence))
        )
    if sample.boxes is None:
        message = "The data have no sign boxes: the middle 80 % of each side is taken as the sign."
        remedy = "Add the sign boxes to the data."
        findings.append(Finding(code="boxes_assumed", severity="warning", message=message, remedy=remedy))
    if not gradient:
        message = "The model gives no gradient: the sticker and the universal patch were not measured."
        remedy = "Audit the Keras model or the SavedModel that it was exported from."
        findings.append(Finding(code="no_gradient", severity="warning", message=message, remedy=remedy))
    invalid = [
        (SIGN_THREATS[name].title, problem)
        for name, found in measured.items()
        for problem in fault_clauses(found.faults)
    ]
    if isinstance(patch, PatchMeasured) and patch.problem:
        invalid.append(("Universal patch", f"{patch.problem}, and every image counts as broken"))
    for title, problem in invalid:
        remedy = "Repair the attack; until then the images count as broken."
        findings.append(
            Finding(
                code="attack_invalid",
                severity="serious",
                message=f"{title}: {problem}.",
                remedy=remedy,
                evidence={"threat": title},
            )
        )
    for name, found in measured.items():
        hidden = int(found.zero_gradients.sum())
        if hidden:
            message = (
                f"{SIGN_THREATS[name].title}: the gradient was exactly zero for {hidden} of {len(sample)} images, so colours "
                "were tried by queries and not optimised; the measured robustness may be too high."
            )
            remedy = "Find the operation that hides the gradient (rounding, saturation) and audit the model without it."
            findings.append(
                Finding(
                    code="sign_gradient_zero",
                    severity="serious",
                    message=message,
                    remedy=remedy,
                    evidence={"images": hidden},
                )
            )
    return findings


def _shattered(share: float) -> list[Finding]:
    if share <= MOST_NONLINEAR:
        return []
    message = (
        f"For {percent(share)} of at most {PROBE_SIZE} images a small step gains less than {limit_percent(LEAST_GAIN)} of the gain that its "
        f"gradient predicts (limit {limit_percent(MOST_NONLINEAR)}). The sticker and the patch cannot follow such a gradient, so their failure does "
        "not show robustness."
    )
    remedy = (
        "See the masking checks of the adversarial stage, which averages such gradients over small noise."
    )
    evidence = {"share": share}
    return [
        Finding(
            code="sign_gradient_shattered",
            severity="serious",
            message=message,
            remedy=remedy,
            evidence=dict(evidence),
        )
    ]


def _facts(
    sample: ImageDataset,
    settings: PhysicalSettings,
    metrics: dict[str, Metric],
    patch: PatchMeasured | str,
) -> list[Fact]:
    if isinstance(patch, str):
        universal = Fact(label="Universal patch", value="skipped", detail=patch)
    else:
        universal = Fact(
            label="Universal patch",
            value=percent(metrics["universal_patch_success"].value),
            detail=f"{settings.patch_pair[0]} classified as {settings.patch_pair[1]}; trained on {patch.training} {patch.where}, "
            f"tested on {len(patch.data)}",
        )
    return [
        Fact(
            label="Threat model",
            value="evasion by changing the sign",
            detail="NIST AI 100-2e2025: evasion (NISTAML.022, NISTAML.025); MITRE ATLAS AML.T0043, AML.T0041",
        ),
        Fact(label="Images", value=f"{len(sample):,}", detail=sample.name),
        Fact(
            label="Sign boxes",
            value="assumed" if sample.boxes is None else "from the data",
            detail="the middle 80 % of each side" if sample.boxes is None else "",
        ),
        Fact(label="Clean accuracy", value=percent(metrics["clean_accuracy_physical_sample"].value)),
        universal,
    ]


def _meaning(
    worst: Metric, metrics: dict[str, Metric], patch: PatchMeasured | str, settings: PhysicalSettings
) -> list[str]:
    lines = []
    if worst.value is not None:
        lines.append(
            f"Under the worst of {counted(len(SIGN_THREATS), 'threat')} to the sign the model keeps {percent(worst.value)} accuracy, "
            f"95 % interval {interval(worst.low, worst.high)}; the worst threat is taken per image."
        )
    else:
        lines.append(f"The worst of all threats is {worst.reason}.")
    view, grid = metrics["physical_accuracy.random_view"], metrics["physical_accuracy.transform"]
    lines.append(
        f"At a random point of the grid the accuracy is {percent(view.value)}, at the worst point {percent(grid.value)}: "
        "the first is the accuracy without an adversary, the second with one."
    )
    if not isinstance(patch, str):
        success, chance = metrics["universal_patch_success"], metrics["universal_patch_success.random"]
        lines.append(
            f"One printed patch of {limit_percent(settings.patch_area)} of the box makes the model classify {percent(success.value)} of the held-out images of "
            f"{settings.patch_pair[0]} as {settings.patch_pair[1]}; a patch of random colours {percent(chance.value)}."
        )
    return lines
