"""Claim: the scan of model files neither crashes nor grows on mutated files.

    python benchmarks/scan_fuzz.py [SECONDS]      # default: 600

Runs tests/security/fuzz.py, which says what a defect is, with a new seed each time, and records its summary in
benchmarks/results/scan_fuzz.json. Each case runs in a child with limits. The seed is not recorded: it would make again any file
that a library does not return from.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scan_fuzz.json"


def main(seconds: str = "600") -> int:
    command = [sys.executable, "-m", "tests.security.fuzz", "--seconds", seconds]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if done.returncode in (0, 1):  # it came to its end, with or without a defect
        RESULTS.write_text(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
