"""Paths of the command line: settings that may be written, paths in them, and commands that are shown without folders."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from safeml.errors import ConfigError

# The folders of an absolute path say who ran it and where; its last part says what.
ABSOLUTE = re.compile(r"(?:^|(?<==))/(?:[^/]*/)*")


def check_room(out: Path, force: bool) -> None:
    """Before anything is measured: may the settings be written to `out`?"""
    if out.exists() and not force:
        raise ConfigError(
            f"{out}: exists already; choose another name with --out, or replace it with --force."
        )
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: is not a folder; expected one to write {out.name} into.")


def from_folder(path: str, folder: Path) -> str:
    """`path`, given from here, as settings in `folder` name it: relative paths in them start there."""
    return path if os.path.isabs(path) else os.path.relpath(path, folder)


def shown_command() -> tuple[str, ...]:
    """The command as it was given, without the folders of absolute paths."""
    return ("safeml", *(ABSOLUTE.sub("", argument) for argument in sys.argv[1:]))
