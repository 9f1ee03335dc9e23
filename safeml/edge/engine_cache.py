"""Engines that this device built, outside of every bundle and authenticated before use, because an engine is code.

    engines/engine.key      32 random bytes of this device, mode 0600
    engines/NAME.json       what the engine belongs to, its length and sha256, and an HMAC over all of it with the key
    engines/NAME.engine     the engine

NAME is the sha256 of what the engine belongs to: the ONNX file, the exact TensorRT build, compute capability, device, CUDA, L4T and builder
settings. A stored engine that does not fit is never loaded; the reason is recorded and the engine is built again.
"""

import hashlib
import hmac
import json
import os
import stat
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .durable import write_whole
from .errors import EdgeError

FOLDER, KEY_FILE, KEY_BYTES = "engines", "engine.key", 32
MOST_ENGINE_BYTES = 1 << 31
MOST_INDEX_BYTES = 1 << 16
# Why a stored engine is not used.
REASONS = {
    "absent": "no engine is stored for this file, TensorRT, GPU and settings",
    "new-key": "the key of this device was missing or unsafe, so stored engines cannot be authenticated",
    "index-damaged": "the record of the engine is not one that this device wrote",
    "wrong-key": "the record of the engine was written with another key",
    "wrong-length": "the stored engine has another length than the record says",
    "changed": "the bytes of the stored engine are not those that this device wrote",
}


class EngineKey(NamedTuple):
    """What an engine belongs to. All of it is text.

    onnx: sha256 of the file. tensorrt: exact version. capability: of the GPU. device: name. cuda, l4t: versions; "" where unknown.
    settings: builder settings as JSON.
    """

    onnx: str
    tensorrt: str
    capability: str
    device: str
    cuda: str
    l4t: str
    settings: str

    def name(self) -> str:
        """Return the name of the files of this engine."""
        return hashlib.sha256(_canonical(dict(self._asdict()))).hexdigest()[:32]


class Loaded(NamedTuple):
    """A stored engine.

    data: its authenticated bytes, or None. reason: "", or why there are none, a key of `REASONS`.
    built: what was recorded when it was built.
    """

    data: Optional[bytes]
    reason: str
    built: Dict[str, Any]


class EngineCache:
    """The store of one device.

    root: folder of the device settings.
    """

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, FOLDER)
        self.fresh_key = False
        try:
            if not os.path.isdir(self.folder):
                os.makedirs(self.folder, 0o700)
        except OSError as error:
            raise EdgeError(f"{self.folder}: cannot be made ({error.strerror}).") from None
        self.key = self._key()

    def load(self, key: EngineKey) -> Loaded:
        """Return the engine of a key, if this device stored it and it is unchanged since."""
        index, path = self._paths(key)
        text = _read(index, MOST_INDEX_BYTES)
        if text is None:
            return _none("new-key" if self.fresh_key and os.path.exists(path) else "absent")
        try:
            entry = json.loads(text.decode("utf-8"))
            signed, tag = entry["signed"], bytes.fromhex(entry["hmac"])
            authentic = hmac.compare_digest(tag, self._tag(signed))
        except (ValueError, KeyError, TypeError, RecursionError):
            return _none("index-damaged")
        if not authentic:
            return _none("new-key" if self.fresh_key else "wrong-key")
        # What is authentic was written by `store`.
        if signed["belongs"] != dict(key._asdict()):
            return _none("index-damaged")
        data = _read(path, MOST_ENGINE_BYTES)
        if data is None or len(data) != signed["bytes"] or not data:
            return _none("wrong-length")
        if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), signed["sha256"]):
            return _none("changed")
        return Loaded(data, "", signed["built"])

    def store(self, key: EngineKey, data: bytes, built: Dict[str, Any]) -> None:
        """Store an engine that was built a moment ago; the index is written last. built: plain data to keep with it."""
        index, path = self._paths(key)
        signed: Dict[str, Any] = {
            "belongs": dict(key._asdict()),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "built": built,
        }
        write_whole(path, data, 0o600)
        write_whole(index, _canonical({"signed": signed, "hmac": self._tag(signed).hex()}) + b"\n", 0o600)

    def _paths(self, key: EngineKey) -> Tuple[str, str]:
        name = os.path.join(self.folder, key.name())
        return name + ".json", name + ".engine"

    def _tag(self, signed: Dict[str, Any]) -> bytes:
        return hmac.new(self.key, _canonical(signed), hashlib.sha256).digest()

    def _key(self) -> bytes:
        """Return the key; another one is made where it is missing, short, or readable by other users."""
        path = os.path.join(self.folder, KEY_FILE)
        try:
            state = os.lstat(path)
            safe = stat.S_ISREG(state.st_mode) and not state.st_mode & 0o077 and state.st_uid == os.geteuid()
            content = _read(path, KEY_BYTES + 1) if safe else None
            if content is not None and len(content) == KEY_BYTES:
                return content
        except OSError:
            pass
        self.fresh_key = True
        content = os.urandom(KEY_BYTES)
        write_whole(path, content, 0o600)
        return content


def _none(reason: str) -> Loaded:
    return Loaded(None, reason, {})


def _canonical(record: Dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _read(path: str, most: int) -> Optional[bytes]:
    """Return the bytes of a regular file of at most `most` bytes; None for any other, and for a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > most:
            return None
        return file.read(most)
