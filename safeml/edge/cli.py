"""`safeml-edge`: its commands, and how each of them ends.

Exit codes: 0 fine, 1 self-test failed or run below its limit, 2 usage or settings, 4 failure on the device, 5 refused, 130 interrupted.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from typing import List, Optional

from . import commands
from .errors import FAILED, INTERRUPTED, EdgeFailure, Refused
from .output import emit, printable
from .version import VERSION

EPILOG = "Exit codes: 0 fine, 1 a limit was missed, 2 usage or settings, 4 failure on the device, 5 refused, 130 interrupted."


def parser() -> argparse.ArgumentParser:
    """Return the parser with all commands; each sets `func(args) -> exit code`."""
    top = argparse.ArgumentParser(
        prog="safeml-edge",
        description="Verify, test, run and update a signed safeml bundle on this device.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action="version", version="safeml-edge " + VERSION)
    top.add_argument(
        "--settings",
        default="",
        metavar="FILE",
        help="the device settings (default: $SAFEML_DEVICE, then /etc/safeml/device.json)",
    )
    top.add_argument("--json", action="store_true", help="print one line of JSON")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND")
    for name in sorted(module.name for module in pkgutil.iter_modules(commands.__path__)):
        importlib.import_module("." + name, commands.__name__).register(subparsers)
    return top


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command and return its exit code; a failure is one sentence on standard error, without a traceback."""
    top = parser()
    args = top.parse_args(arguments)
    if args.command is None:
        top.error("name a command; `safeml-edge --help` lists them")
    try:
        return int(args.func(args))
    except EdgeFailure as error:
        return _ended(args, error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; the interpreter must not complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        sys.stderr.write(printable(f"failed: {place}{error.strerror or error}") + "\n")
        return FAILED


def _ended(args: argparse.Namespace, error: EdgeFailure) -> int:
    refused = isinstance(error, Refused)
    words = "refused" if refused else "failed"
    if args.json:
        record = {"status": words, "reason": getattr(error, "reason", None), "message": error.message}
        emit(args, dict(record, exit_code=error.exit_code), ())
    sys.stderr.write(printable(f"{words} {error}" if refused else f"{words}: {error}") + "\n")
    return error.exit_code
