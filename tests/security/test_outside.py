"""No sample of this repository hurts other software: given to it directly, each is read or ends in an error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.hostile import CASES, clean
from tests.security.measured import ROOT
from tests.security.outside import readers_of

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

GROWTH = 128
"""MiB by which one reading may raise the peak of the process."""
# Exceptions that say that a limit of the process, and not the reader, ended the reading.
EXHAUSTED = {"MemoryError", "ResourceExhaustedError"}


def test_every_sample_is_read_or_ends_in_an_error(tmp_path: Path) -> None:
    work, lines, names = tmp_path / "work", [], {}
    work.mkdir()
    for case in CASES:
        folder = tmp_path / "samples" / case.name
        folder.mkdir(parents=True)
        path = case.build(folder)
        for reader in readers_of(path):
            lines.append(f"{reader} {bytes(path).hex()}")
            names[lines[-1]] = f"{case.name} by {reader}"
    # Without it, readers that read nothing would pass.
    good = clean.keras_file(tmp_path / "clean.keras")
    lines.append(f"keras {bytes(good).hex()}")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.security.outside", str(work)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    done = len(answers)
    assert done == len(lines), (
        f"{names[lines[done]]} ended the process by {ran.returncode}: {ran.stderr[-500:]}"
    )
    assert answers[-1][2] == "read"
    for line, (_, _, ending, growth) in zip(lines[:-1], answers[:-1], strict=True):
        assert ending not in EXHAUSTED, names[line]
        assert growth < GROWTH, f"{names[line]} took {growth} MiB"
    assert list(work.iterdir()) == [], "a sample wrote a file"
