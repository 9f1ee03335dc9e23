"""The metrics of the stage from its outputs. Legend: N images, R resamples, T sign tracks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.monitors.fitted import Fitted
from safeml.audits.monitors.measure import Judged, Measured
from safeml.audits.monitors.outputs import Outputs
from safeml.corruptions.rows import CORRUPTIONS
from safeml.data.dataset import ImageDataset
from safeml.metrics.detection import auroc_draws, auroc_score, detection_rates, fpr_at_95_error
from safeml.metrics.hazard import cost_matrix
from safeml.monitors.fusion import fused_log_probabilities
from safeml.monitors.streams import Passed, pass_tracks
from safeml.results import Metric
from safeml.stages.monitors import (
    ATTACKED,
    BASELINE,
    CLEAN,
    COMPARED,
    NOISE,
    OUTSIDE,
    RANDOM,
    SCRAMBLED,
    SHIFTED,
    MonitorsSettings,
)
from safeml.statistics import (
    Clustering,
    bootstrap_metric,
    drawn_metric,
    mean_metric,
    paired_difference_metric,
    proportion_metric,
    resample_counts,
)
from safeml.statistics.clusters import clusters_of

IN = {CLEAN: "clean images", SHIFTED: "corrupted images", ATTACKED: "attacked images"}
FROM = {NOISE: "noise", SCRAMBLED: "scrambled images", OUTSIDE: "images from outside"}
INDEPENDENT = Clustering(None, 1)
NO_SIGNS = "no validation signs are left to measure on"


@dataclass(eq=False)
class Numbers:
    """Metrics and what tables need beside them.

    rates: by (set, score), measures of `detection_rates`. passes: by corruption, CLEAN first, what the buffers saw.
    estimates: by slice, (estimate, low, high, accuracy).
    trusted: bool [N], of the clean images; None without a threshold.
    """

    metrics: list[Metric] = field(default_factory=list)
    rates: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    passes: dict[str, Passed] = field(default_factory=dict)
    estimates: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    trusted: np.ndarray | None = None

    def one(self, name: str, slice: str = "all") -> Metric:
        """Return the metric of this name and slice."""
        [metric] = [entry for entry in self.metrics if (entry.name, entry.slice) == (name, slice)]
        return metric


def numbers_of(measured: Measured, settings: MonitorsSettings, seed: int) -> Numbers:
    """Compute every metric of the stage."""
    numbers = Numbers()
    _error_metrics(numbers, measured, settings, seed)
    _outside_metrics(numbers, measured, settings, seed)
    decisions(numbers, measured, settings)
    _alarms(numbers, measured, settings)
    _fusion(numbers, measured)
    _estimates(numbers, measured, settings, seed)
    numbers.metrics.append(
        Metric.count(
            "state_bytes", "Bytes of the monitor's arrays", measured.fitted.bytes, len(measured.fitted.arrays)
        )
    )
    return numbers


def values_of(fitted: Fitted, name: str, outputs: Outputs, seed: int) -> np.ndarray | None:
    """Return the score `name` of each image, float64 [N], RANDOM included; None where it was not fitted."""
    if name == RANDOM:
        return np.random.default_rng([seed, 0x52]).random(len(outputs))
    return fitted.scores(name, outputs) if name in fitted.names else None


def _why_not(measured: Measured) -> str:
    if measured.material.fitting is None:
        return "there are no admissible images for fitting"
    return measured.features or "too few images for fitting have finite outputs"


def _error_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Measure how each score separates incorrect from correct predictions; the incorrect ones are positive."""
    for where in (CLEAN, SHIFTED, *((ATTACKED,) if settings.attacked_images else ())):
        part = measured.judged.get(where)
        if part is None:
            _missing_errors(numbers, where, measured.not_measured[where])
            continue
        reject, counts = (
            ~part.hits,
            resample_counts(len(part.labels), part.clustering, seed, settings.resamples),
        )
        reason = ""
        if reject.all() or not reject.any():
            reason = f"the model classifies {'none' if reject.all() else 'all'} of the {IN[where]} correctly"
        baseline = np.zeros(0)
        for name, title in COMPARED.items():
            values = values_of(measured.fitted, name, part.outputs, seed)
            key, words = f"error_auroc.{name}", f"AUROC of incorrect predictions, {title}, {IN[where]}"
            gain, said = f"error_auroc_gain.{name}", f"AUROC above maximum probability, {title}, {IN[where]}"
            gains = name not in (BASELINE, RANDOM) and where != ATTACKED
            if values is None or reason:
                why = reason or _why_not(measured)
                numbers.metrics.append(Metric.undefined(key, words, why, slice=where, n=len(part.labels)))
                if gains:
                    numbers.metrics.append(Metric.undefined(gain, said, why, slice=where, n=len(part.labels)))
                continue
            numbers.rates[where, name] = detection_rates(values, reject)
            draws = auroc_draws(values, reject, counts)
            numbers.metrics.append(_auroc(key, words, auroc_score(values, reject), draws, part, where))
            if name == BASELINE:
                baseline = draws
            elif gains:
                value = numbers.rates[where, name]["auroc"] - numbers.rates[where, BASELINE]["auroc"]
                numbers.metrics.append(_auroc(gain, said, value, draws - baseline, part, where, least=-1.0))


