"""Staged roll-out: which devices take a release first.

A device draws its place from its identity and the release, so that a growing percentage only adds devices, and another release begins
with other devices. Nothing is asked of a server, and the percentage is a policy of the device: a source can lower it, never raise it.
"""

import hashlib
from typing import NamedTuple

PLACES = 10000


class Place(NamedTuple):
    """The place of a device in the roll-out of a release.

    percent: at which the device joins, above 0 and at most 100. limit: percentage in force. joins: whether percent <= limit.
    """

    percent: float
    limit: float
    joins: bool


def place(device_id: str, product: str, release: int, limit: float) -> Place:
    """Return the place of a device; deterministic and uniform over devices. limit: 0..100."""
    text = "\n".join(("safeml-rollout", product, str(release), device_id))
    draw = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % PLACES
    percent = (draw + 1) * 100.0 / PLACES
    return Place(percent, limit, percent <= limit)
