"""`safeml-edge commit`: end the probation of the active release."""

import argparse
import time
from typing import Any

from ..change_output import ended
from ..changes import commit
from ..settings import read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("commit", help="commit the active release, whose probation is passed")
    command.add_argument("--now", action="store_true", help="without waiting for the end of its probation")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Commit."""
    from ..facts import read_facts

    settings = read_settings(args.settings)
    return ended(args, settings, lambda: commit(settings, read_facts(), time.time(), args.now))
