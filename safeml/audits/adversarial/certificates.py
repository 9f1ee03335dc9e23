"""What is proven, beside what was attacked: a lower bound of robust accuracy. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.errors import StageError, first_line
from safeml.results import Metric, Series
from safeml.sealed import Arrays
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics import proportion_metric
from safeml.threats import Threat, threat_words
from safeml.wording import counted, percent

PIXEL = 2.0**-24  # rounding of a float32 pixel, by which a proof reaches farther than its radius
HALVINGS = 7  # of the largest epsilon: its radii are exact to one part in 128
CHOOSING = 100  # noisy copies that choose the answer of a smoothed classifier
SMOOTHED = 0x53  # purpose of the random numbers that choose the images
MISTAKEN = 0.001  # chance that one image's smoothing certificate is false


@dataclass(frozen=True)
class Certificates:
    """Metrics `certified_accuracy.*` and `smoothed_accuracy.*`, and what a report says of them. series: by norm."""

    metrics: list[Metric] = field(default_factory=list)
    series: dict[str, list[Series]] = field(default_factory=dict)
    meaning: list[str] = field(default_factory=list)
    limits: list[str] = field(
        default_factory=lambda: ["Nothing is proven: there is no lower bound of robust accuracy."]
    )


def certificates(
    inputs: AuditInputs, items: Items, settings: AdversarialSettings, campaign: Campaign
) -> Certificates:
    """Interval bounds on the classifier itself (L-inf), and smoothing (L2) where the settings ask for it."""
    cubes = sorted((t for t in settings.threats if t.norm == "linf"), key=lambda threat: threat.epsilon)
    found = _bounds(inputs, items, campaign, cubes) if cubes else Certificates()
    balls = sorted((t for t in settings.threats if t.norm == "l2"), key=lambda threat: threat.epsilon)
    if balls and settings.smoothed_images:
        smoothed, meaning = _smoothed(inputs, items, settings, balls)
        found = Certificates(found.metrics + smoothed, found.series, [*found.meaning, meaning], found.limits)
    return found


def _bounds(inputs: AuditInputs, items: Items, campaign: Campaign, threats: list[Threat]) -> Certificates:
    """Interval bound propagation through the whole network, image by image."""
    clean, sample, most = items.clean, items.sample, threats[-1].epsilon
    batch = items.attacking.size

    def proven(rows: slice) -> Arrays:
        from safeml.certification.ibp import certified_radius

        images, labels = clean.images[rows], clean.labels[rows]
        return {"radius": certified_radius(inputs.classifier, images, labels, most, HALVINGS, batch)}  # type: ignore[arg-type]

    columns = {"images": clean.images, "labels": clean.labels, "ids": numbers(sample)}
    inputs.progress("certified lower bound", 0, 1)
    try:
        parts = {"most": most, "halvings": HALVINGS}
        radius = items.slices.measure("certified", columns, parts, {"radius": ("float64", ())}, proven)[
            "radius"
        ]
    except StageError as error:
        return _no_proof(threats, first_line(error, 300))
    # What counts as broken for the faults of an attack contradicts no proof; every wrong answer that was found does.
    broken = clean.right & (radius > 0) & ~campaign.suspect & (campaign.found["linf"].size <= radius + PIXEL)
    if broken.any():
        raise StageError(
            f"{counted(int(broken.sum()), 'image')} were answered wrong inside the radius that is certified for them; attack or proof is wrong, "
            "so neither is reported. Please send the model."
        )
    metrics = [
        proportion_metric(
            f"certified_accuracy.{threat.label}",
            f"Certified accuracy at {threat_words(threat)}",
            clean.right & (radius >= threat.epsilon),
            clustering=sample.clustering,
        )
        for threat in threats
    ]
    x = np.linspace(0.0, most, 2**HALVINGS + 1)[1:]
    y = [float((clean.right & (radius >= epsilon)).mean()) for epsilon in x]
    line = Series(
        name="proven (interval bounds)", x=[0.0, *x.tolist()], y=[float(clean.right.mean()), *y], role="bound"
    )
    largest = float(radius.max(initial=0.0))
    return Certificates(
        metrics,
        {"linf": [line]},
        [
            f"Proven by interval bounds: {percent(metrics[-1].value)} at {threat_words(threats[-1])}; the largest radius that was proven "
            f"for an image is {largest * 255:.3g}/255. Between proof and attack lies what nobody knows."
        ],
        [
            "Interval bounds are loose on networks that were not trained for them: a low bound is no sign of weakness."
        ],
    )


def _no_proof(threats: list[Threat], reason: str) -> Certificates:
    metrics = [
        Metric.undefined(
            f"certified_accuracy.{threat.label}", f"Certified accuracy at {threat_words(threat)}", reason
        )
        for threat in threats
    ]
    return Certificates(
        metrics, limits=[f"Nothing is proven, because there is no certificate for this model: {reason}"]
    )


def _smoothed(
    inputs: AuditInputs, items: Items, settings: AdversarialSettings, threats: list[Threat]
) -> tuple[list[Metric], str]:
    """Randomised smoothing, on a random part of the sample: data often stand sorted by class."""
    sample, count = items.sample, min(settings.smoothed_images, len(items.sample))
    chosen = np.sort(np.random.default_rng([inputs.seed, SMOOTHED]).permutation(len(sample))[:count])
    part = sample.take(chosen)
    images, labels, ids = items.clean.images[chosen], items.clean.labels[chosen], numbers(sample)[chosen]
    sigma, samples = settings.smoothing_sigma, settings.smoothing_samples
    inputs.progress("randomised smoothing", 0, 1)

    def voted(rows: slice) -> Arrays:
        from safeml.certification.smoothing import smooth

        found = smooth(
            inputs.classifier.predict_logits,
            images[rows],
            labels[rows],
            sigma,
            CHOOSING,
            samples,
            MISTAKEN,
            inputs.seed,
            ids[rows],
        )
        return {"radius": found.radius, "answers": found.answers}

    form: dict[str, tuple[str, tuple[int, ...]]] = {"radius": ("float64", ()), "answers": ("int64", ())}
    columns = {"images": images, "labels": labels, "ids": ids}
    found = items.slices.measure("smoothed", columns, {"sigma": sigma, "samples": samples}, form, voted)
    metrics = [
        proportion_metric(
            f"smoothed_accuracy.{threat.label}",
            f"Certified accuracy of the smoothed classifier at {threat_words(threat)}",
            found["radius"] > threat.epsilon,
            clustering=part.clustering,
        )
        for threat in threats
    ]
    abstained = float((found["answers"] < 0).mean())
    return metrics, (
        f"Smoothed with noise of σ = {sigma:g} ({counted(samples, 'answer')} an image, {counted(count, 'image')}), "
        f"{percent(metrics[-1].value)} are certified at {threat_words(threats[-1])}; it abstains on {percent(abstained)}. "
        "The certificate is of the smoothed classifier, not of the deployed one."
    )
