"""`safeml-edge install`: verify a bundle, test it, and make it the active release, in probation."""

import argparse
import time
from typing import Any

from ..change_output import ended
from ..install import install
from ..settings import read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("install", help="install a bundle into the slot that is not active")
    command.add_argument("path", metavar="BUNDLE", help="a .safeml file")
    shadow = command.add_mutually_exclusive_group()
    shadow.add_argument(
        "--shadow",
        action="store_const",
        const=True,
        default=None,
        help="beside the active release, which decides alone (default: update.shadow.required of the settings)",
    )
    shadow.add_argument(
        "--no-shadow", dest="shadow", action="store_const", const=False, help="make it active at once"
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Install and say what is active."""
    from ..facts import read_facts

    settings = read_settings(args.settings)
    return ended(
        args, settings, lambda: install(args.path, settings, read_facts(), time.time(), shadow=args.shadow)
    )
