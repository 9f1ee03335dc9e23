"""The first load of a model, in a limited child process: what goes wrong there costs nothing here.

Importing this module imports the framework and starts it, so that its gigabytes of address space belong to the baseline and
not to the model. It is for `safeml.sandbox` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safeml import framework
from safeml.classifiers.opening import describe, open_copy

framework.start()


def try_model(format_name: str, path: str, architecture: str, where: str) -> dict[str, Any]:
    """Load the private copy at `path`, run it once, and say what came out; see `open_copy` for the errors."""
    return describe(open_copy(format_name, Path(path), Path(architecture) if architecture else None, where))
