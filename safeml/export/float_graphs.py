"""The frozen graph of a fake-quantized model without QuantizeAndDequantize: as plain float, and with FakeQuant on activations.

Both keep the kernels on their grid, so TF-TRT and LiteRT find the INT8 codes of the ONNX file again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.export.frozen import FAKE_QUANTIZATION, Frozen
from safeml.int8.codes import ACTIVATION_CODES, WEIGHT_CODES

FAKE_QUANT = "FakeQuantWithMinMaxVars"
# The input of an operation with a kernel that holds its activations, that which holds the kernel, and the axis of its channels.
WEIGHTED = {
    "Conv2D": (0, 1, -1),
    "DepthwiseConv2dNative": (0, 1, 2),
    "Conv2DBackpropInput": (2, 1, 2),
    "MatMul": (0, 1, -1),
    "BatchMatMulV2": (0, 1, -1),
}
# Operations that move values and change none, so that the grid before them is the grid after them; a zero is a code.
MOVES = ("Identity", "Reshape", "Transpose", "Squeeze", "ExpandDims", "Pad", "SpaceToBatchND", "MaxPool")
JOINS = "ConcatV2"
IMAGE, LOGITS, PROBABILITIES = "image", "logits", "probabilities"


def plain(frozen: Frozen) -> Any:
    """Return the tf.GraphDef without fake quantization; activations are float, kernels are on their grid."""
    return _rewritten(frozen, activations=False)


def with_fake_quant(frozen: Frozen) -> Any:
    """Return the tf.GraphDef whose activations pass a FakeQuantWithMinMaxVars of -127 scale..127 scale, 8 bits, narrow range.

    TF-TRT takes the larger absolute end of a range as 127 codes, so -128 scale would change the scale by 128 / 127. In a
    range that is symmetric and narrow, FakeQuant shifts nothing: zero is a code, and a code is worth `scale`.

    A tensor behind a pooling, a reshape or a concatenation has no range for TF-TRT, which then computes its consumer in float.
    So the FakeQuant is repeated in front of each operation with a kernel; it changes no value.
    """
    return _repeated(_rewritten(frozen, activations=True))


def output_name(frozen: Frozen) -> str:
    """Return "probabilities" where the graph ends in a softmax, else "logits"."""
    nodes = {node.name: node for node in frozen.graph_def.node}
    node = nodes[frozen.outputs[0].partition(":")[0]]
    while node.op == "Identity":
        node = nodes[node.input[0].partition(":")[0]]
    return PROBABILITIES if node.op == "Softmax" else LOGITS


def as_function(graph_def: Any, frozen: Frozen) -> Any:
    """Return a tf.function of the graph: `image`, float32 [N, H, W, C] -> {"logits" or "probabilities": float32 [N, K]}."""
    import tensorflow as tf

    name = output_name(frozen)
    (entry,), (end,) = frozen.inputs, frozen.outputs
    shape = next(
        [size.size if size.size > 0 else None for size in node.attr["shape"].shape.dim]
        for node in graph_def.node
        if node.name == entry.partition(":")[0]
    )

    def serve(image: Any) -> dict[str, Any]:
        (result,) = tf.graph_util.import_graph_def(
            graph_def, input_map={entry: image}, return_elements=[end], name=""
        )
        return {name: result}

    return tf.function(serve, autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32, name=IMAGE)])


def _rewritten(frozen: Frozen, activations: bool) -> Any:
    graph_def = type(frozen.graph_def)()
    graph_def.CopyFrom(frozen.graph_def)
    constants = {node.name: node for node in graph_def.node if node.op == "Const"}
    for node in list(graph_def.node):
        if node.op not in FAKE_QUANTIZATION:
            continue
        source, lowest = node.input[0], node.input[1]
        if activations and source.partition(":")[0] not in constants:
            _fake_quant(graph_def, node, source, _scale(constants[lowest.partition(":")[0]]))
        else:
            _become(node, "Identity", [source])
    return graph_def


def _scale(lowest: Any) -> np.float32:
    import tensorflow as tf

    return np.float32(tf.make_ndarray(lowest.attr["value"].tensor) / np.float32(ACTIVATION_CODES[0]))


def _fake_quant(graph_def: Any, node: Any, source: str, scale: np.float32) -> None:
    import tensorflow as tf

    ends = []
    for end, code in zip(("min", "max"), WEIGHT_CODES, strict=True):
        constant = graph_def.node.add()
        constant.op, constant.name = "Const", f"{node.name}/{end}"
        constant.attr["dtype"].type = tf.float32.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(scale * np.float32(code)))
        ends.append(constant.name)
    _become(node, FAKE_QUANT, [source, *ends])
    node.attr["num_bits"].i = 8
    node.attr["narrow_range"].b = True


def _repeated(graph_def: Any) -> Any:
    nodes = {node.name: node for node in graph_def.node}
    for node in list(graph_def.node):
        if node.op not in WEIGHTED:
            continue
        place = WEIGHTED[node.op][0]
        source = node.input[place]
        ranges = _ranges(nodes, source)
        if _maker(nodes, source).op == FAKE_QUANT or len(ranges) != 1:
            continue
        ((low, high),) = ranges
        again = graph_def.node.add()
        again.name = f"{node.name}/range"
        _become(again, FAKE_QUANT, [source, low, high])
        again.attr["num_bits"].i = 8
        again.attr["narrow_range"].b = True
        node.input[place] = again.name
    return graph_def


def _ranges(nodes: dict[str, Any], name: str) -> set[tuple[str, str]]:
    """Return the limits, as names of constants, of the grids that a tensor may be on; empty where one is unknown."""
    node = _maker(nodes, name)
    if node.op == FAKE_QUANT:
        return {(node.input[1], node.input[2])}
    if node.op in MOVES:
        return _ranges(nodes, node.input[0])
    if node.op == JOINS:
        parts = [_ranges(nodes, part) for part in node.input[:-1]]
        values = {tuple(_value(nodes, limit) for limit in one) for part in parts for one in part}
        return parts[0] if all(parts) and len(values) == 1 else set()
    return set()


def _maker(nodes: dict[str, Any], name: str) -> Any:
    return nodes[name.partition(":")[0]]


def _value(nodes: dict[str, Any], name: str) -> float:
    import tensorflow as tf

    return float(tf.make_ndarray(_maker(nodes, name).attr["value"].tensor))


def _become(node: Any, op: str, inputs: list[str]) -> None:
    """Change the operation of a node and keep its name, which its consumers read."""
    import tensorflow as tf

    del node.input[:]
    node.input.extend(inputs)
    node.attr.clear()
    node.op = op
    if op == "Identity":
        node.attr["T"].type = tf.float32.as_datatype_enum
