"""Moments and version numbers as bundles and settings write them."""

import calendar
import re
import time
from typing import Any, Optional, Tuple

from .strict_json import Malformed

UTC = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}", re.ASCII)


def moment(value: Any, where: str) -> int:
    """Return the seconds since 1970 of a text such as "2026-11-29T12:00:00Z"; raises Malformed."""
    match = UTC.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        try:
            seconds = calendar.timegm((*(int(part) for part in match.groups()), 0, 0, 0))
        except ValueError:  # month 0 or 13, year 0
            seconds = -1
        if seconds >= 0 and utc(seconds) == value:  # not so for hour 24 or 30 February
            return seconds
    raise Malformed(f'{where} is no moment; expected one such as "2026-11-29T12:00:00Z"')


def utc(seconds: float) -> str:
    """Return the text of a moment in seconds since 1970; "no date" where a clock gives none."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "no date"


def version(value: Any, where: str) -> Tuple[int, ...]:
    """Return a version of one to four numbers, such as "8.2.1", without zeros at its end; raises Malformed."""
    if not isinstance(value, str) or not VERSION.fullmatch(value):
        raise Malformed(f'{where} is no version; expected one such as "8.2.1"')
    return numbers(value) or ()


def numbers(value: Any) -> Optional[Tuple[int, ...]]:
    """Return the numbers that a version of other software begins with, without zeros at their end; None where there are none."""
    match = VERSION.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    parts = [int(part) for part in match.group().split(".")]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)
