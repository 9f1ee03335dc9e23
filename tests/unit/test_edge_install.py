"""Installation, probation, commit and rollback on a device in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safeml.edge.errors import EdgeError
from safeml.edge.lock import installer_lock
from safeml.edge.policy import ProbationPolicy
from safeml.edge.probation import FAILED, OPEN, PASSED, outcome
from safeml.edge.slots import Slots
from safeml.edge.state import BAD, EMPTY, FILES, GOOD, PROBATION, Trial
from safeml.edge.status import lines, status, write_status
from tests.device import Device, failing, passing
from tests.edge_bundles import NOW, Bundle, refused

pytestmark = pytest.mark.slow


def content(folder: str) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def test_a_release_is_installed_proves_itself_and_is_committed(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"starts": 2, "frames": 100})
    assert device.install(5).event == "installed"
    assert device.release == 5
    assert device.state.in_probation
    with refused("probation-open"):
        device.commit()
    for run in range(2):
        start = device.begin(passing)
        assert start.change is None
        assert device.state.trial.unfinished == 1
        change = start.watch.record(10, 60, 3, ended=True, now=NOW)
        assert (change is not None and change.event == "committed") == (run == 1)
    assert device.state.marks == {"a": GOOD, "b": EMPTY}
    assert device.commit().sentence == "release 5 is already committed."


def test_the_active_slot_is_not_touched_by_an_installation(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    active = device.slots.active() or ""
    before = content(active)
    inodes = {path: path.stat().st_ino for path in Path(active).rglob("*")}
    device.install(6)
    assert content(active) == before
    assert {path: path.stat().st_ino for path in Path(active).rglob("*")} == inodes


def test_a_self_test_that_differs_installs_nothing_and_exits_with_4(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    before = content(device.settings.root)
    with pytest.raises(EdgeError, match="2 of 32 golden outputs differ") as caught:
        device.install(6, failing)
    assert caught.value.exit_code == 4
    assert device.release == 5
    assert device.begin().watch.counted is False
    state = device.state
    assert (state.unfit, state.counters["failed"], state.error and state.error.reason) == (6, 1, "self-test")
    names = set(content(device.settings.root)) - set(FILES)
    assert names == set(before) - set(FILES)


@pytest.mark.parametrize("error", [RuntimeError("CUDA is lost"), MemoryError(), EdgeError("no TensorRT.")])
def test_a_self_test_that_raises_is_a_failed_one(tmp_path: Path, error: Exception) -> None:
    def raises(*_: Any) -> Any:
        raise error

    device = Device(tmp_path).committed(5)
    with pytest.raises(EdgeError, match="release 6 is not installed: its self-test"):
        device.install(6, raises)
    assert device.release == 5


def test_a_self_test_whose_result_is_not_true_is_a_failed_one(tmp_path: Path) -> None:
    device = Device(tmp_path)
    with pytest.raises(EdgeError, match="no check passed"):
        device.install(5, lambda *_: type("R", (), {"passed": 1, "checks": ()})())


def test_the_same_and_an_older_release_are_refused_also_after_a_rollback(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5, 6)
    with refused("same-release"):
        device.install(6)
    with refused("rollback"):
        device.install(5)
    assert device.rollback().release == 5
    assert device.release == 5
    assert device.slots.last_release() == 6
    with refused("same-release"):
        device.install(6)
    with refused("rollback"):
        device.install(5)
    assert device.state.counters["refused"] == 4
    device.committed(7)
    assert device.release == 7


def test_a_refused_bundle_leaves_both_slots_and_its_reason(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5, 6)
    before = {slot: content(device.slots.folder(slot)) for slot in "ab"}
    path = tmp_path / "7.safeml"
    path.write_bytes(Bundle(7).content()[:-1] + b"x")
    with refused("hash-mismatch"):
        device.install(7)
    assert {slot: content(device.slots.folder(slot)) for slot in "ab"} == before
    error = device.state.error
    assert error is not None
    assert error.reason == "hash-mismatch"
    assert device.rollback().release == 5


def test_a_release_in_probation_is_not_overwritten(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6)
    with refused("in-probation"):
        device.install(7)
    device.rollback()
    device.install(7)
    assert device.release == 7


def test_a_first_release_in_probation_may_be_replaced(tmp_path: Path) -> None:
    """There is no release to go back to that could be lost."""
    device = Device(tmp_path)
    device.install(5)
    with refused("no-other-release"):
        device.rollback()
    device.install(6)
    assert device.release == 6
    assert device.rollback().release == 5


def test_a_process_that_dies_again_and_again_rolls_the_device_back(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"deaths": 3}).committed(5)
    device.install(6)
    for _ in range(3):
        assert device.begin().verified.manifest.release == 6  # and dies
    start = device.begin()
    assert start.change is not None
    assert start.change.event == "rolled-back"
    assert start.verified.manifest.release == 5
    assert start.folder == device.slots.active()
    assert start.watch.counted is False
    error = device.state.error
    assert error is not None
    assert error.message == "3 starts in succession ended without a healthy run"
    assert device.state.marks[device.state.other] == BAD


def test_a_healthy_run_forgets_earlier_deaths(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"deaths": 2, "starts": 9}).committed(5)
    device.install(6)
    for _ in range(5):
        device.begin()  # dies
        device.begin().watch.record(1, 10, 0, ended=True, now=NOW)
    assert device.release == 6
    assert device.state.trial.starts == 5


def test_a_power_cut_after_a_healthy_minute_is_no_death(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"deaths": 2, "starts": 9}).committed(5)
    device.install(6)
    for _ in range(5):
        watch = device.begin().watch
        assert watch.record(30, 10, 0, now=NOW) is None
        assert device.state.trial.unfinished == 1
        watch.record(61, 20, 0, now=NOW)
        assert device.state.trial.unfinished == 0
    assert device.state.trial.seconds == 5 * 61
    assert device.state.trial.frames == 100


def test_alarms_above_the_limit_roll_the_device_back(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"frames": 100, "alarm_rate": 0.2}).committed(5)
    device.install(6)
    watch = device.begin().watch
    assert watch.record(70, 99, 99, now=NOW) is None  # too few frames to judge
    change = watch.record(140, 200, 110, now=NOW)
    assert change is not None
    assert change.event == "rolled-back"
    assert "110 of 200 frames (55.0 %) were alarms; the limit is 20 %" in change.sentence
    assert device.release == 5
    assert watch.record(210, 300, 300, now=NOW) is None


def test_a_self_test_that_differs_at_a_start_rolls_the_device_back(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6)
    start = device.begin(failing)
    assert start.verified.manifest.release == 5
    error = device.state.error
    assert error is not None
    assert "golden outputs differ" in error.message
    assert device.state.unfit == 6


def test_a_run_can_give_up_its_release(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6)
    change = device.begin().watch.fail("the outputs differ", NOW)
    assert change is not None
    assert change.sentence == "release 5 in slot a is active again: the outputs differ."


def test_a_first_release_that_fails_its_probation_does_not_start(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"deaths": 1})
    device.install(5)
    device.begin()
    with pytest.raises(EdgeError, match=r"release 5 failed its probation .* no committed release"):
        device.begin()
    device.install(6)
    assert device.begin().verified.manifest.release == 6


def test_nothing_is_written_at_a_start_of_a_committed_release(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    before = content(device.settings.root)
    start = device.begin()
    assert start.watch.record(1000, 1000, 1000, ended=True, now=NOW) is None
    assert content(device.settings.root) == before


def test_no_release_is_one_sentence(tmp_path: Path) -> None:
    for command in (Device(tmp_path).begin, Device(tmp_path).commit):
        with pytest.raises(EdgeError, match="no release is installed"):
            command()
    with refused("no-other-release"):
        Device(tmp_path).rollback()


def test_a_second_installer_is_refused_and_a_dead_one_is_named(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    root = device.settings.root
    with installer_lock(root), refused("locked"):
        device.install(6)
    script = "import os, sys\nfrom safeml.edge.lock import installer_lock\n"
    script += f"with installer_lock({root!r}):\n    sys.stdout.write(str(os.getpid())); sys.stdout.flush(); os._exit(9)\n"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert child.returncode == 9
    change = device.install(6)
    assert change.notes == [f"process {child.stdout} did not finish its installation."]
    assert device.commit(at_once=True).notes == []


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    lock = Path(device.settings.root) / "lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        device.install(6)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_root_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    device = Device(tmp_path).committed(5)
    Path(device.settings.root).chmod(mode)
    for command in (lambda: device.install(6), device.begin, device.commit, device.rollback):
        with refused("unsafe-folder"):
            command()


def test_a_run_starts_during_an_installation_and_is_not_counted(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    with installer_lock(device.settings.root):
        start = device.begin()
        assert start.verified.manifest.release == 5
        assert start.watch.counted is False
        assert start.notes == ["an installation is in progress; this start is not counted."]


def test_counts_wait_while_an_installer_works(tmp_path: Path) -> None:
    device = Device(tmp_path, probation={"starts": 1, "frames": 10}).committed(5)
    device.install(6)
    watch = device.begin().watch
    with installer_lock(device.settings.root):
        assert watch.record(100, 50, 0, now=NOW) is None
    change = watch.record(200, 90, 0, now=NOW)
    assert change is not None
    assert change.event == "committed"


def test_no_space_is_one_sentence_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path).committed(5)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(EdgeError, match="0 MB free; the bundle needs 16 MB"):
        device.install(6)
    assert device.release == 5


@pytest.mark.parametrize(
    ("trial", "status"),
    [
        (Trial(), OPEN),
        (Trial(starts=3, frames=99), OPEN),
        (Trial(starts=3, frames=100), PASSED),
        (Trial(starts=2, frames=100, seconds=1799), OPEN),
        (Trial(starts=0, frames=100, seconds=1800), PASSED),
        (Trial(starts=3, frames=100, alarms=20), PASSED),
        (Trial(starts=3, frames=100, alarms=21), FAILED),
        (Trial(starts=3, frames=99, alarms=99), OPEN),
        (Trial(starts=3, frames=100, unfinished=2), PASSED),
        (Trial(starts=3, frames=100, unfinished=3), FAILED),
    ],
)
def test_the_outcome_of_a_probation(trial: Trial, status: str) -> None:
    result = outcome(trial, ProbationPolicy())
    assert result.status == status
    assert result.sentence


def test_the_status_says_what_the_device_is_at(tmp_path: Path) -> None:
    device = Device(tmp_path, source="usb", percent=5, quiet_hours=["00:00-12:00"]).committed(5)
    device.install(6)
    with refused("in-probation"):
        device.install(7)
    record = status(device.settings, NOW)
    assert record["active"] == "b"
    assert record["slots"]["a"]["release"] == 5
    assert record["slots"]["b"]["mark"] == PROBATION
    assert record["highest_release"] == 6
    assert record["probation"]["status"] == OPEN
    assert record["policy"]["percent"] == 5.0
    assert record["policy"]["may_install_now"] is False
    assert record["counters"] == {"installed": 2, "committed": 1, "rolled_back": 0, "refused": 0, "failed": 0}
    assert json.loads(Path(write_status(device.settings, NOW)).read_text()) == record
    text = "\n".join(lines(record))
    assert "slot b: release 6 (1.6), probation, active, valid until 2027-11-01T00:00:00Z" in text
    assert "updates from usb, rolled out to 5 % of the devices" in text


def test_the_status_of_an_empty_device(tmp_path: Path) -> None:
    record = status(Device(tmp_path).settings, NOW)
    assert record["active"] is None
    assert record["slots"] == {"a": None, "b": None}
    assert "slot a: empty" in lines(record)
    assert "no update source is set" in lines(record)


def test_an_interrupted_switch_is_said_by_the_status(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    slots = Slots(device.settings.root)
    device.install(6)
    link = Path(device.settings.root) / "current"
    link.unlink()
    link.symlink_to("a")
    record = status(device.settings, NOW)
    assert not record["consistent"]
    assert any("interrupted" in line for line in lines(record))
    assert device.begin().notes == ["the switch to slot b was completed."]
    assert slots.linked() == "b"
