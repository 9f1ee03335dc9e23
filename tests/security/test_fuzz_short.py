"""Fifty cases of the fuzzer, and that it would see a defect."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security import fuzz
from tests.security.hostile import clean

pytestmark = pytest.mark.slow


def test_fifty_cases_find_no_defect() -> None:
    summary = fuzz.fuzz(120, seed=int(os.environ.get("SAFEML_FUZZ_SEED", "0")), cases=50)
    assert summary["defects"] == []
    assert summary["cases"] == 50
    # Mutations that are all refused at the first byte would test nothing behind it.
    assert summary["outcomes"]["accepted"] > 0
    assert summary["outcomes"]["refused"] > 0


def test_a_case_is_the_same_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = fuzz.corpus(tmp_path / "first"), fuzz.corpus(tmp_path / "second")
    # HDF5 files hold the time of writing nowhere, so both corpora are the same bytes.
    assert [fuzz.make(7, number, *first) for number in range(50)] == [
        fuzz.make(7, number, *second) for number in range(50)
    ]


def _hang(path: str, architecture: str) -> None:
    time.sleep(60)


def _grow(path: str, architecture: str) -> None:
    bytearray(8 << 30)


def _die(path: str, architecture: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(path: str, architecture: str) -> None:
    raise KeyError("layers")


def _accept(path: str, architecture: str) -> None:
    """A scanner that accepts everything."""


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (_hang, "timeout"),
        (_grow, "out of memory"),
        (_die, "signal"),
        (_raise, "exception"),
        (_accept, "accepted code"),
    ],
)
def test_a_broken_scanner_is_seen(
    broken: Callable[[str, str], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.security.hostile.configs import inside

    monkeypatch.setattr(fuzz, "scan_copy", broken)
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    answer = fuzz.run(clean.keras_file(tmp_path / "model.keras", inside(1)))
    assert answer.kind == kind
    assert answer.defect
