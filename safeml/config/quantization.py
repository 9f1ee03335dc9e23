"""The file `quantize.toml`: a trained Keras model as an INT8 model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from safeml.config.recipe import ERROR_MONITORS, AugmentSettings, FitSettings, check_regression
from safeml.results import Finite
from safeml.settings.base import PathText, Settings, validated
from safeml.settings.model import VALUES, InputSettings
from safeml.settings.toml_file import read_toml

STILL = AugmentSettings(shift=0.0, rotation_degrees=0.0, zoom=0.0)


class SourceSettings(Settings):
    """The float model, and its input contract, which the INT8 model shares. Paths are relative to the settings file.

    path: a Keras model file, or the folder of `safeml train`; set either this or recipe.
    recipe: a `recipe.toml`, which is trained first.
    """

    path: PathText = ""
    recipe: PathText = ""
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.path) == bool(self.recipe):
            raise ValueError(
                "set one of path (a trained Keras model) or recipe (to train one first), and only one"
            )
        return self


class CalibrationSettings(Settings):
    """The range of each activation, measured before any training.

    observer: how the largest representable magnitude follows from the activations: their maximum, a percentile of their
        magnitudes, or the threshold of the smallest squared error or of the smallest Kullback-Leibler divergence.
    percentile: of the observer "percentile".
    images: size of the random sample of the training images.
    seed: of the sample.
    """

    observer: Literal["max", "percentile", "mse", "entropy"] = "mse"
    percentile: Finite = Field(default=99.99, gt=50, le=100)
    images: int = Field(default=1024, ge=1, le=1_000_000)
    seed: int = Field(default=7, ge=0, lt=2**31)


class PruneSettings(Settings):
    """Pruning of the float model before its quantization: a fine-tuning in which the smallest weights become 0, and stay 0.

    The share of zeros rises with the steps as in M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning
    for model compression", 2017.

    kind: "magnitude", the smallest weights of each layer; or "2:4", two of each four consecutive input channels, the pattern
        that TensorRT has kernels for.
    sparsity: share of zeros in each pruned layer at the end; 0.5 for "2:4".
    epochs: of this fine-tuning. Only an epoch that ends at the full sparsity may be selected.
    begin, end: of the rise, as shares of all steps.
    interval: steps between two selections of the weights to prune.
    learning_rate: highest, after the warm-up; by default that of the quantization.
    ends: prune the first and the last layer as well.
    keep_dense: names of further layers that are not pruned.
    """

    kind: Literal["magnitude", "2:4"] = "magnitude"
    sparsity: Finite = Field(default=0.5, gt=0, lt=1)
    epochs: int = Field(default=3, ge=1, le=1000)
    begin: Finite = Field(default=0.0, ge=0, lt=1)
    end: Finite = Field(default=0.5, gt=0, le=1)
    interval: int = Field(default=20, ge=1, le=1_000_000)
    learning_rate: Finite | None = Field(default=None, gt=0, le=1)
    ends: bool = False
    keep_dense: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.kind == "2:4" and self.sparsity != 0.5:
            raise ValueError(f'sparsity is {self.sparsity:g}; kind = "2:4" always gives 0.5, so remove it')
        if self.begin >= self.end:
            raise ValueError(f"begin is {self.begin:g} and end is {self.end:g}; expected begin before end")
        if len(set(self.keep_dense)) < len(self.keep_dense):
            raise ValueError("keep_dense names a layer twice; expected each once")
        return self


class QuantizeSettings(FitSettings):
    """The quantization of a model (`quantize.toml`). Paths are relative to the folder of the file.

    backend: the implementation of the training: Keras layers of safeml, or "tfmot", TensorFlow Model Optimization in a child
        process. Both write the same files.
    equalise: scale the channels of consecutive layers alike before calibration, which helps depthwise networks.
    keep_float: names of layers that are not quantized.
    prune: pruning before the calibration; without the table there is none.
    epochs: of quantization-aware training, and of the float model that it is compared with; 0 for calibration alone.
    freeze_epochs: last epochs, in which the activation ranges no longer move.
    momentum: of the moving average of the activation ranges in training, per step; 1 keeps the calibrated ranges.
    worst_layers: number of layers for which the gain of keeping them in float is measured.
    learning_rate: highest, after the warm-up; a small share of that of the first training.
    """

    model: SourceSettings
    backend: Literal["keras", "tfmot"] = "keras"
    calibration: CalibrationSettings = CalibrationSettings()
    equalise: bool = False
    keep_float: tuple[str, ...] = ()
    prune: PruneSettings | None = None
    epochs: int = Field(default=0, ge=0, le=1000)
    learning_rate: Finite = Field(default=2e-4, gt=0, le=1)
    batch: int = Field(default=64, ge=1, le=4096)
    freeze_epochs: int = Field(default=1, ge=0, le=1000)
    momentum: Finite = Field(default=0.99, ge=0, le=1)
    worst_layers: int = Field(default=5, ge=0, le=100)

    @model_validator(mode="after")
    def _epochs_fit(self) -> Self:
        if self.epochs and self.freeze_epochs > self.epochs:
            raise ValueError(
                f"freeze_epochs is {self.freeze_epochs}; there are {self.epochs} epochs in total"
            )
        if len(set(self.keep_float)) < len(self.keep_float):
            raise ValueError("keep_float names a layer twice; expected each once")
        return self

    @model_validator(mode="before")
    @classmethod
    def _values_of_targets(cls, values: Any) -> Any:
        """With [[data.targets]] the model gives values, and a monitor that is not set is its mean absolute error."""
        data = values.get("data") if isinstance(values, dict) else None
        if not isinstance(data, dict) or not data.get("targets"):
            return values
        model = values.get("model")
        if isinstance(model, dict) and isinstance(model.get("input", {}), dict):
            values = {**values, "model": {**model, "input": {"outputs": VALUES, **model.get("input", {})}}}
        return {"monitor": ERROR_MONITORS[0], **values}

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        """Refuse what a classifier or a regression does not have."""
        if self.data.targets:
            if self.model.input.outputs not in (None, VALUES):
                raise ValueError(
                    f'model.input.outputs is "{self.model.input.outputs}", but [[data.targets]] declares a regression; remove it'
                )
            unsuited = {"[prune]": self.prune is not None, 'backend = "tfmot"': self.backend == "tfmot"}
            # Without epochs nothing is trained, so that the augmentation has no effect.
            check_regression(self if self.epochs else self.model_copy(update={"augment": STILL}), unsuited)
        elif self.monitor in ERROR_MONITORS or self.model.input.outputs == VALUES:
            raise ValueError("monitor or model.input.outputs is of a regression; declare [[data.targets]]")
        return self

    @model_validator(mode="after")
    def _backend_trains(self) -> Self:
        if self.backend == "tfmot":
            for name, used in (
                ("[adversarial]", self.adversarial is not None),
                ("weight_average", self.weight_average > 0),
                ("[prune]", self.prune is not None),
            ):
                if used:
                    raise ValueError(
                        f'backend = "tfmot" does not support {name}; remove it, or set backend = "keras"'
                    )
        return self


def load_quantize_settings(path: Path) -> QuantizeSettings:
    """Read the `quantize.toml` at `path`."""
    return validated(QuantizeSettings, read_toml(path), str(path))
