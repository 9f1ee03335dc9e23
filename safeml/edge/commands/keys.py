"""`safeml-edge keys`: the keys that this device trusts, with the ids to compare with those of the signer."""

import argparse
import time
from typing import Any, List

from ..errors import FINE
from ..moments import utc
from ..output import emit
from ..settings import DeviceSettings, Key, key_id, read_key, read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "keys", help="list the trust keys of this device, or show the id of a key file"
    )
    command.add_argument(
        "file", nargs="?", metavar="FILE", help="a public key file; without it the trust keys are listed"
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """List the keys, or show the id of one file."""
    if args.file:
        keyid = key_id(read_key(args.file))
        emit(args, {"file": args.file, "keyid": keyid}, [keyid])
        return FINE
    settings = read_settings(args.settings)
    keys = [record(key, settings, time.time()) for key in settings.keys]
    emit(
        args,
        {"settings": settings.path, "keys": keys, "revoked": list(settings.revoked)},
        lines(settings, keys),
    )
    return FINE


def record(key: Key, settings: DeviceSettings, now: float) -> dict:
    """Return a key with its state: "trusted", "revoked" or "expired"."""
    if key.keyid in settings.revoked:
        state = "revoked"
    else:
        state = "trusted" if key.until is None or now < key.until else "expired"
    until = None if key.until is None else utc(key.until)
    return {"keyid": key.keyid, "role": key.role, "until": until, "state": state, "file": key.file}


def lines(settings: DeviceSettings, keys: List[dict]) -> List[str]:
    """Return one line per key, and one per revoked id that is no key of the device."""
    result = [
        "{keyid}  {state}  {role}  {file}{end}".format(
            end="" if key["until"] is None else "  signs new bundles until " + key["until"], **key
        )
        for key in keys
    ]
    known = {key["keyid"] for key in keys}
    return result + [f"{keyid}  revoked" for keyid in settings.revoked if keyid not in known]
