"""Updates on a disk that fails: after an error at any call the device has the old release or the new one. The scenarios are those of the power cuts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from safeml.edge.errors import EdgeFailure
from tests.fault.faulty_os import DEVICE_CALLS, FaultyOs, open_handles
from tests.fault.test_device_updates import MOST, SCENARIOS, Prepared, _digest, _goes_on, _no_flush, _often  # noqa: F401


@pytest.mark.parametrize(("name", "error"), _often((errno.ENOSPC, errno.EIO), None))
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
