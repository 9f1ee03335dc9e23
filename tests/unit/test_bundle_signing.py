"""Keys and signatures of the host: files that only their owner reads, and envelopes that a device believes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.bundle import signing
from safeml.bundle.signing import generate_key, key_id, load_key, public_bytes, sign, unsigned
from safeml.edge import dsse
from safeml.edge.settings import read_key
from safeml.errors import ConfigError, InputRefused, MissingInput
from tests.edge_bundles import KEY, SECOND, Bundle, digest, refused

STATEMENT = Bundle().statement_bytes()


@pytest.mark.parametrize("password", ["", "a pass word é"])
def test_a_key_is_written_for_its_owner_and_read_again(password: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    old = os.umask(0)
    try:
        key = generate_key(tmp_path / "release.key", password)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "release.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "release.key.pub").stat().st_mode) == 0o644
    assert public_bytes(load_key(tmp_path / "release.key", password)) == public_bytes(key)
    assert read_key(str(tmp_path / "release.key.pub")) == public_bytes(key)
    assert key_id(public_bytes(key)) == digest(public_bytes(key))
    assert (b"ENCRYPTED" in (tmp_path / "release.key").read_bytes()) == bool(password)


def test_two_keys_differ(tmp_path: Path) -> None:
    assert public_bytes(generate_key(tmp_path / "a")) != public_bytes(generate_key(tmp_path / "b"))


def test_a_key_is_never_overwritten_and_never_in_a_repository(tmp_path: Path) -> None:
    generate_key(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(ConfigError, match="exists; name a new file"):
        generate_key(tmp_path / "a")
    (tmp_path / "b.pub").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"b\.pub exists"):
        generate_key(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == before
    (tmp_path / "work" / "deep").mkdir(parents=True)
    (tmp_path / "work" / ".git").write_text("gitdir: elsewhere")
    with pytest.raises(ConfigError, match="inside of the git repository"):
        generate_key(tmp_path / "work" / "deep" / "a")
    with pytest.raises(ConfigError, match="cannot be written"):
        generate_key(tmp_path / "none" / "a")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "a.pub", "b.pub", "work"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_key_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    generate_key(tmp_path / "a")
    (tmp_path / "a").chmod(mode)
    with pytest.raises(InputRefused, match="chmod 600"):
        load_key(tmp_path / "a")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="safeml keys new"):
        load_key(tmp_path / "none")
    with pytest.raises(InputRefused, match="cannot be read"):
        load_key(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content, words in (
        (b"", "no private key"),
        (b"\xff" * 9000, "no private key"),
        (other, "another algorithm"),
    ):
        (tmp_path / "a").write_bytes(content)
        (tmp_path / "a").chmod(0o600)
        with pytest.raises(InputRefused, match=words):
            load_key(tmp_path / "a")


def test_the_password_is_asked_for_where_it_is_needed(tmp_path: Path) -> None:
    generate_key(tmp_path / "open")
    generate_key(tmp_path / "locked", "secret")
    with pytest.raises(ConfigError, match="is encrypted; give its password"):
        load_key(tmp_path / "locked")
    with pytest.raises(ConfigError, match="does not open the key"):
        load_key(tmp_path / "locked", "wrong")
    with pytest.raises(ConfigError, match="is not encrypted; give no password"):
        load_key(tmp_path / "open", "secret")


def test_an_envelope_is_signed_by_each_key() -> None:
    envelope = dsse.parse_envelope(sign(STATEMENT, (KEY, SECOND)))
    assert envelope.payload == STATEMENT
    message = dsse.pae(envelope.payload_type, STATEMENT)
    for key, one in zip((KEY, SECOND), envelope.signatures, strict=True):
        assert one.keyid == key_id(public_bytes(key))
        key.public_key().verify(one.sig, message)
    assert sign(STATEMENT, (KEY,)) == sign(STATEMENT, (KEY,))


def test_only_a_statement_is_signed() -> None:
    for payload in (b"", b"{}", json.dumps({"_type": "other"}).encode()):
        with refused("statement-invalid"):
            sign(payload, (KEY,))
        with refused("statement-invalid"):
            unsigned(payload)
    with pytest.raises(ConfigError, match="no key"):
        sign(STATEMENT, ())
    with refused("envelope-invalid", "same key"):
        sign(STATEMENT, (KEY, KEY))


def test_an_unsigned_envelope_has_no_signature() -> None:
    assert dsse.parse_envelope(unsigned(STATEMENT)).signatures == ()


def test_a_faulty_signature_is_seen_before_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "verify_signature", lambda public, message, signature: False)
    with pytest.raises(InputRefused, match="does not verify"):
        sign(STATEMENT, (Ed25519PrivateKey.generate(),))
