"""The index of an update source, as the host writes it and a device reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeml.bundle.index import write_index
from safeml.edge.sources import FolderSource
from safeml.edge.updates import update
from safeml.errors import InputRefused, MissingInput
from tests.device import Device, files_of, passing
from tests.edge_bundles import FACTS, NOW, PRODUCT, Bundle
from tests.unit.test_edge_updates import difference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with releases 5 to 7, a difference file that fits and two that do not."""
    folder = tmp_path / "server"
    folder.mkdir()
    content = {}
    for release in (5, 6, 7):
        files = {**files_of(release), "models/model.int8.onnx": b"model %d " % release * 2000}
        content[release] = Bundle(release, files).write(folder / f"signs-{release}.safeml").read_bytes()
    (folder / "6-7.delta").write_bytes(difference(content[7], content[6], 500))
    (folder / "5-6.delta").write_bytes(difference(content[6], content[5], 500))
    (folder / "damaged.delta").write_bytes(b"BSDIFF40")
    return folder


def test_a_device_updates_by_the_index(folder: Path, tmp_path: Path) -> None:
    made = write_index(folder, 50)
    assert made.newest.manifest.release == 7
    assert made.deltas == (("6-7.delta", 6),)
    assert made.unused == ("5-6.delta", "damaged.delta")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == []
    source = FolderSource(str(folder))
    entry = source.entry(PRODUCT)
    assert entry is not None
    assert (entry.release, entry.percent, len(entry.deltas)) == (7, 50.0, 1)
    write_index(folder)
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "6.safeml").write_bytes((folder / "signs-6.safeml").read_bytes())
    device = Device(tmp_path / "device").committed(6)
    for file in folder.glob("*.safeml"):
        file.unlink()  # what is left makes the release alone
    change = update(device.settings, FACTS, lambda: NOW, source=source, selftest=passing)
    assert change.release == 7
    assert device.release == 7


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"holds no \.safeml file"):
        write_index(tmp_path)


def test_two_products_and_a_release_twice_are_refused(folder: Path) -> None:
    other = Bundle(7, files_of(6))
    other.write(folder / "again.safeml")
    with pytest.raises(InputRefused, match="holds release 7 twice"):
        write_index(folder)
    other.manifest["product"] = other.statement["predicate"]["safeml"]["product"] = "other"
    other.write(folder / "again.safeml")
    with pytest.raises(InputRefused, match="make one folder for each product"):
        write_index(folder)


def test_a_damaged_bundle_is_refused(folder: Path) -> None:
    path = folder / "signs-6.safeml"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputRefused, match=r"signs-6\.safeml.*\[truncated\]"):
        write_index(folder)
    assert not (folder / "index.json").exists()
