"""Opening a model file without the limited child process before it, which starts TensorFlow once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.scan.scan import scanned


def open_here(path: Path) -> Any:
    """Return the model of a scanned copy, loaded in this process; the rest is as in `load_model`.

    Raises InputRefused where the scan does not accept the file.
    """
    from safeml.classifiers.opening import open_copy

    with scanned(path) as result:
        if result.scan.status != "accepted" or result.copy is None:
            raise InputRefused(f"{path}: {result.scan.reason}")
        return open_copy(result.scan.format, result.copy, result.architecture, str(path))
