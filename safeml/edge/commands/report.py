"""`safeml-edge report`: the page of this device."""

import argparse
import os
from typing import Any

from ..errors import FINE, Usage
from ..output import emit
from ..settings import read_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("report", help="write an HTML page of what this device recorded")
    command.add_argument(
        "--out",
        default="",
        metavar="FILE",
        help="(default: records/device.html below the root of the device)",
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Draw the page from the records."""
    from ..durable import write_whole
    from ..records import FOLDER, KINDS, read_record
    from ..report import page, verdict

    root = read_settings(args.settings).root
    records = {kind: read_record(root, kind) for kind in KINDS}
    if not any(records.values()):
        raise Usage(f"{root}: there are no records; run `safeml-edge selftest` first.")
    path = args.out or os.path.join(root, FOLDER, "device.html")
    write_whole(path, page(records).encode("utf-8"))
    emit(args, {"written": path, "verdict": verdict(records)[1]}, [f"Written: {path}"])
    return FINE
