"""A third opinion in NumPy: an exported ONNX graph with the integer arithmetic of an INT8 engine. Legend: N images.

Where both inputs of a convolution or a product come from quantizers, it multiplies int8 codes, adds them up in int32 and rescales
once. ONNX Runtime without optimizations multiplies the dequantized floats. Both must give the same codes, but for values at a tie.
It is for small networks: it is correct first, and slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.errors import InputRefused
from safeml.export.ends import IMAGE
from safeml.export.graph import DEQUANTIZE, QUANTIZE, Graph, along, attribute, kernel_axis
from safeml.export.windows import averaged, convolved, pads, spread, windows

INT32 = 2**31


@dataclass(frozen=True)
class Coded:
    """What a DequantizeLinear gives, before it is turned into floats.

    codes: int32, of the same shape. scale: float32 scalar or one per channel of `axis`.
    """

    codes: np.ndarray
    scale: np.ndarray
    axis: int

    def floats(self) -> np.ndarray:
        """The values, float32."""
        return self.codes.astype(np.float32) * along(self.scale, self.axis, self.codes.ndim)

    def moved(self, codes: np.ndarray) -> Coded:
        """The same scale on rearranged codes; one scale alone can be carried along."""
        return Coded(codes, self.scale, self.axis)


Value = np.ndarray | Coded


def emulate(model: Any, images: np.ndarray, taps: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Return the outputs of an onnx.ModelProto, and the tensors `taps`, by name.

    images: float32 [N, H, W, C]. Raises InputRefused for an operator that it does not have, and ArithmeticError where a sum
    leaves int32.
    """
    graph = Graph(model)
    values: dict[str, Value] = {IMAGE: np.asarray(images, np.float32), **graph.arrays}
    for node in graph.nodes:
        operator = OPERATORS.get(node.op_type)
        if operator is None:
            raise InputRefused(f"{node.name}: the emulator has no {node.op_type}; use it on other networks.")
        values[node.output[0]] = operator(node, [values[name] for name in node.input if name])
    return {name: _floats(values[name]) for name in (*graph.output_names(), *taps)}


def quantize_nodes(model: Any) -> list[Any]:
    """Return the QuantizeLinear nodes on activations, in order."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == QUANTIZE and node.input[0] not in stored]


def _floats(value: Value) -> np.ndarray:
    return value.floats() if isinstance(value, Coded) else value


def _quantize(node: Any, inputs: list[Value]) -> Value:
    values, scale = _floats(inputs[0]), _floats(inputs[1])
    steps = values / along(scale, attribute(node, "axis", 1), values.ndim)
    return np.clip(np.rint(steps), -128, 127).astype(np.int8)


def _dequantize(node: Any, inputs: list[Value]) -> Value:
    return Coded(_floats(inputs[0]).astype(np.int32), _floats(inputs[1]), attribute(node, "axis", 1))


def _multiplied(
    inputs: list[Value], node: Any, place: int, product: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return product(input, kernel): of codes, rescaled along axis `place` of the result, or of floats."""
    given, kernel = inputs[0], inputs[1]
    if not (isinstance(given, Coded) and isinstance(kernel, Coded) and given.scale.size == 1):
        return product(_floats(given), _floats(kernel)).astype(np.float32)
    # Products of codes are under 2^14 and their sums exact in float64, in which NumPy has a fast product.
    sums = product(given.codes.astype(np.float64), kernel.codes.astype(np.float64))
    if np.abs(sums).max(initial=0) >= INT32:
        raise ArithmeticError(f"{node.name}: a sum of {np.abs(sums).max():.3g} leaves int32")
    step = given.scale.reshape(()) * kernel.scale
    return sums.astype(np.int32).astype(np.float32) * along(step.astype(np.float32), place, sums.ndim)


