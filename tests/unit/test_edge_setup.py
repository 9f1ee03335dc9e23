"""`safeml-edge setup`: the settings that it writes are those that every command reads, or nothing is written."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from safeml.bundle.signing import public_bytes
from safeml.edge import setup as writing
from safeml.edge.cli import main
from safeml.edge.errors import EdgeError, Usage
from safeml.edge.policy import read_policy
from safeml.edge.run_settings import run_settings
from safeml.edge.settings import EXAMPLES, REQUIRED, read_settings
from tests.edge_bundles import KEY, SECOND, key_id


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two public keys."""
    for name, key in (("release-2026.pub", KEY), ("release-2027.pub", SECOND)):
        (tmp_path / name).write_text(public_bytes(key).hex() + "\n")
        (tmp_path / name).chmod(0o644)
    return tmp_path


def set_up(place: Path, *words: str, keys: tuple[str, ...] = ("release-2026.pub",)) -> int:
    named = [word for key in keys for word in ("--key", str(place / key))]
    path = str(place / "etc" / "device.json")
    return main(
        ["--settings", path, "setup", "--product", "signs", "--root", str(place / "slots"), *named, *words]
    )


def test_the_settings_are_those_that_each_command_reads(place: Path, capsys: Any) -> None:
    words = ("--device-id", "vehicle-7", "--backend", "onnxruntime", "--source", "usb", "--percent", "25")
    assert set_up(place, *words, "--latency-ms", "50", keys=("release-2026.pub", "release-2027.pub")) == 0
    settings = read_settings(str(place / "etc" / "device.json"))
    assert (settings.product, settings.device_id, settings.root) == (
        "signs",
        "vehicle-7",
        str(place / "slots"),
    )
    assert [key.role for key in settings.keys] == ["release-2026", "release-2027"]
    assert settings.keys[0].public == public_bytes(KEY)
    policy = read_policy(settings.update)
    assert (policy.source, policy.percent, run_settings(settings).latency_ms) == ("usb", 25.0, 50.0)
    output = capsys.readouterr().out
    assert key_id(public_bytes(KEY)) in output
    assert "onnxruntime" in output
    assert main(["--settings", settings.path, "keys"]) == 0
    assert main(["--settings", settings.path, "status"]) == 0


def test_what_is_not_named_is_detected_or_left_to_its_default(place: Path, capsys: Any) -> None:
    path = str(place / "etc" / "device.json")
    words = ["--product", "signs", "--key", str(place / "release-2026.pub"), "--root", str(place / "slots")]
    assert main(["--settings", path, "--json", "setup", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["device_id"] == platform.node()
    assert "onnxruntime" in record["installed"]
    assert set(json.loads(Path(path).read_text())) == {*REQUIRED, "backend"}


def test_settings_that_are_there_are_replaced_by_force_alone(place: Path, capsys: Any) -> None:
    assert set_up(place) == 0
    before = (place / "etc" / "device.json").read_bytes()
    assert set_up(place, "--device-id", "other") == 2
    assert "--force" in capsys.readouterr().err
    assert (place / "etc" / "device.json").read_bytes() == before
    assert set_up(place, "--device-id", "other", "--force") == 0
    assert read_settings(str(place / "etc" / "device.json")).device_id == "other"


def test_another_key_under_the_same_name_is_not_replaced(place: Path, capsys: Any) -> None:
    (place / "etc").mkdir(mode=0o755)
    other = place / "etc" / "release-2026.pub"
    other.write_text(public_bytes(SECOND).hex())
    other.chmod(0o644)
    assert set_up(place) == 2
    assert "holds another key" in capsys.readouterr().err
    assert other.read_text() == public_bytes(SECOND).hex()
    assert set_up(place, "--force") == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--percent", "101"), 2, "update.percent is 101.0"),
        (("--latency-ms", "-1"), 2, "run.latency_ms is -1.0"),
        (("--product", ""), 2, "product has 0 characters"),
        (("--device-id", "a\nb"), 2, "control character"),
    ],
)
def test_a_value_that_no_command_would_read_is_not_written(
    words: tuple[str, ...], code: int, sentence: str, place: Path, capsys: Any
) -> None:
    assert set_up(place, *words) == code
    error = capsys.readouterr().err
    assert sentence in error
    assert "safeml-setup-" not in error
    assert not (place / "etc").exists()


def test_a_key_that_is_none_and_two_of_one_name_are_refused(place: Path, capsys: Any) -> None:
    (place / "none.pub").write_text("x")
    (place / "none.pub").chmod(0o644)
    assert set_up(place, keys=("none.pub",)) == 5
    assert "unusable-key" in capsys.readouterr().err
    assert set_up(place, keys=("release-2026.pub", "release-2026.pub")) == 2
    assert "two files would have the name" in capsys.readouterr().err
    assert not (place / "etc").exists()


def test_a_folder_that_others_may_change_is_refused(place: Path, capsys: Any) -> None:
    (place / "etc").mkdir()
    (place / "etc").chmod(0o777)
    assert set_up(place) == 5
    assert "chmod go-w" in capsys.readouterr().err
    assert list((place / "etc").iterdir()) == []


def test_a_disk_that_refuses_leaves_no_key(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = writing.write_whole

    def full(path: str, data: bytes, mode: int) -> None:
        if path == str(place / "etc" / "device.json"):
            raise EdgeError(f"{path}: cannot be written (No space left on device).")
        written(path, data, mode)

    monkeypatch.setattr(writing, "write_whole", full)
    assert set_up(place) == 4
    assert list((place / "etc").iterdir()) == []


def test_a_disk_that_refuses_leaves_the_earlier_settings_with_their_earlier_keys(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--force replaces a key file by another of its name, and then the settings cannot be written."""
    assert set_up(place) == 0
    folder = place / "etc"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (place / "release-2026.pub").write_text(public_bytes(SECOND).hex() + "\n")
    written = writing.write_whole

    def full(path: str, data: bytes, mode: int = 0o644) -> None:
        if path == str(folder / "device.json"):
            raise EdgeError(f"{path}: cannot be written (No space left on device).")
        written(path, data, mode)

    monkeypatch.setattr(writing, "write_whole", full)
    assert set_up(place, "--force") == 4
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert read_settings(str(folder / "device.json")).keys[0].public == public_bytes(KEY)


def test_a_folder_in_the_place_of_a_key_stays(place: Path, capsys: Any) -> None:
    taken = place / "etc" / "release-2026.pub"
    taken.mkdir(parents=True)
    (taken / "other").touch()
    assert set_up(place, "--force") == 4
    assert f"{taken}: cannot be read" in capsys.readouterr().err
    assert (taken / "other").exists()
    assert not (place / "etc" / "device.json").exists()


def test_a_machine_without_a_name_needs_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(writing.platform, "node", lambda: "")
    assert set_up(place) == 2
    assert "--device-id" in capsys.readouterr().err


@pytest.mark.parametrize("key", REQUIRED)
def test_a_key_that_is_missing_says_what_to_write(key: str, place: Path) -> None:
    assert set_up(place) == 0
    path = place / "etc" / "device.json"
    value = json.loads(path.read_text())
    value.pop(key)
    path.write_text(json.dumps(value))
    with pytest.raises(Usage, match=f"it has no {key}; write .*safeml-edge setup") as caught:
        read_settings(str(path))
    assert EXAMPLES[key] in caught.value.message


def test_settings_that_are_not_there_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="safeml-edge setup"):
        read_settings(str(tmp_path / "none.json"))
