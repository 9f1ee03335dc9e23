"""The stage *conversion*: whether the exported file says what TensorRT computes in INT8, and computes what its source does."""

from __future__ import annotations

from pydantic import Field

from safeml.results import Alarm, Gate
from safeml.stages.base import Stage, StageTable, at_most, count


class ConversionSettings(StageTable):
    """Settings of the stage. Without `export.json` beside the model it is not part of the run.

    images: number of test images on which the file and the model that gives its gradients predict.
    """

    images: int = Field(default=10_000, ge=1, le=1_000_000)


RECORDS = (
    count("linter_findings"),
    count("parity_flips"),
    count("failed_checks"),
    count("checks_not_run", context="what a machine cannot run is named with its reason, and is no failure"),
)

CONVERSION = Stage(
    name="conversion",
    title="Conversion",
    summary="with export.json beside the model: linter of its explicit INT8 quantization, parity with its source, which checks ran, sizes",
    settings=ConversionSettings,
    run="safeml.audits.conversion.run:run",
    records=lambda settings: RECORDS,
    gates=(
        Gate(
            id="linter",
            title="Findings of the linter of INT8 files",
            stage="conversion",
            metric="linter_findings",
            op="==",
            threshold=0,
            rationale="A file that breaks a rule is refused by TensorRT, or runs in float or on another grid without a message.",
        ),
        Gate(
            id="export-checks",
            title="Failed checks of the export",
            stage="conversion",
            metric="failed_checks",
            op="==",
            threshold=0,
            rationale="A check of the export that failed shows a file that is not what it should be.",
        ),
    ),
    alarms=lambda settings: (
        Alarm(
            metric="linter_findings",
            direction="down",
            level=0,
            sentence="TensorRT refuses such a file, or computes it in another way without a message.",
        ),
        Alarm(
            metric="failed_checks",
            direction="down",
            level=0,
            sentence="A file of the export is not what it should be.",
        ),
        Alarm(
            metric="parity_flips",
            direction="down",
            level=10,
            sentence="The file and its source predict another class for more images than rounding explains.",
        ),
    ),
    quick=lambda settings, gated: at_most(settings, images=1000),
    images=lambda settings: settings.images,
    heads=("classification", "regression"),
    needs=("export", "origin"),
    only_with="export",
    perfect="safeml.audits.conversion.run:PERFECT",
)
