"""ONNX Runtime sessions on the CPU, of a model in memory. Legend: N images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safeml.export.ends import IMAGE

# It turns float biases into int32: a channel with a scale near zero overflows, and its output is off by 13 % of the range.
BIAS_OPTIMIZER = "WeightBiasQuantization"


def session(model: Any, optimized: bool = False, without: Sequence[str] = (), threads: int = 1) -> Any:
    """Return a session for `model`, an onnx.ModelProto, its bytes or a path.

    optimized: False disables every optimization, so that each node is computed as it is written: the reference. True
    enables them all; fused integer kernels round in other places, so codes differ by whole steps. without: optimizers to
    leave out, such as BIAS_OPTIMIZER for models with near-dead channels (no integer kernel runs without it).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    data = (
        model if isinstance(model, bytes) else Path(model).read_bytes() if isinstance(model, Path) else None
    )
    data = model.SerializeToString() if data is None else data
    return onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )


def outputs(run: Any, images: np.ndarray, names: Sequence[str], batch: int = 64) -> list[np.ndarray]:
    """Return the named outputs for all images, float32 [N, H, W, C] in the values that the model takes.

    Every batch has the size that the model declares, or `batch`; the last one is padded.
    """
    declared = run.get_inputs()[0].shape[0]
    size = declared if isinstance(declared, int) else min(batch, len(images))
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        padded = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
        results = run.run(list(names), {IMAGE: np.ascontiguousarray(padded, np.float32)})
        parts.append([np.asarray(result)[: len(part)] for result in results])
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def with_taps(model: Any, names: Sequence[str]) -> Any:
    """Return a copy of an onnx.ModelProto that also gives the tensors `names`."""
    import onnx

    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {value.name for value in tapped.graph.output}
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return tapped
