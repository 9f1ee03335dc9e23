"""Fixtures of the tests of faults."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is before and after a fault need not reach the disk of this machine."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
