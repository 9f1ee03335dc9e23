"""The row of the toy stage, as another package would give it."""

from __future__ import annotations

from pydantic import Field

from safeml.results import Gate
from safeml.stages.base import NO_AUTHORITY, Declared, Stage, StageTable, at_most


class ToySettings(StageTable):
    """images: of a slice. seconds: that each slice takes. light: what is left of it in the dimmed images."""

    images: int = Field(default=8, ge=1)
    seconds: float = Field(default=0.04, ge=0, le=10)
    light: float = Field(default=0.5, ge=0, le=1)


TOY = Stage(
    name="toy",
    title="Toy corruption",
    summary="accuracy on dimmed images",
    settings=ToySettings,
    run="tests.toy.stage:run",
    records=lambda settings: (Declared("dimmed_accuracy"),),
    gates=(
        Gate(
            id="dimmed-accuracy",
            title="Accuracy on dimmed images",
            stage="toy",
            metric="dimmed_accuracy",
            op=">=",
            threshold=0.5,
            rationale=NO_AUTHORITY,
        ),
    ),
    quick=lambda settings, gated: at_most(settings, images=4),
    perfect="tests.toy.stage:PERFECT",
)