def _missing_errors(numbers: Numbers, where: str, reason: str) -> None:
    for name, title in COMPARED.items():
        words = f"AUROC of incorrect predictions, {title}, {IN[where]}"
        numbers.metrics.append(Metric.undefined(f"error_auroc.{name}", words, reason, slice=where))
        if name not in (BASELINE, RANDOM) and where != ATTACKED:
            said = f"AUROC above maximum probability, {title}, {IN[where]}"
            numbers.metrics.append(Metric.undefined(f"error_auroc_gain.{name}", said, reason, slice=where))


def _auroc(
    name: str, title: str, value: float, draws: np.ndarray, part: Judged, where: str, least: float = 0.0
) -> Metric:
    """Return the metric; without an interval where some resamples hold no incorrect prediction, so that no gate passes."""
    void = int((~np.isfinite(draws)).sum())
    metric = drawn_metric(
        name,
        title,
        value,
        np.full(len(draws), value) if void else draws,
        len(part.labels),
        clustering=part.clustering,
        direction="up",
        unit="proportion",
        slice=where,
        bounds=(least, 1.0),
    )
    if not void:
        return metric
    why = f"none: {void} of {len(draws)} resamples hold no incorrect or no correct prediction"
    return metric.model_copy(update={"low": None, "high": None, "method": why})


