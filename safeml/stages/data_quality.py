"""The stage *data quality*: near duplicates, generated images, labels that may be incorrect, poor images, sign tracks from pixels."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from safeml.results import Alarm
from safeml.stages.base import Declared, Stage, StageTable, at_most, count

Role = Literal["test", "valid", "train"]
SPLITS = ("split:test", "split:train", "split:valid")
CANDIDATES = "candidates are for a person to judge; their number is no quality of the data or the model"
OF_THE_TRACKS = "it describes the proposed sign tracks and not the model"
# Near duplicates of at most this share of the test images change the accuracy by at most 0.1 points. An alarm and no default gate reads
# it: a person has to look at each pair, because two frames of two signs of one class can be as alike.
NEGLIGIBLE = 0.001


def _once(value: tuple[Role, ...]) -> tuple[Role, ...]:
    if len(set(value)) != len(value):
        raise ValueError("repeats a split; name each once")
    return value


class DataQualitySettings(StageTable):
    """Settings of the stage.

    most_images: near duplicates are searched for in splits of at most this many images; the time grows with the square. In a larger
        split they are not searched for, and the metrics are undefined.
    label_splits: the splits whose labels are compared with the predictions: "test", "valid", "train". A model has learnt the labels of
        "train", so that its predictions there find few errors.
    track_images: training images, in whole sign tracks, on which the recovery of sign tracks is measured; 0 for no recovery. It is only
        used where the test images have no recorded tracks.
    bootstrap: resamples for the intervals of that measurement.
    """

    most_images: int = Field(default=60_000, ge=100, le=1_000_000)
    label_splits: Annotated[tuple[Role, ...], AfterValidator(_once)] = ("test", "valid")
    track_images: int = Field(default=6000, ge=0, le=100_000)
    bootstrap: int = Field(default=200, ge=100, le=100_000)


ALARMS = (
    Alarm(
        metric="near_duplicates",
        slices=["split:train", "split:valid"],
        direction="down",
        level=NEGLIGIBLE,
        sentence="Test images are near duplicates of images on which the model was trained or its checkpoint chosen.",
    ),
    Alarm(
        metric="generated_images",
        slices=["split:test", "split:valid"],
        direction="down",
        level=0,
        sentence="Generated images are among those that judge the model or choose its checkpoint; only photographs may.",
    ),
    Alarm(
        metric="generated_copies",
        direction="down",
        level=0,
        sentence="Generated training images are near duplicates of test images: what generated them has seen these.",
    ),
)


def _records(settings: DataQualitySettings) -> tuple[Declared, ...]:
    return (
        Declared("near_duplicates", "down", slices=("split:test", "split:train", "split:valid"), counted=True),
        count("generated_images", ("split:test", "split:valid")),
        count("generated_copies"),
        count(
            "label_error_candidates",
            tuple(f"split:{role}" for role in settings.label_splits),
            weak=CANDIDATES,
            context=CANDIDATES,
        ),
        count("quality_outliers", SPLITS, context="performance measures the groups of dark, blurred and small images"),
        Declared(
            "recovered_tracks", "up", 0.0, math.inf, counted=True, whole=True, weak=OF_THE_TRACKS, context=OF_THE_TRACKS
        ),
        Declared("track_recovery_precision", weak=OF_THE_TRACKS, context=OF_THE_TRACKS),
        Declared("track_recovery_recall", weak=OF_THE_TRACKS, context=OF_THE_TRACKS),
    )  # fmt: skip


def _quick(settings: DataQualitySettings, gated: frozenset[str]) -> DataQualitySettings:
    """Search near duplicates in large splits only where a gate reads them."""
    few = at_most(settings, track_images=1000, bootstrap=100)
    return few if "near_duplicates" in gated else at_most(few, most_images=5000)


DATA_QUALITY = Stage(
    name="data_quality",
    title="Data quality",
    summary="near duplicates within and between splits, generated images, labels that may be incorrect, dark, blurred and "
    "flat images, sign tracks proposed from pixels",
    settings=DataQualitySettings,
    run="safeml.audits.data_quality.run:run",
    records=_records,
    alarms=lambda settings: ALARMS,
    alarms_expected=False,
    quick=_quick,
    perfect="safeml.audits.data_quality.perfect:PERFECT",
)
