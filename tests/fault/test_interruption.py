"""A wish to stop is not lost, whatever native code does with the exception that tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from safeml import interruption
from safeml.sealed import Arrays, Form
from safeml.store.journal import Journal

ROOT = Path(__file__).parents[2]
FORM: Form = {"x": ("float32", (1,))}


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    interruption.listen()
    yield
    interruption.listen()  # forgets the wish
    for number, handler in before.items():
        signal.signal(number, handler)


def swallowed(number: signal.Signals) -> None:
    with suppress(BaseException):
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, interruption.Terminated),
        (signal.SIGHUP, interruption.Terminated),
    ],
)
def test_a_swallowed_signal_ends_the_run_before_its_next_slice(
    number: signal.Signals, error: type[BaseException], tmp_path: Path
) -> None:
    measured: list[str] = []

    def measure() -> Arrays:
        measured.append("once")
        swallowed(number)
        return {"x": np.zeros(1, np.float32)}

    work = Journal(tmp_path).work("adversarial", {})
    work("first", {}, FORM, measure)
    with pytest.raises(error):
        work("second", {}, FORM, measure)
    assert measured == ["once"]
    assert len(list(tmp_path.glob("work/adversarial/first-*.npz"))) == 1  # what was finished is kept


IMPORTING = """
import signal, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "safeml.cli.main":
            signal.raise_signal({number})
sys.meta_path.insert(0, Stop())
from safeml.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_before_all_is_imported_is_no_traceback(number: signal.Signals, code: int) -> None:
    program = IMPORTING.format(number=int(number))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr, ended.stdout) == (code, "", "")


def test_without_a_signal_nothing_is_raised() -> None:
    interruption.check()


def test_a_repeated_signal_does_not_interrupt_the_cleaning_up() -> None:
    with pytest.raises(interruption.Terminated):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("code", ["import absent_of_all\n", "raise RuntimeError('two\\nlines')\n"])
def test_an_installation_that_does_not_start_is_one_sentence(code: str, tmp_path: Path) -> None:
    """Not 1, which is a failed gate: nothing was decided."""
    (tmp_path / "typer.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "safeml.cli.entry", "gate", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("safeml: this installation does not start (")
    assert done.stderr.count("\n") == 1
    assert "pip install" in done.stderr
