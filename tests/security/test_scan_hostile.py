"""Every hostile file gets the correct answer of the scan: its status, and a sentence that names the fault.

All samples go through `scan_path` in this process, with the limited child replaced by a plain call that maps exceptions as
the child does, and with the bounds lowered that a sample names. One sample of each kind goes through the command line in a
process of its own, with nothing replaced: its exit code, output, memory and time are measured.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from safeml.limits import LIMITS
from safeml.results import ModelScan
from safeml.sandbox import Kind, Outcome, run_limited
from safeml.scan import scan as scan_module
from safeml.scan import strict_json
from safeml.scan.base import Refused
from safeml.scan.hdf5 import scan_weights
from safeml.scan.scan import scan_copy, scan_path
from safeml.scan.snapshot import copy_file
from tests.security.bounds import in_process, lower
from tests.security.hostile import CASES, EXIT, Case, archives, clean, rawzip
from tests.security.measured import measured, safeml
from tests.security.table import hostile_files

pytestmark = pytest.mark.slow

MEMORY = 150 * 1024**2
SECONDS = 5.0
# One of each kind, measured as a user would run it.
MEASURED = (
    "lambda_top",
    "keras2_h5_lambda",
    "symlink_loop",
    "name_in_latin_1",
    "file_named_with_escapes",
    "keras_cut_08",
    "hdf5_packed_1000_to_1",
    "json_nested_lists",
    "onnx_nested_graphs",
    "saved_model_readfile",
)
BY_NAME = {case.name: case for case in CASES}


def scan_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelScan:
    """The scan of `path` in this process."""
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
    scan = scan_here(CLEAN[name](folder / name), monkeypatch)
    assert (scan.status, scan.reason) == ("accepted", "")
    assert scan.facts["layers"] == 3
    assert scan.facts["stored numbers"] == 192 * 16 + 16 + 16 * 4 + 4


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_gets_its_answer(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = case.build(folder)
    before = listing(folder)
    lower(monkeypatch, case.lowered)
    scan = scan_here(path, monkeypatch)
    assert scan.status in case.answers, f"{case.name} is {scan.status}: {scan.reason}"
    assert listing(folder) == before, "the scan wrote beside the file"
    if scan.status == "accepted":
        assert scan.reason == ""
        return
    assert re.search(case.says, scan.reason), scan.reason
    assert len(scan.reason) < 600
    assert scan.reason.isprintable()
    # A defect of the scanner ends as "inconclusive" and must not hide behind it.
    assert not scan.reason.startswith("the scan did not finish"), scan.reason


@pytest.mark.parametrize("case", [case for case in CASES if case.lowered], ids=lambda case: case.name)
def test_a_lowered_bound_is_what_refuses(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the usual bounds the same file is refused for another reason or for none."""
    scan = scan_here(case.build(folder), monkeypatch)
    assert scan.status == "accepted" or not re.search(case.says, scan.reason), scan.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_the_command_on_one_file_of_each_kind(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = BY_NAME[name]
    path = case.build(folder)
    before = listing(folder)
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    ran = safeml("scan", str(path), folder=tmp_path, seconds=4 * SECONDS)
    assert ran.code in {EXIT[answer] for answer in case.answers}, ran.err
    assert "Traceback" not in ran.err
    assert ran.memory < MEMORY, f"{ran.memory >> 20} MiB"
    assert ran.cpu < SECONDS, f"{ran.cpu:.1f} s of processor time"
    assert listing(folder) == before, "the scan wrote beside the file"
    assert listing(scratch) == [], "the scan left something in the temporary folder"
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out + ran.err)
    assert ran.err.startswith((f"safeml: {shown(path)}: ", f"safeml: {shown(path.parent)}"))
    assert ran.err.count("\n") == 1
    assert re.search(case.says, ran.err.removeprefix(f"safeml: {shown(path)}: "))


# What no harmless file can show is shown on the scan's own parts.


