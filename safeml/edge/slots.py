"""Two slots for releases, and the link that names the active one.

`ROOT/a` and `ROOT/b` hold one unpacked bundle each, and `ROOT/current` is a symbolic link to the active one. A release is unpacked
into `ROOT/incoming`, tested there, and becomes a slot by a rename, so that the active slot is never written.
"""

import os
import stat
from typing import Optional

from . import limits
from .durable import PART, make_folder, point, remove, sync_folder
from .errors import Refused
from .manifest import Manifest, parse_manifest
from .state import EMPTY, SLOTS, State, read_state, write_state

LINK = "current"
INCOMING, OUTGOING = "incoming", "outgoing"
MANIFEST_FILE = "manifest.json"


class Slots:
    """The slots of one device. What changes them is done under `installer_lock` and after `recover`."""

    def __init__(self, root: str) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the root folder if there is none. Raises Refused("unsafe-folder") for one that other users may change: they could switch."""
        make_folder(self.root)
        facts = os.stat(self.root)
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or facts.st_uid not in (0, os.geteuid()):
            raise Refused(
                "unsafe-folder", f"other users may change {self.root}; run chown and chmod go-w on it."
            )

    def folder(self, slot: str) -> str:
        """Return the folder of a slot."""
        return os.path.join(self.root, slot)

    @property
    def incoming(self) -> str:
        """The folder that a bundle is unpacked into."""
        return os.path.join(self.root, INCOMING)

    def linked(self) -> str:
        """Return the slot that the link names, or ""."""
        try:
            target = os.readlink(os.path.join(self.root, LINK))
        except OSError:
            return ""
        return target if target in SLOTS else ""

    def active(self) -> Optional[str]:
        """Return the folder of the active release, or None before the first installation."""
        slot = self.linked()
        return self.folder(slot) if slot else None

    def state(self) -> State:
        """Return the stored state; the state of an empty device where there is none."""
        return read_state(self.root) or State()

    def last_release(self) -> int:
        """Return the highest release that was ever active; 0 for none."""
        return self.state().release

    def write(self, state: State) -> None:
        """Store the state."""
        write_state(self.root, state)

    def clear_incoming(self) -> None:
        """Remove what an earlier installation left."""
        for name in os.listdir(self.root):
            if name in (INCOMING, OUTGOING) or name.endswith(PART):
                remove(os.path.join(self.root, name))

    def place(self, state: State) -> State:
        """Make the incoming folder the other slot, whose earlier content is removed, and return the state."""
        state = state.marked(state.other, EMPTY)
        self.write(state)  # before the slot changes: no mark is ever that of another release
        slot, outgoing = self.folder(state.other), os.path.join(self.root, OUTGOING)
        remove(outgoing)
        if os.path.lexists(slot):
            os.rename(slot, outgoing)
        os.rename(self.incoming, slot)
        sync_folder(self.root)
        remove(outgoing)
        return state

    def switch(self, state: State) -> None:
        """Store the state and make the link name its active slot: first the intention, then the deed."""
        self.write(state)
        point(os.path.join(self.root, LINK), state.active)


def created(slots: Slots) -> Optional[float]:
    """Return the creation date of the active release, which is certainly over; None without a release."""
    manifest = installed_manifest(slots.active())
    return None if manifest is None else float(manifest.created)


def release_in(folder: str) -> int:
    """Return the release in a slot folder, 0 for none."""
    manifest = installed_manifest(folder)
    return 0 if manifest is None else manifest.release


def installed_manifest(folder: Optional[str]) -> Optional[Manifest]:
    """Return the manifest of a slot that was verified when it was installed; None for none, or a damaged one."""
    try:
        return None if folder is None else _parsed(os.path.join(folder, MANIFEST_FILE))
    except (OSError, Refused):  # a damaged slot is the business of the recovery
        return None


def _parsed(path: str) -> Manifest:
    with open(path, "rb") as stream:
        return parse_manifest(stream.read(limits.MANIFEST_BYTES + 1))
