"""A classifier as the list of its operations, read from the TensorFlow graph that predicts.

The graph is read, not a list of layers. It contains the map from pixels to the model's input, the
operations of custom and shared layers, and the order of the classes, for Keras models and SavedModels alike. It has no layers
without effect at inference (Dropout), and normalisation is a product and a sum per channel.

Legend: N images of one batch, H W C pixels, D features before the last product, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.certification.base import NotCertifiable
from safeml.classifiers.base import DifferentiableClassifier
from safeml.errors import first_line


@dataclass(frozen=True, eq=False)
class Network:
    """operations: those from the images to the features, each after its inputs. images: N. pixels, features: tensor names.

    constants: the `Interval` of each stored or computed constant, by tensor name.
    weights, bias: float64 [D, K] and [K]; logits = features @ weights + bias. The identity where no product comes last.
    """

    operations: tuple[Any, ...]
    images: int
    pixels: str
    features: str
    constants: dict[str, Any]
    weights: np.ndarray
    bias: np.ndarray


def read_network(classifier: DifferentiableClassifier, shape: Sequence[int], images: int) -> Network:
    """The network of `classifier` on batches of `images` images of `shape` (H, W, C).

    Raises NotCertifiable where it holds an operation without a rule, or numbers other than float32.
    """
    import tensorflow as tf

    from safeml.certification.interval import LARGEST, point
    from safeml.certification.rules import RULES

    frozen = _frozen(classifier, shape, images)
    pixels, output = frozen.inputs[0].name, frozen.outputs[0]
    constants: dict[str, Any] = {}
    operations: list[Any] = []
    varying = {pixels}
    for operation in _in_order(output.op):
        name = operation.outputs[0].name
        if name == pixels or operation.outputs[0].dtype.is_integer:
            continue  # axes and shapes are asked for by the rules that need them
        _check(operation)
        fed = [tensor.name for tensor in operation.inputs if not tensor.dtype.is_integer]
        if any(tensor in varying for tensor in fed):
            varying.add(name)
            operations.append(operation)
            continue
        if operation.type == "Const":
            constants[name] = point(tf.make_ndarray(operation.get_attr("value")))
        else:
            constants[name] = RULES[operation.type](operation, [constants[tensor] for tensor in fed], images)
        if not bool(tf.reduce_all(constants[name].magnitude <= LARGEST)):
            raise NotCertifiable(
                f'"{operation.name}" holds NaN or numbers beyond {LARGEST:g}; expected finite numbers below that limit.'
            )
    if output.name not in varying:
        raise NotCertifiable("the logits do not depend on the image; there is nothing to certify.")
    features, weights, bias = _head(output, constants)
    needed = {operation.name for operation in _in_order(features.op)}
    return Network(
        tuple(operation for operation in operations if operation.name in needed),
        images,
        pixels,
        features.name,
        constants,
        weights,
        bias,
    )


def _frozen(classifier: DifferentiableClassifier, shape: Sequence[int], images: int) -> Any:
    """The graph of the logits for one batch, its variables turned into constants and its calls written out."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    logits = tf.function(classifier.logits, autograph=False)
    traced = logits.get_concrete_function(tf.TensorSpec([images, *shape], tf.float32))
    try:
        return convert_variables_to_constants_v2(traced, lower_control_flow=False, aggressive_inlining=True)
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        raise NotCertifiable(f"TensorFlow cannot freeze its graph: {first_line(error)}") from error


def _check(operation: Any) -> None:
    import tensorflow as tf

    from safeml.certification.moves import refuse
    from safeml.certification.rules import RULES

    if operation.type != "Const" and operation.type not in RULES:
        refuse(
            operation, "only sums, products with stored weights, ReLU, pooling and reshaping are supported"
        )
    if operation.outputs[0].dtype != tf.float32:
        refuse(operation, f"it computes in {operation.outputs[0].dtype.name}; only float32 is supported")
    if any(tensor.value_index for tensor in operation.inputs):
        refuse(operation, "it takes a second output of another operation")


def _in_order(last: Any) -> list[Any]:
    """Every operation that `last` depends on, each after its inputs. No recursion: graphs are deeper than Python's stack."""
    done: set[str] = set()
    order: list[Any] = []
    stack = [(last, False)]
    while stack:
        operation, inputs_done = stack.pop()
        if operation.name in done:
            continue
        if inputs_done:
            done.add(operation.name)
            order.append(operation)
        else:
            stack.append((operation, True))
            stack += [(tensor.op, False) for tensor in operation.inputs]
    return order


def _head(output: Any, constants: dict[str, Any]) -> tuple[Any, np.ndarray, np.ndarray]:
    """The features and the linear map from them to the logits: the last product, sums with constants, a choice of columns."""
    from safeml.certification.moves import PASSING, static

    def stored(tensor: Any) -> bool:
        return tensor.name in constants and constants[tensor.name].exact

    after: list[Any] = []
    tensor = output
    while True:
        operation = tensor.op
        adds = operation.type in ("BiasAdd", "AddV2", "Add") and stored(operation.inputs[1])
        if not (adds or operation.type in PASSING or operation.type == "GatherV2"):
            break
        after.append(operation)
        tensor = operation.inputs[0]
    classes = int(output.shape[1])
    if operation.type != "MatMul" or not stored(operation.inputs[1]) or operation.get_attr("transpose_a"):
        return output, np.eye(classes), np.zeros(classes)
    weights = constants[operation.inputs[1].name].lower.numpy()
    weights = weights.T if operation.get_attr("transpose_b") else weights
    bias = np.zeros(weights.shape[1])
    for step in reversed(after):
        if step.type == "GatherV2":
            if int(static(step, 2)) % 2 != 1 or step.get_attr("batch_dims"):
                return output, np.eye(classes), np.zeros(classes)
            columns = static(step, 1)
            weights, bias = weights[:, columns], bias[columns]
        elif step.type not in PASSING:
            added = constants[step.inputs[1].name].lower.numpy()
            if added.ndim and added.size not in (1, added.shape[-1]):
                return output, np.eye(classes), np.zeros(classes)  # a row for each image: the rules refuse it
            bias = bias + added.reshape(-1)
    return operation.inputs[0], weights, bias
