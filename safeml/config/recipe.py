"""The file `recipe.toml`: the training of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import Epsilon, PathText, Settings, validated
from safeml.settings.data import DataSettings, check_tables
from safeml.settings.model import Head
from safeml.settings.targets import TargetSettings, check_targets
from safeml.settings.toml_file import read_toml

# Of a regression.
ERROR_MONITORS = ("val_mae", "val_rmse")


class AugmentSettings(Settings):
    """The maximum of each label-preserving change; no flip, because a mirrored sign is another sign.

    shift: share of the image size.
    rotation_degrees: to either side.
    zoom: 0.1 is 0.9 to 1.1 times as large.
    brightness: added, in a range of 0..1.
    contrast: 0.3 is 0.7 to 1.3 times the distance from the mean.
    blur_sigma: pixels of a Gaussian, for every second image.
    """

    shift: Finite = Field(default=0.1, ge=0, le=0.5)
    rotation_degrees: Finite = Field(default=10.0, ge=0, le=30)
    zoom: Finite = Field(default=0.1, ge=0, le=0.5)
    brightness: Finite = Field(default=0.2, ge=0, le=0.9)
    contrast: Finite = Field(default=0.3, ge=0, le=0.9)
    blur_sigma: Finite = Field(default=0.0, ge=0, le=3)


class TrainingData(Settings):
    """The training images, and the validation images that select the checkpoint.

    valid, valid_fraction: either separate images, or the held-out share of the training signs.
    split: hold out whole signs ("track"), or single images ("image"), which leaks and serves to measure the leakage.
    targets: what a regression model learns to predict; empty for a classifier.
    """

    train: DataSettings
    valid: DataSettings | None = None
    valid_fraction: Finite | None = Field(default=None, gt=0, lt=1)
    split: Literal["track", "image"] = "track"
    targets: tuple[TargetSettings, ...] = ()

    @model_validator(mode="after")
    def _targets_are_declared(self) -> Self:
        check_targets(self.targets)
        check_tables(self.targets, self.train, self.valid)
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if (self.valid is None) == (self.valid_fraction is None):
            raise ValueError("set either [data.valid] or valid_fraction, not both")
        if self.train == self.valid:
            raise ValueError("[data.train] and [data.valid] are the same; set [data.valid] to other images")
        if self.valid is not None and self.split == "image":
            raise ValueError('split = "image" requires valid_fraction; [data.valid] is already split')
        return self


class BackboneSettings(Settings):
    """Transfer learning: the source network, and the layers to train again.

    source: the name of an architecture of `keras.applications`, or the path of a Keras model, relative to the recipe.
    weights: "imagenet" (fetched), "none" (random), or the path of a weights file without the classifier; not set for the
        path of a model, which includes weights.
    layer: the last layer of the source to use; empty for the one before the classifier, without its dropout.
    alpha: the width multiplier of the MobileNets.
    similar: whether the images that the source was trained on resemble these.
    freeze: frozen layers: "all" (feature extraction), "none" (fine-tuning), the share of layers with weights from the input
        on, or "auto": depends on the number of images and on `similar`.
    head_epochs: epochs with the whole backbone frozen, before the layers not in `freeze` are trained.
    fine_tune_rate: factor of the learning rate for those later epochs.
    """

    source: PathText = Field(min_length=1)
    weights: PathText = Field(default="imagenet", min_length=1)
    layer: str = ""
    alpha: Finite = Field(default=1.0, gt=0, le=2)
    similar: bool = False
    freeze: Literal["auto", "all", "none"] | Annotated[Finite, Field(ge=0, le=1)] = "auto"
    head_epochs: int = Field(default=2, ge=0, le=1000)
    fine_tune_rate: Finite = Field(default=0.1, gt=0, le=1)


class AdversarialTrainingSettings(Settings):
    """Adversarial training: every step trains on newly attacked images.

    method: "fgsm_rs", one step from a random point of the ball, or "pgd", several from there.
    norm: of the ball: linf or l2.
    epsilon: of the ball, in pixel units of 0..1.
    steps: of PGD.
    step_size: in pixel units; by default 1.25 epsilon for FGSM-RS and 2.5 epsilon / steps for PGD.
    validation_images, validation_steps: number of validation images attacked by PGD after each epoch, and steps of PGD,
        for `val_robust_accuracy`, which reveals overfitting to a one-step attack.
    """

    method: Literal["fgsm_rs", "pgd"] = "fgsm_rs"
    norm: Literal["linf", "l2"] = "linf"
    epsilon: Epsilon
    steps: int = Field(default=3, ge=1, le=100)
    step_size: Epsilon | None = None
    validation_images: int = Field(default=512, ge=1, le=100_000)
    validation_steps: int = Field(default=10, ge=1, le=1000)

    @model_validator(mode="after")
    def _within_the_pixels(self) -> Self:
        for name, value in (("epsilon", self.epsilon), ("step_size", self.step_size)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value:g}; expected a positive number in pixel units of 0..1")
            if value is not None and self.norm == "linf" and value > 1:
                raise ValueError(f'{name} is {value:g}; pixels are 0..1 here, so write "{value:g}/255"')
        return self


class DistillSettings(Settings):
    """Distillation: the model learns from the logits of a trained teacher as well as from the labels.

    teacher: a Keras model file or the folder of `safeml train`, relative to the recipe; it takes the same images, RGB in 0..1,
        and gives the same classes.
    temperature: divides the logits of both before their softmax; larger values weigh the improbable classes more.
    alpha: share of the loss that comes from the teacher; the rest comes from the labels.
    """

    teacher: PathText = Field(min_length=1)
    temperature: Finite = Field(default=3.0, gt=0, le=100)
    alpha: Finite = Field(default=0.5, gt=0, le=1)


class FitSettings(Settings):
    """A fit: its data, its hyperparameters and what selects its checkpoint. Paths are relative to the folder of the file.

    name: small letters, digits and hyphens; it names the output folder and the model.
    epochs: passes over the training images.
    batch: images per step.
    optimizer: AdamW, Adam or SGD with momentum, of Keras.
    learning_rate: highest, after the warm-up.
    label_smoothing: share of each label that is spread over all classes.
    weight_decay: of AdamW; with the other optimizers it is decoupled as well.
    seed: of the weights, the order of the images, augmentation and attacks.
    schedule: learning rate after the warm-up of a twentieth of all steps.
    weight_average: momentum of a moving average of the weights, which is validated and saved; 0 for none.
    balance: nothing, losses weighted by 1 / images of the class, or images drawn with that probability.
    adversarial: attack on the training images; without the table there is none.
    early_stopping: epochs without improvement of `monitor` after which training ends; 0 for never.
    monitor, save_best_only: as in `keras.callbacks.ModelCheckpoint`; `val_robust_accuracy` requires [adversarial]. Not set:
        `val_accuracy`, or `val_mae` of a regression.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    data: TrainingData
    epochs: int = Field(ge=1, le=1000)
    batch: int = Field(default=128, ge=1, le=4096)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    learning_rate: Finite = Field(default=2e-3, gt=0, le=1)
    label_smoothing: Finite = Field(default=0.0, ge=0, lt=1)
    weight_decay: Finite = Field(default=0.0, ge=0, lt=1)
    weight_average: Finite = Field(default=0.0, ge=0, lt=1)
    balance: Literal["none", "class_weights", "sampling"] = "none"
    augment: AugmentSettings = AugmentSettings()
    adversarial: AdversarialTrainingSettings | None = None
    early_stopping: int = Field(default=0, ge=0, le=1000)
    monitor: Literal["val_accuracy", "val_loss", "val_robust_accuracy", "val_mae", "val_rmse"] = (
        "val_accuracy"
    )
    save_best_only: bool = True
    seed: int = Field(default=7, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _monitor_is_measured(self) -> Self:
        if self.monitor == "val_robust_accuracy" and self.adversarial is None:
            raise ValueError('monitor = "val_robust_accuracy" requires the table [adversarial]; add it')
        return self


def check_regression(fit: FitSettings, unsuited: dict[str, bool]) -> None:
    """Raise ValueError for a fit of a regression with what only a classifier has. unsuited: further settings, and whether they are set."""
    if fit.monitor not in (*ERROR_MONITORS, "val_loss"):
        raise ValueError(
            f'monitor is "{fit.monitor}", which a regression has not; set "val_mae", "val_rmse" or "val_loss"'
        )
    moving = {name: getattr(fit.augment, name) for name in ("shift", "rotation_degrees", "zoom")}
    moved = next((name for name, most in moving.items() if most), None)
    if moved is not None:
        raise ValueError(
            f"augment.{moved} is {moving[moved]:g}, but moving pixels may change the target, such as an angle; set shift, "
            "rotation_degrees and zoom to 0"
        )
    given = {
        "label_smoothing": bool(fit.label_smoothing),
        "balance": fit.balance != "none",
        "[adversarial]": fit.adversarial is not None,
        **unsuited,
    }
    name = next((name for name, is_set in given.items() if is_set), None)
    if name is not None:
        raise ValueError(f"{name} is for classifiers, and [[data.targets]] declares a regression; remove it")


class Recipe(FitSettings):
    """The training of a model (`recipe.toml`). Paths are relative to the folder of the recipe.

    architecture: the network; "backbone" trains on top of the model in [backbone].
    width: channels of the first layer (of a token, for the transformer), from which each architecture derives the others.
    dropout: share of the activations dropped before the last layer.
    bn_momentum: 0.9 suits fits of a few hundred steps; a larger value gives a long fit steadier statistics.
    inflation: train a second time on a random split of the same images, to measure the inflation by such a split.
    head: what the outputs are: a logit for each class, or with "regression" a value for each of [[data.targets]], in its unit.
    loss: of a regression, on errors divided by the spread of the training targets: "huber" (linear beyond one spread) or "mse".
    distill: the teacher; without the table there is none.
    """

    architecture: Literal[
        "lenet", "safeml_cnn", "resnet18", "mobilenet_v2", "efficientnet", "vit", "backbone"
    ]
    width: int = Field(default=16, ge=4, le=512)
    dropout: Finite = Field(default=0.0, ge=0, lt=1)
    backbone: BackboneSettings | None = None
    bn_momentum: Finite = Field(default=0.9, gt=0, lt=1)
    inflation: bool = False
    head: Head = "classification"
    loss: Literal["huber", "mse"] = "huber"
    distill: DistillSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _monitor_of_its_head(cls, values: Any) -> Any:
        """A regression without a monitor is selected by its mean absolute error: it has no accuracy."""
        if isinstance(values, dict) and values.get("head") == "regression" and "monitor" not in values:
            return {**values, "monitor": "val_mae"}
        return values

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        """Refuse what a classifier or a regression does not have."""
        if (self.head == "regression") != bool(self.data.targets):
            raise ValueError(
                'head = "regression" requires [[data.targets]] with name, unit and range, and vice versa'
            )
        of_errors = self.monitor in ERROR_MONITORS
        if self.head == "classification":
            if of_errors:
                raise ValueError(
                    f'monitor is "{self.monitor}", which a classifier has not; set "val_accuracy"'
                )
            return self
        check_regression(
            self,
            {
                "[backbone]": self.backbone is not None,
                "[distill]": self.distill is not None,
                "inflation": self.inflation,
            },
        )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.architecture == "backbone") != (self.backbone is not None):
            raise ValueError('[backbone] requires architecture = "backbone", and vice versa')
        if self.backbone is not None and self.backbone.head_epochs > self.epochs:
            raise ValueError(
                f"backbone.head_epochs is {self.backbone.head_epochs}; there are {self.epochs} epochs in total"
            )
        if self.inflation and self.data.split == "image":
            raise ValueError('inflation compares with a random split; split = "image" already is one')
        if self.distill is not None and self.adversarial is not None:
            raise ValueError(
                "[distill] and [adversarial] exclude each other: the teacher would be asked about attacked images; remove one"
            )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`."""
    return validated(Recipe, read_toml(path), str(path))
