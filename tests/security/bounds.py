"""Lower the bounds of the scan, so that a small and harmless file exceeds them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace

import pytest


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
