"""`safeml.toml` and `recipe.toml` as typed settings. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from safeml.errors import ConfigError
from safeml.results import Finite, Gate

MAX_CONFIG_BYTES = 1_000_000
_Model = TypeVar("_Model", bound=BaseModel)


def _fraction(value: Any) -> Any:
    """'4/255' as a number: the way that epsilons are written in the field."""
    if isinstance(value, str):
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError('is neither a number nor a fraction such as "4/255"') from error
    return value


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class ModelSettings(Settings):
    """The model under test: a file (or the folder that `safeml train` wrote), or a recipe that `safeml run` trains first."""

    path: str = ""
    recipe: str = ""
    name: str = ""
    input: InputSettings = InputSettings()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.path) == bool(self.recipe):
            raise ValueError("give either path (a trained model) or recipe (what to train), and not both")
        return self


class DataSettings(Settings):
    """Where images come from. `valid_fraction` splits the official GTSRB training signs, whole, into train and valid."""

    kind: Literal["npz", "gtsrb", "folder", "rendered"]
    path: str = ""
    split: Literal["train", "valid", "test"] = "test"
    frames_per_sign: Finite | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    size: int = Field(default=32, ge=16, le=512)
    valid_fraction: Finite = Field(default=0.0, ge=0, lt=1)


class DataRoles(Settings):
    """The data that the verdict is spoken on, and (for leakage) what the model was trained and chosen on."""

    test: DataSettings
    train: DataSettings | None = None
    valid: DataSettings | None = None


Epsilon = Annotated[Finite, BeforeValidator(_fraction)]


class Threat(Settings):
    """A threat model: every perturbation of the pixels (0..1) whose norm is at most epsilon."""

    norm: Literal["linf", "l2"]
    epsilon: Epsilon

    @model_validator(mode="after")
    def _epsilon_in_pixel_units(self) -> Self:
        if self.epsilon <= 0:
            raise ValueError(
                f"epsilon is {self.epsilon:g}; expected a positive number in pixel units of 0..1"
            )
        if self.norm == "linf" and self.epsilon > 1:
            raise ValueError(
                f'epsilon is {self.epsilon:g}; pixels are 0..1 here, so write "{self.epsilon:g}/255"'
            )
        return self

    @property
    def label(self) -> str:
        """The threat's part of a metric name: `linf_4` (in 1/255) or `l2_0.5`."""
        return f"linf_{self.epsilon * 255:.6g}" if self.norm == "linf" else f"l2_{self.epsilon:.6g}"


class PerformanceSettings(Settings):
    enabled: bool = True
    bootstrap: int = Field(default=1000, ge=100, le=100_000)


class BalanceSettings(Settings):
    enabled: bool = True


class TrainingSettings(Settings):
    """The training stage reports on the manifest that `safeml train` left beside the model."""

    enabled: bool = True


class AdversarialSettings(Settings):
    enabled: bool = True
    images: int = Field(default=1000, ge=1)
    attacks: tuple[Literal["fgsm", "pgd"], ...] = Field(default=("fgsm", "pgd"), min_length=1)
    steps: int = Field(default=20, ge=1, le=10_000)
    restarts: int = Field(default=1, ge=1, le=100)
    batch: int = Field(default=64, ge=1, le=8192)
    threats: tuple[Threat, ...] = (
        Threat(norm="linf", epsilon=1 / 255),
        Threat(norm="linf", epsilon=2 / 255),
        Threat(norm="linf", epsilon=4 / 255),
        Threat(norm="linf", epsilon=8 / 255),
        Threat(norm="l2", epsilon=0.25),
        Threat(norm="l2", epsilon=0.5),
    )

    @model_validator(mode="after")
    def _threats_differ(self) -> Self:
        labels = [threat.label for threat in self.threats]
        if not labels or len(set(labels)) != len(labels):
            raise ValueError("threats are empty or repeat; give each norm and epsilon once")
        return self


class ModelFileSettings(Settings):
    """The model file as it was scanned and opened; disabling the stage hides the page, never the scan."""

    enabled: bool = True


class StageSettings(Settings):
    model: ModelFileSettings = ModelFileSettings()
    training: TrainingSettings = TrainingSettings()
    performance: PerformanceSettings = PerformanceSettings()
    balance: BalanceSettings = BalanceSettings()
    adversarial: AdversarialSettings = AdversarialSettings()


class RunSettings(Settings):
    seed: int = Field(default=7, ge=0, lt=2**32)
    reports: str = "reports"
    responsible: str = ""


class Config(Settings):
    """One `safeml.toml`. Paths in it are relative to its own folder."""

    title: str = "Safety report"
    model: ModelSettings
    data: DataRoles
    run: RunSettings = RunSettings()
    stages: StageSettings = StageSettings()
    gates: tuple[Gate, ...] = ()


