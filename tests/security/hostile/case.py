"""What a hostile sample is: how to write it, and what the scan must say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Build = Callable[[Path], Path]
"""Writes the sample into an empty folder and gives the path that is to be scanned."""

ACCEPTED = frozenset({"accepted"})
REFUSED = frozenset({"refused"})
NOT_CLEAN = frozenset({"refused", "inconclusive"})
ANY = frozenset({"accepted", "refused", "inconclusive"})
EXIT = {"accepted": 0, "refused": 5, "inconclusive": 4}


@dataclass(frozen=True)
class Case:
    """One sample.

    name: unique; also the name of its test. row: the number of the threat in the list of bad inputs.
    says: a regular expression that the reason must match where the file is not accepted.
    answers: the statuses that are right. NOT_CLEAN where a bound may be reached before the fault is seen; ANY where the
    file is odd and yet harmless to the scanner: then the test is that it neither crashes nor grows.
    heavy: a bomb, or a file that takes long to write: measured in a process of its own. seconds: of
    processor time that its scan may take.
    """

    name: str
    row: int
    build: Build
    says: str = ""
    answers: frozenset[str] = REFUSED
    heavy: bool = False
    seconds: float = 5.0


CASES: list[Case] = []


def add(
    name: str,
    row: int,
    build: Build,
    says: str = "",
    answers: frozenset[str] = REFUSED,
    heavy: bool = False,
    seconds: float = 5.0,
) -> None:
    """Put a sample on the list."""
    if any(case.name == name for case in CASES):
        raise ValueError(f"two hostile samples are called {name}")
    CASES.append(Case(name, row, build, says, answers, heavy, seconds))
