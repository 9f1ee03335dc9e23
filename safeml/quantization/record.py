"""The file `quantization.json` of a quantized folder: read without a framework."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.store.files import read_plain

FORMAT = 1
FILE = "quantization.json"
# Calibration images in the values that the model takes, on which an export compares its files. They stay on the machine.
IMAGES = "calibration.npz"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the content of `quantization.json` in `folder`, or None if there is none. Raises InputRefused if it is invalid."""
    path = folder / FILE
    if not path.is_file():
        return None
    remedy = "quantize again with --force"
    try:
        record = json.loads(read_plain(path.resolve(), LIMITS.config_bytes))
    except (OSError, ValueError, RecursionError) as error:
        raise InputRefused(f"{path}: is not a record of `safeml quantize`; {remedy}.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputRefused(f"{path}: has not the format {FORMAT} of this safeml; {remedy}.")
    return record
