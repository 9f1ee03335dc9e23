"""Passes over an exported ONNX graph: what lies between a kernel and its operator is computed, and what repeats is merged.

Each pass changes the graph in place and computes the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from safeml.export.graph import (
    BIAS_INPUT,
    DEQUANTIZE,
    QUANTIZE,
    WEIGHTED,
    Graph,
    along,
    attribute,
    kernel_axis,
    set_attribute,
)

# What tf2onnx leaves between a kernel and its operator.
RESHAPING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")


def clean(graph: Graph) -> None:
    """Run every pass."""
    for run in PASSES:
        run(graph)
        drop_unread(graph)


def constants_to_initializers(graph: Graph) -> None:
    """Turn each Constant node into an initializer."""
    from onnx import numpy_helper

    constants = [node for node in graph.nodes if node.op_type == "Constant"]
    for node in constants:
        graph.arrays[node.output[0]] = numpy_helper.to_array(attribute(node, "value"))
    graph.remove(constants)


def remove_identities(graph: Graph) -> None:
    """Remove Identity nodes; the node before a graph output takes the name of the output."""
    for node in [node for node in graph.nodes if node.op_type == "Identity"]:
        source, target = node.input[0], node.output[0]
        if target in graph.output_names():
            producer = graph.producers().get(source)
            if producer is None or source in graph.output_names():
                continue
            producer.output[list(producer.output).index(source)] = target
            graph.redirect(source, target)
        else:
            graph.redirect(target, source)
        graph.remove([node])


def fold_kernels(graph: Graph) -> None:
    """Compute the reshaping between each kernel, or its DequantizeLinear, and the operator that uses it.

    A quantized kernel keeps QuantizeLinear and DequantizeLinear, with the axis of its outputs and one scale per output.
    """
    producers = graph.producers()
    for node in list(graph.nodes):
        if node.op_type not in WEIGHTED:
            continue
        chain, name = [], node.input[1]
        while name in producers and producers[name].op_type in RESHAPING:
            chain.append(producers[name])
            name = chain[-1].input[0]
        reshape = _chain(graph, chain)
        if name in graph.arrays and chain:
            node.input[1] = graph.add_array(f"{name}_folded", reshape(graph.arrays[name]))
        elif name in producers and producers[name].op_type == DEQUANTIZE:
            _fold_quantized(graph, node, producers[name], reshape, producers)


def _fold_quantized(graph: Graph, node: Any, dequantize: Any, reshape: Callable, producers: dict) -> None:
    """Give the operator `node` its own quantized kernel, in the layout in which it reads it."""
    quantize = producers.get(dequantize.input[0])
    if quantize is None or quantize.op_type != QUANTIZE or quantize.input[0] not in graph.arrays:
        return
    kernel = graph.arrays[quantize.input[0]]
    scale = along(graph.arrays[quantize.input[1]], attribute(quantize, "axis", 1) % kernel.ndim, kernel.ndim)
    folded, steps = reshape(kernel), reshape(np.broadcast_to(scale, kernel.shape))
    axis = kernel_axis(node, folded.ndim)
    rows = np.moveaxis(steps, axis, 0).reshape(steps.shape[axis], -1)
    if not (rows == rows[:, :1]).all():
        return  # the scale follows another axis: the linter reports it
    from onnx import helper

    names = [graph.add_array(f"{quantize.input[0]}_folded", folded)]
    names.append(graph.add_array(f"{quantize.input[1]}_folded", np.ascontiguousarray(rows[:, 0])))
    names.append(graph.add_array(f"{quantize.input[2]}_folded", np.zeros(len(rows), np.int8)))
    codes, values = (
        graph.fresh(f"{dequantize.output[0]}_codes"),
        graph.fresh(f"{dequantize.output[0]}_folded"),
    )
    new = [helper.make_node(QUANTIZE, names, [codes], axis=axis)]
    new.append(helper.make_node(DEQUANTIZE, [codes, *names[1:]], [values], axis=axis))
    place = next(index for index, other in enumerate(graph.nodes) if other is node)
    graph.nodes[place:place] = new
    node.input[1] = values


def _chain(graph: Graph, nodes: list[Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that a chain of reshaping nodes computes; the node nearest to the reader comes first."""

    def compute(values: np.ndarray) -> np.ndarray:
        for node in reversed(nodes):
            values = _reshaped(graph, node, values)
        return np.ascontiguousarray(values)

    return compute


