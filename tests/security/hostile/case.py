"""What a hostile sample is: how to write it, and what the scan must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Build = Callable[[Path], Path]
"""Writes the sample into an empty folder and returns the path to scan."""

ACCEPTED = frozenset({"accepted"})
REFUSED = frozenset({"refused"})
NOT_CLEAN = frozenset({"refused", "inconclusive"})
ANY = frozenset({"accepted", "refused", "inconclusive"})
EXIT = {"accepted": 0, "refused": 5, "inconclusive": 4}


@dataclass(frozen=True)
class Case:
    """One sample. Every sample is harmless to other software, which raises an error or reads it.

    name: unique; also the name of its test.
    row: the number of the threat in the list of bad inputs.
    says: a regular expression that the reason must match where the file is not accepted.
    answers: the statuses that pass the test. NOT_CLEAN where a bound may be reached before the fault is seen; ANY where the
        file is odd and does no harm: its test is that the scan ends with an answer.
    lowered: bounds of the scan to lower for this sample, such as {"archive.config_bytes": 4096}: a field of `Limits` or a
        constant, after the module of safeml.scan that reads it. A small file then exceeds the bound that a huge one would.
    """

    name: str
    row: int
    build: Build
    says: str = ""
    answers: frozenset[str] = REFUSED
    lowered: Mapping[str, int] = field(default_factory=dict)


CASES: list[Case] = []


def add(
    name: str,
    row: int,
    build: Build,
    says: str = "",
    answers: frozenset[str] = REFUSED,
    **lowered: int,
) -> None:
    """Put a sample on the list. lowered: as in `Case`, with two underscores for the dot."""
    if any(case.name == name for case in CASES):
        raise ValueError(f"two hostile samples are called {name}")
    bounds = {key.replace("__", "."): value for key, value in lowered.items()}
    CASES.append(Case(name, row, build, says, answers, bounds))
