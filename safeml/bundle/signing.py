"""Signing keys and signatures (Ed25519, RFC 8032).

The private key is a PKCS#8 file that only its owner may read; the public key lies beside it with the ending ".pub" as 64
hexadecimal digits, which is what a device is given. The id of a key is the sha256 of the 32 bytes of the public key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.edge import dsse, limits
from safeml.edge.ed25519 import verify_signature
from safeml.edge.settings import key_id
from safeml.edge.statement import parse_statement
from safeml.errors import ConfigError, InputRefused, MissingInput

__all__ = ["generate_key", "key_id", "load_key", "public_bytes", "sign", "unsigned"]


def generate_key(path: Path, password: str = "") -> Ed25519PrivateKey:
    """Make a new key, write it to `path` (mode 0600) and its public half to `path` + ".pub", and return it.

    password: encrypts the file; "" leaves it unencrypted.
    Raises ConfigError where a file is in the way, or inside of a git repository.
    """
    path = Path(path)
    public = path.with_name(path.name + ".pub")
    for one in (path, public):
        if os.path.lexists(one):
            raise ConfigError(f"{one} exists; name a new file, because a key that was used must not be lost.")
    for folder in path.absolute().parents:
        if (folder / ".git").exists():
            raise ConfigError(f"{path} is inside of the git repository {folder}; keep the key outside of it.")
    key = Ed25519PrivateKey.generate()
    lock = (
        serialization.BestAvailableEncryption(password.encode("utf-8"))
        if password
        else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    try:
        _write(path, private, 0o600)
        _write(public, (public_bytes(key).hex() + "\n").encode("ascii"), 0o644)
    except OSError as error:
        raise ConfigError(
            f"{path}: the key cannot be written ({error.strerror}); name a writable folder."
        ) from None
    return key


def load_key(path: Path, password: str = "") -> Ed25519PrivateKey:
    """Return the private key in `path`.

    Raises MissingInput where there is none, InputRefused for a file that others may read or that is no Ed25519 key, and
    ConfigError for a password that does not fit.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(limits.KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such key; make one with `safeml keys new {path}`.") from None
    except OSError as error:
        raise InputRefused(f"{path}: the key cannot be read ({error.strerror}).") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise InputRefused(f"{path}: other users may read or change the key; run chmod 600 on it.")
    try:
        key = serialization.load_pem_private_key(data, password.encode("utf-8") if password else None)
    except TypeError:
        words = "is not encrypted; give no password" if password else "is encrypted; give its password"
        raise ConfigError(f"{path}: the key {words}.") from None
    except (ValueError, UnsupportedAlgorithm):
        if password and b"ENCRYPTED" in data:
            raise ConfigError(f"{path}: the password does not open the key.") from None
        raise InputRefused(
            f"{path} is no private key; expected PEM (PKCS#8) as `safeml keys new` writes it."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputRefused(
            f"{path} is a key of another algorithm; expected Ed25519, as `safeml keys new` makes it."
        )
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of the public key."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sign(statement: bytes, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """Return the envelope of a statement signed by each key, which a device will accept by its form.

    statement: from `safeml.edge.statement.write_statement`. keys: two of them while keys are rotated.
    """
    parse_statement(statement)
    return envelope_of(statement, keys)


def envelope_of(statement: bytes, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """Return the envelope of any statement of in-toto, signed by each key; the caller has checked the statement."""
    if not keys:
        raise ConfigError("there is no key to sign with; name one with --key.")
    message = dsse.pae(dsse.PAYLOAD_TYPE, statement)
    signatures = []
    for key in keys:
        public, signature = public_bytes(key), key.sign(message)
        if not verify_signature(public, message, signature):
            raise InputRefused(
                "a new signature does not verify; the cryptography library of this machine is faulty."
            )
        signatures.append(dsse.Signature(key_id(public), signature))
    return _envelope(statement, tuple(signatures))


def unsigned(statement: bytes) -> bytes:
    """Return the envelope of a statement without a signature, which every device refuses."""
    parse_statement(statement)
    return _envelope(statement, ())


def _envelope(statement: bytes, signatures: tuple[dsse.Signature, ...]) -> bytes:
    data = dsse.write_envelope(dsse.Envelope(dsse.PAYLOAD_TYPE, statement, signatures))
    dsse.parse_envelope(data)
    return data


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
