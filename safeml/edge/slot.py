"""The release that a command is about: an installed slot or an unpacked folder, verified again at each start."""

import argparse
import time
from typing import Any, NamedTuple

from .errors import Usage
from .facts import DeviceFacts, read_facts
from .settings import DeviceSettings, read_settings
from .verify import Verified, verify_folder


class Slot(NamedTuple):
    """A verified release on this device."""

    folder: str
    verified: Verified
    settings: DeviceSettings
    facts: DeviceFacts

    def identity(self) -> dict:
        """Return what a record says of the release and the device."""
        manifest = self.verified.manifest
        return {
            "product": manifest.product,
            "release": manifest.release,
            "version": manifest.version,
            "verdict": manifest.evidence.verdict,
            "profile": manifest.evidence.profile,
            "overridden": self.verified.overridden,
            "override": self.verified.statement.override,
            "keyid": self.verified.keyid,
            "model": manifest.models["int8"].fingerprint,
            "device_id": self.settings.device_id,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def add_folder(command: Any) -> None:
    """Add the option that names the release."""
    command.add_argument(
        "--folder", default="", metavar="DIR", help="an unpacked bundle (default: the active release)"
    )


def open_slot(args: argparse.Namespace) -> Slot:
    """Return the release of the options, verified. Raises Usage where nothing is installed, Refused where it is not believed."""
    settings = read_settings(args.settings)
    facts = read_facts()
    folder = args.folder or active(settings.root)
    return Slot(folder, verify_folder(folder, settings, facts, time.time()), settings, facts)


def active(root: str) -> str:
    """Return the folder of the active release."""
    from .slots import Slots

    folder = Slots(root).active()
    if folder is None:
        raise Usage(
            f"{root}: no release is installed; run `safeml-edge install BUNDLE`, or name a folder with --folder."
        )
    return str(folder)
