"""The metrics of the stage. Legend: N images, K classes, M members, O non-members, S sign tracks, R resamples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from safeml.audits.privacy.attacks import LEAST_CLASS_SIGNS, TITLES, Attacked
from safeml.audits.privacy.sides import Pair, signs_of
from safeml.audits.weakest import joint_level
from safeml.data.dataset import ImageDataset
from safeml.metrics.membership import best_threshold, resampled_separation, separation
from safeml.results import Direction, Metric
from safeml.stages.privacy import LIRA, POOLED, PrivacySettings
from safeml.statistics import Clustering, drawn_metric, resample_counts
from safeml.statistics.independent import independent_difference_metric
from safeml.wording import limit_percent

# False positive rates whose true positive rate is a metric; each needs one independent non-member for a false positive.
RATES = {"membership_tpr_1": 0.01, "membership_tpr_01": 0.001}

ADVANTAGE = "membership_advantage"
STRONGEST = "Advantage of the strongest membership attack"
INDEPENDENT = Clustering(frames_per_sign=1)
NO_TRACKS = "the {} have no track ids, so the frames of one sign cannot be put together"


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each image is in each resample, drawn by sign track on each side alone.

    members, others: float64 [R, M] and [R, O]; R is 0 where the clustering of one side is not known.
    """

    members: np.ndarray
    others: np.ndarray


def resamples_of(pair: Pair, count: int, seed: int) -> Resamples:
    """Draw the resamples of both sides."""
    members = resample_counts(len(pair.members), pair.members.clustering, seed, count)
    others = resample_counts(len(pair.others), pair.others.clustering, seed + 1, count)
    if not len(members) or not len(others):
        return Resamples(members[:0], others[:0])
    return Resamples(members, others)


def advantage_metric(
    attacked: Attacked,
    pair: Pair,
    *,
    name: str = ADVANTAGE,
    title: str = "",
    where: str = "",
    level: float = 0.95,
) -> Metric:
    """Return TPR - FPR of an attack at the threshold from the calibration images."""
    return independent_difference_metric(
        name,
        title or f"Advantage: {attacked.title}",
        attacked.members >= attacked.threshold,
        attacked.others >= attacked.threshold,
        first_clustering=pair.members.clustering,
        second_clustering=pair.others.clustering,
        direction="down",
        slice=where or attacked.name,
        level=level,
    )


def strongest(attacks: list[Attacked], pair: Pair) -> Metric:
    """Return the largest advantage of several attacks; its interval accounts for the selection.

    The upper end is the largest of the attacks' own upper ends: a limit that it does not exceed is not exceeded by any of them
    (intersection-union test, R. L. Berger 1982), so no correction is needed. The lower end is the largest lower end at Bonferroni level.
    """
    own = [advantage_metric(one, pair) for one in attacks]
    wide = [advantage_metric(one, pair, level=joint_level(len(attacks))) for one in attacks]
    largest = max(own, key=lambda metric: metric.value or 0.0)
    lows = [metric.low for metric in wide if metric.low is not None]
    highs = [metric.high for metric in own if metric.high is not None]
    complete = len(lows) == len(highs) == len(own)
    return largest.model_copy(
        update={
            "title": STRONGEST,
            "slice": "all",
            "low": max(lows) if complete else None,
            "high": max(highs) if complete else None,
            "method": f"strongest: {largest.title.removeprefix('Advantage: ')}; {largest.method}",
        }
    )


def separation_metrics(attacked: Attacked, pair: Pair, resamples: Resamples) -> list[Metric]:
    """Return the area under the ROC curve, and the true positive rate at each of RATES."""
    names = {name: _too_rare(pair.others, rate) for name, rate in RATES.items()}
    rates = tuple(RATES.values())
    value = separation(attacked.members, attacked.others, rates)
    areas, tprs = resampled_separation(
        attacked.members, attacked.others, resamples.members, resamples.others, rates
    )
    metrics = [
        two_sided_metric(
            "membership_auc", f"AUC: {attacked.title}", value.auc, areas, pair, where=attacked.name
        )
    ]
    for column, (name, reason) in enumerate(names.items()):
        title = f"TPR at {limit_percent(rates[column])} FPR: {attacked.title}"
        if reason:
            metrics.append(
                Metric.undefined(name, title, reason, direction="down", slice=attacked.name, n=_images(pair))
            )
            continue
        metrics.append(
            two_sided_metric(
                name, title, float(value.tpr[column]), tprs[:, column], pair, where=attacked.name
            )
        )
    return metrics


def two_sided_metric(
    name: str,
    title: str,
    value: float,
    draws: np.ndarray,
    pair: Pair,
    *,
    where: str = "all",
    bounds: tuple[float, float] = (0.0, 1.0),
    direction: Direction = "down",
) -> Metric:
    """Return a metric of both sides from its resamples; `signs` is the number of sign tracks of the smaller side."""
    counts = {side: signs_of(data) for side, data in (("members", pair.members), ("others", pair.others))}
    if any(count is None for count in counts.values()):
        smaller = pair.members if counts["members"] is None else pair.others
    else:
        smaller = pair.members if (counts["members"] or 0) <= (counts["others"] or 0) else pair.others
    metric = drawn_metric(
        name,
        title,
        value,
        draws,
        len(smaller),
        clustering=smaller.clustering,
        direction=direction,
        unit="proportion",
        slice=where,
        bounds=bounds,
    )
    return metric.model_copy(update={"n": _images(pair)})