class AugmentSettings(Settings):
    """Label-preserving changes only: there is no flip, because a mirrored sign is another sign."""

    shift: Finite = Field(default=0.1, ge=0, le=0.5)
    rotation_degrees: Finite = Field(default=10.0, ge=0, le=30)
    zoom: Finite = Field(default=0.1, ge=0, le=0.5)
    brightness: Finite = Field(default=0.2, ge=0, le=0.9)
    contrast: Finite = Field(default=0.3, ge=0, le=0.9)
    blur_sigma: Finite = Field(default=0.0, ge=0, le=3)


class TrainingData(Settings):
    """What a model is trained on and, apart from it, what its checkpoint is chosen on."""

    train: DataSettings
    valid: DataSettings

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.train == self.valid:
            raise ValueError(
                "[data.train] and [data.valid] are the same; a checkpoint is chosen on other images"
            )
        return self


class Recipe(Settings):
    """How one reference model is trained (`recipe.toml`). Paths are relative to the recipe's folder.

    weight_average: momentum of a moving average of the weights, which is then what is validated and saved; 0 for none.
    bn_momentum: 0.9 suits fits of a few hundred steps; a long fit gets steadier statistics from more.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    architecture: Literal["lenet", "resnet18"]
    width: int = Field(default=16, ge=4, le=64)
    dropout: Finite = Field(default=0.0, ge=0, lt=1)
    data: TrainingData
    epochs: int = Field(ge=1, le=1000)
    batch: int = Field(default=128, ge=1, le=4096)
    learning_rate: Finite = Field(default=2e-3, gt=0, le=1)
    label_smoothing: Finite = Field(default=0.0, ge=0, lt=1)
    weight_decay: Finite = Field(default=0.0, ge=0, lt=1)
    weight_average: Finite = Field(default=0.0, ge=0, lt=1)
    bn_momentum: Finite = Field(default=0.9, gt=0, lt=1)
    augment: AugmentSettings = AugmentSettings()
    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    save_best_only: bool = True
    seed: int = Field(default=7, ge=0, lt=2**32)


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file at `path`; every way of being unreadable is one `ConfigError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a TOML file.") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: has {len(raw):,} bytes; settings are at most {MAX_CONFIG_BYTES:,} bytes.")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: is not valid TOML: {reason}.") from error


def load_config(path: Path) -> Config:
    """The settings in the file at `path`, checked as a whole."""
    return parse_config(read_toml(path), str(path))


def parse_config(values: dict[str, Any], where: str) -> Config:
    config = _validate(Config, values, where)
    if not config.gates:
        raise ConfigError(
            f"{where}: has no [[gates]]; a verdict needs at least one, and `safeml init` writes the defaults."
        )
    ids = [gate.id for gate in config.gates]
    for gate_id in ids:
        if ids.count(gate_id) > 1:
            raise ConfigError(
                f'{where}: the gate id "{gate_id}" is used {ids.count(gate_id)} times; ids must differ.'
            )
    stages = list(StageSettings.model_fields)
    for gate in config.gates:
        if gate.stage not in stages:
            raise ConfigError(
                f'{where}: gate "{gate.id}" reads the stage "{gate.stage}"{suggest(gate.stage, stages)}.'
            )
    return config


def load_recipe(path: Path) -> Recipe:
    """The recipe in the file at `path`."""
    return _validate(Recipe, read_toml(path), str(path))


def suggest(word: str, known: list[str]) -> str:
    """'; did you mean "x"?' for a misspelt word, else the list of what is known."""
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are: {', '.join(sorted(known))}"


def _validate(model: type[_Model], values: dict[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            message = f"{where}: unknown key {place}{suggest(str(first['loc'][-1]), known)}"
        elif first["type"] == "missing":
            message = f"{where}: {place} is missing"
        else:
            reason = first["msg"].removeprefix("Value error, ")
            shown = first.get("input")
            found = (
                f" (found {shown!r})"
                if isinstance(shown, str | int | float) and first["type"] != "value_error"
                else ""
            )
            message = f"{where}: {place or 'the file'}: {reason}{found}"
        raise ConfigError(message.rstrip(".") + ("" if message.endswith("?") else ".")) from None


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that the settings at `path` know."""
    current: Any = model
    for part in path:
        if isinstance(part, int) or not (isinstance(current, type) and issubclass(current, BaseModel)):
            continue
        current = _settings_in(current.model_fields[part].annotation)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _settings_in(annotation: Any) -> Any:
    """The settings class inside `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _settings_in(part)
        if found is not None:
            return found
    return None
