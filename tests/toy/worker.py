"""The toy on a worker: its classifier is loaded as in `tests.toy.run`, and a slice may end the worker or take another version."""

from __future__ import annotations

from typing import Any

from safeml.classifiers import load
from safeml.scale.base import Job
from safeml.worker import opening
from tests.toy.classifier import load_model


def open_toy(job: Job) -> Any:
    """Open a job whose model is a file of `write_model`."""
    load.load_model = load_model  # type: ignore[assignment]
    return opening.open_job(job)
