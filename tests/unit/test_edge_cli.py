"""The command line of the device: its exit codes, its one sentence, and the commands verify and keys."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safeml.bundle.signing import public_bytes
from safeml.edge import cli
from safeml.edge.commands import keys as keys_command
from safeml.edge.commands import verify as verify_command
from safeml.edge.errors import EdgeError, Refused, Usage
from safeml.edge.output import printable
from safeml.edge.verify import unpack_bundle
from tests.edge_bundles import FACTS, FOREIGN, KEY, NOW, SECOND, Bundle, settings, trust, write_settings


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """device.json of a device whose facts and clock are fixed and which has had release 4."""
    tmp_path.chmod(0o755)
    monkeypatch.setattr(verify_command, "read_facts", lambda: FACTS)
    monkeypatch.setattr(verify_command, "last_release", lambda root: 4)
    monkeypatch.setattr(verify_command.time, "time", lambda: NOW)
    return write_settings(tmp_path / "etc", tmp_path / "root")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_verify_says_what_it_believes(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Bundle().write(tmp_path / "a.safeml")
    code, out, err = run(capsys, "--settings", device, "verify", path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "verified: test signs, release 5 (1.5), valid until 2027-11-01T00:00:00Z",
        f"signed by {trust(KEY).keyid}",
        "verdict passed of the full profile; 1 gates passed",
        "8 files of 151 bytes, each with its signed hash",
    ]
    code, out, err = run(capsys, "--settings", device, "--json", "verify", path)
    record = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (record["status"], record["release"], record["override"]) == ("verified", 5, None)


def test_verify_takes_the_folder_of_a_slot(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, slot = Bundle().write(tmp_path / "a.safeml"), tmp_path / "slot"
    unpack_bundle(str(path), str(slot), settings(), FACTS, 4, NOW)
    assert run(capsys, "--settings", device, "verify", slot)[0] == 0
    (slot / "labels.json").unlink()
    code, _, err = run(capsys, "--settings", device, "verify", slot)
    assert (code, err.split("]")[0]) == (5, "refused [missing-file")


def test_a_release_that_the_device_has_had_may_be_checked_when_asked(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Bundle(release=3).write(tmp_path / "a.safeml")
    assert run(capsys, "--settings", device, "verify", path)[2].startswith(
        "refused [rollback]: release 3 is older"
    )
    assert run(capsys, "--settings", device, "verify", "--any-release", path)[0] == 0


def test_an_override_is_shown_with_its_reason(
    tmp_path: Path, device: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = json.loads(device.read_text())
    device.write_text(json.dumps({**value, "allow_override": True}))
    path = Bundle().overridden("bench\u202e only").write(tmp_path / "a.safeml")
    code, out, _ = run(capsys, "--settings", device, "verify", path)
    assert code == 0
    assert (
        out.splitlines()[-1]
        == "OVERRIDDEN, signed as FAILED: this is no passed release; the signer's reason: bench\\u202e only"
    )


def test_a_refusal_is_one_sentence_with_its_code(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle()
    bundle.keys = (FOREIGN,)
    path = bundle.write(tmp_path / "a.safeml")
    code, out, err = run(capsys, "--settings", device, "verify", path)
    assert (code, out) == (5, "")
    assert err.startswith("refused [unknown-key]: the bundle is signed by the key ")
    assert err.count("\n") == 1
    code, out, err = run(capsys, "--settings", device, "--json", "verify", path)
    record = json.loads(out)
    assert (code, record["status"], record["reason"], record["exit_code"]) == (5, "refused", "unknown-key", 5)
    assert record["message"] in err


def fails(error: BaseException) -> Any:
    def command(args: argparse.Namespace) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Usage("a setting is wrong."), 2, "failed: a setting is wrong.\n"),
        (EdgeError("the disk is full."), 4, "failed: the disk is full.\n"),
        (Refused("rollback", "it is older."), 5, "refused [rollback]: it is older.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "Permission denied", "/x"), 4, "failed: /x: Permission denied\n"),
        (OSError("odd"), 4, "failed: odd\n"),
        (EdgeError("a\u202eb\n\x1b[31m"), 4, "failed: a\\u202eb\\n\\x1b[31m\n"),
    ],
)
def test_each_failure_has_its_exit_code_and_no_traceback(
    error: BaseException,
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_command, "run", fails(error))
    assert run(capsys, "keys") == (code, "", text)


def test_a_defect_is_no_failure_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_command, "run", fails(KeyError("defect")))
    with pytest.raises(KeyError):
        cli.main(["keys"])


def test_a_reader_that_is_gone_ends_quietly(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = write_settings(tmp_path / "etc", tmp_path)
    code = (
        f"import sys; from safeml.edge.cli import main; sys.exit(main(['--settings', {str(path)!r}, 'keys']))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == b""
    assert child.wait() == 4


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["verify"], ["--settings"]])
def test_a_wrong_command_line_is_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "safeml-edge" in capsys.readouterr().err


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    folder = Path(cli.commands.__file__).parent
    assert all(f"\n    {file.stem} " in text for file in folder.glob("*.py") if file.stem != "__init__")
    assert "5 refused" in " ".join(text.split())


def test_keys_lists_each_key_with_its_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    path = write_settings(tmp_path / "etc", tmp_path, (KEY, SECOND, FOREIGN))
    value = json.loads(path.read_text())
    value["keys"][0]["until"] = "2001-01-01T00:00:00Z"
    value["keys"][1]["role"] = "next year"
    value["revoked"] = [trust(FOREIGN).keyid, "0" * 64]
    path.write_text(json.dumps(value))
    code, out, err = run(capsys, "--settings", path, "keys")
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 4)
    assert lines[0].split()[:3] == [trust(KEY).keyid, "expired", "release"]
    assert lines[0].endswith("signs new bundles until 2001-01-01T00:00:00Z")
    assert lines[1].startswith(f"{trust(SECOND).keyid}  trusted  next year  ")
    assert lines[2].split()[1] == "revoked"
    assert lines[3] == "0" * 64 + "  revoked"
    code, out, _ = run(capsys, "--settings", path, "--json", "keys")
    assert [key["state"] for key in json.loads(out)["keys"]] == ["expired", "trusted", "revoked"]


def test_keys_shows_the_id_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    write_settings(tmp_path / "etc", tmp_path)
    assert run(capsys, "keys", tmp_path / "etc" / "key0.pub") == (0, trust(KEY).keyid + "\n", "")
    (tmp_path / "etc" / "key0.pub").write_text(public_bytes(KEY).hex()[:-1])
    assert run(capsys, "keys", tmp_path / "etc" / "key0.pub")[0] == 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 5", "plain é 5"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202e", "\\u202e"),
        ("\x00\x7f", "\\x00\\x7f"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_last_release_is_that_of_the_slots(tmp_path: Path) -> None:
    assert verify_command.last_release(str(tmp_path / "none")) == 0


def test_no_module_comes_from_the_current_folder(tmp_path: Path) -> None:
    """`python -m` searches the current folder first; a `cryptography` that lies there must not be believed."""
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text(
        "raise SystemExit('taken from the current folder')\n"
    )
    bundle = Bundle().write(tmp_path / "a.safeml")
    tmp_path.chmod(0o755)
    path = write_settings(tmp_path / "etc", tmp_path / "root", product="other")
    command = [sys.executable, "-m", "safeml.edge", "--settings", str(path), "verify", str(bundle)]
    root = Path(__file__).parents[2]
    child = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "taken from" not in child.stderr
    assert child.returncode == 5
    assert child.stderr.startswith("refused [wrong-product]: ")  # so the signature was verified
