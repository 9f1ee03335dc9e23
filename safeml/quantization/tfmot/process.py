"""The parent's side of the child process: start it, pass on its epochs, and turn each of its ends into one sentence."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safeml import interruption
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.quantization.tfmot.plan import ERRORS, REMEDY

CHILD = "safeml.quantization.tfmot.child"
NEEDED = {"tf_keras": "tf-keras", "tensorflow_model_optimization": "tensorflow-model-optimization"}


def check_installed() -> None:
    """Raise ConfigError if a package of the child is missing. Nothing is imported."""
    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f'{package} is not installed, but backend = "tfmot" needs it; install it with `python -m pip install '
                f"{package}`, or {REMEDY}."
            )


def run(folder: Path, on_epoch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Let the child answer the request in `folder`, and return its facts.

    on_epoch: receives the measurements of each epoch. There is no time limit; an interruption ends the child.
    Raises InputRefused for a model that TFMOT does not take, StageError if the child fails.
    """
    with (folder / ERRORS).open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", CHILD, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends the child
        )
        try:
            assert child.stdout is not None  # it is a pipe
            facts = None
            for line in child.stdout:
                interruption.check()
                facts = _read(line, on_epoch)
            code = child.wait()
        finally:
            _end(child)
    if facts is None or code:
        raise StageError(f"The process of TFMOT {_ending(code, folder)}; {REMEDY}.")
    return facts


def _read(line: bytes, on_epoch: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError:  # the child was killed while it wrote
        return None
    if "epoch" in message:
        on_epoch(message["epoch"])
    if "refused" in message:
        raise InputRefused(message["refused"])
    if "failed" in message:
        raise StageError(message["failed"])
    return message.get("done")


def _ending(code: int, folder: Path) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
        return f"was ended by {name}{memory}"
    lines = (folder / ERRORS).read_text("utf-8", "replace").strip().splitlines()
    last = f" ({lines[-1].strip()[:200].rstrip('.')})" if lines else ""
    return f"ended with exit code {code} and no result{last}"


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        # The parent holds the memory of a GPU.
        "CUDA_VISIBLE_DEVICES": "",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the whole group of the child, whatever happened."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()
