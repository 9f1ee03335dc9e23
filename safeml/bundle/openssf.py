"""A bundle signed for other tools in the format of OpenSSF Model Signing; devices read only the Ed25519 signature inside the bundle.

The format takes elliptic-curve keys (ECDSA on P-256, P-384 or P-521) and no Ed25519 keys, so it needs a second key.
"""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from safeml.bundle.reading import read_bundle
from safeml.errors import ConfigError, InputRefused, StageError, first_line
from safeml.links import resolved
from safeml.store.files import atomic_write, read_plain

CURVES = ("secp256r1", "secp384r1", "secp521r1")
MOST_KEY_BYTES = 64 * 1024
NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out openssf.pem"
INSTALL = "install it with `python -m pip install 'safeml-suite[openssf]'`"


def sign_bundle(bundle: Path, key: Path, password: str, out: Path) -> None:
    """Write the signature of a bundle to `out`, after it was verified again.

    key: a PEM file with an elliptic-curve key. password: "" for none.
    Raises ConfigError without the package model-signing or for a key of another kind, InputRefused for a file that is no bundle.
    """
    read_bundle(bundle)
    content = _key_bytes(key)
    private = _private_key(content, key, password)
    signing, verifying = _package("signing"), _package("verifying")
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with tempfile.TemporaryDirectory() as folder:
        signature, public_file = Path(folder) / "signature", Path(folder) / "public.pem"
        public_file.write_bytes(public)
        try:
            # Version 1.1 declares the password as text and passes it on to a function that takes bytes.
            secret = os.fsencode(password) if password else None
            signing.Config().use_elliptic_key_signer(private_key=key, password=secret).sign(bundle, signature)
            verifying.Config().use_elliptic_key_verifier(public_key=public_file).verify(bundle, signature)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise StageError(f"{bundle}: model-signing does not sign it ({first_line(error)}).") from error
        try:
            atomic_write(out, signature.read_bytes())
        except OSError as error:
            raise StageError(f"{out}: cannot be written ({error.strerror}); set another file with --out.") from error  # fmt: skip


def _package(name: str) -> Any:
    try:
        return import_module(f"model_signing.{name}")
    except ImportError as error:
        raise ConfigError(f"model-signing cannot be imported ({first_line(error)}); {INSTALL}.") from None


def _key_bytes(key: Path) -> bytes:
    try:
        return read_plain(resolved(key), MOST_KEY_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{key}: there is no such key; make one with `{NEW_KEY}`.") from None
    except (OSError, ValueError) as error:
        raise InputRefused(f"{key}: cannot be read ({error}); expected a PEM file.") from None


def _private_key(content: bytes, key: Path, password: str) -> EllipticCurvePrivateKey:
    try:
        private = load_pem_private_key(content, os.fsencode(password) if password else None)
    except TypeError:
        words = "is not encrypted; give no password" if password else "is encrypted; give its password"
        raise ConfigError(f"{key}: the key {words}.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{key}: is no private key in PEM, or its password is another one.") from None
    if not isinstance(private, EllipticCurvePrivateKey) or private.curve.name not in CURVES:
        raise ConfigError(
            f"{key}: is no elliptic-curve key on P-256, P-384 or P-521, and OpenSSF model signing takes no other, so not the Ed25519 key of "
            f"the bundle either; make one with `{NEW_KEY}`."
        )
    return private
