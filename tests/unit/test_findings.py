"""The form of the scripts in findings/. What they claim is run by hand: it needs a package index."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "findings"
SCRIPTS = sorted(path for path in FOLDER.glob("*.sh") if path.name != "lib.sh")
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[0-9][0-9a-z.]*")


def test_the_shared_part_removes_its_folder() -> None:
    shared = (FOLDER / "lib.sh").read_text(encoding="utf-8")
    assert "\nset -euo pipefail\nfolder=$(mktemp -d)\ntrap " in shared
    assert 'rm -rf "$folder"' in shared
    assert "pip install" in shared


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_has_the_form(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    lines = text.splitlines()
    header = lines[: lines.index("set -euo pipefail")]
    assert header[0] == "#!/usr/bin/env bash"
    assert all(line.startswith("#") for line in header)
    for word in ("# Claim: ", "# Matters where: ", "# Versions: ", "# Source: "):
        assert sum(line.startswith(word) for line in header) == 1, word
    assert 'source "$(dirname "$0")/lib.sh"' in lines
    (packages,) = [line.split()[1:] for line in lines if line.startswith("install ")]
    assert packages
    stated = next(line for line in header if line.startswith("# Versions: "))
    for package in packages:
        assert PIN.fullmatch(package), f"{package} is not pinned with =="
        assert "{} {}".format(*package.split("==")) in stated
    assert not re.search(r"https?://|\bimport safeml|\bfrom safeml", text)
    assert text.count("\nsame(") >= 1
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_the_page_lists_every_finding() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([a-z0-9-]+)\]\(\1\.sh\)", page, re.MULTILINE) == [
        path.stem for path in SCRIPTS
    ]
