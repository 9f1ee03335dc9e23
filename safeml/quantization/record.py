"""The file `quantization.json` of a quantized folder: read without a framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.scan.sources import QUANTIZATION
from safeml.scan.sources import read_record as read_json

FORMAT = 1
FILE = QUANTIZATION
# Calibration images in the values that the model takes, on which an export compares its files. They stay on the machine.
IMAGES = "calibration.npz"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the content of `quantization.json` in `folder`, or None if there is none. Raises InputRefused if it is invalid."""
    path = folder / FILE
    record = read_json(path, "record of `safeml quantize`")
    if record is not None and record.get("format") != FORMAT:
        raise InputRefused(
            f"{path}: has not the format {FORMAT} of this safeml; quantize again with --force."
        )
    return record