def _outside_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Measure how each score separates images from outside (positive) from all clean test images."""
    clean = measured.judged[CLEAN]
    own = resample_counts(len(clean.labels), clean.clustering, seed, settings.resamples)
    for where, part in measured.outside.items():
        count = 0 if part.outputs is None else len(part.outputs)
        known = part.clustering.tracks is not None or part.clustering.frames_per_sign is not None
        theirs = (
            resample_counts(count, part.clustering, seed + 1, settings.resamples)
            if count
            else np.zeros((0, 0))
        )
        paired = known and len(own) and len(own) == len(theirs)
        counts = np.concatenate([own, theirs], axis=1) if paired else np.zeros((0, 0))
        reject = np.arange(len(clean.labels) + count) >= len(clean.labels)
        for name, title in COMPARED.items():
            words = f"AUROC of {FROM[where]}, {title}"
            said = f"{FROM[where].capitalize()} trusted at 95 % of clean images, {title}"
            inside = values_of(measured.fitted, name, clean.outputs, seed)
            beyond = (
                None if part.outputs is None else values_of(measured.fitted, name, part.outputs, seed + 1)
            )
            if inside is None or beyond is None:
                why = part.reason or _why_not(measured)
                numbers.metrics.append(
                    Metric.undefined(f"ood_auroc.{name}", words, why, slice=where, n=count)
                )
                numbers.metrics.append(
                    Metric.undefined(
                        f"ood_fpr_at_95.{name}", said, why, direction="down", slice=where, n=count
                    )
                )
                continue
            values = np.concatenate([inside, beyond])
            rates = detection_rates(values, reject)
            numbers.rates[where, name] = rates
            draws = auroc_draws(values, reject, counts) if paired else np.zeros(0)
            numbers.metrics.append(
                drawn_metric(
                    f"ood_auroc.{name}",
                    words,
                    rates["auroc"],
                    draws,
                    len(clean.labels),
                    clustering=clean.clustering if paired else Clustering(),
                    direction="up",
                    unit="proportion",
                    slice=where,
                    bounds=(0.0, 1.0),
                )
            )
            limit = _limit_of_95(inside)
            numbers.metrics.append(
                proportion_metric(
                    f"ood_fpr_at_95.{name}",
                    said,
                    beyond >= limit,
                    clustering=part.clustering,
                    direction="down",
                    slice=where,
                )
            )
            assert abs(float((beyond >= limit).mean()) - fpr_at_95_error(values, reject)) < 1e-12


def _limit_of_95(inside: np.ndarray) -> float:
    ordered = np.sort(inside)[::-1]
    return float(ordered[int(np.ceil(0.95 * len(ordered) - 1e-9)) - 1])


def decisions(numbers: Numbers, measured: Measured, settings: MonitorsSettings) -> None:
    """Measure what the deployed monitor rejects and what it leaves, at its calibrated threshold."""
    fitted = measured.fitted
    for where, slice in ((CLEAN, "all"), (SHIFTED, SHIFTED)):
        part = measured.judged.get(where)
        trusted = None if part is None else fitted.trusted(part.outputs)
        if where == CLEAN:
            numbers.trusted = trusted
        if part is None or trusted is None:
            reason = fitted.reason if part is not None else measured.not_measured[where]
            numbers.metrics += undefined_decisions(where, slice, reason)
        else:
            numbers.metrics += decision_metrics(part, trusted, measured.sample, where, slice)
    for where in (CLEAN, SHIFTED, *((ATTACKED,) if settings.attacked_images else ())):
        part = measured.judged.get(where)
        title = f"Incorrect predictions rejected, {IN[where]}"
        trusted = None if part is None else fitted.trusted(part.outputs)
        if part is None or trusted is None:
            reason = measured.not_measured.get(where, fitted.reason)
            numbers.metrics.append(Metric.undefined("errors_stopped", title, reason, slice=where))
            continue
        wrong = ~part.hits
        numbers.metrics.append(
            proportion_metric(
                "errors_stopped", title, ~trusted[wrong], clustering=part.clustering.take(wrong), slice=where
            )
        )
    for where, beyond in measured.outside.items():
        title = f"{FROM[where].capitalize()} rejected"
        trusted = None if beyond.outputs is None else fitted.trusted(beyond.outputs)
        if trusted is None:
            numbers.metrics.append(
                Metric.undefined("ood_stopped", title, beyond.reason or fitted.reason, slice=where)
            )
            continue
        numbers.metrics.append(
            proportion_metric("ood_stopped", title, ~trusted, clustering=beyond.clustering, slice=where)
        )


def decision_metrics(
    part: Judged, trusted: np.ndarray, sample: ImageDataset, where: str, slice: str
) -> list[Metric]:
    """Return residual hazard, safety gain and availability.

    trusted: bool [N]. A prediction that is not finite costs as the worst mistake for its class, and no monitor trusts it.

    Reference: J. Guerin et al., "Unifying evaluation of machine learning safety monitors", 2022.
    """
    costs = cost_matrix(sample.class_names, sample.costs)
    hits = part.hits
    price = np.where(hits, 0.0, costs[part.labels, part.outputs.predicted])
    lost = ~np.isfinite(part.outputs.logits).all(axis=1)
    price[lost] = costs[part.labels[lost]].max(axis=1)
    words = IN[where]
    return [
        mean_metric(
            "residual_hazard",
            f"Hazard of trusted incorrect predictions, {words}",
            price * trusted,
            upper=1.0,
            clustering=part.clustering,
            direction="down",
            unit="proportion",
            slice=slice,
        ),
        mean_metric(
            "safety_gain",
            f"Hazard removed by the monitor, {words}",
            price * ~trusted,
            upper=1.0,
            clustering=part.clustering,
            direction="up",
            unit="proportion",
            slice=slice,
        ),
        proportion_metric(
            "availability",
            f"Correct predictions trusted, {words}",
            trusted[hits],
            clustering=part.clustering.take(hits),
            slice=slice,
        ),
    ]


def undefined_decisions(where: str, slice: str, reason: str) -> list[Metric]:
    """Return the metrics of `decision_metrics` without a value."""
    words = IN[where]
    return [
        Metric.undefined("residual_hazard", f"Hazard of trusted incorrect predictions, {words}", reason, direction="down", slice=slice),
        Metric.undefined("safety_gain", f"Hazard removed by the monitor, {words}", reason, slice=slice),
        Metric.undefined("availability", f"Correct predictions trusted, {words}", reason, slice=slice),
    ]  # fmt: skip


def _alarms(numbers: Numbers, measured: Measured, settings: MonitorsSettings) -> None:
    """Count false alarms by sign encounter, and the delay until a corruption raises one, on signs that no threshold was fitted on."""
    fitted, data, own = measured.fitted, measured.material.measuring, measured.measuring
    titles = {key: f"False alarms per 1,000 sign encounters, {key}" for key in ("score", "distance")}
    limits = {"score": fitted.threshold.value, "distance": fitted.distance_limit.value}
    for key, title in titles.items():
        reason = ""
        if data is None or own is None:
            reason = measured.material.reason or NO_SIGNS
        elif limits[key] is None:
            reason = fitted.reason or "no threshold of the distance could be calibrated"
        if reason or data is None or own is None or data.tracks is None:
            numbers.metrics.append(
                Metric.undefined(
                    "false_alarms_per_1000", title, reason, direction="down", unit="ratio", slice=key
                )
            )
            continue
        if key == "score":
            trusted, hits = fitted.trusted(own), own.hits(data.labels)
            assert trusted is not None
            tracks = data.tracks[hits]
            alarms = np.array([bool((~trusted[hits])[tracks == track].any()) for track in np.unique(tracks)])
        else:
            numbers.passes[CLEAN] = pass_tracks(
                fitted.distance_monitor(limits[key]), own.logits, own.features, data.tracks
            )
            alarms = numbers.passes[CLEAN].first > 0
        numbers.metrics.append(
            mean_metric(
                "false_alarms_per_1000",
                title,
                1000.0 * alarms,
                upper=1000.0,
                clustering=INDEPENDENT,
                direction="down",
                unit="ratio",
                slice=key,
            )
        )
    _delays(numbers, measured, settings, limits["distance"])


def _delays(numbers: Numbers, measured: Measured, settings: MonitorsSettings, limit: float | None) -> None:
    moving = measured.moving_data
    for name in settings.corruptions:
        title = CORRUPTIONS[name].title.lower()
        found, delayed = (
            f"Sign encounters with an alarm of the distance, {title}",
            f"Frames until an alarm of the distance, {title}",
        )
        reason = ""
        if moving is None:
            reason = measured.material.reason or NO_SIGNS
        elif limit is None:
            reason = measured.fitted.reason or "no threshold of the distance could be calibrated"
        elif name not in measured.moving:
            reason = "the images cannot have this corruption"
        if reason or moving is None or moving.tracks is None:
            numbers.metrics.append(Metric.undefined("shift_detected", found, reason, slice=name))
            numbers.metrics.append(
                Metric.undefined(
                    "detection_delay", delayed, reason, direction="down", unit="ratio", slice=name
                )
            )
            continue
        seen = measured.moving[name]
        passed = pass_tracks(
            measured.fitted.distance_monitor(limit), seen.logits, seen.features, moving.tracks
        )
        numbers.passes[name] = passed
        numbers.metrics.append(
            proportion_metric("shift_detected", found, passed.first > 0, clustering=INDEPENDENT, slice=name)
        )
        # A track without an alarm counts with all its frames, so the mean is the least that it can be.
        delay = np.where(passed.first > 0, passed.first, passed.frames)
        numbers.metrics.append(
            mean_metric(
                "detection_delay",
                delayed,
                delay,
                upper=float(passed.frames.max()),
                clustering=INDEPENDENT,
                direction="down",
                unit="ratio",
                slice=name,
            )
        )


def _fusion(numbers: Numbers, measured: Measured) -> None:
    """Compare the fused prediction of all frames of a sign so far with that of the single frame."""
    title = "Accuracy of fused frames above that of single frames"
    data, own = measured.material.measuring, measured.measuring
    if data is None or own is None or data.tracks is None:
        reason = measured.material.reason or NO_SIGNS
        numbers.metrics.append(Metric.undefined("fusion_gain", title, reason))
        return
    if not np.isfinite(own.logits).all():
        numbers.metrics.append(
            Metric.undefined("fusion_gain", title, "the logits of some validation images are not finite")
        )
        return
    fused = np.zeros(len(own), np.int64)
    for track in np.unique(data.tracks):
        rows = np.flatnonzero(data.tracks == track)
        fused[rows] = fused_log_probabilities(own.logits[rows]).argmax(axis=1)
    metric = paired_difference_metric(
        "fusion_gain", title, fused == data.labels, own.hits(data.labels), clustering=Clustering(data.tracks)
    )
    numbers.metrics.append(metric.model_copy(update={"direction": "up"}))


def _estimates(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Compare the accuracy that is estimated without labels with the measured one."""
    estimator = measured.fitted.estimator
    parts = {
        "all": measured.judged[CLEAN],
        **{name: measured.corrupted.get(name) for name in settings.corruptions},
    }
    for slice, part in parts.items():
        words = IN[CLEAN] if slice == "all" else CORRUPTIONS[slice].title.lower()
        title = f"Error of the accuracy estimated without labels, {words}"
        if part is None or estimator is None:
            reason = (
                "the images cannot have this corruption"
                if part is None
                else measured.material.reason or NO_SIGNS
            )
            numbers.metrics.append(
                Metric.undefined("accuracy_estimate_error", title, reason, direction="down", slice=slice)
            )
            continue
        values = measured.fitted.scores(measured.fitted.deployed, part.outputs)
        numbers.metrics.append(
            _estimate_error(title, values >= estimator.threshold, part, slice, settings, seed)
        )
        finite = np.isfinite(values)
        signs = clusters_of("window", len(values), part.clustering).signs
        if signs is not None and finite.any():
            made = estimator.estimate(values[finite], max(1.0, min(signs, float(finite.sum()))), seed)
            numbers.estimates[slice] = (made.value, made.low, made.high, float(part.hits.mean()))


def _estimate_error(
    title: str, above: np.ndarray, part: Judged, slice: str, settings: MonitorsSettings, seed: int
) -> Metric:
    """Return the difference between the share of images `above` (bool [N]) the estimator's threshold and their accuracy."""
    hits = part.hits
    return bootstrap_metric(
        "accuracy_estimate_error",
        title,
        lambda rows: float(abs(above[rows].mean() - hits[rows].mean())),
        len(hits),
        clustering=part.clustering,
        direction="down",
        unit="proportion",
        seed=seed,
        resamples=settings.resamples,
        slice=slice,
        bounds=(0.0, 1.0),
    )
