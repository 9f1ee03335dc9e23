"""Commands that need no framework import none, and start at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("tensorflow", "keras", "tf_keras", "art", "shap", "pandas", "onnx", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    "module",
    [
        "safeml",
        "safeml.attacks.art.registry",
        "safeml.audits.adversarial",
        "safeml.audits.physical",
        "safeml.cli.main",
        "safeml.config",
        "safeml.gates",
        "safeml.planning.plan",
        "safeml.results",
        "safeml.sandbox",
        "safeml.scan.scan",
        "safeml.store",
        "safeml.report.write",
    ],
)
def test_a_fresh_interpreter_imports_no_framework(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_gates_and_reports_load_no_arrays() -> None:
    code = "import sys, safeml.gates, safeml.report.write; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


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
    began = time.process_time()
    found = subprocess.run(
        [sys.executable, "-c", "import safeml"], capture_output=True, text=True, check=True
    )
    assert (found.stdout, found.stderr) == ("", "")
    assert time.process_time() - began < 1


def test_every_public_name_is_there() -> None:
    import safeml

    assert {name for name in safeml.__all__ if getattr(safeml, name) is None} == set()
    assert sorted(safeml.__all__) == sorted(dir(safeml))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = safeml.nothing
