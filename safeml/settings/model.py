"""The model under test and how it is fed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import PathText, Settings


class InputSettings(Settings):
    """The input contract; what is left out is read from the model file where it states it.

    range: the values of pixels 0 and 255, before mean and std.
    mean, std: of each channel, in the model's own channel order; what is fed is (value - mean) / std.
    standardise: each image minus its own mean, divided by its own standard deviation.
    chosen_on: what ties this contract to the model and images that it was measured on, as `safeml inspect` writes it.
    """

    height: int | None = Field(default=None, ge=8, le=1024)
    width: int | None = Field(default=None, ge=8, le=1024)
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    range: tuple[Finite, Finite] = (0.0, 1.0)
    mean: tuple[Finite, ...] = ()
    std: tuple[Finite, ...] = ()
    standardise: bool = False
    outputs: Literal["logits", "probabilities"] | None = None
    class_order: tuple[int, ...] | None = None
    chosen_on: str = ""

    @model_validator(mode="after")
    def _scaling_is_whole(self) -> Self:
        if self.range[0] == self.range[1]:
            raise ValueError(
                "range has equal ends; expected the model's values for pixels 0 and 255, such as [0, 1]"
            )
        channels = 1 if self.channels == "grey" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != channels:
                raise ValueError(f"{name} has {len(values)} entries; {self.channels} images have {channels}")
        if any(value <= 0 for value in self.std):
            raise ValueError("std has an entry that is not positive; expected what values are divided by")
        if self.standardise and (self.mean or self.std):
            raise ValueError("standardise goes by each image itself; leave mean and std out")
        return self


class SurrogateSettings(Settings):
    """A model of the adversary's own, for transfer attacks: a file (or the folder that `safeml train` wrote) with a gradient,
    of the same classes as the model under test. Its input contract is its own."""

    path: PathText = Field(min_length=1)
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _classes_in_order(self) -> Self:
        _check_order(self.input.class_order)
        return self


class ModelSettings(Settings):
    """The model under test: a file (or the folder that `safeml train` wrote), or a recipe that `safeml run` trains first."""

    path: PathText = ""
    recipe: PathText = ""
    name: str = ""
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.path) == bool(self.recipe):
            raise ValueError("give either path (a trained model) or recipe (what to train), and not both")
        _check_order(self.input.class_order)
        return self


def _check_order(order: tuple[int, ...] | None) -> None:
    if order is not None and sorted(order) != list(range(len(order))):
        raise ValueError(
            f"input.class_order has {len(order)} entries, but not each of 0-{len(order) - 1} once"
        )
