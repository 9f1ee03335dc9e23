"""Every hostile file gets the right answer of the scan: status, a sentence that names the fault, little memory, little time.

All light samples go through `scan_path` in this process, with the limited child replaced by a plain call that maps
exceptions as the child does. Every bomb and one sample of each kind goes through the command line in a process of its own,
whose exit code, output, memory and time are measured; nothing is replaced there.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safeml import sandbox_child
from safeml.results import ModelScan
from safeml.sandbox import Outcome
from safeml.scan import scan as scan_module
from safeml.scan.scan import scan_path
from tests.security.hostile import CASES, EXIT, Case, clean
from tests.security.measured import measured, safeml
from tests.security.table import page

MEMORY = 150 * 1024**2
# One of each kind, measured as a user would run it, beside all bombs.
MEASURED = {
    "lambda_top",
    "tfsm_layer",
    "module_os",
    "h5_lambda",
    "keras2_h5_lambda",
    "pickle_4_named_keras",
    "fifo",
    "device_zero",
    "symlink_loop",
    "absent",
    "name_of_300_characters",
    "name_in_latin_1",
    "file_named_with_escapes",
    "keras_cut_08",
    "hdf5_external_kernel",
    "json_nested_lists",
    "json_long_integer",
    "units_2e8",
    "weights_nan",
    "onnx_external_parent",
    "saved_model_readfile",
    "plan_named_engine",
}
LIGHT = [case for case in CASES if not case.heavy]
FULL = [case for case in CASES if case.heavy or case.name in MEASURED]


def in_process(target: str, arguments: dict[str, str], **limits: int) -> Outcome:
    """`run_limited` without the child and its limits; the same mapping of exceptions."""
    module, name = target.split(":")
    kind, value, reason = sandbox_child._call(getattr(importlib.import_module(module), name), arguments)
    return Outcome(kind, value, reason)  # type: ignore[arg-type]


def look(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelScan:
    monkeypatch.setattr(scan_module, "run_limited", in_process)
    return scan_path(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.mkdir()
    return path


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*"))


CLEAN = {
    "sequential.keras": clean.keras_file,
    "functional.keras": lambda path: clean.keras_file(path, clean.functional_config()),
    "keras_3.h5": clean.keras3_h5,
    "keras_2.h5": clean.keras2_h5,
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_file_is_accepted(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, a scan that refuses everything would pass all other tests."""
    found = look(CLEAN[name](folder / name), monkeypatch)
    assert (found.status, found.reason) == ("accepted", "")
    assert found.facts["layers"] == 3
    assert found.facts["stored numbers"] == 192 * 16 + 16 + 16 * 4 + 4


