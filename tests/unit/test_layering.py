"""Commands that need no framework import none, and start at once."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import safeml

pytestmark = pytest.mark.slow

PACKAGE = Path(safeml.__file__).parent

HEAVY = ("tensorflow", "keras", "tf_keras", "art", "shap", "pandas", "onnx", "sklearn", "matplotlib")


# What an assert may say: the type of a value, for the type checker. Without asserts (python -O) the product does the same.
NARROWING = re.compile(r"assert ([\w.]+ is not None|is_differentiable\([\w.]+\))")


def test_an_assert_only_narrows_a_type() -> None:
    asserts = [
        (file.relative_to(PACKAGE).as_posix(), ast.unparse(node))
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert asserts
    assert [found for found in asserts if not NARROWING.fullmatch(found[1])] == []


LIGHT = (
    "safeml",
    "safeml.api.attack",
    "safeml.api.audit",
    "safeml.attacks.art.registry",
    "safeml.audits.adversarial",
    "safeml.audits.physical",
    "safeml.cli.main",
    "safeml.comparison.page",
    "safeml.config",
    "safeml.gates",
    "safeml.planning.plan",
    "safeml.recorded_verdict",
    "safeml.results",
    "safeml.sandbox",
    "safeml.scan.scan",
    "safeml.store",
    "safeml.report.write",
)
# One interpreter, of which a copy without any of these modules imports each.
IMPORTS = """
import json, os, sys
for names, heavy in json.loads(sys.argv[1]):
    sys.stdout.flush()
    if os.fork() == 0:
        for name in names:
            __import__(name)
        print(json.dumps([names, [module for module in heavy if module in sys.modules]]))
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0, names
"""


def heavy_modules(asked: list[tuple[list[str], tuple[str, ...]]]) -> dict[str, list[str]]:
    """Which of the heavy modules each import of a fresh interpreter brings with it, by the names imported."""
    command = [sys.executable, "-c", IMPORTS, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {" ".join(names): found for names, found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
def test_a_fresh_interpreter_imports_no_framework() -> None:
    assert heavy_modules([([module], HEAVY) for module in LIGHT]) == {module: [] for module in LIGHT}


def test_gates_and_reports_load_no_arrays() -> None:
    names = ["safeml.gates", "safeml.report.write"]
    assert heavy_modules([(names, ("numpy",))]) == {" ".join(names): []}


def test_the_check_sees_a_module_that_is_imported() -> None:
    found = heavy_modules([(["numpy"], ("numpy", "pandas")), (["json"], ("numpy",))])
    assert found == {"numpy": ["numpy"], "json": []}  # and each starts anew


def _cpu_seconds(*arguments: str) -> float:
    """User and system time of the command: wall time says more about a shared machine than about us."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "safeml.cli.main", *arguments], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_takes_under_half_a_second() -> None:
    assert min(_cpu_seconds("--help") for _ in range(3)) < 0.5


def test_importing_safeml_writes_nothing_and_is_quick() -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import safeml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == ""
    assert all(line.startswith("import time:") for line in found.stderr.splitlines())
    [cumulative] = [line.split("|")[1] for line in found.stderr.splitlines() if line.endswith(" safeml")]
    assert int(cumulative) < 500_000  # microseconds


def test_every_public_name_is_there() -> None:
    import safeml

    assert {name for name in safeml.__all__ if getattr(safeml, name) is None} == set()
    assert sorted(safeml.__all__) == sorted(dir(safeml))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = safeml.nothing
