"""Fifty cases of the fuzzer, and that it sees a defect; thousands of cases each night."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security import fuzz
from tests.security.hostile import clean

pytestmark = pytest.mark.slow


def test_fifty_cases_find_no_defect() -> None:
    summary = fuzz.fuzz(120, seed=0, cases=50)
    assert summary["defects"] == []
    assert summary["cases"] == 50
    # Mutations that are all refused at the first byte would test nothing behind it.
    assert summary["outcomes"]["accepted"] > 0
    assert summary["outcomes"]["refused"] > 0


@pytest.mark.nightly
def test_five_minutes_of_new_cases_find_no_defect() -> None:
    """A new seed each time, and never that of `make nightly`: a recorded one could be a recipe that hurts other software."""
    summary = fuzz.fuzz(300, seed=random.SystemRandom().getrandbits(32))
    assert summary["defects"] == []
    assert summary["cases"] > 1_000


def test_a_case_is_the_same_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = fuzz.corpus(tmp_path / "first"), fuzz.corpus(tmp_path / "second")
    # HDF5 files hold the time of writing nowhere, so both corpora are the same bytes.
    assert [fuzz.make(7, number, *first) for number in range(50)] == [
        fuzz.make(7, number, *second) for number in range(50)
    ]


def _sleep(path: str, architecture: str) -> None:
    time.sleep(60)


def _grow(path: str, architecture: str) -> None:
    bytearray(512 << 20)


def _die(path: str, architecture: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(path: str, architecture: str) -> None:
    raise KeyError("layers")


def _accept(path: str, architecture: str) -> None:
    """A scanner that accepts everything."""


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (_sleep, "timeout"),
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
