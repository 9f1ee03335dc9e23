"""Ends the process when one frame takes far too long: a GPU that hangs does not return, and a hung monitor warns of nothing."""

import os
import sys
import threading
import time
from typing import Callable

FAILED = 4


class Watchdog:
    """A thread that expects a sign of life.

    seconds: without one after which `expired` is called; 0 for no watchdog.
    expired: called once, in the thread; by default it prints one sentence and ends the process with exit code 4.
    """

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self.seconds, self.expired = float(seconds), expired
        self.latest = time.monotonic()
        self.stopped = threading.Event()
        if self.seconds > 0:
            thread = threading.Thread(target=self._watch, daemon=True)
            thread.start()

    def alive(self) -> None:
        """Tell that the loop goes on."""
        self.latest = time.monotonic()

    def stop(self) -> None:
        """End the watch."""
        self.stopped.set()

    def _watch(self) -> None:
        while not self.stopped.wait(min(1.0, self.seconds / 4)):
            if time.monotonic() - self.latest > self.seconds:
                self.expired()
                return


def end_process(seconds: float) -> None:
    """Print one sentence and end the process at once; a supervisor such as systemd starts it again."""
    sys.stderr.write(
        f"no frame was answered for {seconds:g} s; the process ends, so that its supervisor starts it again.\n"
    )
    sys.stderr.flush()
    os._exit(FAILED)
