"""A device whose power is cut at any call of an installation: it has the old release or the new one, and goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.device import passing
from tests.fault.faulty_os import DEVICE_CALLS, FaultyOs
from tests.fault.power_cut import DISKS, KILLED, LOST, cut
from tests.fault.update_cases import MOST, SCENARIOS, Prepared, goes_on, often

pytestmark = pytest.mark.usefixtures("no_flush")


@pytest.mark.parametrize(("name", "disk"), often(DISKS, LOST))
def test_a_power_cut_at_any_call_leaves_the_old_release_or_the_new(
    tmp_path: Path, name: str, disk: str
) -> None:
    scenario = SCENARIOS[name]
    prepared = Prepared(tmp_path, scenario.prepare)
    for at in range(1, MOST):
        device = prepared.copy()
        if not cut(partial(scenario.command, device), at, disk):
            assert device.release == scenario.done
            assert device.begin(passing).notes == []  # nothing is left to repair
            goes_on(device, {scenario.done})
            return
        prepared.goes_on(device, scenario.allowed)
    pytest.fail(f"still dying after {MOST} calls")


@pytest.mark.parametrize("before_the_end", [10, 16, 22])
def test_a_power_cut_during_the_recovery_is_recovered(tmp_path: Path, before_the_end: int) -> None:
    """The power is cut in the middle of the switch, and then again at each call of the recovery."""
    prepared = Prepared(tmp_path, lambda device: device.committed(5))
    system = FaultyOs(OSError(), 0, DEVICE_CALLS)
    counted = prepared.copy()
    with system.installed():
        counted.install(6)
    for at in range(1, MOST):
        device = prepared.copy()
        assert cut(partial(device.install, 6), len(system.calls) - before_the_end, KILLED)
        died = cut(device.begin, at, LOST)
        prepared.goes_on(device, {5, 6})
        if not died:
            return
    pytest.fail(f"still dying after {MOST} calls")
