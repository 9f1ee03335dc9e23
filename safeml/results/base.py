"""What every record has: frozen fields, finite numbers, checked names."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Scalar = bool | int | float | str | None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("is not finite; an unmeasured number is None with a status")
    return value


Finite = Annotated[float, AfterValidator(_finite)]

Proportion = Annotated[float, Field(ge=0, le=1)]

Direction = Literal["up", "down"]

# "target": in the unit of a regression's target, which the title of the metric names.
Unit = Literal["proportion", "count", "ratio", "cost", "target"]


def both_or_neither(first: float | None, second: float | None, where: str) -> None:
    if (first is None) != (second is None):
        raise ValueError(f"{where}: an interval or a pair has both ends or neither")


def _not_the_index(name: str) -> str:
    if name == "index":
        raise ValueError("is the name of the verdict's page")
    return name


# A stage's name becomes a file name and a link.
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$"), AfterValidator(_not_the_index)]

# What the numbers of a stage belong to: MODEL is the model file of the settings, as it was trained.
MODEL = "model"

# The losses of the model against the run that `--baseline` names, on the same images.
BASELINE = "baseline"

# The metric LOSS + name is how much of the metric `name` was lost.
LOSS = "loss."

SubjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class Record(BaseModel):
    """A frozen record; an unknown field is an error, so that a typing mistake is never evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
