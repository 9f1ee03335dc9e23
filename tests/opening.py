"""Models and commands in this process: a test that is about neither process isolation nor a start need not pay for them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from safeml import sandbox_child
from safeml.errors import InputRefused
from safeml.interruption import SIGNALS
from safeml.sandbox import Outcome
from safeml.scan.scan import Scanned, scanned


def open_scanned(path: Path) -> Any:
    """Return the model of a scanned copy, loaded in this process; the rest is as in `load_model`.

    Raises InputRefused where the scan does not accept the file.
    """
    from safeml.classifiers.opening import open_copy

    with scanned(path) as result:
        if result.scan.status != "accepted" or result.copy is None:
            raise InputRefused(f"{path}: {result.scan.reason}")
        return open_copy(result.scan.format, result.copy, result.architecture, str(path))


def open_here(path: Path) -> Any:
    """Return the same model, scanned in this process too: for files that the test itself made with Keras or ONNX."""
    with scans_here():
        return open_scanned(path)


@contextmanager
def scans_here() -> Iterator[None]:
    """Scan model files in this process, without the limited child process: the same scanner, and its reply through JSON."""
    from safeml.scan import scan

    def run_here(target: str, arguments: dict[str, str], **limits: object) -> Outcome:
        module, name = target.split(":")
        kind, value, reason = sandbox_child.call(getattr(import_module(module), name), arguments)
        return Outcome(kind, json.loads(json.dumps(value)), reason)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "run_limited", run_here)
        yield


@contextmanager
def trials_here() -> Iterator[None]:
    """Make `load_model` scan and load a file in this process, without the limited child processes of both.

    The processes themselves are tested in tests/security, tests/unit/test_sandbox.py and tests/integration/test_load_model.py.
    """
    from safeml.classifiers import load
    from safeml.classifiers.opening import describe, open_copy

    def trial(given: Scanned) -> Outcome:
        assert given.copy is not None
        model = open_copy(given.scan.format, given.copy, given.architecture, str(given.source.file))
        return Outcome("ok", describe(model))

    with scans_here(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_trial", trial)
        yield


def command_here(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of `safeml` in this process, in `folder`. Its models are loaded as in `trials_here`.

    It is the same `main`: exit code, output and errors are those of the command line. What `main` changes in the process
    (arguments, streams, variables, handlers of signals) is restored.
    """
    from safeml.cli.main import main

    # Held to the end: `main` writes to the buffer of the first, which a collected stream would close.
    output = io.TextIOWrapper(io.BytesIO(), "utf-8")
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    line = ["safeml", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, chdir(folder or Path()), trials_here():
        patch.setattr(sys, "argv", line)
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", errors)
        patch.setenv("SAFEML_DEBUG", "")
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        # Read here: the stream that `main` puts in place of the first closes the buffer when it is collected.
        written = [stream.buffer.getvalue().decode() for stream in (output, errors)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(line, code, *written)
