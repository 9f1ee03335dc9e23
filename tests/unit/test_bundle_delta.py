"""Deltas that the device's code applies, and signatures that OpenSSF's package verifies, where the packages are installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.bundle import delta, openssf
from safeml.edge.delta import Parts, apply_delta
from safeml.errors import ConfigError, InputRefused
from tests.edge_bundles import Bundle


def written(folder: Path, release: int, product: str = "signs", change: bytes = b"") -> Path:
    """Write a tiny bundle."""
    bundle = Bundle()
    bundle.manifest["product"] = bundle.statement["predicate"]["safeml"]["product"] = product
    bundle.manifest["release"] = bundle.statement["predicate"]["safeml"]["release"] = release
    bundle.files["models/model.int8.onnx"] += change
    path = folder / f"{product}-{release}.safeml"
    bundle.write(path)
    return path


def test_a_device_gets_the_new_bundle_from_the_old_one_and_the_delta(tmp_path: Path) -> None:
    pytest.importorskip("bsdiff4", reason="the extra delta is not installed")
    old, new = written(tmp_path, 1), written(tmp_path, 2, change=b"more")
    made = delta.make_delta(old, new, tmp_path / "d")
    assert made.size == (tmp_path / "d").stat().st_size
    assert made.share == made.size / new.stat().st_size
    parts = Parts([(str(old), old.stat().st_size)])
    assert apply_delta(parts, str(tmp_path / "d"), str(tmp_path / "out"), 10**6) == new.stat().st_size
    assert (tmp_path / "out").read_bytes() == new.read_bytes()


def test_a_delta_is_between_growing_releases_of_one_product(tmp_path: Path) -> None:
    pytest.importorskip("bsdiff4", reason="the extra delta is not installed")
    old, new = written(tmp_path, 1), written(tmp_path, 2)
    for first, second, words in (
        (new, old, "give the older one first"),
        (old, old, "give the older one first"),
        (old, written(tmp_path, 3, "lights"), "two releases of one"),
    ):
        with pytest.raises(InputRefused, match=words):
            delta.make_delta(first, second, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def key_file(folder: Path, key: serialization.PrivateFormat | object, password: bytes = b"") -> Path:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))  # type: ignore[attr-defined]
    return path


def test_other_keys_than_those_of_openssf_are_refused(tmp_path: Path) -> None:
    bundle = written(tmp_path, 1)
    for key in (Ed25519PrivateKey.generate(), generate_private_key(SECP256K1())):
        with pytest.raises(ConfigError, match="is no elliptic-curve key on P-256"):
            openssf.sign_bundle(bundle, key_file(tmp_path, key), "", tmp_path / "sig")
    with pytest.raises(ConfigError, match="there is no such key"):
        openssf.sign_bundle(bundle, tmp_path / "none", "", tmp_path / "sig")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputRefused, match="loop: cannot be read"):
        openssf.sign_bundle(bundle, tmp_path / "loop", "", tmp_path / "sig")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(ConfigError, match="is no private key in PEM"):
        openssf.sign_bundle(bundle, tmp_path / "text", "", tmp_path / "sig")
    assert not (tmp_path / "sig").exists()


def test_the_password_of_a_key_is_needed(tmp_path: Path) -> None:
    bundle = written(tmp_path, 1)
    key = key_file(tmp_path, generate_private_key(SECP256R1()), b"secret")
    with pytest.raises(ConfigError, match="give its password"):
        openssf.sign_bundle(bundle, key, "", tmp_path / "sig")


@pytest.mark.slow
def test_the_package_of_openssf_verifies_the_signature_and_no_other_bundle(tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="the extra openssf is not installed")
    from model_signing import verifying

    bundle, key = written(tmp_path, 1), generate_private_key(SECP256R1())
    openssf.sign_bundle(bundle, key_file(tmp_path, key, b"secret"), "secret", tmp_path / "sig")
    public = tmp_path / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(bundle, tmp_path / "sig")
    bundle.write_bytes(bundle.read_bytes() + b" ")
    with pytest.raises(ValueError, match="mismatch"):
        config.verify(bundle, tmp_path / "sig")
