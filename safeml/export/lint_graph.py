"""Linter rules on operators, quantizers, fusions, shapes and the ends of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from safeml.export.ends import BATCH, FEATURES, IMAGE, LOGITS, PROBABILITIES
from safeml.export.graph import DEQUANTIZE, QUANTIZE, attribute
from safeml.export.lint_view import View

Fault = tuple[str, str]
INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
# TensorRT fuses these into the convolution before them, unless a quantizer lies between.
FUSED = ("Relu", "Clip", "LeakyRelu", "BatchNormalization")
AFFINE = ("Mul", "Add", "Sub", "Div")


def inside(view: View, target: Any) -> Iterator[Fault]:
    """Yield initializers whose values are in another file."""
    for tensor in view.model.graph.initializer:
        if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
            yield tensor.name, "its values are in another file; expected all values in the ONNX file"


def known_operators(view: View, target: Any) -> Iterator[Fault]:
    """Yield nodes that the default operator set of the file does not have."""
    from onnx import defs

    for node in view.graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield (
                node.name,
                f"{node.op_type} is of the domain {node.domain}; expected operators of ONNX alone",
            )
        elif not defs.has(node.op_type, max_inclusive_version=max(1, view.graph.opset)):
            yield node.name, f"{node.op_type} is no operator of ONNX opset {view.graph.opset}"


def explicit(view: View, target: Any) -> Iterator[Fault]:
    """Yield operators that compute on integers themselves."""
    for node in view.nodes(*INTEGER_OPERATORS):
        yield (
            node.name,
            f"{node.op_type} is no explicit quantization; expected QuantizeLinear and DequantizeLinear around a float operator",
        )


def no_uint8(view: View, target: Any) -> Iterator[Fault]:
    """Yield stored values, ends and casts of type uint8."""
    from onnx import TensorProto

    for name, array in view.graph.arrays.items():
        if array.dtype == np.uint8:
            yield name, "is uint8; expected int8: TensorRT reads uint8 as int8 and warns only"
    for value in (*view.graph.inputs, *view.graph.outputs):
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            yield value.name, "is uint8; expected float32"
    for node in view.nodes("Cast"):
        if attribute(node, "to") == TensorProto.UINT8:
            yield node.name, "casts to uint8; expected int8 or float"


def zero_points(view: View, target: Any) -> Iterator[Fault]:
    """Yield quantizers whose zero point is not a stored int8 zero."""
    biases = {view.bias(node)[0] for node in view.weighted}
    for node in view.nodes(QUANTIZE, DEQUANTIZE):
        if node.op_type == DEQUANTIZE and node.output[0] in biases:
            continue  # `bias-float` reports it
        if len(node.input) < 3 or not node.input[2]:
            yield node.name, "has no zero point, which means uint8; expected an int8 zero"
            continue
        values = view.array(node.input[2])
        if values is None:
            yield node.name, "its zero point is computed in the graph; expected a stored int8 zero"
        elif values.dtype not in (np.int8, np.uint8):
            yield node.name, f"its zero point is {values.dtype}; expected int8"
        elif values.any():
            yield (
                node.name,
                f"its zero point is {int(values.reshape(-1)[values.reshape(-1) != 0][0])}; expected 0",
            )


def scales(view: View, target: Any) -> Iterator[Fault]:
    """Yield quantizers whose scale is not a stored, finite, normal, positive number."""
    for node in view.nodes(QUANTIZE, DEQUANTIZE):
        values = view.array(node.input[1])
        if values is None:
            yield node.name, "its scale is computed in the graph; expected a stored scale"
        elif values.dtype not in target.scale_types:
            names = " or ".join(str(np.dtype(kind)) for kind in target.scale_types)
            yield node.name, f"its scale is {values.dtype}; expected {names}"
        elif not (np.isfinite(values).all() and (values >= np.finfo(values.dtype).tiny).all()):
            yield node.name, "a scale is not finite, not positive or too small for its type"


def pairs(view: View, target: Any) -> Iterator[Fault]:
    """Yield quantizers without their other half, or whose halves differ in scale or axis."""
    outputs = view.graph.output_names()
    for node in view.nodes(QUANTIZE):
        readers = view.consumers.get(node.output[0], [])
        if (
            not readers
            or node.output[0] in outputs
            or any(reader.op_type != DEQUANTIZE for reader in readers)
        ):
            yield node.name, "its codes are not read by DequantizeLinear alone"
    for node in view.nodes(DEQUANTIZE):
        quantize = view.quantize_of(node)
        if quantize is None:
            stored = view.array(node.input[0])
            if stored is None or stored.dtype.kind not in "iu":
                yield node.name, "no QuantizeLinear is in front of it"
            continue
        first, second = view.array(quantize.input[1]), view.array(node.input[1])
        if first is None or second is None:
            continue
        axes = [attribute(half, "axis", 1) for half in (quantize, node)]
        if not np.array_equal(first, second, equal_nan=True) or (first.size > 1 and axes[0] != axes[1]):
            yield node.name, f"its scale or axis is not that of {quantize.name}"


def residual(view: View, target: Any) -> Iterator[Fault]:
    """Yield additions behind an INT8 convolution that do not quantize exactly the other branch."""
    for node in view.nodes("Add"):
        if any(view.is_stored(name) for name in node.input):
            continue
        quantizers = [view.activation_quantizer(name, ()) for name in node.input]
        sources = [
            view.producers.get(name if quantizer is None else _quantized(view, quantizer))
            for name, quantizer in zip(node.input, quantizers, strict=True)
        ]
        if not any(
            s is not None and s.op_type in ("Conv", "ConvTranspose") and view.is_int8(s) for s in sources
        ):
            continue
        count = sum(quantizer is not None for quantizer in quantizers)
        if count != 1:
            yield (
                node.name,
                f"{count} of its branches are quantized; expected one, the identity, so that it is fused with the convolution",
            )


def _quantized(view: View, dequantize: Any) -> str:
    quantize = view.quantize_of(dequantize)
    return str(quantize.input[0]) if quantize is not None else ""


def fusions(view: View, target: Any) -> Iterator[Fault]:
    """Yield quantizers between a weighted operator and the activation or normalisation behind it."""
    for node in view.nodes(QUANTIZE):
        before = view.producers.get(node.input[0])
        if before is None or (before not in view.weighted and not _adds_bias(view, before)):
            continue
        for dequantize in view.consumers.get(node.output[0], []):
            for after in view.consumers.get(dequantize.output[0], []):
                affine = after.op_type in AFFINE and any(view.is_stored(name) for name in after.input)
                if after.op_type in FUSED or affine:
                    yield (
                        node.name,
                        f"is between {before.name} and {after.name}; expected it behind {after.op_type}",
                    )


def _adds_bias(view: View, node: Any) -> bool:
    return node.op_type == "Add" and any(view.bias(other)[1] is node for other in view.weighted)


def concat_scales(view: View, target: Any) -> Iterator[Fault]:
    """Yield concatenations of quantized tensors that do not share one scale."""
    for node in view.nodes("Concat"):
        names = [name for name in node.input if not view.is_stored(name)]
        quantizers = [view.activation_quantizer(name) for name in names]
        if not any(quantizers):
            continue
        values = [None if q is None else view.array(q.input[1]) for q in quantizers]
        stored = [value for value in values if value is not None]
        if len(stored) < len(values) or any(not np.array_equal(value, stored[0]) for value in stored):
            yield node.name, "its inputs have different scales; expected one scale for all"


def float_ends(view: View, target: Any) -> Iterator[Fault]:
    """Yield a softmax on INT8 values, and an output that is INT8 values."""
    for node in view.nodes("Softmax", "LogSoftmax"):
        if view.activation_quantizer(node.input[0]) is not None:
            yield node.name, "is computed on INT8 values; expected float"
    for name in (LOGITS, PROBABILITIES):
        producer = view.producers.get(name)
        if producer is not None and producer.op_type in (QUANTIZE, DEQUANTIZE):
            yield name, "is quantized; expected float"


def shapes(view: View, target: Any) -> Iterator[Fault]:
    """Yield ends with a dimension that is neither a number nor the batch, and shapes computed at run time."""
    batches = set()
    for value in (*view.graph.inputs, *view.graph.outputs):
        first, *rest = value.type.tensor_type.shape.dim or [None]
        if first is None or not (first.dim_value > 0 or first.dim_param == BATCH):
            yield value.name, f"its first dimension has no number and is not named `{BATCH}`"
            continue
        batches.add(first.dim_param or first.dim_value)
        if any(side.dim_value < 1 for side in rest):
            yield value.name, "has a dynamic dimension beside the batch; expected numbers"
    if len(batches) > 1:
        yield "", "its inputs and outputs have different batches"
    for node in view.nodes("Shape", "NonZero"):
        yield node.name, f"{node.op_type} computes a shape at run time; expected stored shapes"


def opset(view: View, target: Any) -> Iterator[Fault]:
    """Yield one fault where the operator set is out of the range of the target."""
    low, high = target.opsets
    if not low <= view.graph.opset <= high:
        yield "", f"is of opset {view.graph.opset}; expected {low} to {high}"


def ends(view: View, target: Any) -> Iterator[Fault]:
    """Yield missing inputs and outputs."""
    names = view.graph.output_names()
    if [value.name for value in view.graph.inputs] != [IMAGE]:
        yield (
            "",
            f"its inputs are {', '.join(value.name for value in view.graph.inputs)}; expected `{IMAGE}` alone",
        )
    expected = [LOGITS] if len(view.weighted) < 2 else [LOGITS, FEATURES]
    for name in expected:
        if name not in names:
            yield "", f"has no output `{name}`"
