"""The attribution methods as functions, by the name of their row. A new method is a row in `rows.py`; nothing changes here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from safeml.explainers.base import Explainer
from safeml.explainers.rows import ROWS


@cache
def explainer(name: str) -> Explainer:
    """Return the method of this name."""
    module, _, function = ROWS[name].function.partition(":")
    method: Explainer = getattr(import_module(module), function)
    return method
