"""A device in a folder: settings, bundles and the commands of the updates, with a self-test that a test decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from safeml.edge.changes import commit, rollback
from safeml.edge.install import Change, install
from safeml.edge.slots import Slots, installed_manifest
from safeml.edge.starts import Start, begin
from safeml.edge.state import State
from tests.edge_bundles import FACTS, FILES, NOW, Bundle, settings


class Result(NamedTuple):
    """A result as `edge.selftest` returns it."""

    passed: bool
    checks: tuple[tuple[str, str, str, dict[str, Any]], ...] = ()


def passing(*_: Any) -> Result:
    """Pass."""
    return Result(True)


def failing(*_: Any) -> Result:
    """Fail as the golden check does."""
    return Result(
        False,
        (
            ("preprocessing", "passed", "the golden tensor is equal.", {}),
            ("outputs", "failed", "2 of 32 golden outputs differ by up to 0.3; the tolerance is 0.01.", {}),
        ),
    )


class Device:
    """One device.

    folder: holds the root of the device. bundles: holds the bundles; by default the same folder.
    update: the settings of the updates.
    """

    def __init__(self, folder: Path, bundles: Path | None = None, **update: Any) -> None:
        self.bundles = folder if bundles is None else bundles
        self.settings = settings(folder / "root", update=update)
        self.slots = Slots(self.settings.root)

    def bundle(self, release: int) -> str:
        """Return the path of the bundle of a release."""
        path = self.bundles / f"{release}.safeml"
        if not path.exists():
            Bundle(release, files_of(release)).write(path)
        return str(path)

    def install(self, release: int, selftest: Any = passing, **options: Any) -> Change:
        """Install a release."""
        return install(self.bundle(release), self.settings, FACTS, NOW, selftest, **options)

    def committed(self, *releases: int) -> Device:
        """Install and commit these releases."""
        for release in releases:
            self.install(release)
            self.commit(at_once=True)
        return self

    def commit(self, at_once: bool = False) -> Change:
        """Commit the active release."""
        return commit(self.settings, FACTS, NOW, at_once)

    def rollback(self) -> Change:
        """Go back to the other slot."""
        return rollback(self.settings, FACTS, NOW)

    def begin(self, selftest: Any = None) -> Start:
        """Start a run."""
        return begin(self.settings, FACTS, NOW, selftest)

    @property
    def state(self) -> State:
        """The stored state."""
        return self.slots.state()

    @property
    def release(self) -> int:
        """The release that a run would use now, without a change of the device; 0 for none."""
        manifest = installed_manifest(self.slots.active())
        return 0 if manifest is None else manifest.release


def files_of(release: int) -> dict[str, bytes]:
    """Return the files of a release: its model is another one than that of any other release."""
    return {**FILES, "models/model.int8.onnx": b"model %d " % release * 20}
