"""The targets of a regression: what each output of a model is, in which unit, and how far it may be off."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import Settings

NAME = r"^[a-z][a-z0-9_]{0,39}$"


class TargetSettings(Settings):
    """One target of a regression model, an entry of `[[data.targets]]`; the entries have the order of the model's outputs.

    name: of its column in the data; rendered signs have "tilt".
    unit: of its values, such as "degrees" or "m"; "1" for a number without a unit.
    range: the smallest and the largest value that the data may hold, in the unit. A value outside it is refused.
    tolerance: the largest absolute error of a correct prediction, in the unit. Without it no prediction counts as correct or
        incorrect: accuracies are undefined, and only errors are measured.
    """

    name: str = Field(pattern=NAME)
    unit: str = Field(min_length=1, max_length=40)
    range: tuple[Finite, Finite]
    tolerance: Finite | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        low, high = self.range
        if not self.unit.strip():
            raise ValueError(
                'unit is blank; expected the unit of the values, or "1" for a number without one'
            )
        if low >= high:
            raise ValueError(f"range is [{low:g}, {high:g}]; expected the smallest value, then a larger one")
        if self.tolerance is not None and self.tolerance >= high - low:
            raise ValueError(
                f"tolerance is {self.tolerance:g}, as wide as the range [{low:g}, {high:g}]; no prediction in the range could "
                "miss it, and a limit that cannot fail proves nothing"
            )
        return self


def check_targets(targets: tuple[TargetSettings, ...]) -> None:
    """Raise ValueError where two targets have one name, or only some of them have a tolerance."""
    names = [target.name for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'targets names "{twice}" twice; expected each once')
    without = [target.name for target in targets if target.tolerance is None]
    if without and len(without) < len(targets):
        raise ValueError(
            f'targets gives no tolerance of "{without[0]}" and one of others; set it for all of them, or for none'
        )