def _reshaped(graph: Graph, node: Any, values: np.ndarray) -> np.ndarray:
    if node.op_type == "Transpose":
        return values.transpose(attribute(node, "perm", tuple(reversed(range(values.ndim)))))
    if node.op_type == "Identity":
        return values
    wanted = graph.arrays[node.input[1]].tolist() if len(node.input) > 1 else None
    if node.op_type == "Reshape":
        sides = [values.shape[place] if side == 0 else side for place, side in enumerate(wanted or ())]
        return values.reshape(sides)
    axes = wanted if wanted is not None else attribute(node, "axes")
    if node.op_type == "Squeeze":
        return np.squeeze(values, tuple(axes) if axes else None)
    return np.expand_dims(values, tuple(axes))


def scalars_to_channels(graph: Graph) -> None:
    """Drop the axis of quantizers of one scale: tf2onnx writes one where it means nothing."""
    for node in graph.nodes:
        if node.op_type in (QUANTIZE, DEQUANTIZE) and graph.arrays.get(node.input[1], np.zeros(2)).ndim == 0:
            kept = [entry for entry in node.attribute if entry.name != "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)


def fold_affine(graph: Graph) -> None:
    """Fold a multiplication or addition by one constant per channel into the weighted operator before it.

    These are batch normalisations of a float model, and biases. A kernel that is quantized takes additions only.
    """
    changed = True
    while changed:
        changed = any(_fold_one(graph, node) for node in list(graph.nodes) if node.op_type in BIAS_INPUT)
        drop_unread(graph)


def _fold_one(graph: Graph, node: Any) -> bool:
    if node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1.0:
        return False
    readers = graph.consumers().get(node.output[0], [])
    if (
        len(readers) != 1
        or node.output[0] in graph.output_names()
        or readers[0].op_type not in ("Mul", "Add")
    ):
        return False
    other = next((name for name in readers[0].input if name != node.output[0]), "")
    bias_name = node.input[2] if len(node.input) > 2 else ""
    if other not in graph.arrays or (bias_name and bias_name not in graph.arrays):
        return False
    kernel = graph.arrays.get(node.input[1])
    channels = _channels(graph, node)
    row = _per_channel(graph.arrays[other], channels, node.op_type)
    if row is None or (readers[0].op_type == "Mul" and kernel is None):
        return False
    bias = graph.arrays[bias_name] if bias_name else np.zeros(channels, np.float32)
    if readers[0].op_type == "Mul":
        factor = along(row, kernel_axis(node, kernel.ndim), kernel.ndim)  # type: ignore[union-attr]
        node.input[1] = graph.add_array(f"{node.input[1]}_scaled", kernel * factor)
        bias = bias * row
    else:
        bias = bias + row
    stored = graph.add_array(f"{other}_bias", np.asarray(bias, np.float32))
    del node.input[2:]
    node.input.append(stored)
    node.output[0], gone = readers[0].output[0], readers[0]
    graph.remove([gone])
    return True


def _channels(graph: Graph, node: Any) -> int:
    """Return the number of outputs of a weighted node, or 0 where its kernel is computed."""
    kernel, producers = node.input[1], graph.producers()
    while kernel in producers and producers[kernel].op_type in (QUANTIZE, DEQUANTIZE):
        kernel = producers[kernel].input[0]
    if kernel not in graph.arrays:
        return 0
    shape = graph.arrays[kernel].shape
    groups = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    return int(shape[kernel_axis(node, len(shape))]) * groups


def _per_channel(values: np.ndarray, channels: int, operator: str) -> np.ndarray | None:
    """Return the value of each channel, or None where the constant varies along another axis."""
    if not channels or values.dtype != np.float32:
        return None
    if values.size == 1:
        return np.full(channels, values.reshape(-1)[0], np.float32)
    place = -1 if operator == "Gemm" else -3
    if values.ndim < -place or values.shape[place] != channels or values.size != channels:
        return None
    return values.reshape(-1)


def matmul_to_gemm(graph: Graph) -> None:
    """Write a dense layer on rows, MatMul and Add, as one Gemm of a transposed kernel, whose outputs are axis 0.

    This is the form of which TensorRT quantizes kernels since version 8.
    """
    ranks = _ranks(graph)
    producers = graph.producers()
    for node in [node for node in graph.nodes if node.op_type == "MatMul"]:
        kernel = node.input[1]
        while kernel in producers and producers[kernel].op_type in (QUANTIZE, DEQUANTIZE):
            kernel = producers[kernel].input[0]
        if kernel not in graph.arrays or graph.arrays[kernel].ndim != 2 or ranks.get(node.input[0]) != 2:
            continue
        node.op_type = "Gemm"
        set_attribute(node, "transB", 1)
        if kernel == node.input[1]:
            node.input[1] = graph.add_array(
                f"{kernel}_transposed", np.ascontiguousarray(graph.arrays[kernel].T)
            )
            continue
        from onnx import helper

        turned = graph.fresh(f"{node.input[1]}_transposed")
        place = next(index for index, other in enumerate(graph.nodes) if other is node)
        graph.nodes.insert(place, helper.make_node("Transpose", [node.input[1]], [turned], perm=[1, 0]))
        node.input[1] = turned


def _ranks(graph: Graph) -> dict[str, int]:
    """Return the number of axes of each tensor that ONNX can infer."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(graph.model())
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def join_pairs(graph: Graph) -> None:
    """Move what tf2onnx put between the halves of a quantizer of one scale in front of it."""
    from onnx import helper

    for dequantize in [node for node in graph.nodes if node.op_type == DEQUANTIZE]:
        producers, consumers = graph.producers(), graph.consumers()
        chain, name = [], dequantize.input[0]
        while name in producers and producers[name].op_type in RESHAPING and len(consumers[name]) == 1:
            chain.append(producers[name])
            name = chain[-1].input[0]
        quantize = producers.get(name)
        if not chain or quantize is None or quantize.op_type != QUANTIZE:
            continue
        if graph.arrays[quantize.input[1]].size != 1:
            continue
        chain[-1].input[0] = quantize.input[0]
        codes = graph.fresh(f"{quantize.output[0]}_moved")
        new = helper.make_node(QUANTIZE, [chain[0].output[0], *quantize.input[1:]], [codes])
        dequantize.input[0] = codes
        graph.nodes.insert(next(i for i, other in enumerate(graph.nodes) if other is dequantize), new)


def quantize_after_layout(graph: Graph) -> None:
    """Move a Transpose in front of the quantizer before it, so that nothing lies between a quantizer and its operator."""
    while (found := _layout_behind_quantizer(graph)) is not None:
        transpose, dequantize, quantize = found
        turned = graph.fresh(f"{quantize.input[0]}_turned")
        graph.redirect(transpose.output[0], dequantize.output[0])
        graph.remove([transpose])
        transpose.input[0], transpose.output[0], quantize.input[0] = quantize.input[0], turned, turned
        place = next(index for index, other in enumerate(graph.nodes) if other is quantize)
        graph.nodes.insert(place, transpose)


def _layout_behind_quantizer(graph: Graph) -> tuple[Any, Any, Any] | None:
    """Return a Transpose whose input comes from a quantizer of one scale that nothing else reads, and its two nodes."""
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if node.op_type != "Transpose" or node.output[0] in graph.output_names():
            continue
        dequantize = producers.get(node.input[0])
        if dequantize is None or not _is_alone(dequantize, consumers, graph):
            continue
        quantize = producers.get(dequantize.input[0])
        if quantize is None or not _is_alone(quantize, consumers, graph):
            continue
        if graph.arrays[quantize.input[1]].size == 1:
            return node, dequantize, quantize
    return None


def _is_alone(node: Any, consumers: dict[str, list[Any]], graph: Graph) -> bool:
    """Whether a node is part of a quantizer, and one node alone reads it."""
    return (
        node.op_type in (QUANTIZE, DEQUANTIZE)
        and len(consumers.get(node.output[0], ())) == 1
        and node.output[0] not in graph.output_names()
    )


def merge_repeats(graph: Graph) -> None:
    """Merge nodes of one operator, one set of attributes and equal inputs; constants are equal by their values."""
    seen: dict[tuple, Any] = {}
    for node in list(graph.nodes):
        attributes = tuple(sorted(entry.SerializeToString(deterministic=True) for entry in node.attribute))
        inputs = tuple(_content(graph.arrays.get(name)) or name for name in node.input)
        twin = seen.setdefault((node.op_type, node.domain, inputs, attributes), node)
        if twin is node or any(name in graph.output_names() for name in node.output):
            continue
        for old, new in zip(node.output, twin.output, strict=True):
            graph.redirect(old, new)
        graph.remove([node])


def _content(array: np.ndarray | None) -> tuple | None:
    return None if array is None else (array.dtype.str, array.shape, array.tobytes())


def drop_unread(graph: Graph) -> None:
    """Remove nodes and initializers that no output needs."""
    producers = graph.producers()
    needed, queue = set[str](), list(graph.output_names())
    while queue:
        name = queue.pop()
        if name and name not in needed:
            needed.add(name)
            queue += producers[name].input if name in producers else []
    graph.nodes = [node for node in graph.nodes if any(name in needed for name in node.output)]
    graph.arrays = {name: array for name, array in graph.arrays.items() if name in needed}


PASSES: tuple[Callable[[Graph], None], ...] = (
    constants_to_initializers,
    remove_identities,
    scalars_to_channels,
    join_pairs,
    matmul_to_gemm,
    fold_kernels,
    fold_affine,
    merge_repeats,
    quantize_after_layout,
)