def _conv(node: Any, inputs: list[Value]) -> Value:
    kernel = _shape(inputs[1])
    spatial = len(kernel) - 2
    strides, dilations = (
        attribute(node, "strides", [1] * spatial),
        attribute(node, "dilations", [1] * spatial),
    )
    groups = attribute(node, "group", 1)

    def product(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return convolved(values, weights, strides, dilations, pads(node, values.shape, kernel[2:]), groups)

    return _with_bias(_multiplied(inputs, node, 1, product), inputs, 1)


def _conv_transpose(node: Any, inputs: list[Value]) -> Value:
    def product(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return spread(node, values, weights)

    return _with_bias(_multiplied(inputs, node, 1, product), inputs, 1)


def _gemm(node: Any, inputs: list[Value]) -> Value:
    turned = bool(attribute(node, "transB", 0))
    result = _multiplied(inputs, node, 1, lambda values, weights: values @ (weights.T if turned else weights))
    return _with_bias(result, inputs, 1)


def _matmul(node: Any, inputs: list[Value]) -> Value:
    rank = max(len(_shape(inputs[0])), len(_shape(inputs[1])))
    return _multiplied(inputs, node, kernel_axis(node, rank), np.matmul)


def _with_bias(result: np.ndarray, inputs: list[Value], axis: int) -> np.ndarray:
    return result + along(_floats(inputs[2]), axis, result.ndim) if len(inputs) > 2 else result


def _shape(value: Value) -> tuple[int, ...]:
    return value.codes.shape if isinstance(value, Coded) else value.shape


def _maxpool(node: Any, inputs: list[Value]) -> Value:
    kernel = attribute(node, "kernel_shape")

    def pooled(values: np.ndarray, low: float) -> np.ndarray:
        around = pads(node, values.shape, tuple(kernel))
        strides = attribute(node, "strides", [1] * len(kernel))
        dilations = attribute(node, "dilations", [1] * len(kernel))
        axes = tuple(range(-len(kernel), 0))
        return windows(values, kernel, strides, dilations, around, low, node).max(axes)

    if isinstance(inputs[0], Coded):
        return inputs[0].moved(pooled(inputs[0].codes, -128))
    return pooled(inputs[0], -np.inf)


def _averagepool(node: Any, inputs: list[Value]) -> Value:
    return averaged(node, _floats(inputs[0]))


def _moving(
    function: Callable[[Any, np.ndarray, list[Value]], np.ndarray],
) -> Callable[[Any, list[Value]], Value]:
    """An operator that moves values: it moves codes where there is one scale."""

    def run(node: Any, inputs: list[Value]) -> Value:
        given = inputs[0]
        if isinstance(given, Coded) and given.scale.size == 1:
            return given.moved(function(node, given.codes, inputs))
        return function(node, _floats(given), inputs)

    return run


def _elementwise(function: Callable[..., np.ndarray]) -> Callable[[Any, list[Value]], Value]:
    return lambda node, inputs: np.asarray(function(*map(_floats, inputs)), np.float32)


def _concat(node: Any, inputs: list[Value]) -> Value:
    axis = attribute(node, "axis")
    coded = [value for value in inputs if isinstance(value, Coded)]
    if len(coded) == len(inputs) and all(np.array_equal(value.scale, coded[0].scale) for value in coded):
        return coded[0].moved(np.concatenate([value.codes for value in coded], axis))
    return np.concatenate([_floats(value) for value in inputs], axis)


def _clip(node: Any, inputs: list[Value]) -> Value:
    low, high = (_floats(value) for value in inputs[1:3])
    return np.clip(_floats(inputs[0]), low, high).astype(np.float32)


def _softmax(node: Any, inputs: list[Value]) -> Value:
    values, axis = _floats(inputs[0]), attribute(node, "axis", -1)
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _reduce_mean(node: Any, inputs: list[Value]) -> Value:
    axes = _floats(inputs[1]).tolist() if len(inputs) > 1 else attribute(node, "axes")
    keep = bool(attribute(node, "keepdims", 1))
    return _floats(inputs[0]).mean(tuple(axes) if axes else None, keepdims=keep, dtype=np.float32)


def _reshape(node: Any, values: np.ndarray, inputs: list[Value]) -> np.ndarray:
    wanted = _floats(inputs[1]).tolist()
    return values.reshape([values.shape[place] if side == 0 else side for place, side in enumerate(wanted)])


def _axes(node: Any, inputs: list[Value]) -> tuple[int, ...] | None:
    axes = _floats(inputs[1]).tolist() if len(inputs) > 1 else attribute(node, "axes")
    return tuple(axes) if axes else None


def _flatten(node: Any, values: np.ndarray, inputs: list[Value]) -> np.ndarray:
    rows = int(np.prod(values.shape[: attribute(node, "axis", 1)], dtype=np.int64))
    return values.reshape(rows, -1)


def _pad(node: Any, values: np.ndarray, inputs: list[Value]) -> np.ndarray:
    before, after = np.split(_floats(inputs[1]), 2)
    value = float(_floats(inputs[2])) if len(inputs) > 2 else 0.0
    if attribute(node, "mode", b"constant") != b"constant" or (value and isinstance(inputs[0], Coded)):
        raise InputRefused(f"{node.name}: the emulator pads with zeros alone; use it on other networks.")
    return np.pad(values, list(zip(before.tolist(), after.tolist(), strict=True)), constant_values=value)


OPERATORS: dict[str, Callable[[Any, list[Value]], Value]] = {
    QUANTIZE: _quantize,
    DEQUANTIZE: _dequantize,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "AveragePool": _averagepool,
    "GlobalAveragePool": lambda node, inputs: _floats(inputs[0]).mean(
        (-2, -1), keepdims=True, dtype=np.float32
    ),
    "ReduceMean": _reduce_mean,
    "Relu": _elementwise(lambda values: np.maximum(values, 0)),
    "Sigmoid": _elementwise(lambda values: 1 / (1 + np.exp(-values))),
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(np.divide),
    "Clip": _clip,
    "Softmax": _softmax,
    "Concat": _concat,
    "Reshape": _moving(_reshape),
    "Flatten": _moving(_flatten),
    "Transpose": _moving(lambda node, values, inputs: values.transpose(attribute(node, "perm"))),
    "Squeeze": _moving(lambda node, values, inputs: np.squeeze(values, _axes(node, inputs))),
    "Unsqueeze": _moving(lambda node, values, inputs: np.expand_dims(values, _axes(node, inputs) or ())),
    "Pad": _moving(_pad),
}
