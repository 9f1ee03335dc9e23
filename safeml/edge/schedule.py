"""When a device may install: hours of the day in its time zone, and a clock that can be believed."""

import os
import re
import time
from contextlib import contextmanager
from typing import Iterator, NamedTuple, Optional, Tuple

from .errors import Usage
from .policy import UpdatePolicy

ZONES = "/usr/share/zoneinfo"
WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z")
DAY = 24 * 60


class Window(NamedTuple):
    """A part of the day in minutes after midnight; begin > end where it passes midnight."""

    begin: int
    end: int

    def holds(self, minute: int) -> bool:
        """Return whether the minute is inside; the end is not."""
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


class Allowed(NamedTuple):
    """Whether an installation may begin now, and the sentence that says why not."""

    now: bool
    sentence: str


def parse_window(text: str) -> Window:
    """Parse "22:00-06:00". Raises Usage for another form, and for a window without length."""
    match = WINDOW.match(text)
    if match is None:
        raise Usage(f"the hours {text[:40]!r} are not of the form HH:MM-HH:MM.")
    hours = [int(part) for part in match.groups()]
    window = Window(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])
    if window.begin == window.end:
        raise Usage(f"the hours {text!r} begin and end at the same minute; write two different times.")
    return window


@contextmanager
def _zone(name: str) -> Iterator[None]:
    """Make `name` the time zone of this process for a moment: the C library of every supported Python knows the zone database."""
    if name == "local":
        yield
        return
    if name != "UTC" and (ZONE.match(name) is None or not os.path.isfile(os.path.join(ZONES, name))):
        # The C library takes an unknown zone for UTC without a word.
        raise Usage(
            f"update.timezone is {name[:40]!r}, which is not in {ZONES}; write UTC, local, or a name such as Europe/Berlin."
        )
    earlier = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if earlier is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = earlier
        time.tzset()


def allowed(policy: UpdatePolicy, now: float, earliest: Optional[float]) -> Allowed:
    """Return whether the policy lets an installation begin at `now`.

    now: seconds since 1970. earliest: a time that is certainly over, such as the signed creation date of the active release; a
    clock before it is not believed, and then no installation begins by itself where the policy names hours. Raises Usage for a bad policy.
    """
    quiet = tuple(parse_window(text) for text in policy.quiet_hours)
    hours = tuple(parse_window(text) for text in policy.install_hours)
    with _zone(policy.timezone):
        if not quiet and not hours:
            return Allowed(True, "")
        if earliest is not None and now < earliest:
            return Allowed(
                False,
                f"the clock says {_clock(now)}, before the active release was created; set the clock of the device.",
            )
        if _open(quiet, hours, now):
            return Allowed(True, "")
        opening = _opening(quiet, hours, now)
        when = f"; the next installation may begin at {_clock(opening)}" if opening else ""
        if not opening:
            when = "; the quiet hours leave no time for an installation, change update.quiet_hours"
        return Allowed(False, f"no installation at {_clock(now)} ({policy.timezone}){when}.")


def _open(quiet: Tuple[Window, ...], hours: Tuple[Window, ...], now: float) -> bool:
    local = time.localtime(now)
    minute = local.tm_hour * 60 + local.tm_min
    if any(window.holds(minute) for window in quiet):
        return False
    return not hours or any(window.holds(minute) for window in hours)


def _opening(quiet: Tuple[Window, ...], hours: Tuple[Window, ...], now: float) -> Optional[float]:
    """Return the first minute that is open within two days: a change of the clocks can shift or skip one."""
    start = now - now % 60
    return next((start + 60 * k for k in range(1, 2 * DAY + 1) if _open(quiet, hours, start + 60 * k)), None)


def _clock(now: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
