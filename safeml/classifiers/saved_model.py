"""A TensorFlow SavedModel as the model under test: its serving signature, frozen, seen through its logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from safeml.classifiers.contract import LOG_NOTE
from safeml.classifiers.frozen import FrozenGraph, freeze
from safeml.classifiers.head import (
    EPSILON,
    INTEGER_NOTE,
    Activation,
    Shape,
    causes,
    check_ends,
    check_shapes,
    judge_outputs,
    probe_values,
)
from safeml.classifiers.tensors import TensorModel
from safeml.errors import InputRefused
from safeml.scan.graph_ops import TF_OPS

SIGNATURE = "serving_default"


def load_saved_model(folder: Path, where: str, notes: tuple[str, ...] = ()) -> TensorModel:
    """The SavedModel in `folder`, which a scan accepted, as a `TensorModel`. Its softmax, if it ends in one, is taken off.

    Raises InputRefused where it does not load, has not one image input and one row of outputs, or where a weight is not
    finite.
    """
    signature = _signature(folder, where)
    taken = _only(signature.structured_input_signature[1], signature.structured_outputs, where)
    shape, given = _shape(taken), _shape(next(iter(signature.structured_outputs.values())))
    if shape[0] is not None:
        raise InputRefused(
            f"{where}: takes exactly {shape[0]} images at a time; expected an open batch, so export it with None."
        )
    _check_served(signature, where)
    parameters = _parameters(signature)
    graph = freeze(signature, where)
    broken = [name for name, values in graph.constants() if values.ndim and not _is_finite(values)]
    if broken:
        raise InputRefused(
            f"{where}: the weights of {broken[0][-80:]} are not finite; the file is damaged or its training diverged."
        )
    fingerprint = graph.fingerprint()
    integers = not taken.dtype.is_floating
    if integers:
        view = graph.with_float_input()
        if view is None:
            raise InputRefused(
                f"{where}: takes {taken.dtype.name} images and computes on the integers; expected float32, "
                "or integers that are cast to floats at once."
            )
        graph = view
    end = graph.activation_input()
    outputs = check_shapes(shape, given, where, one_sigmoid=end is not None and end[0] == "sigmoid")
    logits = graph.ending_in(end[1]) if end else graph
    penultimate = logits.last_weighted_input(logits.output)
    if penultimate is None:
        raise InputRefused(f"{where}: has no layer with weights; expected a trained classifier.")
    ends = [graph.output, logits.output] if end else [graph.output]
    probe = probe_values(shape[1:]) * np.float32(255 if integers else 1)
    answers = _run(_function(graph, ends), probe, where)
    activation: Activation = "sigmoid" if end and end[0] == "sigmoid" else "softmax"
    precision = EPSILON.get(signature_dtype(signature), 0.0)
    gives, takes_log = judge_outputs(answers[0], answers[1] if end else None, where, activation, precision)
    forward, features = _function(logits, [logits.output]), _function(logits, [penultimate])
    done = [f"the {activation} was taken off; the logits are exact"] if end else []
    done += [INTEGER_NOTE] if integers else []
    return TensorModel(
        where=where,
        input_shape=(shape[1], shape[2], shape[3]),
        outputs=outputs,
        gives=gives,
        parameters=parameters,
        fingerprint=fingerprint,
        notes=(*notes, *done, *((LOG_NOTE,) if takes_log else ())),
        forward=lambda values: forward(values)[0],
        penultimate=lambda values: features(values)[0],
        takes_log=takes_log,
        one_logit=given[1] == 1 and outputs == 2,
        integers=integers,
        graph=lambda: logits,
    )


def _check_served(signature: Any, where: str) -> None:
    """Raise InputRefused where the signature, as TensorFlow loaded it, reaches an operator that the scan allows elsewhere only."""
    graph = signature.graph.as_graph_def()
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    waiting, reached = [graph.node], set[str]()
    while waiting:
        for node in waiting.pop():
            if node.op not in TF_OPS and node.op not in functions:
                raise InputRefused(
                    f'{where}: its signature reaches the operator "{node.op}", which a classifier does not need; '
                    "export it for inference."
                )
            called = {node.op} | {
                function.name for value in node.attr.values() for function in (value.func, *value.list.func)
            }
            for name in (called & set(functions)) - reached:
                reached.add(name)
                waiting.append(functions[name])


def signature_dtype(signature: Any) -> str:
    """The element type of the signature's only output."""
    return str(next(iter(signature.structured_outputs.values())).dtype.name)


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
        raise InputRefused(f"{where}: TensorFlow does not load it: {causes(error)}") from error
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


def _function(graph: FrozenGraph, tensors: list[str]) -> Callable[[Any], list[Any]]:
    """The graph from its input to some of its tensors: tf.Tensor float32 -> tf.Tensor float32 each; differentiable."""
    import tensorflow as tf

    def function(values: Any) -> list[Any]:
        return [tf.cast(output, tf.float32) for output in graph.run(values, *tensors)]

    compiled: Callable[[Any], list[Any]] = tf.function(function, autograph=False, reduce_retracing=True)
    return compiled


def _run(function: Callable[[Any], list[Any]], values: np.ndarray, where: str) -> list[np.ndarray]:
    import tensorflow as tf

    try:
        return [np.asarray(output, np.float32) for output in function(tf.constant(values))]
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputRefused(
            f"{where}: does not run on images of {list(values.shape[1:])}: {causes(error)}"
        ) from error


def _is_finite(values: np.ndarray) -> bool:
    return values.dtype.kind not in "fV" or bool(np.isfinite(values.astype(np.float32)).all())
