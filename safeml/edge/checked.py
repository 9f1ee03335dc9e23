"""JSON files of the device itself, with a checksum: a file that is damaged or was edited is not read as another one."""

import hashlib
import json
from typing import Any, Dict, Optional

from .durable import write_whole

MOST_BYTES = 1 << 16


def write_checked(path: str, body: Dict[str, Any]) -> None:
    """Write `body` with its checksum, whole or not at all."""
    data = json.dumps({"body": body, "sha256": _checksum(body)}, sort_keys=True, indent=1, allow_nan=False)
    write_whole(path, data.encode("ascii") + b"\n")


def read_checked(path: str) -> Optional[Dict[str, Any]]:
    """Return the body of a file, or None where it is missing, damaged or too long."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            return None
        whole = json.loads(data.decode("ascii"))
        body = whole["body"]
        return body if isinstance(body, dict) and whole["sha256"] == _checksum(body) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _checksum(body: Dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
