"""The checks of an export that need no GPU. A row says which files it judges; a file that a check fails is not released.

A row for another format names a function of another module: it is imported when the check runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from safeml.classifiers.twin import MOST_DIFFERENCE
from safeml.errors import InputRefused
from safeml.export.checks import Check
from safeml.export.ends import LOGITS, PROBABILITIES
from safeml.export.linter import HALF, INT8, RULES, Exemption, Target, errors, int8_share, lint
from safeml.export.material import FLOAT_KERAS, INT8_KERAS, Material
from safeml.scan.sources import INT8_FILE

INT8_ONNX, FLOAT_ONNX, HALF_ONNX = INT8_FILE, "model.float.onnx", "model.int8-fp16.onnx"
TFTRT, INT8_LITERT, FLOAT_LITERT = "tftrt", "model.int8.tflite", "model.float.tflite"
# Above, the emulator takes minutes.
EMULATED_MULTIPLICATIONS = 60_000_000
EMULATED_IMAGES = 4
LEAST_AGREEMENT = 0.99
REAL_IMAGES = "Its agreement was not measured: give real images with --images FILE.npz."
FLOAT_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class Row:
    """A check.

    name: as in export.json and `--skip`.
    files: what it judges.
    run: returns the outcome.
    agrees: it counts how often two forms of the model give the same class, so it needs real images: the two largest logits of
        made ones are too near to each other.
    """

    name: str
    files: tuple[str, ...]
    run: Callable[[Material], Check]
    agrees: bool = False


def int8_file(material: Material) -> Check:
    """Write the INT8 file, and lint it."""
    from safeml.export.onnx import export_onnx

    export = export_onnx(
        material.model, material.work / INT8_ONNX, material.batch, material.opset, INT8_KERAS
    )
    return _linted("lint", export.model, INT8, material)


def _linted(name: str, model: Any, target: Target, material: Material) -> Check:
    exemptions = [
        Exemption("kernel-quantized", layer, reason) for layer, reason in material.keep_float.items()
    ]
    covered = {finding.node for finding in lint(model, target) if finding.rule == "kernel-quantized"}
    used = [row for row in exemptions if any(node.startswith(f"{row.node}/") for node in covered)]
    findings = lint(model, target, used)
    share, count = int8_share(model)
    left = [str(finding) for finding in errors(findings)]
    exempted = [f"{finding}: {finding.exemption}" for finding in findings if finding.exemption]
    facts = {
        "rules": len(RULES),
        "findings": left,
        "exempted": exempted,
        "int8_share": share,
        "multiplications": count,
    }
    if left:
        return Check(name, "failed", f"The linter has {len(left)} findings; the first is {left[0]}.", facts)
    words = f"{len(RULES)} rules hold; {share:.1%} of {count:,} multiply-accumulates are in INT8"
    words += f"; {len(exempted)} findings are exempted" if exempted else ""
    return Check(name, "passed", f"{words}.", facts)


def sparse(material: Material) -> Check:
    """Check the kernels of pruned layers in the INT8 file."""
    import onnx

    from safeml.export.sparsity import check

    return check(onnx.load(str(material.work / INT8_ONNX)), material.sparse)


def parity(material: Material) -> Check:
    """Compare the INT8 file with the fake-quantized Keras model."""
    from safeml.export.parity import compare

    result = compare(material.model, material.work / INT8_ONNX, material.images, material.values)
    facts = {**result.as_json(), "images_from": material.images_from}
    words = (
        f"{len(result.flips)} of {result.images} images ({material.images_from}) change their class between Keras and ONNX "
        f"Runtime without optimizations{', each at a rounding tie' if result.flips else ''}; the largest difference of an output is {result.max_difference:.3g}. "
        f"With optimizations, {len(result.optimized_flips)} more change"
    )
    if material.values:
        words = (
            f"The values of {result.images} images ({material.images_from}) differ between Keras and ONNX Runtime by {result.difference:.2%} of "
            f"their spread, at most {result.max_difference:.3g}; with optimizations by {result.optimized_max_difference:.3g}"
        )
    if result.unexplained:
        flip = result.unexplained[0]
        return Check(
            "parity",
            "failed",
            f"{len(result.unexplained)} of {result.images} images change their class without a rounding tie; image {flip.image} at "
            f"{flip.quantizer or 'the logits'}, {flip.tie_distance:.3g} steps from one.",
            facts,
        )
    if not np.isfinite(result.max_difference):
        return Check("parity", "failed", "The outputs are not finite.", facts)
    if not result.difference <= MOST_DIFFERENCE:
        return Check(
            "parity",
            "failed",
            f"The outputs of {result.images} images ({material.images_from}) differ by {result.difference:.1%} of their size; expected "
            f"at most {MOST_DIFFERENCE:.0%}.",
            facts,
        )
    return Check("parity", "passed", f"{words}.", facts)


def emulated(material: Material) -> Check:
    """Compare the INT8 file in ONNX Runtime with the integer emulator, code by code."""
    import onnx

    from safeml.export.agreement import codes

    model = onnx.load(str(material.work / INT8_ONNX))
    _, count = int8_share(model)
    if count > EMULATED_MULTIPLICATIONS:
        return Check(
            "emulator",
            "not_run",
            f"The model has {count:,} multiply-accumulates; the emulator takes at most {EMULATED_MULTIPLICATIONS:,}.",
        )
    try:
        return codes(model, material.images[:EMULATED_IMAGES])
    except InputRefused as error:
        return Check("emulator", "not_run", str(error))


def float_file(material: Material) -> Check:
    """Write the float file, and compare it with the float Keras model."""
    from safeml.export.onnx import export_onnx
    from safeml.export.parity import predict
    from safeml.export.sessions import outputs, session

    if material.float_model is None:
        return Check("float", "not_run", "There is no float.keras beside the quantized model.")
    export = export_onnx(
        material.float_model, material.work / FLOAT_ONNX, material.batch, material.opset, FLOAT_KERAS
    )
    name = PROBABILITIES if PROBABILITIES in export.outputs else LOGITS
    (given,) = outputs(session(export.model), material.images, [name])
    expected = predict(material.float_model, material.images)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(given - expected).max())
    facts = {"images": len(given), "largest_difference": difference}
    if not difference <= FLOAT_DIFFERENCE * scale:
        return Check(
            "float",
            "failed",
            f"Its outputs differ by {difference:.3g}; expected at most {FLOAT_DIFFERENCE * scale:.3g}.",
            facts,
        )
    return Check(
        "float",
        "passed",
        f"Its outputs differ from the float Keras model by at most {difference:.3g}.",
        facts,
    )


def half_file(material: Material) -> Check:
    """Write the variant with FP16 outside the quantizers, lint it and count how often it agrees with the INT8 file."""
    import onnx

    from safeml.export.half import half
    from safeml.export.sessions import outputs, session

    model = onnx.load(str(material.work / INT8_ONNX))
    try:
        variant = half(model, INT8_ONNX)
    except InputRefused as error:
        return Check("half", "not_run", str(error))
    (material.work / HALF_ONNX).write_bytes(variant.SerializeToString(deterministic=True))
    check = _linted("half", variant, HALF, material)
    if check.status == "passed" and not material.real:
        return replace(check, status="not_run", reason=f"{REAL_IMAGES} {check.reason}")
    rows = [outputs(session(each), material.images, [LOGITS])[0] for each in (model, variant)]
    agreement = float((rows[0].argmax(1) == rows[1].argmax(1)).mean())
    facts = {**check.facts, "agreement": agreement, "images": len(rows[0])}
    words = f"It gives the class of the INT8 file for {agreement:.1%} of {len(rows[0])} images"
    if check.status == "passed" and not agreement >= LEAST_AGREEMENT:
        return Check("half", "failed", f"{words}; expected at least {LEAST_AGREEMENT:.0%}.", facts)
    return replace(check, reason=f"{words}. {check.reason}", facts=facts)


def elsewhere(name: str, module: str, call: Callable[[Any, Material], Check]) -> Callable[[Material], Check]:
    """Return a check by another module of this package; a module that is not there is "not_run"."""

    def run(material: Material) -> Check:
        if find_spec(module) is None:
            return Check(name, "not_run", f"This version of safeml has no {module}.")
        return replace(call(import_module(module), material), name=name)

    return run


def built(name: str, file: str, int8: bool = True) -> Row:
    """Return the check of one ONNX file by TensorRT for RTX. int8: its layers must compute on INT8 inputs."""

    def run(material: Material) -> Check:
        from safeml.export.tensorrt_rtx import check

        if not (material.work / file).is_file():
            return Check(name, "not_run", f"{file} was not written.")
        return replace(check(material.work / file, int8=int8), name=name)

    return Row(name, (file,), run)


ROWS = (
    Row("lint", (INT8_ONNX,), int8_file),
    Row("parity", (INT8_ONNX,), parity),
    Row("emulator", (INT8_ONNX,), emulated),
    Row("sparsity", (INT8_ONNX,), sparse),
    Row("float", (FLOAT_ONNX,), float_file),
    Row("half", (HALF_ONNX,), half_file),
    built("tensorrt_rtx", INT8_ONNX),
    built("tensorrt_rtx_float", FLOAT_ONNX, int8=False),
    built("tensorrt_rtx_half", HALF_ONNX),
    Row(
        "tftrt",
        (TFTRT,),
        elsewhere(
            "tftrt",
            "safeml.export.tftrt",
            lambda module, m: module.write(m.model, m.work / TFTRT, m.images, keep_float=tuple(m.keep_float)),
        ),
        agrees=True,
    ),
    Row(
        "litert",
        (INT8_LITERT, FLOAT_LITERT),
        elsewhere(
            "litert",
            "safeml.export.litert",
            lambda module, m: module.check(m.model, m.work, m.images, m.images),
        ),
        agrees=True,
    ),
)
# Without the file of this check no other can run.
FIRST = ROWS[0].name
