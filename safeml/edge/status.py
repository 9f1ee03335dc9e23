"""What the updates of a device are at, for people, for programs, and in `ROOT/status.json`."""

import json
import os
import sys
import time
from typing import Any, Dict, List, Optional

from .durable import write_whole
from .moments import utc
from .output import printable
from .policy import UpdatePolicy, read_policy
from .probation import outcome
from .schedule import allowed
from .settings import DeviceSettings
from .slots import Slots, created, installed_manifest
from .state import SLOTS, State

FILE = "status.json"


def status(settings: DeviceSettings, now: float) -> Dict[str, Any]:
    """Return the status as plain data. Slots are described by their manifests, which were verified when they were installed.

    now: seconds since 1970.
    """
    policy = read_policy(settings.update)
    slots = Slots(settings.root)
    state = slots.state()
    error = state.error
    hours = allowed(policy, now, created(slots))
    return {
        "format": 1,
        "written": utc(now),
        "product": settings.product,
        "device_id": settings.device_id,
        "root": settings.root,
        "active": slots.linked() or None,
        "consistent": slots.linked() == state.active,
        "highest_release": state.release,
        "slots": {slot: _slot(slots, state, slot) for slot in SLOTS},
        "probation": _probation(state, policy),
        "error": None if error is None else dict(error._asdict(), time=utc(error.time)),
        "counters": state.counters,
        "policy": {
            "source": policy.source,
            "percent": policy.percent,
            "timezone": policy.timezone,
            "quiet_hours": list(policy.quiet_hours),
            "install_hours": list(policy.install_hours),
            "may_install_now": hours.now,
            "reason": hours.sentence,
        },
    }


def _slot(slots: Slots, state: State, slot: str) -> Optional[Dict[str, Any]]:
    manifest = installed_manifest(slots.folder(slot))
    if manifest is None:
        return None
    expires = None if manifest.expires is None else utc(manifest.expires)
    return {
        "release": manifest.release,
        "version": manifest.version,
        "mark": state.marks[slot],
        "created": utc(manifest.created),
        "expires": expires,
    }


def _probation(state: State, policy: UpdatePolicy) -> Optional[Dict[str, Any]]:
    if not state.in_probation:
        return None
    result = outcome(state.trial, policy.probation)
    counts = dict(state.trial._asdict())
    return dict(
        counts, status=result.status, sentence=result.sentence, limits=dict(policy.probation._asdict())
    )


def write_status(settings: DeviceSettings, now: Optional[float] = None) -> str:
    """Write `status.json` and return its path. Other programs may read it; nothing of safeml does."""
    data = json.dumps(status(settings, time.time() if now is None else now), sort_keys=True, indent=1)
    path = os.path.join(settings.root, FILE)
    write_whole(path, data.encode("ascii") + b"\n")
    return path


def show_status(settings: DeviceSettings, now: Optional[float] = None) -> None:
    """Write `status.json`; a disk that refuses it is named on standard error and stops nothing."""
    try:
        write_status(settings, now)
    except OSError as error:
        sys.stderr.write(printable(f"status.json is not written ({error.strerror}).") + "\n")


def lines(record: Dict[str, Any]) -> List[str]:
    """Return the status as sentences."""
    result = [f"{record['product']} on {record['device_id']}, {record['root']}"]
    for slot in SLOTS:
        one = record["slots"][slot]
        if one is None:
            result.append(f"slot {slot}: empty")
            continue
        role = ", active" if record["active"] == slot else ""
        until = "without a last day" if one["expires"] is None else "until " + one["expires"]
        result.append(
            f"slot {slot}: release {one['release']} ({one['version']}), {one['mark']}{role}, valid {until}"
        )
    if not record["consistent"]:
        result.append("an interrupted change is waiting; the next start or command completes it")
    if record["probation"]:
        result.append(f"probation {record['probation']['status']}: {record['probation']['sentence']}")
    if record["error"]:
        error = record["error"]
        result.append(f"last error {error['time']} [{error['reason']}]: {error['message']}")
    policy = record["policy"]
    if policy["source"] is None:
        result.append("no update source is set")
    else:
        result.append(
            f"updates from {policy['source']}, rolled out to {policy['percent']:g} % of the devices"
        )
    if not policy["may_install_now"]:
        result.append(policy["reason"])
    counts = ", ".join(
        f"{value} {name.replace('_', ' ')}" for name, value in sorted(record["counters"].items())
    )
    return [*result, counts]
