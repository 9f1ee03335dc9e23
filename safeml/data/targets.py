"""The targets of a regression, image by image. Legend: N images, T targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safeml.errors import ConfigError, InputRefused
from safeml.settings.errors import suggest
from safeml.settings.targets import TargetSettings


@dataclass(frozen=True, eq=False)
class Targets:
    """What a regression model predicts.

    values: float64 [N, T], finite, in the unit of each target and inside its range.
    settings: T entries, in the order of the columns and of the model's outputs.
    """

    values: np.ndarray
    settings: tuple[TargetSettings, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the T names."""
        return tuple(target.name for target in self.settings)

    @property
    def tolerances(self) -> np.ndarray | None:
        """Return the largest absolute error of a correct prediction, float32 [T]; None where none is declared."""
        known = [target.tolerance for target in self.settings if target.tolerance is not None]
        return np.array(known, np.float32) if len(known) == len(self.settings) else None

    @property
    def content(self) -> bytes:
        """Return all that a result depends on: names, units, ranges, tolerances and values."""
        declared = "\0".join(target.model_dump_json() for target in self.settings)
        return declared.encode() + np.ascontiguousarray(self.values, dtype="<f8").tobytes()

    def take(self, rows: np.ndarray) -> Targets:
        """Return the targets of the images in `rows` (int [M], or bool [N])."""
        return replace(self, values=self.values[rows])


def targets_of(
    quantities: dict[str, np.ndarray], settings: tuple[TargetSettings, ...], where: str
) -> Targets:
    """Return the declared targets among the quantities of a data set.

    quantities: name -> float64 [N]. Names that are all numbers are columns without names, which take the declared order.
    where: the data, for messages.

    Raises:
        ConfigError: the data have no such quantity.
        InputRefused: a value is not finite or outside its range, or all images have the same value.
    """
    if quantities and all(name.isdigit() for name in quantities):
        if len(quantities) != len(settings):
            raise ConfigError(
                f"{where}: has {len(quantities)} target columns; [[data.targets]] declares {len(settings)}. Declare each, or "
                "store target_names beside them."
            )
        columns = list(quantities.values())
    else:
        columns = [_column(quantities, target.name, where) for target in settings]
    for target, values in zip(settings, columns, strict=True):
        _check(target, values, where)
    return Targets(np.stack(columns, axis=1).astype(np.float64), settings)


def _column(quantities: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    if not quantities:
        raise ConfigError(
            f'{where}: holds no targets, and [[data.targets]] declares "{name}"; class ids are never taken as targets. Store the '
            "array targets in the .npz file, or name a CSV file with targets = in the table of the data."
        )
    if name not in quantities:
        raise ConfigError(f'{where}: has no target "{name}"{suggest(name, list(quantities))}.')
    return quantities[name]


def _check(target: TargetSettings, values: np.ndarray, where: str) -> None:
    """Raise InputRefused for values that are no targets."""
    undefined = np.flatnonzero(~np.isfinite(values))
    if len(undefined):
        raise InputRefused(
            f"{where}: {target.name} is {values[undefined[0]]} for image {undefined[0]} and for {len(undefined) - 1:,} others; "
            "expected finite numbers. Remove these images, or measure their targets."
        )
    low, high = target.range
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        raise InputRefused(
            f"{where}: {target.name} is {values[outside[0]]:g} {target.unit} for image {outside[0]} and outside its range for "
            f"{len(outside):,} of {len(values):,} images; the range is {low:g} to {high:g}. Correct the unit, the values or the range."
        )
    if len(values) > 1 and np.ptp(values) == 0:
        raise InputRefused(
            f"{where}: {target.name} is {values[0]:g} {target.unit} for all {len(values):,} images; a constant can be predicted "
            "without the image. Use images with different targets."
        )
