"""`safeml-edge update`: take the newest release of the source, if the policy of the device permits it now."""

import argparse
from typing import Any

from ..change_output import ended
from ..settings import read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "update", help="install the newest release of the source, where the policy permits it"
    )
    command.add_argument(
        "--source", metavar="PLACE", help="an https address, a folder or usb, instead of update.source"
    )
    command.add_argument(
        "--again", action="store_true", help="try a release again that failed on this device before"
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Update and say what was done, or why nothing was."""
    from ..facts import read_facts
    from ..sources import open_source
    from ..updates import update

    settings = read_settings(args.settings)
    source = open_source(args.source) if args.source else None
    return ended(args, settings, lambda: update(settings, read_facts(), again=args.again, source=source))
