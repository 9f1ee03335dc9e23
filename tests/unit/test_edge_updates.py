"""An update by itself: what is taken, what waits, difference files, and the commands."""

from __future__ import annotations

import bz2
import hashlib
import json
import os
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from safeml.edge.cli import main
from safeml.edge.errors import EdgeError
from safeml.edge.hooks import run_hook
from safeml.edge.install import Change
from safeml.edge.rollout import place
from safeml.edge.sources import FolderSource, Source
from safeml.edge.updates import update
from tests.device import Device, failing, passing
from tests.edge_bundles import FACTS, NOW, PRODUCT, refused, write_settings

pytestmark = pytest.mark.slow


class Shelf:
    """A folder with bundles and an index, as a source. Files are copied, as a download does."""

    def __init__(self, device: Device, folder: Path) -> None:
        folder.mkdir()
        self.device, self.folder = device, folder
        self.fetched: list[str] = []

    def put(self, release: int, /, **index: Any) -> Shelf:
        data = Path(self.device.bundle(release)).read_bytes()
        name = f"signs-{release}.safeml"
        (self.folder / name).write_bytes(data)
        row = {"format": 1, "product": PRODUCT, "release": release, "file": name, "bytes": len(data)}
        (self.folder / "index.json").write_text(json.dumps({**row, **index}))
        return self

    def source(self) -> Source:
        shelf = self

        class Downloads(FolderSource):
            def fetch(self, name: str, length: int, folder: str) -> str:
                shelf.fetched.append(name)
                target = Path(folder) / name
                try:
                    target.write_bytes((shelf.folder / name).read_bytes())
                except OSError:
                    raise EdgeError(f"{name} cannot be read.") from None
                return str(target)

        return Downloads(str(self.folder))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path).committed(5)


@pytest.fixture
def shelf(device: Device, tmp_path: Path) -> Shelf:
    return Shelf(device, tmp_path / "shelf")


def taken(device: Device, shelf: Shelf, selftest: Any = passing, **options: Any) -> Change:
    return update(device.settings, FACTS, lambda: NOW, source=shelf.source(), selftest=selftest, **options)


def downloads(device: Device) -> list[str]:
    folder = Path(device.settings.root) / "download"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_newer_release_is_installed_and_the_download_removed(device: Device, shelf: Shelf) -> None:
    assert taken(device, shelf.put(6)).sentence == "release 6 is active in slot b, in probation."
    assert device.release == 6
    assert downloads(device) == []


@pytest.mark.parametrize("release", [4, 5])
def test_no_newer_release_downloads_nothing(device: Device, shelf: Shelf, release: int) -> None:
    change = taken(device, shelf.put(release))
    assert change.event == ""
    assert f"has release {release}; this device has had release 5" in change.sentence
    assert shelf.fetched == []


def test_an_empty_source_is_a_sentence(device: Device, shelf: Shelf) -> None:
    assert "has no release of test signs" in taken(device, shelf).sentence


def test_an_index_that_lies_installs_nothing(device: Device, shelf: Shelf) -> None:
    """The index only says which file to read; the signed manifest decides."""
    shelf.put(5, release=9)
    with refused("same-release"):
        taken(device, shelf)
    assert device.release == 5
    assert downloads(device) == []
    shelf.put(6, product="other")
    with refused("index"):
        taken(device, shelf)
    shelf.put(6, bytes=3 << 30)
    with refused("source"):
        taken(device, shelf)
    assert device.release == 5


def test_a_device_outside_of_the_percentage_waits(tmp_path: Path) -> None:
    at = place("device-1", PRODUCT, 6, 100).percent
    device = Device(tmp_path, percent=at - 0.01).committed(5)
    shelf = Shelf(device, tmp_path / "shelf").put(6)
    change = taken(device, shelf)
    assert change.event == ""
    assert f"this one joins at {at:g} %" in change.sentence
    assert shelf.fetched == []
    device = Device(tmp_path, percent=at)
    assert taken(device, shelf).event == "installed"


def test_a_source_can_lower_the_percentage_and_not_raise_it(device: Device, shelf: Shelf) -> None:
    assert "rolled out to 0 %" in taken(device, shelf.put(6, percent=0)).sentence
    device.settings = device.settings._replace(update={"percent": 0})
    assert "rolled out to 0 %" in taken(device, shelf.put(6, percent=100)).sentence


def test_quiet_hours_wait(tmp_path: Path) -> None:
    device = Device(tmp_path, quiet_hours=["00:00-06:00"]).committed(5)  # it is 00:53
    shelf = Shelf(device, tmp_path / "shelf").put(6)
    assert "the next installation may begin at 2026-11-30 06:00" in taken(device, shelf).sentence
    assert shelf.fetched == []


