"""The stage *training*: what the manifest of `safeml train` records."""

from __future__ import annotations

from safeml.stages.base import Declared, Stage, StageTable


class TrainingSettings(StageTable):
    """The training stage reports on the manifest that `safeml train` wrote beside the model."""


TRAINING = Stage(
    name="training",
    title="Training",
    summary="curves, the checkpoint chosen by ModelCheckpoint and why, what a random split would have claimed, what to doubt",
    settings=TrainingSettings,
    run="safeml.audits.training.run:run",
    records=lambda settings: (
        Declared("validation_accuracy_chosen"),
        Declared("train_validation_gap", "down", -1.0),
    ),
    images=lambda settings: 0,
    needs=("manifest",),
    perfect="safeml.audits.training.perfect:PERFECT",
)
