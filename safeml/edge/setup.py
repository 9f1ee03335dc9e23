"""The settings of a new device: written from what a command names and what the device tells, checked before anything is written."""

import contextlib
import json
import os
import platform
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .durable import make_folder, remove, write_whole
from .errors import EdgeError, Refused, Usage
from .policy import read_policy
from .run_settings import run_settings
from .settings import DEFAULT, VARIABLE, DeviceSettings, read_key, read_settings

ROOT = "/var/lib/safeml"
MODE = 0o644


class Wanted(NamedTuple):
    """What the settings are to say; see `DeviceSettings`.

    keys: files with public keys, which are copied beside the settings. device_id: "" for the name of this machine.
    update, run: tables, whose values of None are left out.
    """

    product: str
    keys: Tuple[str, ...]
    device_id: str
    root: str
    backend: str
    update: Dict[str, Any]
    run: Dict[str, Any]


def write_settings(wanted: Wanted, path: str, force: bool) -> DeviceSettings:
    """Write the settings of this device and return them as they are read.

    path: as in `read_settings`. force: replace settings and keys that are there.
    Raises Usage for a value that is invalid and for a file that is there already, Refused for a key that is none or a folder that other
    users may change, and EdgeError where the disk refuses; then settings and keys are what they were.
    """
    path = os.path.abspath(path or os.environ.get(VARIABLE, "") or DEFAULT)
    folder = os.path.dirname(path)
    if os.path.lexists(path) and not force:
        raise Usage(
            f"{path}: there are device settings already; replace them with --force, or name another file with --settings."
        )
    files = _key_files(wanted.keys, folder, os.path.basename(path), force)
    value = _value(wanted, sorted(files))
    text = (json.dumps(value, indent=2) + "\n").encode("utf-8")
    _check(text, files)
    _make(folder, "--settings FILE before the command")
    if os.stat(folder).st_mode & 0o022:
        raise Refused("unsafe-settings", f"{folder}: other users may change it; run chmod go-w on it.")
    _make(value["root"], "--root")
    before = {os.path.join(folder, name): _present(os.path.join(folder, name)) for name in files}
    try:
        for name, content in sorted(files.items()):
            write_whole(os.path.join(folder, name), content, MODE)
        write_whole(path, text, MODE)
    except EdgeError:
        # The earlier settings would trust the new keys.
        for place, earlier in before.items():
            with contextlib.suppress(OSError, EdgeError):
                if earlier is None:
                    remove(place)
                else:
                    write_whole(place, earlier, MODE)
        raise
    return read_settings(path)


def _key_files(keys: Tuple[str, ...], folder: str, settings: str, force: bool) -> Dict[str, bytes]:
    """Return the content of each key file by its name beside the settings. settings: name of their file."""
    files: Dict[str, bytes] = {}
    for key in keys:
        name, content = os.path.basename(key), _content(key)
        if name in files or name == settings:
            raise Usage(f"two files would have the name {name} in {folder}; rename the key file {key}.")
        place = os.path.join(folder, name)
        if os.path.lexists(place) and not force and _content(place) != content:
            raise Usage(
                f"{place}: holds another key; rename the key file {key}, or replace the one that is there with --force."
            )
        files[name] = content
    return files


def _present(place: str) -> Optional[bytes]:
    """Return the content of a key file that is there; None where none is. Raises EdgeError for what is no file that can be read."""
    if not os.path.lexists(place):
        return None
    try:
        with open(place, "rb") as file:
            return file.read()
    except OSError as error:
        raise EdgeError(
            f"{place}: cannot be read ({error.strerror}); move it away, or rename the key file."
        ) from None


def _content(key: str) -> bytes:
    return read_key(key).hex().encode("ascii") + b"\n"


def _value(wanted: Wanted, names: List[str]) -> Dict[str, Any]:
    device = wanted.device_id or platform.node()
    if not device:
        raise Usage("this machine has no name; name the device with --device-id.")
    value: Dict[str, Any] = {
        "format": 1,
        "product": wanted.product,
        "device_id": device,
        "root": os.path.abspath(wanted.root),
        "keys": [{"file": name, "role": os.path.splitext(name)[0]} for name in names],
        "backend": wanted.backend,
    }
    for key, given in (("update", wanted.update), ("run", wanted.run)):
        table = {name: one for name, one in given.items() if one is not None}
        if table:
            value[key] = table
    return value


def _check(text: bytes, files: Dict[str, bytes]) -> None:
    """Read the settings as each command will, from a folder of this user alone."""
    folder = tempfile.mkdtemp(prefix="safeml-setup-")
    path = os.path.join(folder, "device.json")
    try:
        for name, content in files.items():
            write_whole(os.path.join(folder, name), content, MODE)
        write_whole(path, text, MODE)
        settings = read_settings(path)
        read_policy(settings.update)
        run_settings(settings)
    except Usage as error:
        raise Usage(error.message.replace(path + ": ", "")) from None
    finally:
        remove(folder)


def _make(folder: str, option: str) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise EdgeError(
            f"{folder}: cannot be made ({error.strerror}); run the command with sudo, or name another place with {option}."
        ) from None
