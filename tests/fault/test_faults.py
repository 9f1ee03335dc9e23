"""Every writer of a run folder, with every call of the operating system failing once.

After the manner of SQLite: the n-th call fails, for n = 1, 2, ... until nothing fails any more. Whatever failed, what was
there is whole, nothing half-written stays, no handle is lost, and the next run works.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from safeml.errors import ConfigError
from safeml.results import Metric, StageResult
from safeml.sealed import Arrays
from safeml.store.files import FolderError, atomic_write, keep, sweep
from safeml.store.journal import Journal
from safeml.store.lock import folder_lock
from tests.fault.faulty_os import MOST_CALLS, FaultyOs, open_handles, temporary_files

pytestmark = pytest.mark.slow

ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.EACCES, "Permission denied"),
    MemoryError(),
    KeyboardInterrupt(),
]
OLD, NEW = "old " * 100, "new " * 100
FORM = {"right": ("bool", (3,)), "logits": ("float32", (3, 2))}
ARRAYS: Arrays = {
    "right": np.array([True, False, True]),
    "logits": np.arange(6, dtype=np.float32).reshape(3, 2),
}


def result(value: float) -> StageResult:
    metrics = [Metric(name="a", title="A", value=value, low=0.0, high=1.0, n=10)]
    return StageResult(stage="performance", title="Performance", metrics=metrics)


def write(folder: Path) -> None:
    atomic_write(folder / "results.json", NEW)


def write_or_say(folder: Path) -> None:
    keep(folder / "results.json", NEW)


def keep_stage(folder: Path) -> None:
    Journal(folder).keep_stage(result(0.75), "k", 1.0)


def keep_slice(folder: Path) -> None:
    def measured() -> Arrays:
        return ARRAYS

    found = Journal(folder).work("performance", {"seed": 7})("predictions", {"rows": 3}, FORM, measured)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def hold(folder: Path) -> None:
    with folder_lock(folder, ("safeml", "audit")):
        assert (folder / ".lock").read_text().startswith("{")


def attempt(writer: Callable[[Path], None], folder: Path) -> BaseException | None:
    try:
        writer(folder)
    except BaseException as error:
        return error
    return None


def check_file(folder: Path) -> None:
    assert (folder / "results.json").read_text() in (OLD, NEW)


def check_stage(folder: Path) -> None:
    journal = Journal(folder)
    kept = [journal.stage("performance", key) for key in ("k", "before")]
    assert [entry.result.metrics[0].value for entry in kept if entry] in ([0.75], [0.25])
    assert {entry.reason for entry in journal.recomputed} == {"was measured from other evidence"}


def check_slice(folder: Path) -> None:
    journal = Journal(folder)
    journal.work("performance", {"seed": 7})("predictions", {"rows": 3}, FORM, lambda: ARRAYS)
    assert journal.recomputed == []


def check_lock(folder: Path) -> None:
    """It may say that a run did not finish; it never keeps the next one out."""


WRITERS = [
    (write, check_file),
    (write_or_say, check_file),
    (keep_stage, check_stage),
    (keep_slice, check_slice),
    (hold, check_lock),
]


@pytest.mark.parametrize("error", ERRORS, ids=["ENOSPC", "EIO", "EACCES", "MemoryError", "KeyboardInterrupt"])
@pytest.mark.parametrize(("writer", "check"), WRITERS, ids=[writer.__name__ for writer, _ in WRITERS])
def test_whatever_call_fails_nothing_is_half_written_and_the_next_run_works(
    writer: Callable[[Path], None], check: Callable[[Path], None], error: BaseException, tmp_path: Path
) -> None:
    failed: list[str] = []
    for number in range(1, MOST_CALLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "results.json").write_text(OLD)
        Journal(folder).keep_stage(result(0.25), "before", 1.0)
        handles = open_handles()
        system = FaultyOs(error, number)
        with system.installed():
            raised = attempt(writer, folder)
        said = isinstance(raised, FolderError | ConfigError) and isinstance(error, OSError)
        assert raised in (None, error) or (said and str(error.strerror) in str(raised)), system.calls
        assert open_handles() == handles, system.calls
        assert temporary_files(folder) == [], system.calls
        check(folder)
        writer(folder)
        check(folder)
        assert (folder / ".lock").exists() is False
        if not system.failed:
            break
        failed.append(system.calls[-1] if len(system.calls) == number else system.calls[number - 1])
    else:
        pytest.fail(f"still failing after {MOST_CALLS} calls")
    assert len(failed) >= 5  # open, write, fsync, ... each of them failed once
    assert {"open", "fsync"} <= set(failed)


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for folder in ("stages", "work/adversarial"):
        (tmp_path / folder).mkdir(parents=True)
    left = [
        ".results.json.abcd_123.tmp",
        ".index.html.abcdefgh.tmp",
        "stages/.performance.json.abcdefgh.tmp",
        "work/adversarial/.pgd-linf_4-0123456789abcdef.npz.abcdefgh.tmp",
    ]
    mine = [".notes.txt.abcdefgh.tmp", "my.tmp", ".results.json.tmp", "stages/performance.json"]
    for name in (*left, *mine):
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    assert [name for name in left if (tmp_path / name).exists()] == []
    assert [name for name in mine if not (tmp_path / name).exists()] == []
