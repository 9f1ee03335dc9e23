"""The settings of the device, which lie outside of every bundle: who is trusted, for what product, and what is allowed.

`device.json` and the key files must not be writable by other users, because they decide what is believed.
"""

import binascii
import hashlib
import os
import re
import stat
from types import MappingProxyType
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from . import limits, moments, strict_json
from .ed25519 import PUBLIC_BYTES, check_public
from .errors import Refused, Usage
from .strict_json import Malformed

VARIABLE, DEFAULT = "SAFEML_DEVICE", "/etc/safeml/device.json"
REMEDY = f"name the device settings with --settings or ${VARIABLE}, or write them with `safeml-edge setup`"
BACKENDS = ("auto", "tensorrt", "tftrt", "onnxruntime")
REQUIRED = ("format", "product", "device_id", "root", "keys")
# What to write for a key that is missing.
EXAMPLES = {
    "format": '"format": 1',
    "product": '"product": "NAME", the product of the bundles',
    "device_id": '"device_id": "NAME", a name of this device',
    "root": '"root": "/var/lib/safeml", the folder of slots and records',
    "keys": '"keys": [{"file": "release.pub"}], the public keys beside the settings',
}
OPTIONAL = ("revoked", "allow_override", "allow_no_expiry", "allow_expired_start", "update", "run", "backend")
PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
# SubjectPublicKeyInfo of Ed25519 before the 32 bytes of the key (RFC 8410, section 4).
SPKI = bytes.fromhex("302a300506032b6570032100")


class Key(NamedTuple):
    """A trust key.

    keyid: sha256 of the public key, 64 hexadecimal digits.
    public: 32 bytes.
    role: a name for people, such as "release 2026".
    until: seconds since 1970 from which on it signs no new bundle; None for no end.
    file: where it was read.
    """

    keyid: str
    public: bytes
    role: str = "release"
    until: Optional[int] = None
    file: str = ""


class DeviceSettings(NamedTuple):
    """The settings of one device.

    product: bundles of another product are refused.
    device_id: a name of this device, for staged roll-outs and records.
    root: folder of the slots and of the state.
    keys: one of them must have signed a bundle.
    revoked: key ids that are refused even where they are among `keys`.
    allow_override: accept a bundle whose audit did not pass and that says why it was released.
    allow_no_expiry: accept a bundle without a last day.
    allow_expired_start: start an installed bundle after its last day, or with a clock that is behind.
    update: settings of the updates. run: settings of the run.
    backend: one of `BACKENDS`.
    path: the file of these settings.
    """

    product: str
    device_id: str
    root: str
    keys: Tuple[Key, ...]
    revoked: Tuple[str, ...] = ()
    allow_override: bool = False
    allow_no_expiry: bool = True
    allow_expired_start: bool = False
    update: Mapping[str, Any] = MappingProxyType({})
    run: Mapping[str, Any] = MappingProxyType({})
    backend: str = "auto"
    path: str = ""


