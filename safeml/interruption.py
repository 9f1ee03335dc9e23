"""Stop requests by Ctrl-C or a signal.

A signal raises an exception at an arbitrary point. In a callback of native code that exception can be lost silently; so
the request is stored, and `check` raises it again between two pieces of work.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

# Seconds in which a repeated signal is the same request: it must not interrupt the cleanup after the first.
PATIENCE = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # closing the terminal cleans up too


class Terminated(BaseException):
    """SIGTERM or SIGHUP as an exception, so that files are closed and temporary ones removed."""


class _StopRequest:
    """The handler of all three signals. After `PATIENCE` it raises again, in case the first exception was lost."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.last = -PATIENCE
        self.error: type[BaseException] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self.last < PATIENCE:
            return
        self.last = time.monotonic()
        self.error = KeyboardInterrupt if number == signal.SIGINT else Terminated
        raise self.error


_request = _StopRequest()


def listen() -> None:
    """Make the three signals raise KeyboardInterrupt or Terminated. Only for the main thread of a command."""
    _request.forget()
    for number in SIGNALS:
        signal.signal(number, _request)


def ignore() -> None:
    """Ignore the three signals."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise the exception of an earlier signal again, if there was one."""
    if _request.error is not None:
        raise _request.error
