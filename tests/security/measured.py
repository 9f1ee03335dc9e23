"""Run a command and measure it: exit code, output, peak memory of it and of its children, time.

`resource.getrusage(RUSAGE_CHILDREN)` keeps the largest of all children that a process ever had. So each measurement has a
small process of its own between the test and the command, whose only children are the command and what that starts.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Measured:
    """How a command went. memory: largest resident set of any one process of it, in bytes. cpu, wall: in seconds."""

    code: int
    out: str
    err: str
    memory: int
    cpu: float
    wall: float


def measured(*command: str, seconds: float = 60, folder: Path | None = None) -> Measured:
    """Run `command`, at most for `seconds`, in `folder`; a command that is not done by then is ended, with code -9."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", __file__, str(seconds), str(folder or ROOT), *command],
        capture_output=True,
        check=True,
    )
    return Measured(**json.loads(done.stdout))


def safeml(*arguments: str, seconds: float = 60, folder: Path | None = None) -> Measured:
    """Run the command line of this checkout, without bytecode files."""
    return measured(sys.executable, "-B", "-m", "safeml.cli.main", *arguments, seconds=seconds, folder=folder)


def _main() -> None:
    seconds, folder, *command = sys.argv[1:]
    start = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=float(seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = {
        "code": process.returncode,
        "out": out.decode("utf-8", "replace"),
        "err": err.decode("utf-8", "replace"),
        "memory": used.ru_maxrss * 1024,
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.monotonic() - start,
    }
    sys.stdout.write(json.dumps(record))


if __name__ == "__main__":
    _main()
