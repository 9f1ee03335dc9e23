"""Recorded runs from Python: paths may be text, and a notebook shows a run as its verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeml import gates as deciding
from safeml.config.audit import load_config
from safeml.errors import InputRefused
from safeml.recorded_verdict import decide_again
from safeml.results import Gate, Run, StageResult, Verdict
from safeml.store import files
from safeml.waivers import today_utc
from safeml.wording import counted, number

if TYPE_CHECKING:
    from safeml.comparison.records import Comparison

PathLike = str | os.PathLike[str]


class AuditedRun(Run):
    """A run with a short text and an HTML form; otherwise it is the `Run` that it was made of."""

    @classmethod
    def of(cls, run: Run) -> AuditedRun:
        """Return `run` with its forms for a reader."""
        return cls.model_construct(**{field: getattr(run, field) for field in Run.model_fields})

    def __eq__(self, other: object) -> bool:
        """Compare what is recorded, in which a tuple is a list."""
        return isinstance(other, Run) and self.model_dump(mode="json") == other.model_dump(mode="json")

    __hash__ = None  # type: ignore[assignment]  # its lists have none

    def __repr__(self) -> str:
        verdict, test = self.verdict, self.test_data
        data = f"{number(test.images)} images of {test.name}" if test else "no test data"
        return (
            f"<Run {verdict.status.replace('_', ' ')} (exit code {verdict.exit_code}): {counted(len(verdict.gates), 'gate')}, "
            f"{self.model.name}, {data}>"
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return verdict and gates as HTML: no script, readable on light and dark pages."""
        from safeml.report.notebook import verdict_card

        return verdict_card(self)


def read_run(path: PathLike) -> AuditedRun:
    """Read the results of a run. path: a results.json or its run folder. Raises InputRefused if they are invalid."""
    return AuditedRun.of(files.read_run(Path(path)))


def decide(
    run: Run | PathLike | Sequence[StageResult],
    gates: Sequence[Gate] | PathLike | None = None,
    today: str | None = None,
) -> Verdict:
    """Decide a release from recorded evidence, by the present rules.

    Args:
        run: a run, the path of its folder or results.json, or its stages.
        gates: the requirements, or the path of a safeml.toml with gates and accepted entries; None: those of the run.
        today: ISO date (UTC) against which waivers expire; None: the present date.

    Raises:
        ConfigError: as `safeml.gates.decide`; also for stages without gates.
        InputRefused: the results cannot be read.
    """
    recorded = read_run(run) if isinstance(run, str | os.PathLike) else run
    day = today or today_utc()
    accepted = requirements = None
    if isinstance(gates, str | os.PathLike):
        settings = load_config(Path(gates))
        gates, accepted, requirements = settings.gates, settings.accepted, settings.requirements
    if isinstance(recorded, Run):
        return decide_again(recorded, day, gates, accepted, requirements)
    return deciding.decide(
        list(recorded), gates or (), day, accepted=accepted or (), requirements=requirements or ()
    )


def compare(first: Run | PathLike, second: Run | PathLike) -> Comparison:
    """Compare two runs on the same test data, image by image.

    first, second: runs, or paths of their folders or results.json. The differences are of the second to the first.
    Raises InputRefused where the runs are not of the same test data, or cannot be read.
    """
    from safeml.comparison.compare import compare_runs, shown_folder

    runs: list[Any] = []
    for given in (first, second):
        if not isinstance(given, Run | str | os.PathLike):
            raise InputRefused(f"a run is {type(given).__name__}; expected a run, or the path of its folder.")
        runs.append(given if isinstance(given, Run) else files.read_run(Path(given)))
    names = ["" if isinstance(given, Run) else shown_folder(Path(given)) for given in (first, second)]
    return compare_runs(*runs, *names)
