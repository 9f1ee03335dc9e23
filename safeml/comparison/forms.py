"""In which form a model was audited: the float model, or a file that was made of it. Numbers of two forms are two lines."""

from __future__ import annotations

from pathlib import PurePath

from safeml.results import MODEL, Run, StageResult

FLOAT, INT8, ONNX = "float model", "INT8 file", "ONNX file"
# Where the stages record what they opened.
CONVERSION, SIZE = "conversion", "Size"
MODEL_FILE, FORMAT = "model", "Format"


def form_of(run: Run) -> str:
    """Return FLOAT, INT8, the name of another file of an export, or ONNX for a file of unknown origin.

    A file of `safeml export` is known by the stage conversion, which records its name. A run without that stage cannot show whether an
    ONNX file is quantized.
    """
    name = PurePath(_fact(run, CONVERSION, SIZE)[1]).name
    if name:
        return INT8 if name.startswith("model.int8") else f"exported file {name}"
    return ONNX if _fact(run, MODEL_FILE, FORMAT)[0] == ONNX else FLOAT


def _fact(run: Run, stage: str, label: str) -> tuple[str, str]:
    """Return value and detail of a fact of a measured stage; empty texts where it is not recorded."""
    measured: list[StageResult] = [
        entry for entry in run.stages if (entry.subject, entry.stage, entry.status) == (MODEL, stage, "ok")
    ]
    facts = [fact for entry in measured for fact in entry.facts if fact.label == label]
    return (str(facts[0].value), str(facts[0].detail)) if facts else ("", "")
