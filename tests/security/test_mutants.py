"""The mutants of the code that decides are all noticed; and the tool makes the mutants that it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.security.mutant_rows import EQUIVALENT, OF_CHECKS, OF_NUMBERS, TARGETS
from tests.security.mutants import ROOT, changed, mutants

SOURCE = '''
LIMIT = 3

def passes(low: float, high: float, strict: bool = False) -> bool:
    """0 < 1."""
    if not strict and low is None:
        raise ValueError("1 < 2")
    return LIMIT - 1 <= low < high or max(low, high) == 0.5
'''
CHECKED = '''
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
# Those of the host that are known to leave no survivor; `python -m tests.security.mutants FILE` tries the others.
CLEARED = (
    "safeml/gates.py",
    "safeml/recorded_verdict.py",
    "safeml/requirements.py",
    "safeml/not_gated.py",
    "safeml/statistics/exact.py",
    "safeml/statistics/multiple.py",
    "safeml/statistics/proportions.py",
)
EDGE = tuple(file for file in TARGETS if file.startswith("safeml/edge/"))


def test_each_comparison_constant_and_operator_has_its_mutants() -> None:
    assert [mutant.says for mutant in mutants(SOURCE, OF_NUMBERS)] == [
        "module: 3 -> 4",
        "passes: False -> True",
        "passes: not strict and low is None -> not strict or low is None",
        "passes: not strict -> strict",
        "passes: low is None -> low is not None",
        "passes: LIMIT - 1 <= low < high or max(low, high) == 0.5 -> LIMIT - 1 <= low < high and max(low, high) == 0.5",
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 < low < high",
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 > low < high",
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 <= low <= high",
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 <= low >= high",
        "passes: LIMIT - 1 -> LIMIT + 1",
        "passes: 1 -> 2",
        "passes: max(low, high) == 0.5 -> max(low, high) != 0.5",
        "passes: max(low, high) -> min(low, high)",
        "passes: 0.5 -> 0.875",
    ]


def test_each_condition_and_each_check_has_its_mutants() -> None:
    assert [mutant.says for mutant in mutants(CHECKED, OF_CHECKS)] == [
        "largest: check(values) -> ...",
        "largest: value < limit and (not (best is not None and value <= best)) -> value < limit or not (best is not None and value <= best)",
        "largest: value < limit -> value <= limit",
        "largest: value < limit -> value >= limit",
        "largest: not (best is not None and value <= best) -> best is not None and value <= best",
        "largest: best is not None and value <= best -> best is not None or value <= best",
        "largest: best is not None -> best is None",
        "largest: value <= best -> value < best",
        "largest: value <= best -> value > best",
        "check: not values -> values",
    ]
    assert not mutants("a + b", OF_CHECKS)


def test_a_mutant_differs_where_it_says_and_nowhere_else() -> None:
    def answer(code: object) -> list[bool]:
        names: dict[str, object] = {}
        exec(code, names)  # type: ignore[arg-type]
        return [names["passes"](low, high) for low, high in ((2, 3), (1, 3), (3, 3), (0.5, 0.25))]  # type: ignore[operator]

    assert answer(compile(SOURCE, "<whole>", "exec")) == [True, False, False, True]
    found = {mutant.says: answer(changed(SOURCE, mutant)) for mutant in mutants(SOURCE, OF_NUMBERS)[7:9]}
    assert found == {
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 > low < high": [False, True, False, True],
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 <= low <= high": [True, False, True, True],
    }


def test_a_check_that_goes_is_not_called() -> None:
    def refuses(code: object) -> bool:
        names: dict[str, object] = {}
        exec(code, names)  # type: ignore[arg-type]
        try:
            names["largest"]([], 1)  # type: ignore[operator]
        except ValueError:
            return True
        return False

    first = mutants(CHECKED, OF_CHECKS)[0]
    assert refuses(compile(CHECKED, "<whole>", "exec"))
    assert not refuses(changed(CHECKED, first))


@pytest.mark.parametrize(("file", "says"), EQUIVALENT, ids=lambda text: text[:60])
def test_each_equivalent_mutant_is_made_and_has_a_reason(file: str, says: str) -> None:
    """An entry outlives neither its code nor its reason."""
    source = (ROOT / file).read_text(encoding="utf-8")
    assert says in {mutant.says for mutant in mutants(source, TARGETS[file].kinds)}
    assert EQUIVALENT[file, says]


def test_each_file_that_decides_has_its_tests() -> None:
    statistics = {f"safeml/statistics/{path.name}" for path in (ROOT / "safeml" / "statistics").glob("*.py")}
    assert {*CLEARED, *EDGE, *statistics} - {"safeml/statistics/__init__.py"} == set(TARGETS)
    for file, target in TARGETS.items():
        assert all((ROOT / test).is_file() for group in target.groups for test in group), file
        assert len(mutants((ROOT / file).read_text(encoding="utf-8"), target.kinds)) > 5, file


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", [*CLEARED, *EDGE])
def test_no_mutant_survives(file: str) -> None:
    command = [sys.executable, "-m", "tests.security.mutants", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
