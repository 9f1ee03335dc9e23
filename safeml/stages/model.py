"""The stage *model file*: the scan, how the file was opened, the input contract."""

from __future__ import annotations

from safeml.stages.base import Stage, StageTable


class ModelFileSettings(StageTable):
    """Settings of the stage; disabling it hides the page but never skips the scan."""


MODEL = Stage(
    name="model",
    title="Model file",
    summary="the scan of the file, how it was opened, the input contract, which parts of it are not visible",
    settings=ModelFileSettings,
    run="safeml.audits.model:run",
    records=lambda settings: (),
    images=lambda settings: 0,
    needs=("origin", "contract"),
    heads=("classification", "regression"),
    perfect="safeml.audits.model:PERFECT",
)
