"""How a command that changes the releases ends: what it says, the status file, and the hook."""

import argparse
import sys
from typing import Callable

from .errors import FINE
from .hooks import run_hook
from .install import Change
from .output import emit, printable
from .policy import read_policy
from .settings import DeviceSettings
from .status import show_status


def ended(args: argparse.Namespace, settings: DeviceSettings, change: Callable[[], Change]) -> int:
    """Make a change, write `status.json` whatever the end is, start the hook where something changed, and return the exit code."""
    try:
        done = change()
    finally:
        show_status(settings)
    problem = after(settings, done)
    record = {"status": done.event or "unchanged", "release": done.release, "message": done.sentence}
    emit(args, dict(record, repairs=done.notes, hook=problem or None), [*done.notes, done.sentence])
    if problem:
        sys.stderr.write(printable(problem) + "\n")
    return FINE


def after(settings: DeviceSettings, change: Change) -> str:
    """Start the hook for a change and return "" or what went wrong with it."""
    if not change.event:
        return ""
    return run_hook(read_policy(settings.update).hook, change.event, change.release, settings.root)
