"""An ONNX file as the model under test, run by ONNX Runtime on the CPU. Legend: N images, H W C pixels, K classes.

It has no gradients: attacks that need them are not measured on it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from safeml.classifiers.base import Gives, InputSpec
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.contract import (
    LOG_NOTE,
    as_pixels,
    check_integer_contract,
    check_outputs,
    input_spec,
    model_values,
    raw_values,
)
from safeml.classifiers.head import (
    EPSILON,
    Shape,
    causes,
    check_ends,
    check_shapes,
    judge_outputs,
    probe_values,
)
from safeml.classifiers.onnx_graph import OnnxGraph
from safeml.errors import InputRefused, first_line
from safeml.scan.onnx import FEATURES, LOGITS, PROBABILITIES
from safeml.scan.onnx_tensors import WEIGHTS
from safeml.settings.model import VALUES, InputSettings

BATCH = 64
# Images of one call of ONNX Runtime. Calls of one shape give the same numbers, however many run at once.
SLICE = 16
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}
HALF_NOTE = "its float16 outputs are read as float32"
QUANTIZED_NOTE = "quantized operations are run one by one, as the file states them, and are not fused"
INPUT_TYPES = {**TYPES, "tensor(uint8)": "uint8"}


@dataclass(eq=False)
class OnnxModel:
    """A loaded ONNX model; see `Model` for the fields.

    session, penultimate: ONNX Runtime sessions that give [N, K] before the softmax, and what the last layer is fed.
    batch: how many images the graph is given at a time; open_batch: it takes any number. channels_first: it takes [N, C, H, W]. dtype: of its input.
    takes_log: what the session gives are probabilities.
    proto: onnx.ModelProto of a file with explicit quantization, for its linter; None for any other.
    """

    where: str
    input_shape: tuple[int | None, int | None, int | None]
    outputs: int
    gives: Gives
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    session: Any = field(repr=False)
    penultimate: Any = field(repr=False)
    batch: int
    open_batch: bool
    channels_first: bool
    dtype: str
    takes_log: bool
    proto: Any = field(default=None, repr=False)

    def fed(self, settings: InputSettings, class_names: tuple[str, ...], name: str) -> OnnxClassifier:
        """See `Model.fed`."""
        spec = input_spec(self, settings, len(class_names))
        if self.dtype == "uint8":
            check_integer_contract(spec, self.where)
        batch = BatchSize(self.batch, least=1 if self.open_batch else self.batch)
        model = self if spec.outputs != VALUES else replace(self, **raw_values(self))
        classifier = OnnxClassifier(
            name, spec, len(class_names), self.parameters, self.fingerprint, model.notes, model, batch
        )
        check_outputs(classifier, self.where)
        return classifier

    def run(self, session: Any, values: np.ndarray, batch: int) -> np.ndarray:
        """float32 [n, height, width, channels] of the model's own values, n <= batch -> float32 [n, ...].

        Every batch is padded to one shape, so that an image's row does not depend on how many came with it.
        """
        padded = np.concatenate([values, np.zeros((batch - len(values), *values.shape[1:]), np.float32)])
        fed = padded.transpose(0, 3, 1, 2) if self.channels_first else padded
        if self.dtype == "uint8":
            fed = np.clip(np.rint(fed), 0, 255)
        size = min(SLICE, batch) if self.open_batch else batch
        slices = [fed[start : start + size] for start in range(0, len(values), size)]
        workers = min(len(slices), _processors())
        if workers == 1:
            results = [self._call(session, images) for images in slices]
        else:
            with ThreadPoolExecutor(workers) as pool:
                results = list(pool.map(partial(self._call, session), slices))
        return np.concatenate(results)[: len(values)]

    def _call(self, session: Any, images: np.ndarray) -> np.ndarray:
        (outputs,) = session.run(
            None, {session.get_inputs()[0].name: np.ascontiguousarray(images, self.dtype)}
        )
        return np.asarray(outputs, np.float32)


@dataclass(eq=False)
class OnnxClassifier:
    """A `Classifier` without gradients. Build it with `OnnxModel.fed`."""

    name: str
    spec: InputSpec
    classes: int
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    model: OnnxModel
    batch: BatchSize

    @property
    def quantized_proto(self) -> Any:
        """The onnx.ModelProto of a file with explicit quantization; None for any other."""
        return self.model.proto

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8, or float32 in 0..1 -> float32 [N, K]. Not checked for finiteness: audits count that."""
        outputs = self._in_batches(self.model.session, images)
        if self.model.takes_log:
            outputs = np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
        if self.spec.class_order is not None:
            outputs = outputs[:, np.argsort(self.spec.class_order)]
        return outputs

    def features(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> float32 [N, F], the input of the last layer that has weights."""
        return self._in_batches(self.model.penultimate, images).reshape(len(images), -1)

    def _in_batches(self, session: Any, images: np.ndarray) -> np.ndarray:
        results: list[np.ndarray] = []
        start = 0
        while start < len(images):
            results.append(until_it_fits(self.batch, partial(self._run, session, images[start:])))
            start += len(results[-1])
        return np.concatenate(results)

    def _run(self, session: Any, images: np.ndarray, size: int) -> np.ndarray:
        import tensorflow as tf

        try:
            values = np.asarray(model_values(tf.constant(as_pixels(images[:size])), self.spec))
            return self.model.run(session, values, size)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            if "alloc" in str(error).lower():
                raise MemoryError(first_line(error)) from None
            raise


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_onnx(path: Path, where: str, notes: tuple[str, ...] = ()) -> OnnxModel:
    """The ONNX model at `path`, which a scan accepted. Its softmax, if it ends in one, is taken off.

    Raises InputRefused where it does not load, or has not one image input and one row of outputs.
    """
    graph = _read(path, where)
    session = _session(graph.bytes_giving(graph.output), where, graph.quantized)
    taken, given = session.get_inputs(), session.get_outputs()
    check_ends(len(taken), len(given), where)
    for end, which, types in ((taken[0], "takes", INPUT_TYPES), (given[0], "gives", TYPES)):
        if end.type not in types:
            raise InputRefused(f"{where}: {which} {end.type}; expected {' or '.join(types)}.")
    batch, shape, channels_first = _layout(_sides(taken[0].shape), where)
    outputs = check_shapes((None, *shape), _sides(given[0].shape), where)
    logits = graph.softmax_input()
    penultimate = graph.features or graph.last_weighted_input(logits or graph.output)
    if penultimate is None:
        raise InputRefused(f"{where}: has no layer with weights; expected a trained classifier.")
    done = ["the softmax was taken off; the logits are exact"] if logits else []
    done += [HALF_NOTE] if TYPES[given[0].type] == "float16" else []
    done += [QUANTIZED_NOTE] if graph.quantized else []
    model = OnnxModel(
        where=where,
        input_shape=shape,
        outputs=outputs,
        gives="logits",
        parameters=_parameters(graph.model),
        fingerprint=graph.fingerprint(),
        notes=(*notes, *done),
        session=_session(graph.bytes_giving(logits), where, graph.quantized) if logits else session,
        penultimate=_session(graph.bytes_giving(penultimate), where, graph.quantized),
        batch=batch or BATCH,
        open_batch=batch is None,
        channels_first=channels_first,
        dtype=INPUT_TYPES[taken[0].type],
        takes_log=False,
        proto=graph.model if graph.quantized else None,
    )
    return _judged(model, session if logits else None)


def _judged(model: OnnxModel, with_softmax: Any | None) -> OnnxModel:
    """The model with what its probe outputs say of it. with_softmax: the session before the softmax was taken off."""
    outputs = _probe(model, with_softmax or model.session)
    without = _probe(model, model.session) if with_softmax else None
    precision = EPSILON["float16"] if HALF_NOTE in model.notes else 0.0
    gives, takes_log = judge_outputs(outputs, without, model.where, precision=precision)
    return replace(
        model, gives=gives, takes_log=takes_log, notes=(*model.notes, *((LOG_NOTE,) if takes_log else ()))
    )


def _probe(model: OnnxModel, session: Any) -> np.ndarray:
    values = probe_values(model.input_shape) * np.float32(255 if model.dtype == "uint8" else 1)
    try:
        parts = [values[start : start + model.batch] for start in range(0, len(values), model.batch)]
        return np.concatenate([model.run(session, part, model.batch) for part in parts])
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise InputRefused(
            f"{model.where}: does not run on images of {list(values.shape[1:])}: {causes(error)}"
        ) from error


def _read(path: Path, where: str) -> OnnxGraph:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise InputRefused(f"{where}: is no ONNX model: {causes(error)}") from error
    inputs = {tensor.name for tensor in model.graph.initializer}
    real = [value for value in model.graph.input if value.name not in inputs]
    names = [value.name for value in model.graph.output]
    outputs = 1 if LOGITS in names and set(names) <= {LOGITS, FEATURES, PROBABILITIES} else len(names)
    check_ends(len(real), outputs, where)
    return OnnxGraph(model)


def _session(model: bytes, where: str, quantized: bool = False) -> Any:
    """From bytes: a session without a path has no folder to look for other files in, and no library is registered.

    quantized: leave out the optimizations that fuse or add quantized operations. Integer kernels round in other places, so that
    results differ by whole steps, also with the size of the batch. One of the basic optimizations quantizes float biases: it
    moves every output, and the bias of a near-dead channel overflows. Without them the outputs are those of the file as it is
    written, to the last bit.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    if quantized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Told, not guessed: by its first bytes a file can be protobuf and ONNX Runtime's own format at once.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)  # else the model's metadata may set options
    options.log_severity_level = 4  # what fails is raised; the rest is for its developers
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise InputRefused(f"{where}: ONNX Runtime does not load it: {causes(error)}") from error


def _sides(shape: list[Any]) -> Shape:
    """Sides that are names, or not positive, are open."""
    return tuple(side if isinstance(side, int) and side > 0 else None for side in shape or [])


def _layout(sides: Shape, where: str) -> tuple[int | None, tuple[int | None, int | None, int | None], bool]:
    """Batch, (height, width, channels), and whether channels come first: the side of 1 or 3 is the channels."""
    if len(sides) != 4:
        raise InputRefused(f"{where}: takes inputs of shape {list(sides)}; expected 4 sides, of images.")
    first, last = sides[1] in (1, 3), sides[3] in (1, 3)
    if first == last:
        raise InputRefused(
            f"{where}: takes inputs of shape {list(sides)}; expected 1 or 3 channels at the second or the last place."
        )
    if first:
        return sides[0], (sides[2], sides[3], sides[1]), True
    return sides[0], (sides[1], sides[2], sides[3]), False


def _parameters(model: Any) -> int:
    """Elements of the stored weights, as the scan counts them, but for constants inside nodes."""
    return sum(prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in WEIGHTS)
