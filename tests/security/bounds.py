"""The scan without its child process, and with lower bounds, so that a small and harmless file exceeds them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from safeml import sandbox_child
from safeml.sandbox import Outcome


def lower(monkeypatch: pytest.MonkeyPatch, bounds: Mapping[str, int]) -> None:
    """Set each bound, named "module.bound" as in `Case.lowered`, for one test."""
    for key, value in bounds.items():
        place, name = key.split(".")
        module = importlib.import_module(f"safeml.scan.{place}")
        if name.isupper():
            if value >= getattr(module, name):
                raise ValueError(f"{key} is not lowered by {value}")
            monkeypatch.setattr(module, name, value)
            continue
        if value >= getattr(module.LIMITS, name):
            raise ValueError(f"{key} is not lowered by {value}")
        monkeypatch.setattr(module, "LIMITS", replace(module.LIMITS, **{name: value}))


def in_process(target: str, arguments: dict[str, str], **limits: object) -> Outcome:
    """`run_limited` without the child and its limits; the same mapping of exceptions."""
    module, name = target.split(":")
    kind, value, reason = sandbox_child.call(getattr(importlib.import_module(module), name), arguments)
    return Outcome(kind, value, reason)  # type: ignore[arg-type]
