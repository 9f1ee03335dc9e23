"""TensorFlow and Keras, started without the lines that their native libraries write to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from safeml.errors import first_line


def start() -> None:
    """Import Keras on TensorFlow. What its libraries say while they start is dropped; an error is raised as ever."""
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever else the user works with: attacks need its graph
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras
        import tensorflow as tf

        keras.ops.convert_to_numpy(tf.zeros([1]))  # the device is looked for at the first operation
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


@contextmanager
def deterministic_operations() -> Iterator[None]:
    """Operations that give the same result each time, for as long as the context lasts.

    TensorFlow has no public way back. Left on, a stranger's model with unseeded random layers would crash in its audit
    instead of being found random.
    """
    import tensorflow as tf
    from tensorflow.python.framework import config

    was = config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not was:
            config.disable_op_determinism()


@contextmanager
def memory_errors() -> Iterator[None]:
    """TensorFlow's own error for memory that is used up, as the MemoryError that it is to callers without TensorFlow."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(first_line(error)) from None


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a graph of its own within any other: for the passes of a model inside a compiled loop.

    oneDNN's rewriting visits the nodes of a cycle in an order that differs from one trace to the next. Where it meets a
    MaxPoolGrad before its MaxPool, the gradient gets another kernel, nine times as slow. Within a function is no cycle.
    """
    import tensorflow as tf

    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})  # type: ignore[no-any-return]
