"""The folder of a slot: how it is closed to other users, and what is found there when a release starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.edge import limits, moments
from safeml.edge.errors import Usage
from safeml.edge.verify import unpack_bundle
from tests.edge_bundles import (
    EXPIRES,
    FILES,
    KEY,
    NOW,
    THIS,
    Bundle,
    refused,
    settings,
    started,
    trust,
    verified,
)

DAY = 86400


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Bundle().write(tmp_path_factory.mktemp("good") / "good.safeml")


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_no_umask_opens_a_slot_to_other_users(umask: int, tmp_path: Path) -> None:
    """os.makedirs applies its mode to the last folder alone."""
    path = Bundle(files={**FILES, "a/b/c/d": b"deep"}).write(tmp_path / "a.safeml")
    old = os.umask(umask)
    try:
        unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
    finally:
        os.umask(old)
    assert started(tmp_path / "slot").manifest.release == 5
    for place in [tmp_path / "slot", *(tmp_path / "slot").rglob("*")]:
        assert place.stat().st_mode & 0o022 == 0


@pytest.fixture
def slot(good: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "slot"
    unpack_bundle(str(good), str(folder), *THIS)
    return folder


def replaced(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda slot: (slot / name).write_bytes(content)


def linked(slot: Path) -> None:
    (slot / "labels.json").rename(slot.parent / "labels.json")
    (slot / "labels.json").symlink_to(slot.parent / "labels.json")


def many(slot: Path) -> None:
    for number in range(2 * limits.FILES + 1):
        (slot / f"f{number}").touch()


def deep(slot: Path) -> None:
    os.makedirs(slot / "/".join(["d" * 50] * 5))


SLOTS: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("missing-file", "a file is missing", lambda slot: (slot / "labels.json").unlink()),
    ("missing-file", "no envelope", lambda slot: (slot / "bundle.dsse.json").unlink()),
    ("missing-file", "no manifest", lambda slot: (slot / "manifest.json").unlink()),
    ("extra-file", "a file more", replaced("extra", b"")),
    ("extra-file", "a file more in a folder", replaced("models/extra.onnx", b"")),
    ("extra-file", "an empty folder", lambda slot: (slot / "more").mkdir(mode=0o755)),
    ("extra-file", "thousands of files", many),
    ("extra-file", "names that are too long", deep),
    ("wrong-length", "a longer file", replaced("labels.json", FILES["labels.json"] + b" ")),
    ("hash-mismatch", "another file", replaced("labels.json", FILES["labels.json"].replace(b"stop", b"STOP"))),
    ("unsafe-folder", "a link", linked),
    ("unsafe-folder", "a pipe", lambda slot: os.mkfifo(slot / "pipe")),
    ("unsafe-folder", "a file that others may write", lambda slot: (slot / "labels.json").chmod(0o646)),
    ("unsafe-folder", "a folder that others may write", lambda slot: (slot / "models").chmod(0o775)),
    ("envelope-length", "an empty envelope", replaced("bundle.dsse.json", b"")),
    ("manifest-length", "a large manifest", replaced("manifest.json", b" " * (limits.MANIFEST_BYTES + 1))),
    ("manifest-mismatch", "another manifest", replaced("manifest.json", Bundle(release=6).manifest_bytes())),
    ("envelope-invalid", "a damaged envelope", replaced("bundle.dsse.json", b"{}")),
    ("manifest-mismatch", "the envelope of another release", replaced("bundle.dsse.json", Bundle(release=6).envelope_bytes())),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "name", "change"), SLOTS, ids=[name for _, name, _ in SLOTS])
def test_a_changed_slot_does_not_start(
    reason: str, name: str, change: Callable[[Path], Any], slot: Path
) -> None:
    assert started(slot).manifest.release == 5
    old = os.umask(0o022)
    try:
        change(slot)
    finally:
        os.umask(old)
    with refused(reason):
        started(slot)


def test_the_bounds_of_a_slot_end_the_search_of_its_files(slot: Path) -> None:
    longest = slot / ("n" * limits.NAME_CHARACTERS)
    longest.touch(0o644)
    with refused("extra-file", "does not list"):
        started(slot)
    longest.rename(slot / ("n" * (limits.NAME_CHARACTERS + 1)))
    with refused("extra-file", "longer names"):
        started(slot)
    (slot / ("n" * (limits.NAME_CHARACTERS + 1))).unlink()
    for number in range(2 * limits.FILES - len(list(slot.rglob("*")))):
        (slot / f"f{number}").touch(0o644)
    with refused("extra-file", "does not list"):
        started(slot)
    (slot / "one-more").touch(0o644)
    with refused("extra-file", "more files"):
        started(slot)


def test_a_slot_of_another_user_does_not_start(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = slot.stat().st_uid
    if owner == 0:
        os.chown(slot / "labels.json", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with refused("unsafe-folder", "another user"):
        started(slot)


def test_a_start_asks_for_dates_unless_the_settings_allow_it(slot: Path) -> None:
    again = Bundle().write(slot.parent / "again")
    late, early = moments.moment(EXPIRES, ""), 0
    for reason, now in (("expired", late), ("clock-behind", early)):
        with refused(reason):
            started(slot, THIS._replace(now=now))
        lenient = THIS._replace(now=now, settings=settings(allow_expired_start=True))
        assert started(slot, lenient).manifest.release == 5
        with refused(reason):  # an installation is never lenient
            verified(again, lenient)


def test_the_last_day_of_a_key_ends_installations_and_not_starts(slot: Path) -> None:
    ended = THIS._replace(settings=settings(keys=(trust(KEY, until=NOW - DAY),)))
    assert started(slot, ended).keyid == trust(KEY).keyid
    with refused("key-revoked"):
        started(slot, THIS._replace(settings=settings(revoked=(trust(KEY).keyid,))))


def test_a_slot_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such folder"):
        started(tmp_path / "none")
