"""`safeml-edge verify`: would this device believe the bundle, or the folder of a slot?"""

import argparse
import os
import time
from typing import Any

from ..errors import FINE
from ..moments import utc
from ..output import emit
from ..settings import read_settings
from ..verify import Verified, verify_bundle, verify_folder


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("verify", help="check a bundle, or an installed one, and install nothing")
    command.add_argument(
        "path", metavar="BUNDLE", help="a .safeml file, or the folder of an installed bundle"
    )
    command.add_argument(
        "--any-release",
        action="store_true",
        help="accept a release that this device has had; install never does",
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Verify and say what was verified."""
    settings = read_settings(args.settings)
    facts, now = read_facts(), time.time()
    if os.path.isdir(args.path):
        verified = verify_folder(args.path, settings, facts, now)
    else:
        last = 0 if args.any_release else last_release(settings.root)
        verified = verify_bundle(args.path, settings, facts, last, now)
    emit(args, record(verified), lines(verified))
    return FINE


def read_facts() -> Any:
    """Return the facts of this device."""
    from .. import facts

    return facts.read_facts()


def last_release(root: str) -> int:
    """Return the highest release that this device has had, 0 for none."""
    from ..slots import Slots

    return int(Slots(root).last_release())


def record(verified: Verified) -> dict:
    """Return what is printed with --json."""
    manifest = verified.manifest
    return {
        "status": "verified",
        "product": manifest.product,
        "release": manifest.release,
        "version": manifest.version,
        "created": utc(manifest.created),
        "expires": None if manifest.expires is None else utc(manifest.expires),
        "keyid": verified.keyid,
        "verdict": manifest.evidence.verdict,
        "profile": manifest.evidence.profile,
        "override": verified.statement.override,
        "files": len(manifest.files),
        "bytes": sum(one.bytes for one in manifest.files),
    }


def lines(verified: Verified) -> list:
    """Return what is printed for people."""
    manifest, statement = verified.manifest, verified.statement
    until = "without a last day" if manifest.expires is None else "until " + utc(manifest.expires)
    total = sum(one.bytes for one in manifest.files)
    result = [
        f"verified: {manifest.product}, release {manifest.release} ({manifest.version}), valid {until}",
        f"signed by {verified.keyid}",
        f"verdict {statement.verdict} of the {statement.profile} profile; {len(statement.passed)} gates passed",
        f"{len(manifest.files)} files of {total:,} bytes, each with its signed hash",
    ]
    if verified.overridden:
        result.append(
            f"OVERRIDDEN, signed as {statement.result}: this is no passed release; the signer's reason: {statement.override}"
        )
    return result