def key_id(public: bytes) -> str:
    """Return the id of a public key: the sha256 of its 32 bytes, in hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def read_settings(path: str = "") -> DeviceSettings:
    """Return the settings in `path`, else in $SAFEML_DEVICE, else in /etc/safeml/device.json.

    Raises Usage for a file that is missing or invalid, and Refused for one that other users may change ("unsafe-settings") or
    for a key that is none ("unusable-key").
    """
    path = os.path.abspath(str(path) or os.environ.get(VARIABLE, "") or DEFAULT)
    try:
        value = strict_json.parse(read_private(path, limits.SETTINGS_BYTES, REMEDY))
        return _settings(value, path)
    except Malformed as error:
        raise Usage(f"{path}: the settings are invalid: {error}.") from None


def read_key(path: str) -> bytes:
    """Return the 32 bytes of a public key: a text of 64 hexadecimal digits, or PEM (SubjectPublicKeyInfo)."""
    data = read_private(path, limits.KEY_FILE_BYTES, "name a file with a public key")
    try:
        match = PEM.fullmatch(data.strip())
        if match is None:
            public = bytes.fromhex(data.decode("ascii").strip())
        else:
            packed = binascii.a2b_base64(match.group(1))
            public = packed[len(SPKI) :] if packed.startswith(SPKI) else b""
    except (ValueError, binascii.Error):
        public = b""
    if len(public) != PUBLIC_BYTES:
        raise Refused(
            "unusable-key",
            f"{path} is no Ed25519 public key; expected 64 hexadecimal digits, or PEM with BEGIN PUBLIC KEY.",
        )
    check_public(public, path)
    return public


def read_private(path: str, most: int, remedy: str = "expected a file that can be read") -> bytes:
    """Return the bytes of a file that no other user may change: neither the file nor its folder."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Usage(f"{path}: it cannot be read ({error.strerror}); {remedy}.") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
        os.close(handle)
        raise Usage(f"{path}: it is no regular file of at most {most} bytes.")
    with os.fdopen(handle, "rb") as stream:
        _check_owner(path, facts)
        data = stream.read(most + 1)
    if len(data) > most:
        raise Usage(f"{path}: it has more than {most} bytes.")
    return data


def _check_owner(path: str, facts: os.stat_result) -> None:
    folder = os.stat(os.path.dirname(os.path.realpath(path)))
    sticky = folder.st_mode & stat.S_ISVTX  # only its owner may then replace a file
    if facts.st_mode & 0o022 or (folder.st_mode & 0o022 and not sticky):
        raise Refused(
            "unsafe-settings",
            f"{path}: other users may change the file or its folder; run chmod go-w on both.",
        )
    if facts.st_uid not in (0, os.geteuid()):
        raise Refused(
            "unsafe-settings",
            f"{path}: it belongs to another user; expected root or the user of this program; run chown on it.",
        )


def _settings(value: dict, path: str) -> DeviceSettings:
    for key in REQUIRED:
        if key not in value:
            raise Malformed(
                f"it has no {key}; write {EXAMPLES[key]}, or write new settings with `safeml-edge setup`"
            )
    strict_json.fields(value, "it", REQUIRED, OPTIONAL)
    strict_json.integer(value["format"], "format", 1, 1)
    root = strict_json.text(value["root"], "root", 4000)
    if not os.path.isabs(root):
        raise Malformed("root is no absolute path")
    items = strict_json.items(value["keys"], "keys", limits.KEYS, 1)
    keys = tuple(_key(one, f"keys[{place}]", os.path.dirname(path)) for place, one in enumerate(items))
    if len({key.keyid for key in keys}) < len(keys):
        raise Malformed("keys lists one key twice")
    revoked = strict_json.items(value.get("revoked", []), "revoked", limits.REVOKED)
    flags = {
        key: strict_json.boolean(value[key], key)
        for key in OPTIONAL
        if key.startswith("allow_") and key in value
    }
    for key in ("update", "run"):
        if not isinstance(value.get(key, {}), dict):
            raise Malformed(f"{key} is no object")
    return DeviceSettings(
        strict_json.text(value["product"], "product", 100),
        strict_json.text(value["device_id"], "device_id", 100),
        root,
        keys,
        tuple(strict_json.sha256(one, f"revoked[{place}]") for place, one in enumerate(revoked)),
        update=value.get("update", {}),
        run=value.get("run", {}),
        backend=strict_json.one_of(value.get("backend", "auto"), "backend", BACKENDS),
        path=path,
        **flags,
    )


def _key(value: Any, where: str, folder: str) -> Key:
    strict_json.fields(value, where, ("file",), ("role", "until"))
    path = os.path.join(folder, strict_json.text(value["file"], where + ".file"))
    public = read_key(path)
    until = value.get("until")
    return Key(
        key_id(public),
        public,
        strict_json.text(value.get("role", "release"), where + ".role", 100),
        None if until is None else moments.moment(until, where + ".until"),
        path,
    )