def test_a_download_into_the_quiet_hours_is_not_installed(tmp_path: Path) -> None:
    device = Device(tmp_path, quiet_hours=["01:00-06:00"]).committed(5)
    shelf = Shelf(device, tmp_path / "shelf").put(6)
    times = iter([NOW, NOW + 1800])
    change = update(device.settings, FACTS, lambda: next(times), source=shelf.source(), selftest=passing)
    assert change.event == ""
    assert device.release == 5
    assert taken(device, shelf).event == "installed"


def test_a_release_that_failed_here_is_not_tried_again_by_itself(device: Device, shelf: Shelf) -> None:
    shelf.put(6)
    with pytest.raises(EdgeError, match="golden outputs differ"):
        taken(device, shelf, failing)
    shelf.fetched.clear()
    assert "failed on this device before" in taken(device, shelf).sentence
    assert shelf.fetched == []
    assert taken(device, shelf, again=True).event == "installed"


def test_a_release_in_probation_is_waited_for(device: Device, shelf: Shelf) -> None:
    device.install(6)
    assert "release 7 waits for its end" in taken(device, shelf.put(7)).sentence


def test_a_release_beside_the_active_one_is_not_installed_again(device: Device, shelf: Shelf) -> None:
    device.install(6, shadow=True)
    assert "runs beside the active one" in taken(device, shelf.put(6)).sentence
    assert taken(device, shelf.put(7)).event == "installed"


def number(value: int) -> bytes:
    return struct.pack("<Q", abs(value) | (1 << 63 if value < 0 else 0))


def difference(new: bytes, base: bytes, count: int = 8) -> bytes:
    """Return a difference file that adds to the first `count` bytes of the base and brings the rest."""
    control = bz2.compress(number(count) + number(len(new) - count) + number(0))
    added = bz2.compress(bytes((a - b) % 256 for a, b in zip(new[:count], base, strict=False)))
    return (
        b"BSDIFF40"
        + number(len(control))
        + number(len(added))
        + number(len(new))
        + control
        + added
        + bz2.compress(new[count:])
    )


def with_delta(device: Device, shelf: Shelf, data: bytes, base: str = "") -> Shelf:
    (shelf.folder / "5-6.delta").write_bytes(data)
    manifest = (Path(device.slots.active() or "") / "manifest.json").read_bytes()
    row = {"file": "5-6.delta", "bytes": 10, "base": base or hashlib.sha256(manifest).hexdigest()}
    return shelf.put(6, deltas=[row])


def test_a_difference_file_of_the_active_release_replaces_the_download(device: Device, shelf: Shelf) -> None:
    new, old = (Path(device.bundle(release)).read_bytes() for release in (6, 5))
    assert taken(device, with_delta(device, shelf, difference(new, old))).event == "installed"
    assert shelf.fetched == ["5-6.delta"]
    assert device.release == 6
    assert downloads(device) == []


@pytest.mark.parametrize("data", [b"", b"BSDIFF40", None, "missing"])
def test_a_bad_difference_file_is_replaced_by_the_whole_bundle(
    device: Device, shelf: Shelf, data: bytes | str | None
) -> None:
    new = Path(device.bundle(6)).read_bytes()
    wrong = new[:-1] + b"x"  # it applies, and its result is refused
    with_delta(device, shelf, difference(wrong, wrong) if data is None else b"")
    if data == "missing":
        (shelf.folder / "5-6.delta").unlink()
    elif isinstance(data, bytes):
        (shelf.folder / "5-6.delta").write_bytes(data)
    assert taken(device, shelf).event == "installed"
    assert shelf.fetched == ["5-6.delta", "signs-6.safeml"]
    assert device.release == 6
    assert downloads(device) == []


def test_a_difference_file_of_another_release_is_not_fetched(device: Device, shelf: Shelf) -> None:
    with_delta(device, shelf, b"", base="0" * 64)
    assert taken(device, shelf).event == "installed"
    assert shelf.fetched == ["signs-6.safeml"]


