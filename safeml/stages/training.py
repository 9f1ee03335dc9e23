"""The stage *training*: the manifest of `safeml train`."""

from __future__ import annotations

from safeml.stages.base import Declared, Stage, StageTable

FINDINGS = "the findings of the stage judge the training; a serious one prevents a pass"


class TrainingSettings(StageTable):
    """Settings of the stage; it has none beside `enabled`."""


TRAINING = Stage(
    name="training",
    title="Training",
    summary="learning curves, the selection of the checkpoint, inflation by a random split, doubts about the training",
    settings=TrainingSettings,
    run="safeml.audits.training.run:run",
    records=lambda settings: (
        Declared("validation_accuracy_chosen", context=FINDINGS),
        Declared("train_validation_gap", "down", -1.0, context=FINDINGS),
    ),
    images=lambda settings: 0,
    heads=("classification", "regression"),
    needs=("manifest",),
    perfect="safeml.audits.training.perfect:PERFECT",
)
