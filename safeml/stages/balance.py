"""The stage *class balance*: class counts, recall against class size, and images or sign tracks that splits share."""

from __future__ import annotations

import math

from pydantic import Field

from safeml.results import Alarm, Gate
from safeml.stages.base import Declared, Stage, StageTable, at_most, count

SPLITS = ("split:test", "split:train", "split:valid")
SHARED = ("all", "split:train", "split:valid")
# What needs no classes: a regression has these, too.
LEAKAGE = ("test_duplicates", "shared_duplicates", "shared_tracks")
OF_THE_DATA = "it describes the data and not the model"
# The default gates read the training split; what is beyond it is shared with the validation split.
ALARMS = (
    Alarm(
        metric="shared_duplicates",
        direction="down",
        level=0,
        sentence="Test images are also in another split, on which the model was trained or its checkpoint chosen.",
    ),
    Alarm(
        metric="shared_tracks",
        direction="down",
        level=0,
        sentence="Test images show signs of another split, on which the model was trained or its checkpoint chosen.",
    ),
)


class BalanceSettings(StageTable):
    """Settings of the stage.

    min_images: a class with fewer images in a split counts as small.
    min_signs: a class with fewer sign tracks in a split counts as small. One sign of ten changes the recall by ten points.
    bootstrap: resamples for the interval of the rank correlation.
    """

    min_images: int = Field(default=150, ge=1, le=1_000_000)
    min_signs: int = Field(default=10, ge=1, le=1_000_000)
    bootstrap: int = Field(default=200, ge=100, le=100_000)


BALANCE = Stage(
    name="balance",
    title="Class balance",
    summary="imbalance, entropy, small classes by images and by sign tracks, recall against class size, exact duplicates and "
    "sign tracks shared between splits",
    settings=BalanceSettings,
    run="safeml.audits.balance.run:run",
    records=lambda settings: (
        Declared("imbalance_ratio", "down", 1.0, math.inf, SPLITS, counted=True, context=OF_THE_DATA),
        Declared("effective_classes", "up", 0.0, math.inf, SPLITS, counted=True, context=OF_THE_DATA),
        Declared("normalised_entropy", slices=SPLITS, counted=True, plain=True, context=OF_THE_DATA),
        count("small_classes", SPLITS, context=OF_THE_DATA),
        count("classes_of_few_signs", SPLITS, context=OF_THE_DATA),
        Declared(
            "recall_by_class_size",
            "down",
            -1.0,
            1.0,
            plain=True,
            context="recall_worst_class has the weakest class, whatever its size",
        ),
        count("test_duplicates", context=OF_THE_DATA),
        count("shared_duplicates", SHARED),
        count("shared_tracks", SHARED),
    ),
    gates=(
        Gate(
            id="shared-duplicates",
            title="Test images that are also training images",
            stage="balance",
            metric="shared_duplicates",
            slice="split:train",
            op="==",
            threshold=0,
            rationale="A shared image tests memorisation, not recognition: none is allowed.",
        ),
        Gate(
            id="shared-tracks",
            title="Sign tracks in both training and test data",
            stage="balance",
            metric="shared_tracks",
            slice="split:train",
            op="==",
            threshold=0,
            rationale="Frames of one sign in both splits test memorisation: none is allowed. "
            "Remove this gate if the data have no track ids.",
        ),
    ),
    alarms=lambda settings: ALARMS,
    needs=("manifest",),
    heads=("classification", "regression"),
    quick=lambda settings, gated: at_most(settings, bootstrap=100),
    perfect="safeml.audits.balance.perfect:PERFECT",
)