@pytest.mark.slow
@pytest.mark.parametrize("case", LIGHT, ids=lambda case: case.name)
def test_the_answer(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = case.build(folder)
    before = listing(folder)
    found = look(path, monkeypatch)
    assert found.status in case.answers, f"{case.name} is {found.status}: {found.reason}"
    assert listing(folder) == before, "the scan wrote beside the file"
    if found.status == "accepted":
        assert found.reason == ""
        return
    assert re.search(case.says, found.reason), found.reason
    assert len(found.reason) < 600
    assert found.reason.isprintable()
    # A defect of the scanner ends as "inconclusive" and must not hide behind it.
    assert not found.reason.startswith("the scan did not finish"), found.reason


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
def test_the_command(case: Case, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = case.build(folder)
    before = listing(folder)
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    ran = safeml("scan", str(path), folder=tmp_path, seconds=4 * case.seconds)
    assert ran.code in {EXIT[answer] for answer in case.answers}, ran.err
    assert "Traceback" not in ran.err
    assert ran.memory < MEMORY, f"{ran.memory >> 20} MiB"
    assert ran.cpu < case.seconds, f"{ran.cpu:.1f} s of processor time"
    assert ran.wall < 4 * case.seconds, f"{ran.wall:.1f} s"
    assert listing(folder) == before, "the scan wrote beside the file"
    assert listing(scratch) == [], "the scan left something in the temporary folder"
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out + ran.err)
    if ran.code == 0:
        assert ran.err == ""
        return
    assert ran.err.startswith(f"safeml: {shown(path)}: ") or ran.err.startswith(
        f"safeml: {shown(path.parent)}"
    )
    assert ran.err.count("\n") == 1
    assert re.search(case.says, ran.err.removeprefix(f"safeml: {shown(path)}: "))


def shown(path: Path) -> str:
    """The path as the command line prints it: what is not printable as an escape."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in str(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"), [("lambda_top", 5), ("name_in_latin_1", 5), ("metadata_escapes", 5), ("clean", 0)]
)
def test_the_record(name: str, code: int, folder: Path) -> None:
    """--json prints one record with the same exit code, whatever the names are."""
    if name == "metadata_escapes":
        path = clean.keras_file(folder / "m.keras", metadata=b'{"keras_version": "\\u001b[31m\\u202e"}')
    elif name == "clean":
        path = clean.keras_file(folder / "m.keras")
    else:
        path = next(case for case in CASES if case.name == name).build(folder)
    ran = safeml("scan", str(path), "--json")
    assert ran.code == code, ran.err
    record = json.loads(ran.out)
    assert record["status"] == {0: "accepted", 5: "refused"}[code]
    assert set(record) == {
        "status",
        "path",
        "chosen",
        "format",
        "sha256",
        "bytes",
        "facts",
        "reason",
        "scanner",
    }


@pytest.mark.slow
def test_what_a_file_says_of_itself_is_shown_harmlessly(folder: Path) -> None:
    """The versions are the file's own words: no escape reaches the terminal."""
    path = clean.keras_file(folder / "m.keras", metadata=b'{"keras_version": "\\u001b[31m\\u202e\\n9"}')
    ran = safeml("scan", str(path))
    assert ran.code in (0, 5)
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out + ran.err), ran.out


def test_a_changed_weight_changes_the_fingerprint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no checksum protects the bytes, the fingerprint does: nothing cached for the one file serves the other."""
    path = clean.keras3_h5(folder / "model.h5")
    first = look(path, monkeypatch)
    content = bytearray(path.read_bytes())
    kernel = clean.weights()["dense"][0].tobytes()
    content[content.index(kernel) + 100] ^= 1
    path.write_bytes(content)
    second = look(path, monkeypatch)
    assert (first.status, second.status) == ("accepted", "accepted")
    assert first.sha256 != second.sha256


@pytest.mark.slow
def test_the_scan_imports_no_framework(folder: Path) -> None:
    path = clean.keras_file(folder / "model.keras")
    program = (
        "import sys; from pathlib import Path; from safeml.scan.scan import scan_path, scan_copy; "
        f"scan_path(Path({str(path)!r})); scan_copy({str(path)!r}, ''); "
        "print(sorted({'tensorflow', 'keras', 'tf_keras', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    assert measured(sys.executable, "-B", "-c", program).out == "[]\n"


def test_every_row_has_samples() -> None:
    """Rows 21 to 24 and 28 to 30 are about running models and are tested where models run."""
    assert {case.row for case in CASES} >= {*range(1, 21), 25, 26, 27}
    assert not MEASURED - {case.name for case in CASES}


def test_the_page_of_hostile_files_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "hostile-files.md").read_text(encoding="utf-8")
    assert written == page(), "run python -m tests.security.table > docs/hostile-files.md"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("lambda_top", 5), ("clean", 0)])
def test_the_exit_code_survives_a_reader_that_leaves(name: str, code: int, folder: Path) -> None:
    """`safeml scan FILE --json | head -0`: what cannot be printed is dropped, the answer is not."""
    path = (
        clean.keras_file(folder / "m.keras")
        if name == "clean"
        else next(case for case in CASES if case.name == name).build(folder)
    )
    command = [sys.executable, "-m", "safeml.cli.main", "scan", str(path), "--json"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    assert ran.stderr is not None
    ran.stdout.close()
    errors = ran.stderr.read().decode()
    assert ran.wait(60) == code, errors
    assert "Traceback" not in errors