def class_metrics(attacked: Attacked, pair: Pair) -> list[Metric]:
    """Return the advantage in each class with enough sign tracks on both sides, and of all others together."""
    hits = [(attacked.members >= attacked.threshold), (attacked.others >= attacked.threshold)]
    data = [pair.members, pair.others]
    small = np.zeros(pair.members.classes, bool)
    metrics = []

    def metric(title: str, where: str, rows: list[np.ndarray]) -> Metric:
        return independent_difference_metric(
            "membership_class_advantage",
            title,
            hits[0][rows[0]],
            hits[1][rows[1]],
            first_clustering=data[0].clustering.take(rows[0]),
            second_clustering=data[1].clustering.take(rows[1]),
            direction="down",
            slice=where,
        )

    for label, name in enumerate(pair.members.class_names):
        rows = [side.labels == label for side in data]
        if any(_signs_in(side, own) < LEAST_CLASS_SIGNS for side, own in zip(data, rows, strict=True)):
            small[label] = True
            continue
        metrics.append(metric(f"Advantage: {name}", f"class:{name}", rows))
    rows = [small[side.labels] for side in data]
    if all(own.any() for own in rows):
        title = f"Advantage: classes with fewer than {LEAST_CLASS_SIGNS} sign tracks, together"
        metrics.append(metric(title, POOLED, rows))
    return metrics


def sign_metrics(
    attacked: Attacked | str, calibration: Pair, evaluation: Pair, count: int, seed: int
) -> list[Metric]:
    """Return advantage and area for whole signs: the score of a sign is the mean score of its frames.

    attacked: or a clause that says why there is none.
    """
    titles = {
        "sign_membership_advantage": "Advantage by sign: mean score of its frames",
        "sign_membership_auc": "AUC by sign: mean score of its frames",
    }

    def undefined(reason: str) -> list[Metric]:
        return [Metric.undefined(name, title, reason, direction="down") for name, title in titles.items()]

    if isinstance(attacked, str):
        return undefined(attacked)
    sides = {
        "members": evaluation.members,
        "non-members": evaluation.others,
        "calibration members": calibration.members,
        "calibration non-members": calibration.others,
    }
    for role, data in sides.items():
        if data.tracks is None:
            return undefined(NO_TRACKS.format(role))
    calibrated = attacked.calibration
    members, others = (
        by_sign(attacked.members, evaluation.members),
        by_sign(attacked.others, evaluation.others),
    )
    threshold, _ = best_threshold(
        by_sign(calibrated[0], calibration.members), by_sign(calibrated[1], calibration.others)
    )
    first, second = titles
    advantage = independent_difference_metric(
        first,
        titles[first],
        members >= threshold,
        others >= threshold,
        first_clustering=INDEPENDENT,
        second_clustering=INDEPENDENT,
        direction="down",
    )
    drawn = [
        resample_counts(len(side), INDEPENDENT, seed + number, count)
        for number, side in enumerate((members, others))
    ]
    areas, _ = resampled_separation(members, others, drawn[0], drawn[1], ())
    area = drawn_metric(
        second,
        titles[second],
        separation(members, others, ()).auc,
        areas,
        min(len(members), len(others)),
        clustering=INDEPENDENT,
        direction="down",
        unit="proportion",
        bounds=(0.0, 1.0),
    )
    return [advantage, area.model_copy(update={"n": len(members) + len(others)})]


def by_sign(scores: np.ndarray, data: ImageDataset) -> np.ndarray:
    """Return the mean score of each sign track, float64 [S]."""
    _, codes, sizes = np.unique(np.asarray(data.tracks), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(codes, weights=scores, minlength=len(sizes)) / sizes)


def undefined_attack(name: str, reason: str, n: int) -> list[Metric]:
    """Return the metrics of an attack that has no result. reason: a clause."""
    title = TITLES[name]
    names = {
        ADVANTAGE: f"Advantage: {title}",
        "membership_auc": f"AUC: {title}",
        **{key: f"TPR at {limit_percent(rate)} FPR: {title}" for key, rate in RATES.items()},
    }
    return [
        Metric.undefined(key, words, reason, direction="down", slice=name, n=n)
        for key, words in names.items()
    ]


def undefined_stage(settings: PrivacySettings, reason: str, n: int) -> list[Metric]:
    """Return every metric of the stage without a value."""
    whole = {
        ADVANTAGE: STRONGEST,
        "sign_membership_advantage": "Advantage by sign",
        "sign_membership_auc": "AUC by sign",
        "blind_auc": "AUC of the blind baseline",
        "membership_auc_over_blind": "AUC above that of the blind baseline",
    }
    metrics = [Metric.undefined(name, title, reason, direction="down", n=n) for name, title in whole.items()]
    for attack in settings.attacks:
        metrics += undefined_attack(attack, reason, n)
        if attack != LIRA:
            title = f"Advantage on the planted leak: {TITLES[attack]}"
            metrics.append(Metric.undefined("membership_control", title, reason, slice=attack, n=n))
    return metrics


def by_attack(metrics: list[Metric], name: str) -> Mapping[str, Metric]:
    """Return the metrics of this name by slice."""
    return {metric.slice: metric for metric in metrics if metric.name == name}


def _too_rare(others: ImageDataset, rate: float) -> str:
    """Return why a true positive rate at this false positive rate is not measured, or ""."""
    signs, needed = signs_of(others), round(1 / rate)
    count = len(others) if signs is None else signs
    if count >= needed:
        return ""
    return f"a false positive rate of {limit_percent(rate)} needs at least {needed:,} independent non-members, and there are {round(count):,}"


def _signs_in(data: ImageDataset, rows: np.ndarray) -> float:
    if not rows.any():
        return 0.0
    signs = signs_of(data.take(np.flatnonzero(rows)))
    return float(rows.sum()) if signs is None else signs


def _images(pair: Pair) -> int:
    return len(pair.members) + len(pair.others)
