"""Certified lower bounds of robust accuracy, to compare with the attacks. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.classifiers.base import differentiable
from safeml.errors import StageError, first_line
from safeml.results import Metric, Series
from safeml.sealed import Arrays
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics import proportion_metric
from safeml.threats import Threat, threat_words
from safeml.wording import counted, percent

PIXEL = 2.0**-24  # rounding of a float32 pixel, by which a certificate extends beyond its radius
REGRESSION = "the certificates are for classifiers, and this is a regression model"
EXPORTED = "a bound of the model that gives the gradients would not hold for the file"
HALVINGS = 7  # of the largest epsilon: radii are exact to 1/128 of it
CHOOSING = 100  # noisy copies that select the class of a smoothed classifier
SMOOTHED = 0x53  # purpose of the random numbers that select the images
ALPHA = 0.001  # chance that one image's smoothing certificate is false


@dataclass(frozen=True)
class Certificates:
    """The certificates of one sample.

    metrics: `certified_accuracy.*` and `smoothed_accuracy.*`.
    series: curves of certified accuracy, by norm.
    meaning: sentences of the report.
    limits: sentences of the report.
    """

    metrics: list[Metric] = field(default_factory=list)
    series: dict[str, list[Series]] = field(default_factory=dict)
    meaning: list[str] = field(default_factory=list)
    limits: list[str] = field(
        default_factory=lambda: ["No certificate was computed: robust accuracy has no lower bound."]
    )


def certificates(
    inputs: AuditInputs, items: Items, settings: AdversarialSettings, campaign: Campaign
) -> Certificates:
    """Compute interval bounds of the classifier (L-inf), and randomised smoothing (L2) if the settings enable it."""
    cubes = sorted((t for t in settings.threats if t.norm == "linf"), key=lambda threat: threat.epsilon)
    bounds = _bounds(inputs, items, campaign, cubes) if cubes else Certificates()
    balls = sorted((t for t in settings.threats if t.norm == "l2"), key=lambda threat: threat.epsilon)
    if balls and settings.smoothed_images:
        smoothed, meaning = _smoothed(inputs, items, settings, balls)
        bounds = Certificates(
            bounds.metrics + smoothed, bounds.series, [*bounds.meaning, meaning], bounds.limits
        )
    return bounds


def _bounds(inputs: AuditInputs, items: Items, campaign: Campaign, threats: list[Threat]) -> Certificates:
    """Certify each image by interval bound propagation through the whole network."""
    if getattr(inputs.classifier, "deployed_logits", None) is not None:
        return _no_proof(threats, EXPORTED)
    clean, sample, most = items.clean, items.sample, threats[-1].epsilon
    classifier, batch = differentiable(inputs.classifier), items.attacking.size

    def proven(rows: slice) -> Arrays:
        from safeml.certification.ibp import certified_radius

        images, labels = clean.images[rows], clean.labels[rows]
        return {"radius": certified_radius(classifier, images, labels, most, HALVINGS, batch)}

    columns = {"images": clean.images, "labels": clean.labels, "ids": numbers(sample)}
    inputs.progress("certified lower bound", 0, 1)
    try:
        parts = {"most": most, "halvings": HALVINGS}
        radius = items.slices.measure("certified", columns, parts, {"radius": ("float64", ())}, proven)[
            "radius"
        ]
    except StageError as error:
        return _no_proof(threats, first_line(error, 300))
    # An image that counts as broken because of a faulty attack contradicts no certificate; any adversarial example does.
    broken = (
        clean.right & (radius > 0) & ~campaign.suspect & (campaign.nearest["linf"].size <= radius + PIXEL)
    )
    if broken.any():
        raise StageError(
            f"{counted(int(broken.sum()), 'image')} have an adversarial example inside their certified radius; the attack or the certificate "
            "is wrong, so neither is reported. Please report this with the model."
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
        name="certified (interval bounds)",
        x=[0.0, *x.tolist()],
        y=[float(clean.right.mean()), *y],
        role="bound",
    )
    largest = float(radius.max(initial=0.0))
    return Certificates(
        metrics,
        {"linf": [line]},
        [
            f"Certified by interval bounds: {percent(metrics[-1].value)} at {threat_words(threats[-1])}; the largest certified radius of an "
            f"image is {largest * 255:.3g}/255. The true robust accuracy lies between the certified lower bound and the attacked upper bound."
        ],
        [
            "Interval bounds are loose on networks that were not trained for them: a low bound is no evidence of weakness."
        ],
    )


def no_proofs(settings: AdversarialSettings) -> Certificates:
    """Return the certificates of a regression model without values: both methods prove a class, and no bound of an error."""
    proof = _no_proof([threat for threat in settings.threats if threat.norm == "linf"], REGRESSION)
    smoothed = [
        Metric.undefined(
            f"smoothed_accuracy.{threat.label}",
            f"Accuracy certified by smoothing at {threat_words(threat)}",
            REGRESSION,
        )
        for threat in settings.threats
        if threat.norm == "l2" and settings.smoothed_images
    ]
    return Certificates(proof.metrics + smoothed, limits=proof.limits)


def _no_proof(threats: list[Threat], reason: str) -> Certificates:
    metrics = [
        Metric.undefined(
            f"certified_accuracy.{threat.label}", f"Certified accuracy at {threat_words(threat)}", reason
        )
        for threat in threats
    ]
    return Certificates(
        metrics, limits=[f"No certificate could be computed, so robust accuracy has no lower bound: {reason}"]
    )


def _smoothed(
    inputs: AuditInputs, items: Items, settings: AdversarialSettings, threats: list[Threat]
) -> tuple[list[Metric], str]:
    """Certify a random part of the sample by randomised smoothing; data are often sorted by class."""
    sample, count = items.sample, min(settings.smoothed_images, len(items.sample))
    smoothed_rows = np.sort(np.random.default_rng([inputs.seed, SMOOTHED]).permutation(len(sample))[:count])
    part = sample.take(smoothed_rows)
    images, labels, ids = (
        items.clean.images[smoothed_rows],
        items.clean.labels[smoothed_rows],
        numbers(sample)[smoothed_rows],
    )
    sigma, samples = settings.smoothing_sigma, settings.smoothing_samples
    inputs.progress("randomised smoothing", 0, 1)

    def voted(rows: slice) -> Arrays:
        from safeml.certification.smoothing import smooth

        smoothed = smooth(
            inputs.classifier.predict_logits,
            images[rows],
            labels[rows],
            sigma,
            CHOOSING,
            samples,
            ALPHA,
            inputs.seed,
            ids[rows],
        )
        return {"radius": smoothed.radius, "answers": smoothed.answers}

    form: dict[str, tuple[str, tuple[int, ...]]] = {"radius": ("float64", ()), "answers": ("int64", ())}
    columns = {"images": images, "labels": labels, "ids": ids}
    votes = items.slices.measure("smoothed", columns, {"sigma": sigma, "samples": samples}, form, voted)
    metrics = [
        proportion_metric(
            f"smoothed_accuracy.{threat.label}",
            f"Certified accuracy of the smoothed classifier at {threat_words(threat)}",
            votes["radius"] > threat.epsilon,
            clustering=part.clustering,
        )
        for threat in threats
    ]
    abstained = float((votes["answers"] < 0).mean())
    return metrics, (
        f"Smoothed with noise of σ = {sigma:g} ({counted(samples, 'noisy copy', 'noisy copies')} per image, {counted(count, 'image')}), "
        f"{percent(metrics[-1].value)} are certified at {threat_words(threats[-1])}; it abstains on {percent(abstained)}. "
        "The certificate holds for the smoothed classifier, not for the deployed one."
    )
