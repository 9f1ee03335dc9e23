"""TF-TRT: the SavedModel of the bundle, converted on this device by the script beside it. It gives logits alone, no features.

What TF-TRT saves holds engines, so the converted folder is authenticated before TensorFlow loads it, as an engine is.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ..engine_cache import EngineCache, EngineKey
from ..errors import EdgeError
from .base import Backend

SIGNATURE = "serving_default"
SCRIPT = "convert_tftrt.py"
FOLDER = "tftrt"
# Exit codes of the script: every gate passed, and no test images for the accuracy gate.
PASSED, NOT_PROVEN = 0, 3
SECONDS = 3600
MOST_FILES = 64


class TfTrtBackend(Backend):
    """Runs a converted SavedModel.

    folder: the converted folder, authenticated. batch: images of a call, for which the engines were built.
    """

    name = "tftrt"

    def __init__(self, folder: str, batch: int, details: Dict[str, Any]) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise EdgeError(f"TensorFlow does not import ({str(error)[:300]}).") from None
        self.tensorflow, self.batch = tf, batch
        self.loaded = tf.saved_model.load(folder)
        self.served = self.loaded.signatures[SIGNATURE]
        self.input = sorted(self.served.structured_input_signature[1])[0]
        Backend.__init__(self, "tftrt", dict(details, tensorflow=str(tf.__version__), batch=batch))

    def infer(self, values: np.ndarray) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """See `Backend.infer`."""
        rows = []
        for start in range(0, len(values), self.batch):
            part = values[start : start + self.batch]
            full = np.zeros((self.batch, *part.shape[1:]), np.float32)
            full[: len(part)] = part
            outputs = self.served(**{self.input: self.tensorflow.constant(full)})
            rows.append(np.asarray(outputs.get("logits", next(iter(outputs.values()))))[: len(part)])
        return np.asarray(np.concatenate(rows), np.float32), None

    def close(self) -> None:
        """See `Backend.close`."""
        self.served = self.loaded = None


def converted(source: str, key: EngineKey, cache: EngineCache, batch: int) -> Tuple[str, Dict[str, Any]]:
    """Return the converted folder and what is recorded of it; convert where none is stored or the stored one was changed.

    source: folder of the bundle with the SavedModel and its script.
    Raises EdgeError where the script refuses, or one of its gates failed.
    """
    target = os.path.join(cache.folder, key.name() + ".tftrt")
    stored = cache.load(key)
    reason = stored.reason
    if stored.data is not None:
        if os.path.isdir(target) and _listing(target) == stored.data:
            return target, {"engine": "cached", "gates": _gates(target)}
        reason = "changed"
    shutil.rmtree(target, ignore_errors=True)
    _convert(source, target, batch)
    cache.store(key, _listing(target), {})
    return target, {"engine": "built", "rebuilt_because": reason, "gates": _gates(target)}


def _convert(source: str, target: str, batch: int) -> None:
    command = [sys.executable, "-I", os.path.join(source, SCRIPT), "-o", target, "--batch", str(batch)]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = child.communicate(timeout=SECONDS)[0].decode("utf-8", "replace").strip().splitlines()
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise EdgeError(f"TF-TRT took longer than {SECONDS} s.") from None
    except OSError as error:
        raise EdgeError(f"the conversion by TF-TRT did not start ({error.strerror}).") from None
    if child.returncode not in (PASSED, NOT_PROVEN):
        shutil.rmtree(target, ignore_errors=True)
        raise EdgeError(
            "TF-TRT did not convert the model (code {}): {}".format(
                child.returncode, (output or ["no message"])[-1][:500]
            )
        )


def _listing(folder: str) -> bytes:
    """Return the names and hashes of all files, as bytes that the cache authenticates. Raises EdgeError for a link."""
    entries: List[Tuple[str, str]] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.islink(path) or len(entries) >= MOST_FILES:
                raise EdgeError(f"{folder}: holds a link or too many files; remove the folder.")
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
            entries.append((os.path.relpath(path, folder), digest.hexdigest()))
    return json.dumps(sorted(entries)).encode("utf-8")


def _gates(folder: str) -> Any:
    try:
        with open(os.path.join(folder, "conversion.json"), "rb") as file:
            return json.loads(file.read(1 << 20).decode("utf-8")).get("gates", [])
    except (OSError, ValueError):
        return []
