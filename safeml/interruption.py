"""The wish to stop, by Ctrl-C or a signal, which outlives the exception that tells it.

A signal becomes an exception wherever Python happens to be. Called from native code that expects no error, that exception
is lost in silence; so the wish is remembered, and `check` tells it again between two pieces of work.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

# Seconds in which a repeated signal is the same wish: it must not interrupt the cleaning up that the first one began.
PATIENCE = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a closed terminal, too, leaves nothing behind


class Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that files are closed and temporary ones removed on the way out."""


class _Wish:
    """The handler of all three signals. Later than `PATIENCE` it raises again: the first may have been swallowed."""

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


_wish = _Wish()


def listen() -> None:
    """From now on the three signals raise KeyboardInterrupt or Terminated. For the main thread of a command alone."""
    _wish.forget()
    for number in SIGNALS:
        signal.signal(number, _wish)


def ignore() -> None:
    """From now on the three signals do nothing."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise what a signal has raised before, if there was one."""
    if _wish.error is not None:
        raise _wish.error
