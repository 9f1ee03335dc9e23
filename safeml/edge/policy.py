"""When and how a device takes a new release: the part `update` of its settings."""

import difflib
import os
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from .errors import Usage


class ProbationPolicy(NamedTuple):
    """What a new release must show before it is committed.

    starts: healthy runs, or minutes: of running; one of the two is enough. frames: fewest that were judged.
    deaths: starts in succession without a healthy run after which the device rolls back.
    alarm_rate: largest proportion of frames whose decision is FALL_BACK.
    healthy_seconds: a run that lasted so long, or that ended by itself, is healthy.
    """

    starts: int = 3
    minutes: float = 30.0
    frames: int = 100
    deaths: int = 3
    alarm_rate: float = 0.2
    healthy_seconds: float = 60.0


class ShadowPolicy(NamedTuple):
    """What a shadow run must show before the release is promoted.

    required: whether a release must pass a shadow run at all. frames, signs: fewest.
    flip_rate, alarm_rate: limits of the upper confidence bounds, by sign track.
    gap_seconds: a longer time without a frame begins a new sign track, where tracks are not declared.
    """

    required: bool = False
    frames: int = 1000
    signs: int = 100
    flip_rate: float = 0.05
    alarm_rate: float = 0.05
    gap_seconds: float = 2.0


class UpdatePolicy(NamedTuple):
    """The policy of one device.

    source: https address, folder, or "usb"; None for installations by hand alone. percent: of devices that take a release.
    timezone: "UTC", "local", or a name of the zone database. quiet_hours: no installation within, "HH:MM-HH:MM".
    install_hours: installations within these alone; empty for any. hook: program that is started after a change, or None.
    """

    source: Optional[str] = None
    percent: float = 100.0
    timezone: str = "UTC"
    quiet_hours: Tuple[str, ...] = ()
    install_hours: Tuple[str, ...] = ()
    hook: Optional[str] = None
    most_bytes: int = 2 << 30
    probation: ProbationPolicy = ProbationPolicy()
    shadow: ShadowPolicy = ShadowPolicy()


# Least and largest value of every number.
RANGES = {
    "percent": (0, 100),
    "most_bytes": (1 << 10, 1 << 36),
    "starts": (1, 1000),
    "minutes": (0.1, 1e6),
    "frames": (1, 10**9),
    "deaths": (1, 100),
    "alarm_rate": (0, 1),
    "healthy_seconds": (1, 86400),
    "signs": (1, 10**6),
    "flip_rate": (0, 1),
    "gap_seconds": (0.01, 3600),
}


def read_policy(update: Mapping[str, Any]) -> UpdatePolicy:
    """Return the policy of the settings' `update` object. Raises Usage for an unknown key, another type or a value out of its range."""
    policy: UpdatePolicy = _read(UpdatePolicy(), dict(update), "update")
    if policy.hook is not None and not os.path.isabs(policy.hook):
        raise Usage(f"update.hook is {policy.hook!r}; expected an absolute path.")
    return policy


def _read(defaults: Any, given: Any, where: str) -> Any:
    if not isinstance(given, dict):
        raise Usage(f"{where} is {_shown(given)}; expected an object.")
    for key in given:
        if key not in defaults._fields:
            near = difflib.get_close_matches(key, defaults._fields, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise Usage(f"{where} has the unknown key {key!r}{hint}")
    return defaults._replace(
        **{key: _value(getattr(defaults, key), given[key], f"{where}.{key}", key) for key in given}
    )


def _value(default: Any, given: Any, where: str, key: str) -> Any:
    if hasattr(default, "_fields"):
        return _read(default, given, where)
    if isinstance(default, bool):
        if not isinstance(given, bool):
            raise Usage(f"{where} is {_shown(given)}; expected true or false.")
        return given
    if isinstance(default, (int, float)):
        whole = isinstance(default, int)
        low, high = RANGES[key]
        number = isinstance(given, int) or (isinstance(given, float) and not whole)
        if isinstance(given, bool) or not number or not low <= given <= high:
            kind = "a whole number" if whole else "a number"
            raise Usage(f"{where} is {_shown(given)}; expected {kind} from {low} to {high}.")
        return type(default)(given)
    if isinstance(default, tuple):
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given) or len(given) > 16:
            raise Usage(f"{where} is {_shown(given)}; expected a list of at most 16 texts.")
        return tuple(given)
    if not isinstance(given, str) and not (given is None and default is None):
        raise Usage(f"{where} is {_shown(given)}; expected a text.")
    return given


def _shown(value: Any) -> str:
    return repr(value)[:60]
