"""Bad input to the command line: what was printed, and the check that it is one sentence with the right exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

GOOD = """[model]
path = "m.keras"
[data.test]
kind = "npz"
path = "absent.npz"
[[gates]]
id = "a"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.9
"""
RECIPE = """name = "r"
architecture = "lenet"
epochs = 1
[data.train]
kind = "npz"
path = "absent.npz"
[data.valid]
kind = "npz"
path = "other.npz"
"""
LONG = "n" * 300


class Said(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float


Call = Callable[..., Said]


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def refused(said: Said, *words: str, code: int = 2) -> None:
    """One sentence on standard error, with the words, the code and no delay."""
    assert said.code == code, said
    assert said.err.startswith("safeml: ")
    assert said.err.count("\n") == 1
    assert said.err.rstrip("\n").endswith((".", "?"))
    assert "Traceback" not in said.err
    assert len(said.err) < 600
    for word in words:
        assert word in said.err, said.err
    assert said.seconds < 1.5  # of the processor; most of it imports, the first time