def test_no_space_for_a_download_is_one_sentence(
    device: Device, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safeml.edge.updates.SPARE_BYTES", 1 << 60)
    with pytest.raises(EdgeError, match="MB free; the download needs"):
        taken(device, shelf.put(6))
    assert shelf.fetched == []


def test_what_earlier_downloads_left_is_removed(device: Device, shelf: Shelf) -> None:
    folder = Path(device.settings.root) / "download"
    folder.mkdir()
    for name in ("signs-5.safeml.part", "signs-5.safeml.part.json", "signs-6.safeml.patched", "5-6.delta"):
        (folder / name).write_bytes(b"x")
    assert taken(device, shelf.put(6)).event == "installed"
    assert downloads(device) == []


def test_a_file_on_a_stick_is_read_where_it_is_and_stays(device: Device, shelf: Shelf) -> None:
    shelf.put(6)
    change = update(
        device.settings, FACTS, lambda: NOW, source=FolderSource(str(shelf.folder)), selftest=passing
    )
    assert change.event == "installed"
    assert (shelf.folder / "signs-6.safeml").exists()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `safeml-edge` with settings whose hook writes its arguments; returns the exit code."""
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/events\n')
    hook.chmod(0o755)
    import_module("safeml.edge.commands.preflight")  # it binds the function, so it is imported before
    monkeypatch.setattr("safeml.edge.facts.read_facts", lambda: FACTS)
    monkeypatch.setattr("safeml.edge.selftest.selftest", passing)
    monkeypatch.setattr("time.time", lambda: float(NOW))

    def run(*arguments: str, **changes: Any) -> int:
        path = write_settings(
            tmp_path / "etc", tmp_path / "root", **{"update": {"hook": str(hook)}, **changes}
        )
        return main(["--settings", str(path), *arguments])

    return run


def test_the_commands_end_to_end(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(tmp_path)
    assert command("status") == 0
    assert "slot a: empty" in capsys.readouterr().out
    assert command("install", device.bundle(5)) == 0
    assert command("commit") == 5
    assert "refused [probation-open]: the probation of release 5 is open" in capsys.readouterr().err
    assert command("commit", "--now") == 0
    assert command("--json", "install", device.bundle(6)) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["status"], record["release"], record["hook"]) == ("installed", 6, None)
    assert command("install", device.bundle(7)) == 5
    assert command("rollback", "--reason", "it drove off the road") == 0
    assert command("install", device.bundle(6)) == 5
    assert "[same-release]" in capsys.readouterr().err
    assert command("update", "--source", str(tmp_path)) == 0
    assert (tmp_path / "events").read_text() == "installed 5\ncommitted 5\ninstalled 6\nrolled-back 5\n"
    stored = json.loads((tmp_path / "root/status.json").read_text())
    assert stored["slots"]["a"]["release"] == 5
    assert stored["error"]["reason"] == "same-release"


def test_a_self_test_that_differs_exits_with_4(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(tmp_path)
    assert command("install", device.bundle(5)) == 0
    monkeypatch.setattr("safeml.edge.selftest.selftest", failing)
    assert command("commit", "--now") == 0
    assert command("install", device.bundle(6)) == 4
    error = capsys.readouterr().err
    assert error.startswith(
        "failed: release 6 is not installed: its self-test failed (2 of 32 golden outputs"
    )
    assert error.count("\n") == 1


def test_a_bad_policy_exits_with_2(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("install", Device(tmp_path).bundle(5), update={"percnt": 5}) == 2
    assert "did you mean percent?" in capsys.readouterr().err
    assert command("update") == 2
    assert "the settings name no update.source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("#!/bin/sh\nexit 0\n", ""),
        ("#!/bin/sh\nexit 3\n", "ended with status 3."),
        ("#!/bin/sh\nsleep 60\n", "did not end within"),
        ("no program", "cannot be started"),
    ],
)
def test_a_hook_changes_nothing_that_was_done(tmp_path: Path, script: str, problem: str) -> None:
    hook = tmp_path / "hook"
    hook.write_text(script)
    hook.chmod(0o755)
    said = run_hook(str(hook), "installed", 5, str(tmp_path), seconds=5 if not problem else 0.5)
    assert problem in said
    assert bool(said) == bool(problem)


def test_a_hook_that_others_may_change_is_not_started(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    hook.chmod(0o777)
    assert "is not started" in run_hook(str(hook), "installed", 5, str(tmp_path))
    assert not (tmp_path / "started").exists()
    assert "cannot be started" in run_hook(str(tmp_path / "none"), "installed", 5, str(tmp_path))
    assert run_hook(None, "installed", 5, str(tmp_path)) == ""


def test_the_hook_is_free_to_take_the_lock(tmp_path: Path) -> None:
    """It restarts the service of the run, whose start takes the lock."""
    from safeml.edge.change_output import after

    device = Device(tmp_path).committed(5)
    hook = tmp_path / "hook"
    hook.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {os.getcwd()!r})\n"
        "from safeml.edge.lock import installer_lock\nwith installer_lock(sys.argv[3]): pass\n"
    )
    hook.chmod(0o755)
    settings = device.settings._replace(update={"hook": str(hook)})
    assert after(settings, device.install(6)) == ""
