"""A TensorFlow SavedModel as the model under test: its serving signature, frozen, seen through its logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from safeml.classifiers.frozen import FrozenGraph
from safeml.classifiers.head import LOG_NOTE, Shape, check_ends, check_shapes, judge_outputs, probe_values
from safeml.classifiers.tensors import TensorModel
from safeml.errors import InputRefused, first_line

SIGNATURE = "serving_default"


def load_saved_model(folder: Path, where: str, notes: tuple[str, ...] = ()) -> TensorModel:
    """The SavedModel in `folder`, which a scan accepted, as a `TensorModel`. Its softmax, if it ends in one, is taken off.

    Raises InputRefused where it does not load, has not one image input and one row of outputs, or where a weight is not
    finite.
    """
    signature = _signature(folder, where)
    taken = _only(signature.structured_input_signature[1], signature.structured_outputs, where)
    shape, given = _shape(taken), _shape(next(iter(signature.structured_outputs.values())))
    outputs = check_shapes(shape, given, where)
    if shape[0] is not None:
        raise InputRefused(
            f"{where}: takes exactly {shape[0]} images at a time; expected an open batch, so export it with None."
        )
    if not taken.dtype.is_floating:
        raise InputRefused(f"{where}: takes {taken.dtype.name} images; expected float32.")
    parameters = _parameters(signature)
    graph, fed = _frozen(signature, where)
    broken = [name for name, values in graph.constants() if values.ndim and not _is_finite(values)]
    if broken:
        raise InputRefused(
            f"{where}: the weights of {broken[0][-80:]} are not finite; the file is damaged or its training diverged."
        )
    logits = graph.softmax_input()
    penultimate = graph.last_weighted_input(logits or graph.output)
    if penultimate is None:
        raise InputRefused(f"{where}: has no layer with weights; expected a trained classifier.")
    ends = [graph.output, logits] if logits else [graph.output]
    found = _run(_function(graph, fed, ends, taken.dtype), probe_values(shape[1:]), where)
    gives, takes_log = judge_outputs(found[0], found[1] if logits else None, where)
    forward = _function(graph, fed, [logits or graph.output], taken.dtype)
    features = _function(graph, fed, [penultimate], taken.dtype)
    done = ("the softmax was taken off; the logits are exact",) if logits else ()
    return TensorModel(
        where=where,
        input_shape=(shape[1], shape[2], shape[3]),
        outputs=outputs,
        gives=gives,
        parameters=parameters,
        fingerprint=graph.fingerprint(),
        notes=(*notes, *done, *((LOG_NOTE,) if takes_log else ())),
        forward=lambda values: forward(values)[0],
        penultimate=lambda values: features(values)[0],
        takes_log=takes_log,
    )


def _signature(folder: Path, where: str) -> Any:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        tf.errors.OpError,
    ) as error:
        raise InputRefused(f"{where}: TensorFlow does not load it: {first_line(error)}") from error
    signatures = dict(loaded.signatures)
    if SIGNATURE not in signatures and len(signatures) != 1:
        raise InputRefused(
            f"{where}: has {len(signatures)} signatures, none of them {SIGNATURE}; expected that one, or a single one."
        )
    signature = signatures.get(SIGNATURE) or next(iter(signatures.values()))
    signature._keeps = loaded  # a signature does not hold on to its model, whose variables are freed with it
    return signature


def _only(taken: dict[str, Any], given: dict[str, Any], where: str) -> Any:
    check_ends(len(taken), len(given), where)
    return next(iter(taken.values()))


def _shape(spec: Any) -> Shape:
    """The shape of a tensor spec; () where its rank is open."""
    return tuple(spec.shape) if spec.shape.rank is not None else ()


def _parameters(signature: Any) -> int:
    """Elements of the float variables that the signature reads."""
    return sum(
        int(variable.shape.num_elements()) for variable in signature.variables if variable.dtype.is_floating
    )


def _frozen(signature: Any, where: str) -> tuple[FrozenGraph, str]:
    """The signature as one graph without variables and calls, and the name of its input."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        frozen = convert_variables_to_constants_v2(
            signature, lower_control_flow=False, aggressive_inlining=True
        )
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        raise InputRefused(f"{where}: TensorFlow does not freeze it: {first_line(error)}") from error
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        # Gradients are those of the arithmetic itself. One that the file brings along need not belong to it, and a wrong
        # one makes a weak model look robust.
        node.attr.pop("_gradient_op_type", None)
    return FrozenGraph(graph, frozen.outputs[0].name), frozen.inputs[0].name


def _function(graph: FrozenGraph, fed: str, fetched: list[str], dtype: Any) -> Callable[[Any], list[Any]]:
    """The graph from its input to some of its tensors: tf.Tensor float32 -> tf.Tensor float32 each; differentiable."""
    import tensorflow as tf

    def function(values: Any) -> list[Any]:
        outputs = tf.graph_util.import_graph_def(
            graph.up_to(*fetched),
            input_map={fed: tf.cast(values, dtype)},
            return_elements=[name if ":" in name else f"{name}:0" for name in fetched],
            name="",
        )
        return [tf.cast(output, tf.float32) for output in outputs]

    compiled: Callable[[Any], list[Any]] = tf.function(function, autograph=False, reduce_retracing=True)
    return compiled


def _run(function: Callable[[Any], list[Any]], values: np.ndarray, where: str) -> list[np.ndarray]:
    import tensorflow as tf

    try:
        return [np.asarray(output, np.float32) for output in function(tf.constant(values))]
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputRefused(
            f"{where}: does not run on images of {list(values.shape[1:])}: {first_line(error)}"
        ) from error


def _is_finite(values: np.ndarray) -> bool:
    return values.dtype.kind not in "fV" or bool(np.isfinite(values.astype(np.float32)).all())
