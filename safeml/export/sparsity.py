"""The 2:4 pattern in the kernels of an exported file, as TensorRT reads them.

Legend: P positions of a kernel, I input channels, O output channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.export.checks import Check
from safeml.export.lint_view import View
from safeml.quantization.sparsity import violations

NAME = "sparsity"
NOT_PRUNED = "The model was not pruned in the pattern 2:4."


def check(model: Any, layers: tuple[str, ...]) -> Check:
    """Return whether the kernels of pruned layers have two zeros in each four consecutive input channels.

    model: onnx.ModelProto. layers: the layers of the quantized model that were pruned to 2:4.
    """
    if not layers:
        return Check(NAME, "not_run", NOT_PRUNED)
    view = View(model)
    facts = {"layers": len(layers), "groups": 0, "violations": 0}
    for layer in layers:
        nodes = [node for node in view.weighted if node.name.startswith(f"{layer}/")]
        kernel = input_major(view, nodes[0]) if len(nodes) == 1 else None
        if kernel is None:
            return Check(
                NAME,
                "not_run",
                f"The layer {layer} was pruned, and the file has no kernel of that name in a form that is checked.",
                facts,
            )
        broken = violations(kernel)
        positions, inputs, outputs = kernel.shape
        facts["groups"] += positions * -(-inputs // 4) * outputs
        facts["violations"] += broken
        if broken:
            return Check(
                NAME,
                "failed",
                f"{broken:,} groups of four input channels of the layer {layer} have more than two weights that are not 0.",
                facts,
            )
    return Check(
        NAME,
        "passed",
        f"All {facts['groups']:,} groups of four input channels of {len(layers)} pruned layers have at least two zeros.",
        facts,
    )


def input_major(view: View, node: Any) -> np.ndarray | None:
    """Return the INT8 codes of a Conv, Gemm or MatMul, or its weights in float, as [P, I, O]; None for another form."""
    kernel = view.kernel(node)
    if kernel is None or kernel.between or (kernel.codes is None and kernel.scale is not None):
        return None
    codes = kernel.values if kernel.codes is None else kernel.codes
    if node.op_type == "Conv" and codes.ndim >= 3:  # [O, I, height, width]
        outputs, inputs = codes.shape[:2]
        return codes.reshape(outputs, inputs, -1).transpose(2, 1, 0)
    if node.op_type in ("Gemm", "MatMul") and codes.ndim == 2:
        by_output = any(each.name == "transB" and each.i for each in node.attribute)
        return (codes.T if by_output else codes)[None]
    return None
