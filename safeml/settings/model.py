"""Settings of the model under test and of its input contract."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import PathText, Settings

# What a model's outputs are: a class, or a quantity.
Head = Literal["classification", "regression"]
# The outputs of a regression model, as declared; they are never guessed from the file.
VALUES: Literal["values"] = "values"


class InputSettings(Settings):
    """The input contract; missing values are read from the model file if it states them.

    height, width: of the input in pixels; read from the file where it states them.
    channels: their order, or grey.
    outputs: what the file returns; by default this is read from its last layer. "values" are the quantities of a regression, one
        for each of [[data.targets]].
    class_order: the class number of each output, where the model numbers the classes in another order.
    range: the values of pixels 0 and 255, before mean and std.
    mean, std: per channel, in the channel order of the model; the input is (value - mean) / std.
    standardise: each image minus its mean, divided by its standard deviation.
    chosen_on: key of the model and images of the measurement by `safeml inspect`.
    """

    height: int | None = Field(default=None, ge=8, le=1024)
    width: int | None = Field(default=None, ge=8, le=1024)
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    range: tuple[Finite, Finite] = (0.0, 1.0)
    mean: tuple[Finite, ...] = ()
    std: tuple[Finite, ...] = ()
    standardise: bool = False
    outputs: Literal["logits", "probabilities", "values"] | None = None
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
            raise ValueError("std has an entry that is not positive; expected positive divisors")
        if self.standardise and (self.mean or self.std):
            raise ValueError("standardise uses the statistics of each image; remove mean and std")
        if self.outputs == VALUES and self.class_order is not None:
            raise ValueError(
                "class_order numbers classes, and the outputs are the values of a regression; remove it"
            )
        return self

    @property
    def head(self) -> Head:
        """Return what the outputs of the model are."""
        return "regression" if self.outputs == VALUES else "classification"


class SurrogateSettings(Settings):
    """The surrogate model of transfer attacks: a differentiable model file (or the folder of `safeml train`).

    It has the classes of the model under test, and a separate input contract.

    path: the file or folder.
    """

    path: PathText = Field(min_length=1)
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _classes_in_order(self) -> Self:
        _check_order(self.input.class_order)
        return self


class ReferenceSettings(SurrogateSettings):
    """The reference model of a comparison: a model file (or the folder of `safeml train`) of the same classes.

    path: the file or folder.
    """


class ModelSettings(Settings):
    """The model under test: a file (or the folder of `safeml train`), or a recipe that `safeml run` carries out first.

    path: the model; set either this, recipe or quantize.
    recipe: a `recipe.toml`, for training.
    quantize: a `quantize.toml`, for quantization and export; the INT8 file is audited.
    gradients: for a file without gradients (ONNX), the Keras model that it was exported from; its input contract is that of the
            file. It gives gradients alone: every prediction is the file's.
    name: in the report; by default the name of the file.
    """

    path: PathText = ""
    recipe: PathText = ""
    quantize: PathText = ""
    gradients: PathText = ""
    name: str = ""
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.path) + bool(self.recipe) + bool(self.quantize) != 1:
            raise ValueError(
                "set one of path (a trained model), recipe (to train one) or quantize (to quantize one), and only one"
            )
        if self.gradients and not self.path:
            raise ValueError("gradients requires path, the file that gives none; remove it")
        _check_order(self.input.class_order)
        return self


def _check_order(order: tuple[int, ...] | None) -> None:
    if order is not None and sorted(order) != list(range(len(order))):
        raise ValueError(
            f"input.class_order has {len(order)} entries, but not each of 0-{len(order) - 1} once"
        )
