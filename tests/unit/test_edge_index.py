"""The index of releases, and the folders and sticks that have one or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeml.edge.errors import EdgeError
from safeml.edge.index import Delta, Entry, parse_index
from safeml.edge.sources import FolderSource, UsbSource, media
from tests.edge_bundles import index, refused


def test_an_index_names_the_newest_release() -> None:
    delta = {"file": "5-7.delta", "bytes": 10, "base": "a" * 64}
    assert parse_index(index(percent=5, deltas=[delta]), "x") == Entry(
        "signs", 7, "signs-7.safeml", 1000, 5.0, (Delta("5-7.delta", 10, "a" * 64),)
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": NaN}',
        b"[" * 100_000,
        index(format=2),
        index(release=0),
        index(release=2**31),
        index(release="7"),
        index(bytes=0),
        index(bytes=1.5),
        index(percent=101),
        index(file="../signs-7.safeml"),
        index(file="/etc/passwd"),
        index(file="https://example.org/x"),
        index(file=".hidden"),
        index(file=""),
        index(url="https://example.org"),
        index(deltas=[{"file": "x", "bytes": 1, "base": "A" * 64}]),
        index(deltas=[{"file": "x", "bytes": 1, "base": "a" * 64}] * 65),
        b'{"format": 1, "format": 1' + index()[12:],
        index() + b" " * 65_536,
    ],
)
def test_an_index_of_another_form_is_refused(data: bytes) -> None:
    with refused("index"):
        parse_index(data, "index.json")


def test_a_folder_without_an_index_has_its_newest_bundle_by_name(tmp_path: Path) -> None:
    source = FolderSource(str(tmp_path))
    assert source.entry("signs") is None
    for name in ("signs-5.safeml", "signs-12.safeml", "signs-9.safeml", "other-99.safeml", "signs-x.safeml"):
        (tmp_path / name).write_bytes(b"12345")
    assert source.entry("signs") == Entry("signs", 12, "signs-12.safeml", 5, 100.0, ())
    assert source.fetch("signs-12.safeml", 5, "/nowhere") == str(tmp_path / "signs-12.safeml")
    (tmp_path / "index.json").write_bytes(index())
    entry = source.entry("signs")
    assert entry is not None
    assert entry.release == 7


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"check update\.source"):
        FolderSource(str(tmp_path / "none")).entry("signs")


def test_the_newest_release_of_all_sticks(tmp_path: Path) -> None:
    folders = [
        "media/usb/safeml",
        "media/user/stick/safeml",
        "run/media/user/other/safeml",
        "mnt/disk/safeml",
    ]
    for number, folder in enumerate(folders):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"signs-{number + 1}.safeml").write_bytes(b"x")
    (tmp_path / "mnt/link").mkdir()
    (tmp_path / "mnt/link/safeml").symlink_to("/etc")
    assert media(str(tmp_path)) == sorted(str(tmp_path / folder) for folder in folders)
    source = UsbSource(str(tmp_path))
    entry = source.entry("signs")
    assert entry is not None
    assert entry.release == 4
    assert source.fetch(entry.file, 1, "/nowhere") == str(tmp_path / "mnt/disk/safeml/signs-4.safeml")


def test_no_stick_is_no_release(tmp_path: Path) -> None:
    source = UsbSource(str(tmp_path))
    assert source.entry("signs") is None
    with pytest.raises(EdgeError, match="insert it again"):
        source.fetch("signs-1.safeml", 1, "/nowhere")
