"""Paths of the command line: output checks, paths in settings, and commands displayed without folders."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from safeml.errors import ConfigError
from safeml.settings.errors import shown_key

# The folders of an absolute path reveal user and machine; its last part is enough.
ABSOLUTE = re.compile(r"(?:^|(?<==))/(?:[^/]*/)*")


def check_room(out: Path, force: bool) -> None:
    """Check before any measurement that settings may be written to `out`.

    Never over a device, a pipe or a folder, even with `force`: a rename would replace it by a plain file.
    """
    check_name(out)
    if os.path.lexists(out) and not os.path.isfile(out):
        raise ConfigError(f"{out}: is not a regular file; set another name with --out.")
    if out.exists() and not force:
        raise ConfigError(f"{out}: exists already; set another name with --out, or replace it with --force.")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: is not a folder; expected one to write {out.name} into.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"{out.parent}: is not writable; set another folder with --out.")


def check_name(*paths: Path | str) -> None:
    """Raise ConfigError for a path that the system does not accept or that is not UTF-8."""
    for path in map(str, paths):
        try:
            name = path.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError(
                f"{path}: is not UTF-8; rename it, because reports and settings are UTF-8."
            ) from None
        if not name:
            raise ConfigError("an empty path was given; expected the name of a file or a folder.")
        if b"\0" in name or len(name) > 4095 or max(map(len, name.split(b"/"))) > 255:
            raise ConfigError(
                f"{shown_key(path)}: is not a valid path; expected at most 4,095 bytes, 255 between slashes, and no NUL."
            )


def from_folder(path: str, folder: Path) -> str:
    """Return `path`, relative to the working folder, as a path for settings in `folder`."""
    check_name(path)
    return path if os.path.isabs(path) else os.path.relpath(path, folder)


# Options that say where slices are measured. They change no result, so they are not in the record of the command.
WHERE = ("--workers", "--scheduler", "--slices-per-shard")


def shown_command() -> tuple[str, ...]:
    """Return the command line without the folders of absolute paths and without the options in `WHERE`."""
    given = (argument.encode("utf-8", "backslashreplace").decode() for argument in _what(sys.argv[1:]))
    return ("safeml", *(ABSOLUTE.sub("", argument) for argument in given))


def _what(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments without those of `WHERE`."""
    value_follows = False
    for argument in arguments:
        if not value_follows and argument.partition("=")[0] not in WHERE:
            yield argument
        value_follows = not value_follows and argument in WHERE
