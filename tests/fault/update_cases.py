"""What the tests of interrupted updates share: the commands that are interrupted, copies of a prepared device, and what must hold after it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from safeml.edge.errors import EdgeError
from safeml.edge.shadow import FILE, Counts, write_counts
from safeml.edge.shadow_run import open_pair, promote_shadow
from safeml.edge.slots import release_in
from safeml.edge.sources import FolderSource
from safeml.edge.state import GOOD
from safeml.edge.updates import update
from safeml.edge.verify import verify_folder
from tests.device import Device, passing
from tests.edge_bundles import FACTS, NOW, PRODUCT
from tests.fault.power_cut import TORN
from tests.unit.test_edge_updates import difference

MOST = 600
NAMES = {
    FILE,
    "download",
    "download.lock",
    "a",
    "b",
    "current",
    "state.json",
    "state.copy.json",
    "lock",
    "status.json",
}


def _record(device: Device, alarms: int) -> None:
    """Run the active release until its probation is decided."""
    start = device.begin()
    start.watch.record(100, 200, alarms, ended=True, now=NOW)


class Scenario(NamedTuple):
    """One command on a device.

    prepare: what was before. command: what is cut. allowed: releases that may be active after the cut; 0 for none.
    done: the release that is active when the command returned.
    """

    prepare: Callable[[Device], Any]
    command: Callable[[Device], Any]
    allowed: set[int]
    done: int


def _in_probation(device: Device) -> None:
    device.committed(5)
    device.install(6)


def _shadowed(device: Device) -> None:
    device.committed(5)
    device.install(6, shadow=True)


def _passed_shadow(device: Device) -> None:
    _shadowed(device)
    pair = open_pair(device.settings, FACTS, NOW)
    write_counts(device.settings.root, pair.name, Counts(1000, 100), {})


def _with_source(device: Device) -> None:
    """Make a folder with release 6 and its difference file, and commit release 5."""
    device.committed(5)
    old, new = (Path(device.bundle(release)).read_bytes() for release in (5, 6))
    delta = difference(new, old)
    manifest = Path(device.settings.root, "a", "manifest.json").read_bytes()
    row = {"file": "5-6.delta", "bytes": 10, "base": hashlib.sha256(manifest).hexdigest()}
    body = {
        "format": 1,
        "product": PRODUCT,
        "release": 6,
        "file": "6.safeml",
        "bytes": len(new),
        "deltas": [row],
    }
    (device.bundles / "5-6.delta").write_bytes(delta)
    (device.bundles / "index.json").write_text(json.dumps(body))


def _update(device: Device) -> None:
    source = FolderSource(str(device.bundles))
    update(device.settings, FACTS, lambda: NOW, source=source, selftest=passing)


SCENARIOS = {
    "first installation": Scenario(lambda device: None, lambda device: device.install(5), {0, 5}, 5),
    "third installation": Scenario(
        lambda device: device.committed(5, 6), lambda device: device.install(7), {6, 7}, 7
    ),
    "installation beside": Scenario(
        lambda device: device.committed(5), lambda device: device.install(6, shadow=True), {5}, 5
    ),
    "installation instead of a shadow": Scenario(_shadowed, lambda device: device.install(7), {5, 7}, 7),
    "update by a difference file": Scenario(_with_source, _update, {5, 6}, 6),
    "promotion of a shadow": Scenario(
        _passed_shadow, lambda device: promote_shadow(device.settings, FACTS, NOW), {5, 6}, 6
    ),
    "commit": Scenario(_in_probation, lambda device: device.commit(at_once=True), {6}, 6),
    "rollback": Scenario(_in_probation, lambda device: device.rollback(), {5, 6}, 5),
    "committed by a run": Scenario(_in_probation, lambda device: _record(device, 0), {6}, 6),
    "rolled back by a run": Scenario(_in_probation, lambda device: _record(device, 200), {5, 6}, 5),
}


# Run with every kind of fault but the torn disk always; the others run with their usual kind, or in the night alone.
ALWAYS = ("third installation",)
USUALLY = ("first installation", "rollback", "rolled back by a run")


def often(kinds: tuple[Any, ...], usual: Any) -> list[Any]:
    """Return every scenario with every kind of fault."""
    return [
        pytest.param(
            name,
            kind,
            marks=()
            if (name in ALWAYS and kind != TORN) or (name in USUALLY and kind == usual)
            else pytest.mark.nightly,
        )
        for name in SCENARIOS
        for kind in kinds
    ]


POLICY = {"probation": {"starts": 1, "frames": 100}}


class Prepared:
    """Copies of a device that was prepared once."""

    def __init__(self, folder: Path, prepare: Callable[[Device], Any]) -> None:
        self.folder, self.number = folder, 0
        self.checked: set[str] = set()
        self.first = self._device("0")
        for release in range(5, 10):
            self.first.bundle(release)
        self.first.slots.prepare()
        prepare(self.first)

    def _device(self, name: str) -> Device:
        (self.folder / name).mkdir()
        return Device(self.folder / name, self.folder, **POLICY)

    def copy(self) -> Device:
        """Return a fresh copy."""
        self.number += 1
        device = self._device(str(self.number))
        shutil.copytree(self.first.settings.root, device.settings.root, symlinks=True)
        return device

    def goes_on(self, device: Device, allowed: set[int]) -> None:
        """Check that the device starts what is allowed, from files that verify, and takes a further release.

        Equal disks are checked once. The device is removed.
        """
        content = _digest(Path(device.settings.root))
        if content not in self.checked:
            self.checked.add(content)
            goes_on(device, allowed)
        shutil.rmtree(device.settings.root)


def _digest(root: Path) -> str:
    """Return a hash of every name, link and content below a folder, but for the process id in the lock."""
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        whole.update(f"{path.relative_to(root)}\n".encode())
        if path.is_symlink():
            whole.update(os.readlink(path).encode())
        elif path.is_file() and path.name != "lock":
            whole.update(path.read_bytes())
    return whole.hexdigest()


def goes_on(device: Device, allowed: set[int]) -> None:
    state = device.state
    if state.marks[state.other] == GOOD:  # what a roll-back would use was active once
        assert release_in(device.slots.folder(state.other)) <= state.release
    if not device.slots.linked() and not device.state.active:
        assert 0 in allowed
        with pytest.raises(EdgeError, match="no release is installed"):
            device.begin()
    else:
        assert device.release in allowed
        start = device.begin(passing)
        assert start.verified.manifest.release in allowed
        assert start.folder == device.slots.active()
        assert verify_folder(start.folder, device.settings, FACTS, NOW) == start.verified
        state = device.state
        assert state.active == device.slots.linked()
        assert state.release >= start.verified.manifest.release
        if state.in_probation:
            device.commit(at_once=True)
    further = device.state.release + 1
    device.install(further)
    assert device.begin().verified.manifest.release == further
    assert {path.name for path in Path(device.settings.root).iterdir()} <= NAMES
