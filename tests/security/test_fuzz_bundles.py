"""Fifty cases of the fuzzer of bundles, and that it sees a defect; many more each night."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.edge import verify
from tests.edge_bundles import Bundle
from tests.security import fuzz_bundles as fuzz

pytestmark = pytest.mark.slow


def test_fifty_cases_find_no_defect() -> None:
    summary = fuzz.fuzz(120, seed=0, cases=50)
    assert summary["defects"] == []
    assert summary["cases"] == 50
    # Mutations that are all refused at the first byte would test nothing behind it.
    assert summary["outcomes"]["believed"] > 0
    assert summary["outcomes"]["refused"] > 0


@pytest.mark.nightly
def test_five_minutes_of_new_cases_find_no_defect() -> None:
    summary = fuzz.fuzz(300, seed=random.SystemRandom().getrandbits(32))
    assert summary["defects"] == []
    assert summary["cases"] > 1_000


def test_a_case_is_the_same_again() -> None:
    def contents() -> list[bytes]:
        result = []
        for number in range(30):
            choice = random.Random(f"7:{number}")
            result.append(choice.choice(fuzz.MAKERS)(choice))
        return result

    assert contents() == contents()


def believe_all(*arguments: Any) -> None:
    """A check that accepts everything."""


def crash(*arguments: Any) -> None:
    raise KeyError("files")


def sleep(*arguments: Any) -> None:
    end = time.process_time() + fuzz.SECONDS + 0.1
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("name", "broken", "change", "kind"),
    [
        ("check_product", believe_all, lambda b: b.manifest.update(product="other"), "believed wrongly"),
        ("check_release", believe_all, lambda b: b.manifest.update(release=3), "believed wrongly"),
        ("check_device", crash, lambda b: None, "KeyError: 'files'"),
        ("check_dates", sleep, lambda b: None, "slow"),
    ],
)
def test_a_broken_check_is_seen(
    name: str,
    broken: Callable[..., None],
    change: Callable[[Bundle], None],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = Bundle()
    change(bundle)
    bundle.statement["predicate"]["safeml"].update(
        product=bundle.manifest["product"], release=bundle.manifest["release"]
    )
    monkeypatch.setattr(verify, name, broken)
    monkeypatch.setattr(fuzz, "MAKERS", (lambda choice: bundle.content(),))
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    assert fuzz.one(0, 1, tmp_path)[0] == kind
