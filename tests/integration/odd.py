"""Surroundings in which everything at once is odd that can be: no network, no home, no user, other hashes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
# `sitecustomize` of each child: it takes its network away, and its user's name.
NO_NETWORK = """
import pwd, sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto") or event.startswith("urllib."):
        sys.stderr.write(f"NETWORK {event} {arguments}\\n")
        raise PermissionError(event)
sys.addaudithook(forbid)
def nobody(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = nobody
"""
# The command line without a model's first load in a process of its own, which takes as long as all the rest of a tiny run.
PROGRAM = """
from safeml.classifiers import load
from safeml.cli.main import main
from safeml.sandbox import Outcome
load._trial = lambda found: Outcome("ok", {})
load.describe = lambda model: {}
main()
"""
ODD: dict[str, str | None] = {
    "HOME": "/dev/null/nowhere",
    "USER": None,
    "LC_ALL": "C",
    "TZ": "Pacific/Kiritimati",
    "PYTHONHASHSEED": "1234",
    "KERAS_HOME": None,
    "TMPDIR": "/dev/null/nowhere",
}


def write_hooks(folder: Path) -> Path:
    """Make a folder for PYTHONPATH with NO_NETWORK as its `sitecustomize`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def environment(hooks: Path, changes: dict[str, str | None]) -> dict[str, str]:
    """Return this process's environment with the hooks and the changes; a change of None takes a variable away."""
    known = os.environ | {"PYTHONPATH": os.pathsep.join([str(hooks), str(ROOT)])} | changes
    return {name: value for name, value in known.items() if value is not None}
