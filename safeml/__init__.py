"""safeml: robustness and safety audits of image classifiers.

The public names are imported when they are first used: `import safeml` imports no framework and writes nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from safeml.version import __version__

_PUBLIC = {
    "AuditInputs": "safeml.audits.base",
    "Gate": "safeml.results",
    "ImageDataset": "safeml.data.dataset",
    "InputSettings": "safeml.settings.model",
    "Metric": "safeml.results",
    "Run": "safeml.results",
    "StageResult": "safeml.results",
    "Verdict": "safeml.results",
    "attack": "safeml.api.attack",
    "audit": "safeml.api.audit",
    "compare": "safeml.api.runs",
    "dataset": "safeml.api.arrays",
    "decide": "safeml.api.runs",
    "load_config": "safeml.config.audit",
    "load_dataset": "safeml.data.load",
    "load_model": "safeml.classifiers.load",
    "read_run": "safeml.api.runs",
    "robust_accuracy": "safeml.api.attack",
    "scan_path": "safeml.scan.scan",
    "wrap": "safeml.classifiers.keras",
    "write_report": "safeml.report.write",
}
__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'safeml' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