def test_a_scan_that_does_not_end_is_inconclusive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A native library may not return from a damaged file. A child that sleeps stands for it."""

    def sleeping(target: str, arguments: dict[str, str], **limits: Any) -> Outcome:
        assert limits["seconds"] == LIMITS.scan_seconds  # of a small file
        return run_limited("tests.unit.sandboxed:sleep", {}, **{**limits, "seconds": 1})

    monkeypatch.setattr(scan_module, "run_limited", sleeping)
    scan = scan_path(clean.keras_file(folder / "model.keras"))
    assert scan.status == "inconclusive"
    assert scan.reason.startswith("the scan did not finish: it took longer than 1 seconds")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("ok", "accepted"),
        ("refused", "refused"),
        ("inconclusive", "inconclusive"),
        ("out of memory", "inconclusive"),
        ("timeout", "inconclusive"),
        ("crashed", "inconclusive"),
    ],
)
def test_only_a_scan_that_ended_well_accepts(
    kind: Kind, status: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def ended(target: str, arguments: dict[str, str], **limits: Any) -> Outcome:
        asked.update(limits)
        return Outcome(
            kind, {"format": "Keras archive"} if kind == "ok" else {}, "" if kind == "ok" else "so"
        )

    monkeypatch.setattr(scan_module, "run_limited", ended)
    scan = scan_path(clean.keras_file(folder / "model.keras"))
    assert scan.status == status
    assert (scan.reason == "") == (kind == "ok")
    assert asked["memory"] == LIMITS.scan_memory
    assert asked["files"] == LIMITS.model_bytes


def test_a_member_is_read_to_its_bound_and_no_further(folder: Path) -> None:
    """9 MiB of blanks that the header declares truthfully are not unpacked; the bound is 8 MiB."""
    path = archives.zipped(archives.instead(rawzip.swollen("config.json", b" " * rawzip.BLOCK, 9)))(folder)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"config\.json unpacks to 9,437,184 bytes"):
            scan_copy(str(path), "")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_each_chunk_is_unpacked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that each hold a little of every row: a reader of rows would unpack all of them for each part."""
    path = folder / "m.weights.h5"
    with h5py.File(path, "w") as file:
        values = np.random.default_rng(0).normal(size=(4_000, 16)).astype("f4")
        file.create_dataset("columns", data=values, chunks=(4_000, 1), compression="gzip")
    selections = []
    read = h5py.Dataset.__getitem__

    def reading(dataset: Any, selection: Any, **options: Any) -> Any:
        selections.append(selection)
        return read(dataset, selection, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", reading)
    assert scan_weights(path)["stored numbers"] == 64_000
    assert selections == [(slice(0, 4_000, 1), slice(column, column + 1, 1)) for column in range(16)]


def test_a_file_is_opened_without_waiting_and_never_through_a_link(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe without a writer would hold up any reader that waits."""
    flags = []
    opened = os.open

    def opening(path: Any, how: int, *more: Any, **named: Any) -> int:
        if str(path).endswith("given.keras"):
            flags.append(how)
        return opened(path, how, *more, **named)

    monkeypatch.setattr(os, "open", opening)
    copy_file(clean.keras_file(folder / "given.keras"), folder / "copy.keras")
    (how,) = [one for one in flags if not one & os.O_CREAT]
    assert how & os.O_NONBLOCK
    assert how & os.O_NOFOLLOW


@pytest.mark.parametrize("text", ["[" * 70, "[" + "0," * 300_001 + "0]"])
def test_json_above_the_bounds_reaches_no_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser recurses, and makes objects of many times the size of the text."""
    monkeypatch.setattr(strict_json.json, "loads", lambda *given, **how: pytest.fail("it was parsed"))
    with pytest.raises(Refused, match=r"nested deeper than 64|more than 300,000 values"):
        strict_json.parse(text.encode(), "it")


def shown(path: Path) -> str:
    """The path as the command line prints it: what is not printable as an escape."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in str(path))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("name_in_latin_1", 5), ("clean", 0)])
def test_the_record(name: str, code: int, folder: Path) -> None:
    """--json prints one record with the same exit code, whatever the names are."""
    path = clean.keras_file(folder / "m.keras") if name == "clean" else BY_NAME[name].build(folder)
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
def test_what_a_file_states_is_shown_harmlessly(folder: Path) -> None:
    """The versions are the file's own words: no escape reaches the terminal."""
    path = clean.keras_file(folder / "m.keras", metadata=b'{"keras_version": "\\u001b[31m\\u202e\\n9"}')
    ran = safeml("scan", str(path))
    assert ran.code in (0, 5)
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out + ran.err), ran.out


def test_a_changed_weight_changes_the_fingerprint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no checksum protects the bytes, the fingerprint does: nothing cached for the one file serves the other."""
    path = clean.keras3_h5(folder / "model.h5")
    first = scan_here(path, monkeypatch)
    content = bytearray(path.read_bytes())
    kernel = clean.weights()["dense"][0].tobytes()
    content[content.index(kernel) + 100] ^= 1
    path.write_bytes(content)
    second = scan_here(path, monkeypatch)
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
    assert set(MEASURED) <= set(BY_NAME)


def test_the_page_of_hostile_files_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "hostile-files.md").read_text(encoding="utf-8")
    assert written == hostile_files(), (
        "run python -m tests.security.table hostile-files > docs/hostile-files.md"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("lambda_top", 5), ("clean", 0)])
def test_the_exit_code_survives_a_reader_that_leaves(name: str, code: int, folder: Path) -> None:
    """`safeml scan FILE --json | head -0`: what cannot be printed is dropped, the answer is not."""
    path = clean.keras_file(folder / "m.keras") if name == "clean" else BY_NAME[name].build(folder)
    command = [sys.executable, "-m", "safeml.cli.main", "scan", str(path), "--json"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    assert ran.stderr is not None
    ran.stdout.close()
    errors = ran.stderr.read().decode()
    assert ran.wait(60) == code, errors
    assert "Traceback" not in errors
