"""Guaranteed thresholds and conformal sets, calibrated on validation signs and measured on the test images.

Legend: N test images, K classes, n sign tracks for calibration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.data.signs import families
from safeml.metrics.calibration.coverage import coverage_band
from safeml.metrics.calibration.forecasts import Forecasts
from safeml.metrics.calibration.selective import ERROR, guaranteed_threshold, signs_for_risk
from safeml.monitors.conformal import (
    Threshold,
    class_scores,
    least_images,
    rank_of,
    sets,
    sets_by_group,
    threshold_of,
)
from safeml.results import Column, Finding, Metric, Scalar, Table
from safeml.stages.calibration import RISKS, SETS
from safeml.statistics import Clustering, bootstrap_metric, proportion_metric
from safeml.statistics.clusters import clusters_of
from safeml.wording import counted, interval, limit_percent, number, percent

NAMES = {"lac": "LAC", "aps": "APS", "raps": "RAPS"}
BY_GROUP = 95


@dataclass(frozen=True, eq=False)
class Signs:
    """Validation images for thresholds and sets.

    logits: float [M, K].
    made: their forecasts; None if there are none.
    tracks: int [M], their sign tracks.
    reason: a clause that says why there are none.
    """

    logits: np.ndarray
    made: Forecasts | None
    tracks: np.ndarray
    reason: str = ""


@dataclass(eq=False)
class Measured:
    """Metrics, findings and table rows in the order of the page."""

    metrics: list[Metric] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rows: list[list[Scalar]] = field(default_factory=list)


def selective_metrics(test: Forecasts, clustering: Clustering, signs: Signs) -> Measured:
    """Measure the coverage and the risk of the test images at each threshold with a guaranteed risk."""
    measured = Measured()
    for key, risk in RISKS.items():
        titles = (
            (f"selective_coverage.{key}", f"Share answered at a guaranteed risk of {limit_percent(risk)}"),
            (f"selective_risk.{key}", f"Error of the answered images, guaranteed risk {limit_percent(risk)}"),
        )
        reason, threshold = signs.reason, None
        if signs.made is not None:
            guarantee = guaranteed_threshold(signs.made.log_odds, signs.made.hits, signs.tracks, risk)
            threshold = guarantee.threshold
            if guarantee.signs < guarantee.needed:
                best = 1 - ERROR ** (1 / guarantee.signs)
                reason = (
                    f"not proven: {counted(guarantee.signs, 'sign track')} without an error guarantee an error of {percent(best)} at most; "
                    f"{limit_percent(risk)} needs {counted(guarantee.needed, 'sign track')}"
                )
            elif threshold is None:
                reason = "not proven: the most confident sign tracks hold too many errors"
        else:
            reason = f"{reason}; {limit_percent(risk)} needs {counted(signs_for_risk(risk), 'sign track')}"
        if threshold is None:
            measured.metrics += [
                Metric.undefined(*titles[0], reason, n=len(test)),
                Metric.undefined(*titles[1], reason, direction="down", n=len(test)),
            ]
            measured.rows.append([limit_percent(risk), None, None, None, reason])
            continue
        answered = test.log_odds >= threshold
        coverage = proportion_metric(*titles[0], answered, clustering=clustering)
        errors = proportion_metric(
            *titles[1], ~test.hits[answered], direction="down", clustering=clustering.take(answered)
        )
        measured.metrics += [coverage, errors]
        chance = float(1 / (1 + np.exp(-threshold)))
        measured.rows.append(
            [limit_percent(risk), chance, coverage.value, errors.value, "guaranteed by sign"]
        )
    return measured


def set_metrics(
    logits: np.ndarray,
    test: Forecasts,
    names: tuple[str, ...],
    clustering: Clustering,
    signs: Signs,
    seed: int,
) -> Measured:
    """Measure coverage and size of the conformal sets of the test images.

    logits: float [N, K], of the test images.
    names: of the classes; a class-conditional threshold is by sign family where these are known, else by class.
    """
    measured, K = Measured(), test.classes
    if signs.made is None:
        for kind, level in SETS:
            measured.metrics += _undefined_sets(kind, level, signs.reason, len(test))
        return measured
    frames, tie, rng = one_frame_each(signs.tracks, seed)
    own = signs.made.labels[frames]
    parts, ties = rng.random(len(frames) + len(test)), rng.random((len(test), K))
    tested = _independent(clustering, len(test))
    for kind, level in SETS:
        alpha = 1 - level / 100
        fitted = class_scores(kind, signs.logits[frames], parts[: len(frames)])[np.arange(len(frames)), own]
        threshold = threshold_of(fitted, tie, alpha)
        label = f"{NAMES[kind]}, {level} %"
        if threshold.rank > threshold.images:
            reason = too_few_signs(level, threshold.images)
            measured.metrics += _undefined_sets(kind, level, reason, len(test))
            measured.rows.append([label, "all classes", None, None, "", reason])
            continue
        scores = class_scores(kind, logits, parts[len(frames) :])
        inside = sets(scores, ties, threshold)
        coverage, size = _measure(kind, level, inside, test, clustering, seed)
        measured.metrics += [coverage, size]
        band = None if tested is None else coverage_band(threshold.images, threshold.rank, tested)
        row: list[Scalar] = [label, "all classes", coverage.value, size.value]
        measured.rows.append([*row, "" if band is None else interval(*band), ""])
        if band is not None and not band[0] <= float(inside[_labels(test)].mean()) <= band[1]:
            measured.findings.append(_outside(label, coverage, band))
        if level == BY_GROUP:
            _by_group(measured, label, names, fitted, tie, own, scores, ties, test, alpha)
    return measured


def too_few_signs(level: int, signs: int) -> str:
    """Return the clause that says why sets at `level` percent have no threshold."""
    needed = counted(least_images(1 - level / 100), "sign track")
    return f"not proven: sets at {level} % need {needed}, and there are {number(signs)}"


def set_table(rows: list[list[Scalar]]) -> Table:
    """Return the table of conformal sets."""
    return Table(
        id="conformal-sets",
        title="Conformal sets",
        columns=[
            Column(key="sets", label="Sets"),
            Column(key="threshold", label="Threshold for"),
            Column(key="coverage", label="Coverage", kind="percent"),
            Column(key="size", label="Mean size", kind="number"),
            Column(key="band", label="95 % band of the coverage"),
            Column(key="note", label="Note"),
        ],
        rows=rows,
        caption="A set holds the true class of a later sign of the same kind with the stated probability. "
        "The band is what chance in the calibration and test signs allows.",
    )


def _labels(test: Forecasts) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(test)), test.labels


def _measure(
    kind: str, level: int, inside: np.ndarray, test: Forecasts, clustering: Clustering, seed: int
) -> tuple[Metric, Metric]:
    (coverage, covered), (size, sized) = _titles(kind, level)
    sizes = inside.sum(axis=1)
    return (
        proportion_metric(coverage, covered, inside[_labels(test)], clustering=clustering),
        bootstrap_metric(
            size,
            sized,
            lambda rows: float(sizes[rows].mean()),
            len(test),
            clustering=clustering,
            direction="down",
            unit="ratio",
            seed=seed,
            bounds=(0.0, float(test.classes)),
        ),
    )


def _by_group(
    measured: Measured,
    label: str,
    names: tuple[str, ...],
    fitted: np.ndarray,
    tie: np.ndarray,
    own: np.ndarray,
    scores: np.ndarray,
    ties: np.ndarray,
    test: Forecasts,
    alpha: float,
) -> None:
    """Measure the sets whose thresholds are those of each family or class with enough sign tracks."""
    known = families(names)
    titles = tuple(known) if known is not None else names
    order = sorted(set(titles))
    groups = np.array([order.index(title) for title in titles])
    thresholds: dict[int, Threshold] = {}
    few = []
    for group, title in enumerate(order):
        rows = groups[own] == group
        if rank_of(int(rows.sum()), alpha) <= rows.sum():
            thresholds[group] = threshold_of(fitted[rows], tie[rows], alpha)
        else:
            few.append(f"{title} ({int(rows.sum())})")
    kind = "class" if known is None else "family"
    least = least_images(alpha)
    if not thresholds:
        note = f"not proven: each {kind} needs {least} sign tracks"
        measured.rows.append([label, f"each {kind}", None, None, "", note])
    else:
        inside = sets_by_group(scores, ties, groups, thresholds)
        covered = float(inside[_labels(test)].mean())
        note = f"in every set, because their {kind} has fewer than {least} sign tracks: {', '.join(few)}"
        measured.rows.append(
            [label, f"each {kind}", covered, float(inside.sum(axis=1).mean()), "", note if few else ""]
        )


def _outside(label: str, coverage: Metric, band: tuple[float, float]) -> Finding:
    return Finding(
        code="set-coverage",
        severity="warning",
        message=f"Conformal sets {label}: {percent(coverage.value)} of the test images are covered, outside the band "
        f"of {interval(*band)}.",
        remedy="Validation and test signs differ, or the validation images chose the model. Calibrate on signs that are drawn as the "
        "signs of the field are.",
        evidence={"coverage": coverage.value, "low": band[0], "high": band[1]},
    )


def _titles(kind: str, level: int) -> tuple[tuple[str, str], tuple[str, str]]:
    key, label = f"{kind}_{level}", f"{NAMES[kind]} sets at {level} %"
    return (f"set_coverage.{key}", f"Coverage of {label}"), (f"set_size.{key}", f"Mean size of {label}")


def _undefined_sets(kind: str, level: int, reason: str, n: int) -> list[Metric]:
    (coverage, covered), (size, sized) = _titles(kind, level)
    return [
        Metric.undefined(coverage, covered, reason, n=n),
        Metric.undefined(size, sized, reason, direction="down", unit="ratio", n=n),
    ]


def one_frame_each(tracks: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Return one random image of each sign track, int64 [n], a tie for each, float64 [n], and the generator for further draws.

    Frames are not exchangeable, sign tracks are.
    """
    rng = np.random.default_rng([seed, 0xC0])
    order = rng.permutation(len(tracks))
    _, first = np.unique(tracks[order], return_index=True)
    frames = np.asarray(order[first])
    return frames, rng.random(len(frames)), rng


def _independent(clustering: Clustering, n: int) -> int | None:
    """Return the number of independent test images; None where nothing is known."""
    signs = clusters_of("set coverage", n, clustering).signs
    return None if signs is None else max(1, round(signs))
