"""The stages, one row each, in the order of the run and the report. A new stage is one file and one word here.

Another package adds a stage by the entry point group `safeml.stages`, whose objects are `Stage` rows.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import create_model

from safeml.errors import ConfigError, first_line
from safeml.settings.base import Settings
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.balance import BALANCE
from safeml.stages.base import Stage, StageTable
from safeml.stages.calibration import CALIBRATION
from safeml.stages.comparison import COMPARISON
from safeml.stages.conversion import CONVERSION
from safeml.stages.data_quality import DATA_QUALITY
from safeml.stages.explainability import EXPLAINABILITY
from safeml.stages.fairness import FAIRNESS
from safeml.stages.model import MODEL
from safeml.stages.monitors import MONITORS
from safeml.stages.performance import PERFORMANCE
from safeml.stages.perturbation import PERTURBATION
from safeml.stages.physical import PHYSICAL
from safeml.stages.privacy import PRIVACY
from safeml.stages.quantization import QUANTIZATION
from safeml.stages.regression import REGRESSION
from safeml.stages.training import TRAINING

S = TypeVar("S", bound=StageTable)
ENTRY_POINTS = "safeml.stages"
OWN: tuple[Stage[Any], ...] = (
    MODEL,
    TRAINING,
    QUANTIZATION,
    CONVERSION,
    COMPARISON,
    PERFORMANCE,
    REGRESSION,
    FAIRNESS,
    CALIBRATION,
    BALANCE,
    DATA_QUALITY,
    PRIVACY,
    ADVERSARIAL,
    PHYSICAL,
    PERTURBATION,
    EXPLAINABILITY,
    MONITORS,
)


def installed_stages() -> tuple[Stage[Any], ...]:
    """Return the stages of other installed packages, by name.

    Raises ConfigError for an object that cannot be imported, that is no row, or whose name is in use.
    """
    names = {stage.name for stage in OWN}
    rows: list[Stage[Any]] = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        row = _loaded(point)
        if not isinstance(row, Stage):
            raise ConfigError(f"the entry point {point.value} of {ENTRY_POINTS} is not a Stage.")
        if row.name in names:
            raise ConfigError(f'the entry point {point.value} names its stage "{row.name}", which is in use.')
        names.add(row.name)
        rows.append(row)
    return tuple(rows)


def _loaded(point: EntryPoint) -> object:
    """Import the object of an entry point. What the package prints goes to standard error, because standard output may be JSON."""
    try:
        with redirect_stdout(sys.stderr):
            return point.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the entry point {point.value} of {ENTRY_POINTS} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "upgrade or uninstall its package."
        ) from error


def tables(stages: tuple[Stage[Any], ...]) -> type[Settings]:
    """Make the settings class of `[stages]`: one table per row, each with its defaults."""
    fields: dict[str, Any] = {stage.name: (stage.settings, stage.settings()) for stage in stages}
    return create_model("StageSettings", __base__=Settings, **fields)


if TYPE_CHECKING:
    STAGES: tuple[Stage[Any], ...]
    StageSettings = (
        Settings  # the tables are known only at run time; `settings_of` returns each with its type
    )
else:

    def __getattr__(name: str) -> Any:
        """Make STAGES and StageSettings when they are first read: another package's row imports `safeml.stages.base` itself."""
        if name == "STAGES":
            value = (*OWN, *installed_stages())
        elif name == "StageSettings":
            value = tables(sys.modules[__name__].STAGES)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def settings_of(stages: Settings, stage: Stage[S]) -> S:
    """Return the table of `stage`, with its type."""
    table: S = getattr(stages, stage.name)
    return table
