"""Updates whose power is cut at each call, in a small process: `python -m tests.fault.cut_updates CHECK FOLDER ARGUMENT ...`.

Each cut is a fork, and a fork copies the page tables of its process. A worker of pytest has ten times those of this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.device import passing
from tests.fault.faulty_os import DEVICE_CALLS, FaultyOs
from tests.fault.power_cut import KILLED, LOST, cut
from tests.fault.update_cases import MOST, SCENARIOS, Prepared, goes_on

ROOT = Path(__file__).parent.parent.parent


def at_any_call(folder: Path, name: str, disk: str) -> None:
    """Cut the command of a scenario at each of its calls, and let it end once."""
    scenario = SCENARIOS[name]
    prepared = Prepared(folder, scenario.prepare)
    for at in range(1, MOST):
        device = prepared.copy()
        if not cut(partial(scenario.command, device), at, disk):
            assert device.release == scenario.done
            assert device.begin(passing).notes == []  # nothing is left to repair
            goes_on(device, {scenario.done})
            return
        prepared.goes_on(device, scenario.allowed)
    raise AssertionError(f"still dying after {MOST} calls")


def during_the_recovery(folder: Path, before_the_end: str) -> None:
    """Cut an installation that many calls before its end, and then each call of its recovery."""
    prepared = Prepared(folder, lambda device: device.committed(5))
    system = FaultyOs(OSError(), 0, DEVICE_CALLS)
    counted = prepared.copy()
    with system.installed():
        counted.install(6)
    for at in range(1, MOST):
        device = prepared.copy()
        assert cut(partial(device.install, 6), len(system.calls) - int(before_the_end), KILLED)
        died = cut(device.begin, at, LOST)
        prepared.goes_on(device, {5, 6})
        if not died:
            return
    raise AssertionError(f"still dying after {MOST} calls")


CHECKS = {check.__name__: check for check in (at_any_call, during_the_recovery)}


def holds(check: str, folder: Path, *arguments: object) -> None:
    """Run a check in a process of its kind; fails with what that process printed."""
    command = [sys.executable, "-m", __name__, check, str(folder), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


if __name__ == "__main__":
    os.fsync = lambda fd: None  # what is before and after a cut need not reach the disk of this machine
    CHECKS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
