"""Progress on standard error: on a terminal one live line and a line for each finished phase, else a line per phase."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from safeml.work import Phase, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress on standard error within the context."""
    if not sys.stderr.isatty():
        yield lines(lambda text: typer.echo(text, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        live = Live(bars)
        try:
            yield live
        finally:
            live.end()


def lines(write: Callable[[str], object]) -> Progress:
    """Return a callback that writes each phase once, and each step of a command without phases."""
    seen: set[str] = set()
    phases = False

    def line(step: str, done: int, total: int) -> None:
        nonlocal phases
        phases = phases or isinstance(step, Phase)
        if step not in seen and (isinstance(step, Phase) or not phases):
            write(f"  {step}")
        seen.add(step)

    return line


class Live:
    """One line with the phase, its present step and the time that the step still takes.

    A phase that ends, or that another phase follows, leaves a line with its duration.
    """

    def __init__(self, bars: Bars, clock: Callable[[], float] = time.monotonic) -> None:
        self.bars, self.clock = bars, clock
        self.phase, self.step, self.began = "", "", clock()
        self.task = bars.add_task("", total=None)

    def __call__(self, step: str, done: int, total: int) -> None:
        if isinstance(step, Phase):
            self.end()
            self.phase, self.step, self.began = step, "", self.clock()
            self.bars.reset(self.task, total=None, description=str(step))
            return
        shown = self.bars.tasks[0]
        if step != self.step:
            self.step = step
            name = f"{self.phase}: {step}" if self.phase else step
            self.bars.update(self.task, description=name)
        if shown.total != total or done < shown.completed:  # another series: its speed is not known yet
            self.bars.reset(self.task, total=total)
        self.bars.update(self.task, completed=done)

    def end(self) -> None:
        """Print the line of the present phase."""
        from rich.text import Text

        from safeml.report.text import duration

        if self.phase:
            spent = duration(self.clock() - self.began)
            self.bars.console.print(Text(f"  {self.phase}  {spent}"), soft_wrap=True)
        self.phase = ""
