"""Records of what a device did: one JSON file for each command, below the root of the device, from which the page is drawn."""

import json
import os
from typing import Any, Dict, Optional

from .durable import write_whole
from .errors import EdgeError

FOLDER = "records"
KINDS = ("preflight", "build", "selftest", "bench", "run")
MOST_BYTES = 1 << 22


def write_record(root: str, kind: str, record: Dict[str, Any]) -> str:
    """Write the record of a command and return its path. A value that is not finite is written as null."""
    folder = os.path.join(root, FOLDER)
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder)
    except OSError as error:
        raise EdgeError(f"{folder}: cannot be made ({error.strerror}).") from None
    path = os.path.join(folder, kind + ".json")
    text = json.dumps(finite(dict(record, kind=kind)), sort_keys=True, allow_nan=False, indent=1)
    write_whole(path, text.encode("utf-8") + b"\n")
    return path


def read_record(root: str, kind: str) -> Optional[Dict[str, Any]]:
    """Return a record, or None where there is none. Raises EdgeError for a damaged one."""
    path = os.path.join(root, FOLDER, kind + ".json")
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    try:
        record = json.loads(text.decode("utf-8")) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("kind") != kind:
        raise EdgeError(f"{path}: is no record of `{kind}`; run the command again.")
    return record


def finite(value: Any) -> Any:
    """Return plain data in which numbers that JSON does not have are None, and NumPy numbers are Python's."""
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
