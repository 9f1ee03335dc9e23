"""Damaged slots and a damaged state of a device: what still starts, and what is never believed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from safeml.edge.errors import REASONS
from safeml.edge.install import install
from safeml.edge.recovery import INTACT
from safeml.edge.state import BAD, FILES, GOOD, State, Trial, read_state, write_state
from tests.device import Device, files_of, passing
from tests.edge_bundles import NOW, Bundle, refused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "gone"])
def test_a_damaged_active_slot_is_left_for_the_other(tmp_path: Path, damage: str) -> None:
    device = Device(tmp_path).committed(5, 6)
    active = Path(device.slots.active() or "")
    model = active / "models/model.int8.onnx"
    if damage == "changed":
        model.write_bytes(model.read_bytes()[:-1] + b"x")
    elif damage == "missing":
        model.unlink()
    elif damage == "extra":
        (active / "models/other.onnx").write_bytes(b"")
    else:
        active.rename(tmp_path / "gone")
    start = device.begin()
    assert start.verified.manifest.release == 5
    assert len(start.notes) == 1
    assert "is damaged" in start.notes[0]
    assert device.slots.last_release() == 6
    with refused("same-release"):
        device.install(6)


def test_two_damaged_slots_start_nothing_and_take_a_new_release(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5, 6)
    for slot in "ab":
        (Path(device.slots.folder(slot)) / "labels.json").write_bytes(b"[]")
    with refused("wrong-length"):
        device.begin()
    with refused("no-other-release"):
        device.rollback()
    device.install(7)
    assert device.begin().verified.manifest.release == 7


@pytest.mark.parametrize("reason", ["expired", "key-revoked", "clock-behind"])
def test_what_may_not_start_at_present_is_no_reason_to_go_back(tmp_path: Path, reason: str) -> None:
    """Else a wrong clock would be a way to an older release."""
    from safeml.edge.starts import begin
    from tests.edge_bundles import FACTS, KEY, trust

    device = Device(tmp_path).committed(5, 6)
    settings, now = device.settings, float(NOW)
    if reason == "key-revoked":
        settings = settings._replace(revoked=(trust(KEY).keyid,))
    else:
        now += 10 * 365 * 86400 if reason == "expired" else -365 * 86400
    with refused(reason):
        begin(settings, FACTS, now)
    assert device.release == 6
    assert device.begin().verified.manifest.release == 6


def test_the_reasons_that_keep_a_slot_are_reasons() -> None:
    assert set(REASONS) >= INTACT


DAMAGES = {
    "empty": b"",
    "half": None,
    "another number": None,
    "deep": b"[" * 50_000,
    "no object": b"[1]",
    "removed": None,
}


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_never_believed(tmp_path: Path, damage: str, both: bool) -> None:
    device = Device(tmp_path).committed(5, 6)
    for name in FILES if both else FILES[:1]:
        path = Path(device.settings.root) / name
        data = path.read_bytes()
        if damage == "removed":
            path.unlink()
        elif damage == "half":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "another number":
            path.write_bytes(data.replace(b'"release": 6', b'"release": 1'))
            assert path.read_bytes() != data
        else:
            path.write_bytes(DAMAGES[damage] or b"")
    start = device.begin()
    assert start.verified.manifest.release == 6
    assert bool(start.notes) == both
    assert device.slots.last_release() == 6
    assert device.state.in_probation == both  # whether it was committed is not known any more
    if both:
        device.commit(at_once=True)
    with refused("rollback"):
        device.install(5)
    with refused("same-release"):
        device.install(6)
    assert device.rollback().release == 5


def test_a_state_that_is_made_again_keeps_the_highest_release(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5, 6)
    device.rollback()
    for name in FILES:
        (Path(device.settings.root) / name).unlink()
    assert device.begin().verified.manifest.release == 5
    assert device.slots.last_release() == 6
    assert device.state.marks[device.state.other] == BAD
    with refused("no-other-release"):
        device.rollback()


def test_a_damaged_state_and_a_slot_that_may_not_start_decide_nothing(tmp_path: Path) -> None:
    from safeml.edge.starts import begin
    from tests.edge_bundles import FACTS

    newer = Bundle(5, files_of(5))
    newer.manifest["created"] = "2026-11-20T00:00:00Z"
    newer.write(tmp_path / "5.safeml")
    device = Device(tmp_path).committed(5)
    for name in FILES:
        (Path(device.settings.root) / name).unlink()
    before = NOW - 15 * 86400  # release 4 was made before that day, release 5 after it
    with refused("clock-behind"):
        begin(device.settings, FACTS, before)
    older = Bundle(4, files_of(4))
    older.manifest["created"] = "2026-01-01T00:00:00Z"
    older.write(tmp_path / "4.safeml")
    with refused("rollback"):
        install(device.bundle(4), device.settings, FACTS, before, passing)
    for name in FILES:
        (Path(device.settings.root) / name).unlink(missing_ok=True)
    assert not (Path(device.settings.root) / FILES[0]).exists()
    assert device.begin().verified.manifest.release == 5


def test_a_foreign_link_is_no_slot(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    link = Path(device.settings.root) / "current"
    link.unlink()
    link.symlink_to("/etc")
    assert device.slots.active() is None
    assert device.begin().verified.manifest.release == 5
    assert os.readlink(link) == "a"


@pytest.mark.parametrize(
    "change",
    [
        {"active": "c"},
        {"release": -1},
        {"release": 1.0},
        {"release": True},
        {"marks": {"a": GOOD}},
        {"marks": {"a": GOOD, "b": "fine"}},
        {"counters": {}},
        {"trial": Trial(starts=-1)},
        {"unfit": "6"},
    ],
)
def test_an_impossible_state_is_not_read(tmp_path: Path, change: dict[str, Any]) -> None:
    write_state(str(tmp_path), State(active="a", release=5))
    assert read_state(str(tmp_path)) == State(active="a", release=5)
    write_state(str(tmp_path), State(active="a", release=5)._replace(**change))
    assert read_state(str(tmp_path)) is None
