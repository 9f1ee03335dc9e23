"""Claim: the static scan accepts every architecture of keras.applications, as .keras and as .h5, in little memory.

    python benchmarks/scan_applications.py [NAME ...]

Builds each network with random weights, saves it both ways, and runs `safeml scan` on each file in a process of its own. Recorded:
the outcome, seconds, and the peak of resident memory of the command and of its child. Takes about ten minutes and 3 GB of disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "scan_applications.json"
MIB = 1024**2


def main(names: list[str]) -> int:
    rows = []
    # This process stays small: a child's peak of memory starts at that of the process that it was forked from.
    for name in names or asked("--names"):
        with tempfile.TemporaryDirectory() as folder:
            [parameters] = asked("--build", name, folder)
            for suffix in (".keras", ".h5"):
                row = scanned(Path(folder) / f"{name}{suffix}")
                rows.append({"model": name, "format": suffix, "parameters": int(parameters), **row})
                print(rows[-1], flush=True)
    accepted = sum(row["status"] == "accepted" and row["exit"] == 0 for row in rows)
    [version] = asked("--version")
    peak = max(row["peak_mib"] for row in rows)
    summary = {"keras": version, "files": len(rows), "accepted": accepted, "peak_mib": peak, "rows": rows}
    if not names:
        RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"{accepted} of {len(rows)} accepted, peak {peak} MiB")
    return 0 if accepted == len(rows) else 1


def asked(*arguments: str) -> list[str]:
    """What this script prints when it runs with Keras, in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def answer(what: str, name: str = "", folder: str = "") -> None:
    """The part that needs Keras."""
    import keras

    if what == "--version":
        print(keras.__version__)
    elif what == "--names":
        print(*(found for found in dir(keras.applications) if found[0].isupper()))
    else:
        model = getattr(keras.applications, name)(weights=None)
        model.save(f"{folder}/{name}.keras")
        model.save(f"{folder}/{name}.h5")
        print(model.count_params())


def scanned(path: Path) -> dict[str, Any]:
    """What `safeml scan --json` says of the file, its exit code, and what it cost."""
    began = time.monotonic()
    command = [sys.executable, "-m", "safeml.cli.main", "scan", str(path), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    answer = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)  # of the command and of what it waited for
    return {
        "status": answer["status"],
        "reason": answer["reason"],
        "exit": os.waitstatus_to_exitcode(status),
        "mib": round(answer["bytes"] / MIB, 1),
        "layers": answer["facts"].get("layers"),
        "seconds": round(time.monotonic() - began, 2),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("--"):
        answer(*sys.argv[1:])
    else:
        sys.exit(main(sys.argv[1:]))
