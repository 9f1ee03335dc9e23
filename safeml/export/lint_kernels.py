"""Linter rules on the layers that multiply: their kernels, inputs, biases, and their share of the work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from safeml.export.ends import LARGEST_CODE
from safeml.export.graph import DEQUANTIZE, QUANTIZE, kernel_axis
from safeml.export.lint_graph import known_operators
from safeml.export.lint_view import View

Fault = tuple[str, str]
# A kernel counts as rounded where every value is this near to a step, and where it has enough values to tell.
ON_GRID = 1e-3
ENOUGH_VALUES = 8
INT32 = 2.0**31


def kernel_quantized(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose kernel is float, or computed in the graph."""
    for node in view.nodes("Conv", "ConvTranspose", "Gemm"):
        if view.kernel(node) is None and not view.is_int8(node):
            yield (
                node.name,
                "its kernel is computed in the graph; expected a stored kernel through a quantizer",
            )
    for node in view.nodes("Einsum"):
        if any(view.is_stored(name) for name in node.input):
            yield (
                node.name,
                "is an Einsum with a kernel; expected MatMul, which TensorRT quantizes",
            )
    for node in view.weighted:
        kernel = view.kernel(node)
        if kernel is not None and kernel.scale is None and not on_grid(kernel.values):
            yield node.name, "its kernel is float; expected QuantizeLinear and DequantizeLinear on it"


def kernel_folded(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose float kernel is already rounded to INT8 codes."""
    for node in view.weighted:
        kernel = view.kernel(node)
        if kernel is not None and kernel.scale is None and on_grid(kernel.values):
            yield node.name, "its float kernel lies on a grid of INT8 codes: the quantizer was folded into it"


def on_grid(kernel: np.ndarray) -> bool:
    """Return whether each value is one of 255 codes of one scale per channel, of the first or the last axis, or of one scale."""
    if kernel.size < ENOUGH_VALUES or kernel.dtype.kind != "f":
        return False
    values = np.asarray(kernel, np.float64)
    for axis in (None, 0, 1, kernel.ndim - 1):
        if axis is not None and axis >= kernel.ndim:
            continue
        others = tuple(place for place in range(kernel.ndim) if place != axis)
        largest = np.abs(values).max(others if axis is not None else None, keepdims=True)
        steps = values / np.where(largest > 0, largest, 1) * LARGEST_CODE
        inner = steps[(np.abs(steps) > 0) & (np.abs(steps) < LARGEST_CODE - ON_GRID)]
        if inner.size >= ENOUGH_VALUES and np.abs(inner - np.rint(inner)).max() <= ON_GRID:
            return True
    return False


def input_quantized(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose kernel is quantized and whose input is float."""
    for node in view.weighted:
        kernel = view.kernel(node)
        if (
            kernel is not None
            and kernel.scale is not None
            and view.activation_quantizer(node.input[0]) is None
        ):
            yield node.name, "its input is float; expected DequantizeLinear in front of it"


def kernel_scale(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose kernel has not one scale per output, along the axis of the outputs."""
    for node in view.weighted:
        kernel = view.kernel(node)
        if kernel is None or kernel.scale is None or kernel.between:
            continue
        axis = kernel_axis(node, kernel.values.ndim)
        channels = kernel.values.shape[axis]
        if kernel.scale.ndim != 1 or kernel.scale.size != channels:
            yield node.name, f"its kernel has {kernel.scale.size} scales; expected {channels}, one per output"
        elif kernel.axis != axis:
            yield (
                node.name,
                f"the scales of its kernel follow axis {kernel.axis}; expected axis {axis}, of the outputs",
            )


def kernel_direct(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes with an operator between the DequantizeLinear of the kernel and the node."""
    for node in view.weighted:
        kernel = view.kernel(node)
        if kernel is not None and kernel.scale is not None and kernel.between:
            yield node.name, f"{', '.join(kernel.between)} is between the quantizer of its kernel and it"


def kernel_codes(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes with a code outside -127..127 in their kernel."""
    for node in view.weighted:
        kernel = view.kernel(node)
        if kernel is None or kernel.codes is None:
            continue
        outside = int(np.count_nonzero(np.abs(kernel.codes) > LARGEST_CODE))
        if outside:
            yield node.name, f"{outside} codes of its kernel are outside -127..127"


def bias_float(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose bias passes a quantizer."""
    for node in view.weighted:
        name, _ = view.bias(node)
        producer = view.producers.get(name)
        if producer is not None and producer.op_type in (QUANTIZE, DEQUANTIZE):
            yield node.name, f"its bias comes from {producer.op_type}; expected a stored float bias"


def bias_range(view: View, target: Any) -> Iterator[Fault]:
    """Yield weighted nodes whose bias, in steps of input and kernel, does not fit into int32."""
    for node in view.weighted:
        kernel, source = view.kernel(node), view.activation_quantizer(node.input[0])
        bias = view.array(view.bias(node)[0])
        step = view.array(source.input[1]) if source is not None else None
        if kernel is None or kernel.scale is None or bias is None or step is None:
            continue
        if kernel.scale.size not in (1, bias.size) or not (step >= np.finfo(step.dtype).tiny).all():
            continue  # `kernel-scale` and `scale` report it
        with np.errstate(divide="ignore", invalid="ignore"):
            codes = np.abs(bias.reshape(-1).astype(np.float64)) / (
                kernel.scale.astype(np.float64) * step.astype(np.float64)
            )
        codes[np.isnan(bias.reshape(-1))] = (
            np.inf
        )  # else it counts as 0 in steps of a scale 0, which `scale` reports
        largest = float(np.nan_to_num(codes, nan=0, posinf=np.inf).max(initial=0))
        if largest >= INT32:
            yield (
                node.name,
                f"its bias is {largest:.3g} steps of input and kernel; expected under 2^31, the range of int32",
            )


def multiplications(view: View, target: Any) -> Iterator[Fault]:
    """Yield one fault where too few multiply-accumulates are in INT8."""
    share, total = int8_share(view)
    if total == 0 and next(known_operators(view, target), None) is None:
        yield "", "has no multiply-accumulates whose shapes are known"
    elif total > 0 and share < target.int8_share:
        yield (
            "",
            f"{share:.1%} of {total:,} multiply-accumulates are in INT8; expected {target.int8_share:.0%}",
        )


def int8_share(view: View) -> tuple[float, int]:
    """Return the share of multiply-accumulates in INT8, and their number, for one image."""
    rows = [
        (view.multiplications(node), view.is_int8(node))
        for node in view.nodes("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
    ]
    total = sum(count for count, _ in rows)
    return (sum(count for count, int8 in rows if int8) / total if total else 0.0), total
