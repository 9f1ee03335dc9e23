"""The stage *quantization*: how the INT8 model was made, from the record of `safeml quantize`."""

from __future__ import annotations

from safeml.stages.base import Declared, Stage, StageTable

CHOICE = "measured on the validation images that chose the model; the other stages measure the file on the test images"


class QuantizationSettings(StageTable):
    """Settings of the stage. Without `quantization.json` beside the model it is not part of the run."""


QUANTIZATION = Stage(
    name="quantization",
    title="Quantization",
    summary="with quantization.json beside the model: validation accuracy of float, calibrated and trained INT8 model, which was chosen, "
    "error by layer",
    settings=QuantizationSettings,
    run="safeml.audits.quantization.run:run",
    records=lambda settings: (
        Declared("validation_accuracy_int8", context=CHOICE),
        Declared("validation_accuracy_drop", "down", -1.0, context=CHOICE),
    ),
    images=lambda settings: 0,
    needs=("quantization", "export", "origin"),
    only_with="quantization",
    perfect="safeml.audits.quantization.run:PERFECT",
)
