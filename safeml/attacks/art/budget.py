"""A deadline that an attack of somebody else cannot outlive."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# An exception that a signal raises inside a destructor or a callback is lost, so the alarm rings again.
REPEAT_SECONDS = 0.5


class OutOfTime(BaseException):
    """The deadline has passed. No `Exception`: ART's own handlers must not swallow it."""


class Watch:
    """The deadline of a run and what was asked of the model until now.

    queries: images that the model was asked about; a gradient counts as one for each image and class.
    """

    def __init__(self) -> None:
        self.start(math.inf)

    def start(self, seconds: float) -> None:
        """Begin to count, with `seconds` from now on."""
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.queries = 0

    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def check(self, asked: int = 0) -> None:
        """Count `asked` images; raises OutOfTime where the deadline has passed."""
        if time.monotonic() >= self.deadline:
            raise OutOfTime
        self.queries += asked


@contextmanager
def wall(watch: Watch) -> Iterator[None]:
    """Raise OutOfTime at the deadline wherever Python is, also in an attack that asks nothing of the model.

    Works in the main thread alone, where signals arrive; in any other thread it does nothing, and the deadline is
    seen only when the model is asked. Native code is not interrupted, but stopped when it returns. A timer that was
    running is put back with what remained of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    rang = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal rang
        rang = True
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    began = time.monotonic()
    left = max(watch.deadline - began, 1e-3)
    remained, interval = signal.setitimer(signal.ITIMER_REAL, left, REPEAT_SECONDS)
    try:
        try:
            yield
        except Exception as error:
            if rang:  # native code hands the alarm's exception on as an error of its own
                raise OutOfTime from error
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm may ring just before this
    finally:
        signal.signal(signal.SIGALRM, before)
        if remained:
            signal.setitimer(signal.ITIMER_REAL, max(remained - (time.monotonic() - began), 1e-3), interval)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
