"""Start of TensorFlow and Keras without the terminal output of their native libraries."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from safeml import sandbox
from safeml.errors import ConfigError, first_line

# TensorFlow reads them when it starts, and the linear algebra of NumPy and SciPy those of `safeml.sandbox`.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def start() -> None:
    """Import Keras on TensorFlow and drop the start messages of its libraries; errors are raised."""
    if "keras" not in sys.modules:
        _imported()
    _keep_graphs_as_traced()


def _imported() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # attacks need its graph
    with without_native_messages():
        with uncollected(), _wrappers_on_demand():
            import keras
            import tensorflow as tf

        # The first operation starts the device and its thread pools.
        keras.ops.convert_to_numpy(tf.zeros([1]) + 1)


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Drop within the context what this process writes to standard error: native libraries ignore Python's `sys.stderr`.

    The last words of a library that aborts the process are lost too.
    """
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


@contextmanager
def _wrappers_on_demand() -> Iterator[None]:
    """Make `import keras` within the context postpone `keras.wrappers`, the only part of it that needs scikit-learn.

    scikit-learn and SciPy's statistics are a fifth of the time of importing Keras. The first use of `keras.wrappers`, or its
    import, imports the module as usual.
    """
    name = "keras.wrappers"
    if name in sys.modules or "sklearn" in sys.modules:
        yield
        return
    sys.modules[name] = _OnDemand(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)


class _OnDemand(ModuleType):
    """A module that is imported at the first use of one of its names."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `inspect` asks every module for __file__
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(import_module(self.__name__))


def _keep_graphs_as_traced() -> None:
    """Disable Grappler, TensorFlow's rewriting of each graph before its first run, where there is no GPU.

    Here it takes up to a third of the time of compiling an attack, and the passes that follow are as fast without it
    (benchmarks/graph_rewriting.py). On a GPU it chooses the layout of convolutions, and remains enabled.
    """
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def fix_threads(count: int) -> None:
    """Make TensorFlow, and the linear algebra of NumPy, use `count` threads in this process.

    Raises ConfigError if TensorFlow runs already with another number.
    """
    from threadpoolctl import threadpool_limits

    if "tensorflow" not in sys.modules:
        os.environ.update(dict.fromkeys(THREADS, str(count)))
    elif any(os.environ.get(name) != str(count) for name in THREADS):
        raise ConfigError(
            f"TensorFlow runs already in this process, and not with {count} threads; set {' and '.join(THREADS)} to {count} before "
            "it is imported, or start a new process."
        )
    os.environ.update(dict.fromkeys(sandbox.THREADS, str(count)))  # for libraries that are loaded later
    threadpool_limits(count)


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection within the context, for imports.

    An import makes objects that live as long as the process. The collections that search them take a quarter of the time of
    importing TensorFlow and Keras.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def devices() -> list[str]:
    """Start TensorFlow and return its devices, as "CPU:0" or "GPU:0"."""
    start()
    import tensorflow as tf

    return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]


@contextmanager
def deterministic_operations() -> Iterator[None]:
    """Enable deterministic operations within the context.

    TensorFlow has no public function to disable them. If they remained enabled, a model with unseeded random layers would
    crash in its audit instead of failing the check for repeatable outputs.
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
    """Convert TensorFlow's out-of-memory error to MemoryError, for callers without TensorFlow."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(first_line(error)) from None


@contextmanager
def expected_tracing() -> Iterator[None]:
    """Drop TensorFlow's warning of repeated tracing: each of several models or shapes is traced once, which it takes for one traced again."""
    log = logging.getLogger("tensorflow")

    def other(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as a separate graph that is not inlined, for passes of a model inside a compiled loop.

    oneDNN's rewriting visits the nodes of a cycle in an order that differs between traces. If it meets a MaxPoolGrad before
    its MaxPool, the gradient gets another kernel, nine times as slow. A function has no cycle.
    """
    import tensorflow as tf

    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})  # type: ignore[no-any-return]
