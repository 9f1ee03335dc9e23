"""Every change of a comparison in what decides whether a bundle is believed is seen by a test; at night, for it takes minutes."""

from __future__ import annotations

import ast

import pytest

from tests.security.mutants import changes, mutants, survivors

SOURCE = '''
def largest(values, limit):
    """Return the largest value below the limit."""
    check(values)
    best = None
    for value in values:
        if value < limit and not (best is not None and value <= best):
            best = value
    return best

def check(values):
    if not values:
        raise ValueError("no values")
'''


def test_each_operator_has_its_mutants() -> None:
    made = [mutant.name for mutant in mutants(SOURCE)]
    assert made == [
        "largest: check(values) -> ...",
        "largest: value < limit and (not (best is not None and value <= best)) -> value < limit or not (best is not None and value <= best)",
        "largest: value < limit -> value >= limit",
        "largest: value < limit -> value <= limit",
        "largest: not (best is not None and value <= best) -> +bool(best is not None and value <= best)",
        "largest: best is not None and value <= best -> best is not None or value <= best",
        "largest: best is not None -> best is None",
        "largest: value <= best -> value > best",
        "largest: value <= best -> value < best",
        "check: not values -> +bool(values)",
    ]
    assert len({mutant.source for mutant in mutants(SOURCE)}) == len(made)
    for mutant in mutants(SOURCE):
        ast.parse(mutant.source)
    assert changes(ast.parse("a + b").body[0]) == []


# Each module that decides what is believed, and its tests. No change of it goes unseen: a survivor asks for a test, or for code without it.
TABLE = {
    "conditions": ("verify",),
    "container": ("container",),
    "dsse": ("envelope",),
    "ed25519": ("ed25519",),
    "manifest": ("manifest",),
    "settings": ("settings",),
    "statement": ("envelope",),
    "unpacked": ("slot_folder", "container"),
    "verify": ("verify", "container", "slot_folder"),
}


@pytest.mark.nightly
@pytest.mark.parametrize("module", TABLE)
def test_no_change_goes_unseen(module: str) -> None:
    count, names = survivors(
        f"safeml.edge.{module}", [f"tests/unit/test_edge_{name}.py" for name in TABLE[module]]
    )
    assert count > 5
    assert names == []
