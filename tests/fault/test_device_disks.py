"""A device whose disk fails at any call of an installation: it has the old release or the new one, and goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from safeml.edge.errors import EdgeFailure
from tests.fault.faulty_os import DEVICE_CALLS, FaultyOs, open_handles
from tests.fault.update_cases import MOST, SCENARIOS, Prepared, often

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is before and after a fault need not reach the disk of this machine."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize(("name", "error"), often((errno.ENOSPC, errno.EIO), None))
def test_a_disk_that_fails_at_any_call_leaves_the_old_release_or_the_new(
    tmp_path: Path, name: str, error: int
) -> None:
    scenario = SCENARIOS[name]
    prepared = Prepared(tmp_path, scenario.prepare)
    handles = open_handles()
    for at in range(1, MOST):
        device = prepared.copy()
        system = FaultyOs(OSError(error, "the disk fails"), at, DEVICE_CALLS)
        with system.installed():
            try:
                scenario.command(device)
            except (EdgeFailure, OSError):
                assert system.failed
        prepared.goes_on(device, scenario.allowed)
        # A stream that cannot be made leaves its handle to the caller, here as in the standard library.
        if "fdopen" not in system.calls[at - 2 : at]:
            assert open_handles() == handles
        handles = open_handles()
        if not system.failed:
            return
    pytest.fail(f"still failing after {MOST} calls")
