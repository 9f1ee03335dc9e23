"""A frozen TensorFlow graph as ONNX operators, by tf2onnx. What it only logs is raised here.

Two of its optimizers are off: `q_dq_optimizer` moves quantizers without regard to their axis, and
`const_dequantize_optimizer` rounds kernels and drops their quantizers. Its public functions run each optimizer on a deep copy of
the graph and continue after errors, so the two steps behind them are called: 1.8 s of processor time instead of 4.4 s for
MobileNetV2 at 224 pixels, in an export of 5.0 s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safeml.errors import InputRefused, first_line
from safeml.export.frozen import Frozen

DESTROY_QUANTIZERS = ("q_dq_optimizer", "const_dequantize_optimizer")
# `einsum_optimizer` writes an Einsum as products of shapes that are computed at run time.
WITHOUT_USE = ("loop_optimizer", "remove_redundant_upsample", "einsum_optimizer")
LOG = "tf2onnx"


def convert(frozen: Frozen, opset: int, where: str) -> Any:
    """Return an onnx.ModelProto, as tf2onnx writes it. where: named in errors. Raises InputRefused where an operation has no ONNX form."""
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    with _log() as errors, tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(frozen.graph_def, name="")
            converted = tfonnx.process_tf_graph(
                graph,
                continue_on_error=False,
                opset=opset,
                input_names=list(frozen.inputs),
                output_names=list(frozen.outputs),
            )
            rows = optimizer._get_optimizers().items()
            used = {name: row for name, row in rows if name not in (*DESTROY_QUANTIZERS, *WITHOUT_USE)}
            model = optimizer.optimize_graph(converted, catch_errors=False, optimizers=used).make_model(
                "safeml"
            )
        except Exception as error:  # tf2onnx raises bare exceptions of many types
            raise InputRefused(_refusal(where, [*errors, first_line(error)])) from error
    if errors:
        raise InputRefused(_refusal(where, errors))
    return model


def _refusal(where: str, errors: list[str]) -> str:
    return (
        f"{where}: tf2onnx cannot convert it ({'; '.join(dict.fromkeys(errors))}); replace the layer that holds this operation "
        "by layers that ONNX has."
    )


@contextmanager
def _log() -> Iterator[list[str]]:
    """Collect the errors that tf2onnx logs, and keep its other messages from the terminal."""
    errors: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                errors.append(record.getMessage().splitlines()[0][:200])

    logger, handler = logging.getLogger(LOG), Collect()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
