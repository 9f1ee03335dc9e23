"""`safeml-edge shadow`: run the release beside the active one on the same frames, and promote it when its differences are few."""

import argparse
import time
from typing import Any

from ..change_output import ended
from ..errors import FINE, Usage
from ..output import emit
from ..settings import read_settings
from ..signs import KINDS


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "shadow", help="run the release beside the active one on the same frames, and promote it"
    )
    command.add_argument("source", nargs="?", metavar="SOURCE", help="frames, as for `run`")
    command.add_argument(
        "--signs",
        choices=KINDS,
        help="which frames show one sign track: the array `tracks` of an .npz file, each image, each folder, equal prefixes of file names, or a gap in time",
    )
    command.add_argument(
        "--out", default="", metavar="FILE", help="JSON lines of the active release, which alone decides"
    )
    command.add_argument("--frames", type=int, default=0, help="end after this many frames (default: all)")
    command.add_argument("--size", default="1280x720", help="of a camera (default: 1280x720)")
    command.add_argument("--rate", type=float, default=30.0, help="frames a second (default: 30)")
    end = command.add_mutually_exclusive_group()
    end.add_argument(
        "--promote",
        action="store_true",
        help="make it active, in probation, if its counts are under the limits",
    )
    end.add_argument("--drop", action="store_true", help="end its shadow mode")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare, promote or drop."""
    from ..facts import read_facts
    from ..policy import read_policy
    from ..shadow_run import drop_shadow, exit_code, open_pair, promote_shadow, run_beside

    settings = read_settings(args.settings)
    facts = read_facts()
    if args.drop:
        return ended(args, settings, lambda: drop_shadow(settings, facts, time.time()))
    if args.source is None and not args.promote:
        raise Usage("name frames to run both releases on, or write --promote or --drop.")
    if args.source is not None:
        pair = open_pair(settings, facts, time.time())
        record = run_beside(args, settings, facts, pair, read_policy(settings.update).shadow)
        code = exit_code(record)
        words = f"shadow run of release {record['shadow']} beside {record['active']}: {record['status']}, {record['sentence']}."
        emit(args, record, [words])
        if code != FINE:
            drop_shadow(settings, facts, time.time(), record["sentence"])
            return code
    if args.promote:
        return ended(args, settings, lambda: promote_shadow(settings, facts, time.time()))
    return FINE
