"""Give files to other software directly, one after the other, and say how each reading ended.

    python -m tests.security.outside FOLDER < LIST > ANSWERS

LIST has a line "READER PATH" a reading. Each ANSWER is a JSON line: the reader, the path, "read" or the name of the exception,
and the growth of the peak memory in MiB. A reading that lasts longer than SECONDS ends the process by SIGALRM, and one that
needs more than MEMORY raises MemoryError or ends it: what was in progress is then the line of LIST without an answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 20
MEMORY = 2 << 30


def read_keras(path: Path) -> None:
    import keras

    keras.models.load_model(path, compile=False)


def read_keras_2(path: Path) -> None:
    """Its loader of HDF5 files has no safe mode."""
    import tf_keras

    tf_keras.models.load_model(path, compile=False)


def read_hdf5(path: Path) -> None:
    """Every object, attribute and number of the file, or of the weights in an archive."""
    import io

    import h5py

    where: Any = path
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            where = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(where, "r") as file:
        _attributes(file)
        file.visititems(_object)


def _object(name: str, thing: Any) -> None:
    import h5py

    _attributes(thing)
    if isinstance(thing, h5py.Dataset):
        thing[()]


def _attributes(thing: Any) -> None:
    for name in thing.attrs:
        thing.attrs[name]


def read_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            content = archive.read(member)
            if member.filename.endswith(".json"):
                json.loads(content)


def read_onnx(path: Path) -> None:
    import onnx

    onnx.checker.check_model(onnx.load(path), full_check=True)


def run_onnx(path: Path) -> None:
    import onnxruntime

    onnxruntime.InferenceSession(path)


def read_saved_model(path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.load(path)


def read_lite(path: Path) -> None:
    import tensorflow as tf

    tf.lite.Interpreter(str(path)).allocate_tensors()


def read_pickle(path: Path) -> None:
    import pickle

    pickle.loads(path.read_bytes())


def read_numpy(path: Path) -> None:
    import numpy as np

    np.load(path, allow_pickle=True)


READERS: dict[str, Callable[[Path], None]] = {
    "keras": read_keras,
    "tf_keras": read_keras_2,
    "h5py": read_hdf5,
    "zipfile": read_zip,
    "onnx": read_onnx,
    "onnxruntime": run_onnx,
    "saved_model": read_saved_model,
    "lite": read_lite,
    "pickle": read_pickle,
    "numpy": read_numpy,
}


def readers_of(path: Path) -> list[str]:
    """Which of them would be given a file of that name."""
    if os.path.isdir(path):
        return ["saved_model", "keras"]
    return {
        ".keras": ["keras", "h5py", "zipfile", "lite", "pickle", "numpy", "onnxruntime"],
        ".h5": ["keras", "tf_keras", "h5py", "pickle"],
        ".onnx": ["onnx", "onnxruntime", "pickle"],
        ".pkl": ["pickle"],
    }.get(path.suffix, ["keras", "onnxruntime"])


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Answer each line of standard input."""
    import keras
    import onnxruntime
    import tensorflow as tf
    import tf_keras

    keras.ops.convert_to_numpy(tf.zeros([1]) + 1)  # the thread pools belong to the start, not to a file
    del onnxruntime, tf_keras
    work, out = Path(sys.argv[1]), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(work)
    with open("/proc/self/statm", encoding="ascii") as stream:
        space = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        reader, _, name = line.rstrip("\n").partition(" ")
        before, ending = _peak(), "read"
        signal.alarm(SECONDS)
        try:
            READERS[reader](Path(os.fsdecode(bytes.fromhex(name))))
        except Exception as error:
            ending = type(error).__name__
        signal.alarm(0)
        out.write(json.dumps([reader, name, ending, (_peak() - before) >> 10]) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
