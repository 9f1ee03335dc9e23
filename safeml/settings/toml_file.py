"""Reading TOML files: an unreadable, endless or hostile file is one `ConfigError`."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from safeml.errors import ConfigError, first_line

MAX_CONFIG_BYTES = 1_000_000
# The standard library needs quadratic time for a dotted key.
MAX_DOTS_IN_LINE = 100


def read_toml(path: Path) -> dict[str, Any]:
    """Read the TOML file at `path` (UTF-8, with or without a byte-order mark, any line ends)."""
    text = read_text(path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS_IN_LINE and not line.lstrip().startswith("#"):
            raise ConfigError(
                f"{path}: line {number} has {line.count('.'):,} dots; expected at most {MAX_DOTS_IN_LINE}."
            )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(
            f"{path}: is not valid TOML: it is nested too deeply; settings are tables of tables."
        ) from error
    except ValueError as error:
        reason = first_line(error)
        if "int_max_str_digits" in str(error):
            reason = "it holds a number with thousands of digits"
        raise ConfigError(f"{path}: is not valid TOML: {reason}.") from error


def read_text(path: Path) -> str:
    """Return the text of the settings file at `path`. Raises ConfigError if it cannot be read or is not UTF-8."""
    raw = _read(path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 text (byte 0x{raw[error.start]:02x} at {error.start}); save it as UTF-8."
        ) from error


def _read(path: Path) -> bytes:
    """Read a regular file of bounded size; a pipe or a device, which may never end, is refused before reading."""
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError(f"{path}: is not a regular file; expected a TOML file.")
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); expected a TOML file.") from error
    if len(raw) > MAX_CONFIG_BYTES:
        size = max(state.st_size, len(raw))
        raise ConfigError(f"{path}: has {size:,} bytes; settings are at most {MAX_CONFIG_BYTES:,} bytes.")
    return raw


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, without waiting for the writer of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
