"""Sign tracks proposed from pixels for test images without recorded ones, and how far they can be trusted.

Legend: N test images, M training images, C tracks.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.data.dataset import RECOVERED, ImageDataset
from safeml.data.image_tables import IMAGE, ORIGIN, TRACK
from safeml.metrics.track_recovery import agreement, pair_counts, recovered_tracks
from safeml.results import Column, Finding, Metric, Scalar, Table
from safeml.stages.data_quality import DataQualitySettings
from safeml.statistics import Clustering, bootstrap_metric
from safeml.wording import counted, number, percent

COUNT, PRECISION, RECALL = "recovered_tracks", "track_recovery_precision", "track_recovery_recall"
TITLES = {
    COUNT: "Sign tracks proposed from pixels",
    PRECISION: "Precision of proposed tracks over pairs of images, on training tracks",
    RECALL: "Recall of proposed tracks over pairs of images, on training tracks",
}


@dataclass(frozen=True, eq=False)
class Recovery:
    """Proposed tracks of the test images, and the same method on recorded training tracks.

    proposed: int64 [N]; None where none are proposed.
    metrics: number of proposed tracks, precision and recall.
    images, recorded, found: training images, their recorded tracks, and the tracks proposed for them; 0 where not measured.
    """

    proposed: np.ndarray | None
    metrics: list[Metric]
    images: int = 0
    recorded: int = 0
    found: int = 0


def recovery(inputs: AuditInputs, settings: DataQualitySettings) -> Recovery:
    """Propose tracks where the test images have no recorded ones, and measure the method on training tracks."""
    test = inputs.test
    if test.tracks is not None and test.tracks_origin != RECOVERED:
        return _undefined("the test images have recorded tracks", len(test))
    if settings.track_images == 0:
        return _undefined("track_images is 0", len(test))
    if test.frames_per_sign == 1:
        return _undefined("every image is declared another sign (frames_per_sign = 1)", len(test))
    inputs.progress("propose sign tracks", 0, 2)
    proposed = test.tracks if test.tracks is not None else _stored(inputs, test, "proposed-tracks")
    count = Metric.count(COUNT, TITLES[COUNT], len(np.unique(proposed)), len(test), direction="up")
    inputs.progress("propose sign tracks", 1, 2)
    sample = measured_sample(inputs.train, test, settings.track_images, inputs.seed)
    if sample is None:
        reason = "the training images have no recorded tracks on which the method could be measured"
        return Recovery(proposed, [count, *_undefined(reason, 0).metrics[1:]])
    tracks = _stored(inputs, sample, "training-tracks")
    inputs.progress("propose sign tracks", 2, 2)
    assert sample.tracks is not None
    agreed = agreement(tracks, sample.tracks)
    together, in_proposed, in_recorded = pair_counts(tracks, sample.tracks)
    metrics = [
        _share(PRECISION, together, in_proposed, sample, inputs.seed, settings.bootstrap),
        _share(RECALL, together, in_recorded, sample, inputs.seed, settings.bootstrap),
    ]
    return Recovery(proposed, [count, *metrics], len(sample), agreed.recorded, agreed.proposed)


def proposal(
    test: ImageDataset, train: ImageDataset | None, seed: int
) -> tuple[str, int, float | None, float | None]:
    """Return a table of proposed tracks for `safeml.data.image_tables.with_tracks`, their number, and precision and recall.

    Precision and recall are those of training tracks; None without any.
    """
    proposed = recovered_tracks(test.images, test.labels, track_sizes(test), seed)
    names = (
        [str(number) for number in numbers(test)]
        if test.files is None
        else [str(file) for file in test.files]
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((IMAGE, TRACK, ORIGIN))
    writer.writerows((name, int(track), RECOVERED) for name, track in zip(names, proposed, strict=True))
    count = len(np.unique(proposed))
    sample = measured_sample(train, test, DataQualitySettings().track_images, seed)
    if sample is None or sample.tracks is None:
        return text.getvalue(), count, None, None
    agreed = agreement(
        recovered_tracks(sample.images, sample.labels, track_sizes(sample), seed), sample.tracks
    )
    return text.getvalue(), count, agreed.precision, agreed.recall


def measured_sample(
    train: ImageDataset | None, test: ImageDataset, most: int, seed: int
) -> ImageDataset | None:
    """Draw whole training tracks, at most `most` images, thinned to as many frames a track as the test set declares."""
    if train is None or train.tracks is None or train.tracks_origin == RECOVERED:
        return None
    rng = np.random.default_rng([seed, 0x7C])
    tracks, of_image, sizes = np.unique(train.tracks, return_inverse=True, return_counts=True)
    frames = (
        np.minimum(sizes, max(2, math.ceil(test.frames_per_sign or math.inf)))
        if test.frames_per_sign
        else sizes
    )
    order = rng.permutation(len(tracks))
    chosen = np.zeros(len(tracks), bool)
    chosen[order[np.cumsum(frames[order]) <= most]] = True
    if chosen.sum() < 2:
        return None
    shuffled = rng.permutation(len(train))
    places = np.argsort(of_image[shuffled], kind="stable")
    ranks = np.empty(len(train), np.int64)
    starts = np.cumsum(sizes) - sizes
    ranks[shuffled[places]] = np.arange(len(train)) - starts[of_image[shuffled[places]]]
    return train.take(np.flatnonzero(chosen[of_image] & (ranks < frames[of_image])))


def track_sizes(data: ImageDataset) -> np.ndarray | None:
    """Return the side of each original image in pixels, float64 [N]; None where it is not known."""
    if data.original_size is None:
        return None
    sides: np.ndarray = np.sqrt(data.original_size.astype(np.float64).prod(axis=1))
    return sides


def _stored(inputs: AuditInputs, data: ImageDataset, item: str) -> np.ndarray:
    def measure() -> dict[str, np.ndarray]:
        return {"tracks": recovered_tracks(data.images, data.labels, track_sizes(data), inputs.seed)}

    form = {"tracks": ("int64", (len(data),))}
    sizes = track_sizes(data)
    parts = {"data": data.fingerprint, "sizes": None if sizes is None else round(float(sizes.sum()), 3)}
    return inputs.work(item, parts, form, measure)["tracks"]


def _share(
    name: str, together: np.ndarray, pairs: np.ndarray, sample: ImageDataset, seed: int, resamples: int
) -> Metric:
    def statistic(rows: np.ndarray) -> float:
        whole = float(pairs[rows].sum())
        return float(together[rows].sum()) / whole if whole else math.nan

    return bootstrap_metric(
        name,
        TITLES[name],
        statistic,
        len(sample),
        clustering=Clustering(sample.tracks),
        direction="up",
        unit="proportion",
        seed=seed,
        resamples=resamples,
        bounds=(0.0, 1.0),
    )


def _undefined(reason: str, n: int) -> Recovery:
    metrics = [
        Metric.undefined(name, title, reason, unit="count" if name == COUNT else "proportion", n=n)
        for name, title in TITLES.items()
    ]
    return Recovery(None, metrics)


def recovery_findings(found: Recovery, test: ImageDataset) -> list[Finding]:
    """Propose the tracks, or say that the intervals depend on accepted ones."""
    if found.proposed is None:
        return []
    count, precision, recall = found.metrics
    trust = (
        f"On training tracks, {percent(precision.value)} of the pairs of images that it puts in one track belong together, and it puts "
        f"together {percent(recall.value)} of those that do."
        if precision.value is not None
        else f"How far to trust them is not known: {precision.reason}."
    )
    if test.tracks_origin == RECOVERED:
        return [
            Finding(
                code="recovered-tracks-used",
                severity="warning",
                message=f"The {number(count.value)} sign tracks of the test images were recovered from pixels, and every interval of this report "
                f"depends on them. {trust}",
                remedy="Record the tracks when images are taken; or remove tracks from [data.test] and declare frames_per_sign.",
                evidence={"tracks": int(count.value or 0)},
            )
        ]
    return [
        Finding(
            code="tracks-proposed",
            severity="info",
            message=f"The test images have no recorded sign tracks; from their pixels, {counted(int(count.value or 0), 'track')} are proposed and used "
            f"nowhere. {trust}",
            remedy="`safeml data tracks` writes them to a file; look at it, and name it as tracks in [data.test] only if you accept it.",
            evidence={"tracks": int(count.value or 0)},
        )
    ]


def recovery_table(found: Recovery, test: ImageDataset) -> Table | None:
    """Relate the proposed to the recorded numbers of tracks; None where none are proposed."""
    if found.proposed is None:
        return None
    count, precision, recall = found.metrics
    declared = None if test.frames_per_sign is None else round(len(test) / test.frames_per_sign)
    recorded = declared if test.tracks is None else None
    rows: list[list[Scalar]] = [["test", len(test), int(count.value or 0), recorded, None, None]]
    if found.images:
        rows.append(
            ["training tracks", found.images, found.found, found.recorded, precision.value, recall.value]
        )
    return Table(
        id="track-recovery",
        title="Sign tracks proposed from pixels",
        columns=[
            Column(key="images_of", label="Images of"),
            Column(key="images", label="Images", kind="number"),
            Column(key="proposed", label="Proposed tracks", kind="number"),
            Column(key="recorded", label="Recorded or declared", kind="number"),
            Column(key="precision", label="Precision", kind="percent"),
            Column(key="recall", label="Recall", kind="percent"),
        ],
        rows=rows,
        caption="Precision and recall are over pairs of images. Too many proposed tracks make intervals too narrow. The constants of the method were "
        "chosen on GTSRB training tracks; on other data it may be worse.",
    )
