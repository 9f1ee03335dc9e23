"""A rehearsal installs a bundle as a device does, and its record says what happened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from safeml.bundle.rehearsal import PAGE, RECORD, rehearse
from safeml.edge.settings import Key
from safeml.errors import ConfigError
from tests.edge_bundles import KEY, Bundle, trust
from tests.edge_slots import images, slot_bundle

pytestmark = pytest.mark.slow
ALL = ["preflight", "install", "selftest", "bench", "run", "report"]
TRUSTED: list[Key] = [trust(KEY)]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = slot_bundle(tmp_path / "state")
    made.manifest["expires"] = None
    made.manifest["created"] = "2026-01-01T00:00:00Z"
    return made


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames.npz"
    np.savez(path, images=images(20), tracks=np.arange(20))
    return path


def test_an_unsigned_bundle_is_refused_and_rehearsed_by_a_key_of_its_own(
    bundle: Bundle, frames: Path, tmp_path: Path
) -> None:
    bundle.keys = ()
    path, folder = bundle.write(tmp_path / "signs.safeml"), tmp_path / "device"
    before = path.read_bytes()
    made = rehearse(path, folder, [], frames)
    assert "refused [unsigned]" in made.refused
    assert [step.command[0] for step in made.steps] == ALL
    assert made.exit_code == 0, made.steps[-1].output
    assert made.page == folder / PAGE
    assert made.page.is_file()
    record = json.loads((folder / RECORD).read_text())
    assert record["refused"] == made.refused
    assert path.read_bytes() == before
    assert not list(folder.glob("*.safeml"))
    assert len((folder / "frames.jsonl").read_text().splitlines()) >= 20


def test_an_override_stops_at_a_device_that_does_not_allow_it(
    bundle: Bundle, frames: Path, tmp_path: Path
) -> None:
    path = bundle.overridden().write(tmp_path / "signs.safeml")
    made = rehearse(path, tmp_path / "device", TRUSTED, frames)
    assert made.exit_code == 5
    assert [step.command[0] for step in made.steps] == ["preflight", "install"]
    assert "override-not-allowed" in made.steps[-1].output
    assert not made.page.exists()


def test_a_release_whose_outputs_differ_fails_the_rehearsal(tmp_path: Path, frames: Path) -> None:
    good = slot_bundle(tmp_path / "state")
    other = slot_bundle(tmp_path / "other", scale=3.0)
    good.files["models/model.int8.onnx"] = other.files["models/model.int8.onnx"]
    good.manifest.update(expires=None, created="2026-01-01T00:00:00Z")
    made = rehearse(good.write(tmp_path / "signs.safeml"), tmp_path / "device", TRUSTED, frames)
    assert made.exit_code == 4
    assert made.steps[-1].command[0] == "install"
    assert "self-test" in made.steps[-1].output


def test_a_signed_bundle_needs_a_key_and_other_folders_are_kept(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.write(tmp_path / "signs.safeml")
    with pytest.raises(ConfigError, match="--public"):
        rehearse(path, tmp_path / "device", [])
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no earlier rehearsal"):
        rehearse(path, other, TRUSTED)
    assert (other / "notes.txt").read_text() == "mine"
