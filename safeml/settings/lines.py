"""Where a settings file states each gate, so that a pipeline can point at the line of a threshold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from safeml.settings.toml_file import read_text

HEADER = re.compile(r"\s*\[")
GATE = re.compile(r"\s*\[\[\s*gates\s*\]\]")
ID = re.compile(r"\s*id\s*=")
THRESHOLD = re.compile(r"\s*threshold\s*=")


def threshold_lines(path: Path) -> dict[str, int]:
    """Return the line (from 1) of the threshold of each gate that is a `[[gates]]` table of the file at `path`.

    Gates in another notation have no entry. Raises ConfigError if the file cannot be read.
    """
    lines: dict[str, int] = {}
    inside, gate, line_of_gate = False, "", 0
    for number, line in enumerate([*read_text(path).split("\n"), "[end]"], 1):
        if HEADER.match(line) and not _continues(line):
            if gate:
                lines.setdefault(gate, line_of_gate)
            inside, gate, line_of_gate = bool(GATE.match(line)), "", number
        elif inside and ID.match(line):
            gate = _text(line)
        elif inside and THRESHOLD.match(line):
            line_of_gate = number
    return lines


def _continues(line: str) -> bool:
    """Return whether a line that starts with a bracket is an element of an array, not a header."""
    return not re.fullmatch(r"\s*\[.*\]\s*(#.*)?", line) or "," in line.partition("]")[0]


def _text(line: str) -> str:
    try:
        value = tomllib.loads(line)["id"]
    except (tomllib.TOMLDecodeError, KeyError):
        return ""
    return value if isinstance(value, str) else ""
