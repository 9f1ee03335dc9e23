"""Device settings and trust keys: what is read, and what other users could have changed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from safeml.bundle.signing import public_bytes
from safeml.edge import limits
from safeml.edge.errors import Usage
from safeml.edge.settings import (
    OPTIONAL,
    REQUIRED,
    DeviceSettings,
    key_id,
    read_key,
    read_private,
    read_settings,
)
from tests.edge_bundles import KEY, PRODUCT, SECOND, digest, refused, write_settings

PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "etc"
    made.mkdir()
    made.chmod(0o755)
    return made


def test_settings_have_safe_defaults(folder: Path) -> None:
    path = write_settings(folder, folder / "root", (KEY, SECOND))
    settings = read_settings(str(path))
    assert settings == DeviceSettings(
        PRODUCT, "device-1", str(folder / "root"), settings.keys, path=str(path)
    )
    assert [key.public for key in settings.keys] == [public_bytes(KEY), public_bytes(SECOND)]
    assert (settings.allow_override, settings.allow_expired_start, settings.revoked) == (False, False, ())
    assert settings.keys[0].keyid == digest(public_bytes(KEY)) == key_id(public_bytes(KEY))


def test_each_setting_is_read(folder: Path) -> None:
    keys = [{"file": "key0.pub", "role": "2026", "until": "2027-01-01T00:00:00Z"}]
    changes: dict[str, Any] = {
        "keys": keys,
        "revoked": ["0" * 64],
        "allow_override": True,
        "allow_no_expiry": False,
        "allow_expired_start": True,
        "update": {"source": "x"},
        "run": {"frames": 3},
        "backend": "tensorrt",
    }
    settings = read_settings(str(write_settings(folder, folder, **changes)))
    assert settings.keys[0].role == "2026"
    assert settings.keys[0].until == 1798761600
    assert {name: getattr(settings, name) for name in changes if name not in ("keys", "revoked")} == {
        name: value for name, value in changes.items() if name not in ("keys", "revoked")
    }
    assert settings.revoked == ("0" * 64,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format is 2"),
        ({"alow_override": True}, 'unknown key "alow_override"'),
        ({"allow_override": 1}, "allow_override is an integer"),
        ({"root": "place"}, "root is no absolute path"),
        ({"keys": []}, "keys has 0 items"),
        ({"keys": [{"role": "a"}]}, r"keys\[0\] has no file"),
        ({"keys": [{"file": "key0.pub", "public": ""}]}, 'unknown key "public"'),
        ({"keys": [{"file": "key0.pub"}, {"file": "key0.pub"}]}, "lists one key twice"),
        ({"keys": [{"file": "key0.pub", "until": "tomorrow"}]}, "until is no moment"),
        ({"keys": [{"file": "none.pub"}]}, "cannot be read"),
        ({"keys": [{"file": "key0.pub"}] * (limits.KEYS + 1)}, "expected 1 to 16"),
        ({"keys": [{"file": "x" * 501}]}, "file has 501 characters"),
        (
            {"keys": [{"file": "\u202e.pub"}]},
            r"\\u202e\.pub: it cannot be read .*; name a file with a public key",
        ),
        ({"revoked": ["abc"]}, "no sha256"),
        ({"backend": "tensorflow"}, "expected one of auto, tensorrt, tftrt, onnxruntime"),
        ({"update": []}, "update is no object"),
        ({"product": ""}, "product has 0 characters"),
    ],
)
def test_an_invalid_setting_is_named(change: dict[str, Any], words: str, folder: Path) -> None:
    path = write_settings(folder, folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(Usage, match=words) as caught:
        read_settings(str(path))
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_and_one_that_is_none_are_named(folder: Path) -> None:
    with pytest.raises(Usage, match=r"cannot be read .*--settings or \$SAFEML_DEVICE"):
        read_settings(str(folder / "none.json"))
    os.mkfifo(folder / "pipe")
    for path in (folder, folder / "pipe"):
        with pytest.raises(Usage, match="no regular file"):
            read_settings(str(path))
    (folder / "device.json").write_text("{" + " " * limits.SETTINGS_BYTES)
    with pytest.raises(Usage, match="no regular file of at most"):
        read_settings(str(folder / "device.json"))


def test_the_place_of_the_settings_may_come_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_settings(folder, folder)
    monkeypatch.setenv("SAFEML_DEVICE", str(path))
    assert read_settings().path == str(path)
    monkeypatch.delenv("SAFEML_DEVICE")
    monkeypatch.setattr("safeml.edge.settings.DEFAULT", str(folder / "default.json"))
    with pytest.raises(Usage, match=r"default\.json"):
        read_settings()


@pytest.mark.parametrize("mode", [0o646, 0o664, 0o666])
@pytest.mark.parametrize("which", ["device.json", "key0.pub"])
def test_a_file_that_other_users_may_change_is_refused(which: str, mode: int, folder: Path) -> None:
    path = write_settings(folder, folder)
    (folder / which).chmod(mode)
    with refused("unsafe-settings", "chmod go-w"):
        read_settings(str(path))


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o1777, True), (0o777, False), (0o775, False)])
def test_so_is_one_in_a_folder_where_others_may_replace_it(mode: int, safe: bool, folder: Path) -> None:
    """In a folder with the sticky bit, such as /tmp, only the owner of a file may replace it."""
    path = write_settings(folder, folder)
    folder.chmod(mode)
    if safe:
        assert read_settings(str(path)).product == PRODUCT
    else:
        with refused("unsafe-settings", "its folder"):
            read_settings(str(path))
    folder.chmod(0o755)


def test_a_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings(folder, folder)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(path, 12345, -1)
    with refused("unsafe-settings", "another user"):
        read_settings(str(path))


def test_a_key_is_hexadecimal_or_pem(folder: Path) -> None:
    public = public_bytes(KEY)
    texts = (
        public.hex(),
        public.hex() + "\n",
        f"  {public.hex().upper()}\r\n",
        KEY.public_key().public_bytes(*PEM).decode(),
    )
    for text in texts:
        file = folder / "a.pub"
        file.write_text(text)
        file.chmod(0o644)
        assert read_key(str(file)) == public


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 63,
        "0" * 66,
        "z" * 64,
        "é" * 32,
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*PEM).decode(),
        x25519.X25519PrivateKey.generate().public_key().public_bytes(*PEM).decode(),
        KEY.public_key().public_bytes(*PEM).decode() * 2,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        KEY.public_key().public_bytes(*PEM).decode().replace("PUBLIC", "PRIVATE"),
    ],
    ids=[
        "empty",
        "short",
        "long",
        "letters",
        "not ASCII",
        "another algorithm",
        "another curve",
        "two keys",
        "damaged",
        "private",
    ],
)
def test_another_text_is_no_key(text: str, folder: Path) -> None:
    file = folder / "a.pub"
    file.write_text(text)
    with refused("unusable-key", "no Ed25519 public key"):
        read_key(str(file))


def test_a_key_of_small_order_is_refused_when_it_is_read(folder: Path) -> None:
    path = write_settings(folder, folder)
    (folder / "key0.pub").write_text((1).to_bytes(32, "little").hex())
    with refused("unusable-key", r"key0\.pub is not canonical or of small order"):
        read_settings(str(path))


def test_a_file_that_grows_while_it_is_read_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "grown"
    file.write_bytes(bytes(100))
    real = os.fstat

    def before(handle: int) -> Any:
        facts = list(real(handle))
        facts[6] = 1  # st_size
        return os.stat_result(facts)

    monkeypatch.setattr(os, "fstat", before)
    with pytest.raises(Usage, match="more than 50 bytes"):
        read_private(str(file), 50)


def test_a_file_may_have_the_whole_length_that_is_allowed_and_none_is_left_open(folder: Path) -> None:
    (folder / "file").write_bytes(b"x" * 50)
    (folder / "file").chmod(0o644)
    before = len(os.listdir("/proc/self/fd"))
    assert read_private(str(folder / "file"), 50) == b"x" * 50
    for path in (folder, folder / "file"):
        with pytest.raises(Usage, match="no regular file"):
            read_private(str(path), 49)
    assert len(os.listdir("/proc/self/fd")) == before


def test_settings_are_strict_json(folder: Path) -> None:
    path = write_settings(folder, folder)
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value)[:-1] + ', "product": "other"}')
    with pytest.raises(Usage, match="occurs twice"):
        read_settings(str(path))


def test_the_example_of_the_docs_is_read_and_each_setting_is_in_the_table(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "edge.md").read_text(encoding="utf-8")
    section = text.split("\n## Device settings\n")[1].split("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    path = write_settings(folder, folder, (KEY, SECOND))
    for number, row in enumerate(json.loads(example)["keys"]):
        (folder / f"key{number}.pub").rename(folder / row["file"])
    path.write_text(example)
    settings = read_settings(str(path))
    assert [key.role for key in settings.keys] == ["release 2026", "release 2027"]
    table = section.split("| key of `run`")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) | {"format"} == {*REQUIRED, *OPTIONAL}
