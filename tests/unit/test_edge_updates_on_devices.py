"""Updates on real interpreters of devices: install, self-test, probation, difference file, shadow, commit, rollback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device import files_of
from tests.device_pythons import VERSIONS, carry, check_grammar, required
from tests.edge_bundles import Bundle, write_settings
from tests.unit.test_edge_updates import difference

SCRIPT = Path(__file__).with_name("updates_on_a_device.py")


def answers(program: str, folder: Path) -> str:
    """What an interpreter prints in a new folder with the room, settings and bundles."""
    folder.mkdir()
    folder.chmod(0o755)
    carry(folder)
    write_settings(folder, folder / "root", update={"probation": {"starts": 1}})
    for release in range(5, 10):
        Bundle(release, files_of(release)).write(folder / f"{release}.safeml")
    old, new = ((folder / f"{release}.safeml").read_bytes() for release in (5, 6))
    (folder / "5-6.delta").write_bytes(difference(new, old))
    row = {"format": 1, "product": "test signs", "release": 8, "file": "8.safeml", "bytes": len(new)}
    (folder / "index.json").write_text(json.dumps(row))
    child = subprocess.run(
        [program, str(SCRIPT), str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return child.stdout


def test_the_script_is_python_3_6() -> None:
    check_grammar(SCRIPT)


@pytest.mark.slow
def test_this_interpreter_goes_through_all_of_it(tmp_path: Path) -> None:
    record = json.loads(answers(sys.executable, tmp_path / "device"))
    assert [row[0] for row in record["said"]] == [
        "installed",
        5,  # the probation is open
        5,  # a start
        "committed",
        4,  # a self-test that fails
        record["said"][5][0],  # the bundle of a difference file, with its hash
        "installed",
        5,  # the release in probation is not overwritten
        6,
        6,
        6,  # starts that die
        5,  # and the release before
        5,  # the same release is refused
        "installed",  # by an update
        "committed",
        "rolled-back",
        "shadowed",
        5,  # the shadow run is open
        "passed",
        "installed",
        5,  # both slots are damaged
    ]
    assert record["said"][5][1] == hashlib.sha256((tmp_path / "device" / "6.safeml").read_bytes()).hexdigest()
    assert record["status"][-1] == "2 committed, 1 failed, 4 installed, 1 refused, 2 rolled back"


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_interpreter_does_what_this_one_does(version: str, tmp_path: Path) -> None:
    program = required(version)
    assert answers(program, tmp_path / "theirs") == answers(sys.executable, tmp_path / "ours")
