"""A Keras model as a frozen TensorFlow graph whose fake quantization holds exact scales and kernels on their grid.

tf2onnx takes the scale of a quantizer from the limits of its range. Here the limits give the scale of the Keras layer to the
last bit, and each quantized kernel is replaced by what TensorFlow rounds it to: ONNX divides by the scale where TensorFlow
multiplies by its inverse, so a weight half-way between two codes would get another code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.errors import InputRefused
from safeml.int8.codes import ACTIVATION_CODES, WEIGHT_CODES

FAKE_QUANTIZATION = ("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4")
# Its range is shifted or its rounding is half up: what TensorFlow computes has no equal in QuantizeLinear.
OTHER_FAKE_QUANTIZATION = "FakeQuantWithMinMax"
PROTOBUF_LIMIT = 2**31 - 1
_INT32 = 3  # of tf.DType


@dataclass(frozen=True)
class Frozen:
    """A TensorFlow graph without variables.

    graph_def: tf.GraphDef.
    inputs, outputs: names of tensors, such as "image:0".
    scales: float32 arrays, one per quantizer: a scalar for activations, [channels] for kernels.
    layers: names of the Keras layers, which the names of the nodes contain.
    """

    graph_def: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scales: tuple[np.ndarray, ...]
    layers: tuple[str, ...]


def freeze(model: Any, batch: int | None, where: str) -> Frozen:
    """Return the inference graph of `model`, a built Keras model of one image input and one output.

    batch: of the input, or None for any. where: named in errors. Raises InputRefused for other inputs or outputs, and for a
    model over the 2 GB of one protobuf file.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = _image_shape(model, where)
    if sum(int(np.prod(weight.shape)) for weight in model.weights) * 4 > PROTOBUF_LIMIT:
        raise InputRefused(
            f"{where}: has over 2 GB of weights; an ONNX file without external data holds at most 2 GB, so use a smaller model."
        )

    outputs = tf.function(lambda image: model(image, training=False), autograph=False)
    concrete = outputs.get_concrete_function(tf.TensorSpec((batch, *shape), tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(concrete)
    ends = tuple(t.name for t in frozen.inputs), tuple(t.name for t in frozen.outputs)
    if len(ends[0]) != 1 or len(ends[1]) != 1:
        raise InputRefused(
            f"{where}: has {len(ends[0])} inputs and {len(ends[1])} outputs; expected one image and one row of logits."
        )
    layers = tuple(layer.name for layer in model.layers)
    return exact(_folded(frozen.graph.as_graph_def(), *ends), *ends, layers, where)


def exact(
    graph_def: Any, inputs: tuple[str, ...], outputs: tuple[str, ...], layers: tuple[str, ...], where: str
) -> Frozen:
    """Return the graph with exact quantizers; their ranges must be constants. See the module."""
    _store_shapes(graph_def)
    _write_erfc(graph_def)
    nodes = {node.name: node for node in graph_def.node}
    scales = []
    for node in list(graph_def.node):
        if node.op.startswith(OTHER_FAKE_QUANTIZATION):
            raise InputRefused(
                f"{where}: {node.name} is {node.op}, whose rounding QuantizeLinear does not have; quantize the model with "
                "`safeml quantize`."
            )
        if node.op not in FAKE_QUANTIZATION:
            continue
        kernel, largest = (_constant(nodes, node.input[place]) for place in (0, 2))
        lowest = _constant(nodes, node.input[1])
        if lowest is None or largest is None:
            raise InputRefused(
                f"{where}: the range of {node.name} is not constant; expected a calibrated model."
            )
        if kernel is None and node.attr["narrow_range"].b:
            raise InputRefused(
                f"{where}: {node.name} rounds activations to -127..127; expected -128..127, the range of QuantizeLinear."
            )
        scale = _scale(node, lowest, largest)
        scales.append(scale)
        if kernel is not None:
            _replace(graph_def, node, 0, _on_grid(node, kernel, lowest, largest, scale))
        if (
            scale.ndim == 0
        ):  # tf2onnx takes the larger of low / -128 and high / 127, and only the first is exact
            node.attr["narrow_range"].b = False
            _replace(graph_def, node, 1, scale * np.float32(ACTIVATION_CODES[0]))
            _replace(graph_def, node, 2, scale * np.float32(ACTIVATION_CODES[1] - 1))
    return Frozen(graph_def, inputs, outputs, tuple(scales), layers)


def _image_shape(model: Any, where: str) -> tuple[int, ...]:
    if len(model.inputs or ()) != 1 or len(model.outputs or ()) != 1:
        raise InputRefused(
            f"{where}: has {len(model.inputs or ())} inputs and {len(model.outputs or ())} outputs; expected one image and one "
            "row of logits."
        )
    image = model.inputs[0]
    shape = tuple(image.shape[1:])
    if len(shape) != 3 or None in shape:
        raise InputRefused(
            f"{where}: takes inputs of shape {list(image.shape)}; expected images of a fixed height, width and channels."
        )
    if image.dtype != "float32":
        raise InputRefused(f"{where}: takes {image.dtype}; expected float32 images.")
    return shape


def _folded(graph_def: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    """Return the graph with constant expressions computed, but for fake quantization."""
    import tensorflow as tf
    from tf2onnx import tf_loader

    _open_compiled(graph_def)
    with tf.Graph().as_default():
        tf.import_graph_def(graph_def, name="")
        return tf_loader.tf_optimize(list(inputs), list(outputs), graph_def)


def _open_compiled(graph_def: Any) -> None:
    """Let the functions that Keras compiles with XLA be inlined: grouped convolutions, which TensorFlow lacks on a CPU."""
    for holder in (*graph_def.library.function, *graph_def.node):
        if "_XlaMustCompile" in holder.attr:
            for name in ("_XlaMustCompile", "_noinline"):
                holder.attr.pop(name, None)


def _store_shapes(graph_def: Any) -> None:
    """Let each Reshape read a constant shape, with -1 for the batch: TensorFlow computes it from the shape of the image.

    A side that changes between a batch of 2 and one of 3 is the batch, or a multiple of it.
    """
    two, three = (_reshaped_to(graph_def, batch) for batch in (2, 3))
    constants = {node.name for node in graph_def.node if node.op == "Const"}
    for node in list(graph_def.node):
        small, large = two.get(node.name), three.get(node.name)
        if small is None or large is None or node.input[1].removesuffix(":0") in constants:
            continue
        sides = [side if side == other else -1 for side, other in zip(small, large, strict=True)]
        if sides.count(-1) <= 1:
            _replace(graph_def, node, 1, np.array(sides, np.int32))
            node.attr["Tshape"].type = _INT32


def _reshaped_to(graph_def: Any, batch: int) -> dict[str, list[int] | None]:
    """Return the output shape of each Reshape for one batch, or None where TensorFlow cannot infer it."""
    import tensorflow as tf

    fixed = tf.compat.v1.GraphDef()
    fixed.CopyFrom(graph_def)
    for node in fixed.node:
        if node.op == "Placeholder" and node.attr["shape"].shape.dim[0].size < 0:
            node.attr["shape"].shape.dim[0].size = batch
        node.attr.pop("_output_shapes", None)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(fixed, name="")
    found: dict[str, list[int] | None] = {}
    for operation in graph.get_operations():
        if operation.type == "Reshape":
            shape = operation.outputs[0].shape
            found[operation.name] = shape.as_list() if shape.is_fully_defined() else None
    return found


def _write_erfc(graph_def: Any) -> None:
    """Write Erfc, which GELU uses and ONNX does not have, as 1 - Erf."""
    for node in list(graph_def.node):
        if node.op != "Erfc":
            continue
        inner = graph_def.node.add()
        inner.CopyFrom(node)
        inner.op, inner.name = "Erf", f"{node.name}/erf"
        node.op = "Sub"
        node.input.append(inner.name)
        _replace(graph_def, node, 0, np.ones((), np.float32))


def _constant(nodes: dict[str, Any], name: str) -> np.ndarray | None:
    """Return the value of a constant, or None where the tensor depends on the image."""
    import tensorflow as tf

    node = nodes.get(name.removesuffix(":0"))
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].removesuffix(":0"))
    return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None


def _scale(node: Any, lowest: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """float32: the value of one code: a scalar, or one per channel."""
    if node.attr["narrow_range"].b:
        return np.asarray(largest / np.float32(WEIGHT_CODES[1]), np.float32)
    return np.asarray(lowest / np.float32(ACTIVATION_CODES[0]), np.float32)


def _on_grid(
    node: Any, kernel: np.ndarray, lowest: np.ndarray, largest: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """The kernel as TensorFlow rounds it, each value the product of its code and the float32 scale."""
    import tensorflow as tf

    axis = int(node.attr["axis"].i) if scale.ndim else -1
    rounded = tf.raw_ops.QuantizeAndDequantizeV3(
        input=kernel,
        input_min=lowest,
        input_max=largest,
        num_bits=tf.constant(8),
        signed_input=True,
        range_given=True,
        narrow_range=bool(node.attr["narrow_range"].b),
        axis=axis,
    ).numpy()
    shape = [-1 if place == axis else 1 for place in range(kernel.ndim)]
    steps = scale.reshape(shape) if scale.ndim else scale
    return np.asarray(np.rint(rounded / steps).astype(np.float32) * steps, np.float32)


def _replace(graph_def: Any, node: Any, place: int, values: np.ndarray) -> None:
    """Let input `place` of a node read a new constant."""
    import tensorflow as tf

    constant = graph_def.node.add()
    constant.op, constant.name = "Const", f"{node.name}/exact_{place}"
    constant.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    node.input[place] = constant.name
