"""Export of a Keras model to ONNX with explicit QuantizeLinear and DequantizeLinear. Legend: N images, H W C pixels, K classes.

The file takes `image`, float32 [N, H, W, C] in the values that the Keras model takes, and gives `logits` [N, K], the values before a
softmax; `features` [N, F], what the last layer with weights is fed, before its rounding; and `probabilities` [N, K] where the
Keras model gives probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safeml.errors import InputRefused, first_line
from safeml.export.conversion import convert
from safeml.export.ends import BATCH, FEATURES, IMAGE, LOGITS, OPSET, OPSETS, PROBABILITIES
from safeml.export.frozen import PROTOBUF_LIMIT, Frozen, freeze
from safeml.export.graph import DEQUANTIZE, QUANTIZE, WEIGHTED, Graph
from safeml.export.naming import rename
from safeml.export.passes import clean, drop_unread
from safeml.version import __version__

# Moves values and changes none: what follows is fed the same numbers.
MOVES = ("Reshape", "Transpose", "Squeeze", "Flatten", "Unsqueeze", "Identity")


@dataclass(frozen=True)
class OnnxExport:
    """What an export wrote.

    path: the file, or None where the model was only built.
    model: onnx.ModelProto.
    outputs: names of the graph's outputs.
    opset: version of the operator set.
    bytes: size of the file.
    quantizers: number of QuantizeLinear nodes.
    """

    path: Path | None
    model: Any
    outputs: tuple[str, ...]
    opset: int
    bytes: int
    quantizers: int


def export_onnx(
    model: Any, path: Path | None, batch: int | None = None, opset: int = OPSET, where: str = ""
) -> OnnxExport:
    """Write `model`, a float or fake-quantized keras.Model, as an ONNX file without external data.

    path: None builds the model and writes nothing. batch: number of images of the input, or None for any number, named
    `batch`. opset: 13 to 17. where: names the model in errors. Raises InputRefused where the model has another number of
    inputs or outputs, an operation that ONNX does not have, or over 2 GB.
    """
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"opset {opset} is out of range; expected {OPSETS[0]} to {OPSETS[1]}")
    where = where or model.name
    return export_frozen(freeze(model, batch, where), path, batch, opset, where)


def export_frozen(
    frozen: Frozen, path: Path | None, batch: int | None = None, opset: int = OPSET, where: str = "the graph"
) -> OnnxExport:
    """Write a frozen TensorFlow graph; see `export_onnx`."""
    graph = Graph(convert(frozen, opset, where))
    _check_ends(graph, where)
    clean(graph)
    heads = _heads(graph, where)
    _declare(graph, heads, batch)
    drop_unread(graph)
    rename(graph, frozen.layers, {graph.inputs[0].name: IMAGE}, heads)
    _check_scales(graph, frozen, where)
    built = graph.model(__version__)
    data = _checked(built, where)
    if path is not None:
        path.write_bytes(data)
    quantizers = sum(node.op_type == QUANTIZE for node in graph.nodes)
    return OnnxExport(path, built, tuple(graph.output_names()), opset, len(data), quantizers)


def _check_ends(graph: Graph, where: str) -> None:
    """Refuse what tf2onnx writes without an error: operations of TensorFlow, and constants as inputs."""
    from onnx import defs

    foreign = {
        node.op_type
        for node in graph.nodes
        if node.domain or not defs.has(node.op_type, max_inclusive_version=graph.opset)
    }
    if foreign:
        raise InputRefused(
            f"{where}: tf2onnx left {', '.join(sorted(foreign))}, which ONNX does not have; replace the layers that hold them."
        )
    if len(graph.inputs) != 1:
        raise InputRefused(f"{where}: its graph has {len(graph.inputs)} inputs; expected one image.")
    graph.domains.clear()  # tf2onnx declares others and uses none


def _heads(graph: Graph, where: str) -> dict[str, str]:
    """Return the new names of the tensors that become outputs, in the order of the outputs."""
    producers = graph.producers()
    (last,) = graph.output_names()
    heads: dict[str, str] = {}
    node = producers.get(last)
    if node is not None and node.op_type in ("Sigmoid", "HardSigmoid"):
        raise InputRefused(
            f"{where}: ends in a {node.op_type}; expected logits or a softmax over the classes."
        )
    if node is not None and node.op_type == "Softmax":
        heads[node.input[0]] = LOGITS
    else:
        heads[last] = LOGITS
    features = _features(graph, next(iter(heads)), producers)
    if features is not None and features not in heads:
        heads[features] = FEATURES
    if last not in heads:
        heads[last] = PROBABILITIES
    return heads


def _features(graph: Graph, logits: str, producers: dict[str, Any]) -> str | None:
    """Return what the last operator with weights is fed, before its quantizer; None where that is the image."""
    queue, seen = [logits], set[str]()
    while queue:
        name = queue.pop(0)
        node = producers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in WEIGHTED and _is_stored(graph, node.input[1], producers):
            fed, source = node.input[0], node.input[0]
            while source in producers and producers[source].op_type in (*MOVES, QUANTIZE, DEQUANTIZE):
                source = producers[source].input[0]
                if producers.get(fed) is not None and producers[fed].op_type in (QUANTIZE, DEQUANTIZE):
                    fed = producers[fed].input[0]
            return None if source == graph.inputs[0].name else fed
        queue += node.input
    return None


def _is_stored(graph: Graph, name: str, producers: dict[str, Any]) -> bool:
    while name in producers and producers[name].op_type in (QUANTIZE, DEQUANTIZE):
        name = producers[name].input[0]
    return name in graph.arrays


def _declare(graph: Graph, heads: dict[str, str], batch: int | None) -> None:
    """Make the tensors of `heads` the outputs, and name the dynamic batch."""
    from onnx import helper, shape_inference

    first = batch if batch is not None else BATCH
    image = [side.dim_value for side in graph.inputs[0].type.tensor_type.shape.dim]
    graph.inputs = [helper.make_tensor_value_info(graph.inputs[0].name, 1, [first, *image[1:]])]
    inferred = shape_inference.infer_shapes(graph.model(), data_prop=True).graph
    shapes = {
        value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)
    }
    graph.outputs = [
        helper.make_tensor_value_info(name, 1, [first, *(side.dim_value for side in shapes[name][1:])])
        for name in heads
    ]


def _check_scales(graph: Graph, frozen: Frozen, where: str) -> None:
    """Every scale in the graph is a scale of the model, to the last bit, and every scale of the model is there."""
    written = {_bits(graph.arrays[node.input[1]]) for node in graph.nodes if node.op_type == QUANTIZE}
    expected = {_bits(scale) for scale in frozen.scales}
    if written != expected:
        raise InputRefused(
            f"{where}: {len(expected - written)} of {len(expected)} scales of the model are not in its export, or others are; "
            "quantized kernels were folded. This is a defect of the export; report it with the model."
        )


def _bits(scale: np.ndarray) -> bytes:
    """The bytes of a scale, or of its one value where all channels have the same."""
    values = np.unique(np.asarray(scale, np.float32))
    return values.tobytes()


def _checked(model: Any, where: str) -> bytes:
    """Return the bytes of a model that the ONNX checker accepts, with shapes inferred strictly."""
    import onnx

    if model.ByteSize() > PROTOBUF_LIMIT:
        raise InputRefused(
            f"{where}: its ONNX file would be over 2 GB; an ONNX file without external data holds at most 2 GB."
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputRefused(f"{where}: the ONNX checker refuses its export: {first_line(error)}.") from error
    return bytes(model.SerializeToString(deterministic=True))
