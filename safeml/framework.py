"""TensorFlow and Keras, started without the lines that their native libraries write to the terminal."""

from __future__ import annotations

import os
import sys


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
