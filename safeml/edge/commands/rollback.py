"""`safeml-edge rollback`: go back to the release in the other slot."""

import argparse
import time
from typing import Any

from ..change_output import ended
from ..changes import rollback
from ..settings import read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("rollback", help="go back to the release in the other slot")
    command.add_argument(
        "--reason", default="by command", metavar="TEXT", help="is stored as the last error of the device"
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Roll back."""
    from ..facts import read_facts

    settings = read_settings(args.settings)
    return ended(args, settings, lambda: rollback(settings, read_facts(), time.time(), args.reason))
