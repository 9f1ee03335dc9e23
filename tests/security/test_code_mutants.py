"""The mutants of the code that decides are all noticed; and the tool makes the mutants that it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.security.code_mutants import EQUIVALENT, ROOT, TESTS, changed, mutants

SOURCE = '''
LIMIT = 3

def passes(low: float, high: float, strict: bool = False) -> bool:
    """0 < 1."""
    if not strict and low is None:
        raise ValueError("1 < 2")
    return LIMIT - 1 <= low < high or max(low, high) == 0.5
'''
# Those that are known to leave no survivor; `python -m tests.security.code_mutants FILE` tries the others.
CLEARED = (
    "safeml/gates.py",
    "safeml/requirements.py",
    "safeml/not_gated.py",
    "safeml/statistics/exact.py",
    "safeml/statistics/multiple.py",
    "safeml/statistics/proportions.py",
)


def test_each_comparison_constant_and_operator_has_its_mutants() -> None:
    assert [mutant.says for mutant in mutants(SOURCE)] == [
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


def test_a_mutant_differs_where_it_says_and_nowhere_else() -> None:
    def answer(code: object) -> list[bool]:
        names: dict[str, object] = {}
        exec(code, names)  # type: ignore[arg-type]
        return [names["passes"](low, high) for low, high in ((2, 3), (1, 3), (3, 3), (0.5, 0.25))]  # type: ignore[operator]

    assert answer(compile(SOURCE, "<whole>", "exec")) == [True, False, False, True]
    found = {mutant.says: answer(changed(SOURCE, mutant)) for mutant in mutants(SOURCE)[7:9]}
    assert found == {
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 > low < high": [False, True, False, True],
        "passes: LIMIT - 1 <= low < high -> LIMIT - 1 <= low <= high": [True, False, True, True],
    }


@pytest.mark.parametrize(("file", "says"), EQUIVALENT, ids=lambda text: text[:60])
def test_each_equivalent_mutant_is_made_and_has_a_reason(file: str, says: str) -> None:
    """An entry outlives neither its code nor its reason."""
    assert says in {mutant.says for mutant in mutants((ROOT / file).read_text(encoding="utf-8"))}
    assert EQUIVALENT[file, says]


def test_each_file_that_decides_has_its_tests() -> None:
    statistics = {f"safeml/statistics/{path.name}" for path in (ROOT / "safeml" / "statistics").glob("*.py")}
    assert {*CLEARED, *statistics} - {"safeml/statistics/__init__.py"} == set(TESTS)
    assert all((ROOT / test).is_file() for groups in TESTS.values() for group in groups for test in group)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", CLEARED)
def test_no_mutant_survives(file: str) -> None:
    command = [sys.executable, "-m", "tests.security.code_mutants", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
