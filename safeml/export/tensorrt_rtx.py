"""Parse and ahead-of-time build of an ONNX file by TensorRT for RTX, on a machine without a GPU, in a child process."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safeml.export.checks import Check
from safeml.limits import GIB, MIB
from safeml.sandbox import Outcome, run_limited

NAME = "tensorrt_rtx"
PACKAGE = "tensorrt_rtx"
CHILD = "safeml.export.tensorrt_rtx_child:build"
# Of what tensorrt-rtx 1.7 offers, the nearest to the Jetson Orin: same generation, and the Orin's own SM87 is not offered.
TARGET = "SM86"
BATCHES = "1,8,32"
SECONDS = 300
MEMORY = 8 * GIB

PROVES = "The ONNX file parses at the default parser options of TensorRT for RTX {version} and builds ahead of time for {target}"
SHARE = ", with {int8_layers} of {weighted_layers} convolutions and matrix products on INT8 inputs"
LIMITS = (
    "It is no engine for a Jetson: SM87 (Orin) is not among the targets of TensorRT for RTX, and no engine was run. Build the"
    " engine on the device."
)
REMEDY = "Install it with: pip install 'safeml-suite[trt]'"

# TensorRT logs these as warnings and then builds an engine that computes something else than the file says.
ABOUT_TYPES = re.compile(
    r"u?int(4|8|16|32|64)|fp(4|8|16|32)|float|zero.?point|quanti[sz]|\btypes?\b|precision|\bcast|clamp",
    re.IGNORECASE,
)
# Every text about an error ends with this where there is no driver. It is the state of the machine.
NO_DRIVER = re.compile(
    r"^\[checkMacros.*cudaError 35.*$|^.*cudaError 35: CUDA driver version is insufficient.*$", re.MULTILINE
)


def check(onnx: Path, *, int8: bool = True, seconds: int = SECONDS) -> Check:
    """Return whether TensorRT for RTX takes the ONNX file at `onnx`.

    int8: the file must have layers that compute on INT8 inputs; False for the float export. seconds: wall-clock limit.
    Where the package is not installed, the status is "not_run".
    """
    if importlib.util.find_spec(PACKAGE) is None:
        return Check(NAME, "not_run", f"tensorrt-rtx is not installed. {REMEDY}")
    with tempfile.TemporaryDirectory(prefix="safeml-rtx-") as folder:
        copy = Path(folder, "model.onnx")  # the child may write into its folder
        shutil.copyfile(onnx, copy)
        outcome = run_limited(
            CHILD,
            {"path": str(copy), "target": TARGET, "batches": BATCHES},
            memory=MEMORY,
            seconds=seconds,
            files=64 * MIB,
            folders=(Path(folder),),
        )
    return judge(outcome, int8=int8)


def judge(outcome: Outcome, *, int8: bool = True) -> Check:
    """Return the check of what the child reported; see `check`."""
    if outcome.kind != "ok":
        ends = {"timeout": "did not end", "out of memory": "ran out of memory", "crashed": "crashed"}
        return Check(
            NAME, "failed", f"TensorRT for RTX {ends.get(outcome.kind, outcome.kind)}: {outcome.reason}."
        )
    reply = outcome.value
    if reply["missing"]:
        return Check(
            NAME, "not_run", f"tensorrt-rtx is installed and does not import: {reply['missing']}. {REMEDY}"
        )
    warnings = _unique(text for severity, text in reply["log"] if severity == "WARNING")
    errors = _unique(
        text for severity, text in reply["log"] if severity not in ("WARNING", "INFO", "VERBOSE")
    )
    facts = {
        **{key: reply[key] for key in ("version", "offered", "parsed", "engine_bytes", "dynamic", "layers")},
        **{key: reply[key] for key in ("quantize_layers", "weighted_layers", "int8_layers")},
        "target": TARGET,
        "warnings": warnings,
        "errors": _unique(reply["errors"]) or errors,
    }
    faults = _faults(facts, warnings, int8)
    if faults:
        return Check(NAME, "failed", "TensorRT for RTX does not take the file: " + " ".join(faults), facts)
    proves = (PROVES + SHARE if int8 else PROVES).format_map(facts)
    return Check(NAME, "passed", f"{proves}. {LIMITS}", facts)


def _faults(facts: dict[str, Any], warnings: list[str], int8: bool) -> list[str]:
    """Return a sentence for each reason to refuse."""
    other = {name: [axis for axis in axes if axis != 0] for name, axes in facts["dynamic"].items()}
    faults = [
        f"Input {name} has dynamic dimensions {axes} beside the batch; export it with a fixed image size."
        for name, axes in other.items()
        if axes
    ]
    faults += [f'Warning about types: "{text}".' for text in warnings if ABOUT_TYPES.search(text)]
    if facts["errors"]:
        faults += [f'Error: "{text}".' for text in facts["errors"]]
    elif not facts["parsed"]:
        faults.append("The parser refused it without a text.")
    if facts["parsed"] and not facts["engine_bytes"]:
        faults.append("It was parsed, and the build returned no engine.")
    if facts["parsed"] and int8 and not facts["int8_layers"]:
        faults.append(
            f"None of {facts['weighted_layers']} convolutions and matrix products has INT8 inputs; "
            "export the quantized model."
        )
    return faults


def _unique(texts: Any) -> list[str]:
    """Return each text once, in one line, without what it says about the missing driver."""
    short = (" ".join(NO_DRIVER.sub("", text).split()) or " ".join(text.split()) for text in texts)
    return list(dict.fromkeys(short))
