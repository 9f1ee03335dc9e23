"""`safeml-edge status`: the releases of this device, its probation, its last error and its update policy."""

import argparse
import time
from typing import Any

from ..errors import FINE
from ..output import emit
from ..settings import read_settings
from ..status import lines, status


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("status", help="show the releases of this device and its update policy")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Show the status; nothing is changed or verified."""
    record = status(read_settings(args.settings), time.time())
    emit(args, record, lines(record))
    return FINE
