"""Progress: a pipe gets a line per phase; a terminal gets one live line and the duration of each phase."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from safeml.cli.progress import Live, lines
from safeml.work import Phase


def test_a_pipe_gets_each_phase_once_and_no_step() -> None:
    written: list[str] = []
    show = lines(written.append)
    show(Phase("Reading the data"), 0, 1)
    show(Phase("Performance"), 1, 6)
    for done in range(3):
        show("predict test images", done, 3)
    show(Phase("Performance"), 1, 6)
    assert written == ["  Reading the data", "  Performance"]


def test_a_command_without_phases_shows_its_steps_once() -> None:
    written: list[str] = []
    show = lines(written.append)
    for step in ("input contracts", "input contracts", "class order"):
        show(step, 0, 2)
    assert written == ["  input contracts", "  class order"]


@pytest.fixture
def ticks() -> Iterator[float]:
    return iter(float(10 * k) for k in range(100))


def test_a_terminal_gets_one_task_and_a_line_per_finished_phase(ticks: Iterator[float]) -> None:
    screen = io.StringIO()
    with Bars(console=Console(file=screen, width=80), transient=True) as bars:
        live = Live(bars, lambda: next(ticks))
        live(Phase("Performance"), 1, 6)
        live("predict test images", 5, 20)
        [task] = bars.tasks
        assert (task.description, task.completed, task.total) == ("Performance: predict test images", 5, 20)
        live(Phase("Class [balance]"), 2, 6)
        assert len(bars.tasks) == 1
        assert bars.tasks[0].description == "Class [balance]"
        live.end()
        live.end()
    text = screen.getvalue()
    assert [line.split() for line in text.splitlines() if " s" in line and "0:" not in line] == [
        ["Performance", "10", "s"],
        ["Class", "[balance]", "10", "s"],
    ]


def test_steps_of_one_series_share_their_estimate_and_another_series_starts_anew(
    ticks: Iterator[float],
) -> None:
    with Bars(console=Console(file=io.StringIO()), transient=True) as bars:
        live = Live(bars, lambda: next(ticks))
        live("FGSM", 3, 10)
        [task] = bars.tasks
        begun = task.start_time
        live("PGD", 4, 10)
        assert (task.completed, task.total, task.description, task.start_time) == (4, 10, "PGD", begun)
        live("certificates", 0, 4)
        assert (task.completed, task.total, task.description) == (0, 4, "certificates")
        assert task.start_time is not None
        assert begun is not None
        assert task.start_time > begun
