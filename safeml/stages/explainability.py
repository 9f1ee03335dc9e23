"""The stage *explainability*: what the predictions depend on, measured on attribution maps and on images with other surroundings."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from safeml.corruptions.rows import CORRUPTIONS
from safeml.explainers.rows import ROWS
from safeml.results import Alarm, Gate
from safeml.settings.errors import suggest
from safeml.stages.base import CLASSES, NO_AUTHORITY, Declared, Stage, StageTable, at_most

METHODS = tuple(ROWS)
WITHOUT_GRADIENT = tuple(name for name, row in ROWS.items() if not row.gradient)
CONTROLS = ("random", "centre")
NOISE = "noise"
# Of the corruptions under which maps are compared.
SEVERITY = 2
# One of each group: noise, blur, weather, light, dirt.
FEW = ("gaussian_noise", "motion_blur", "mist", "brightness", "dirt")


def _methods(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in ROWS:
            raise ValueError(f'names "{name}", which is no attribution method{suggest(name, list(ROWS))}')
    if len(set(value)) != len(value):
        raise ValueError("repeats a method; name each once")
    return value


def _without_gradient(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in _methods(value):
        if ROWS[name].gradient:
            raise ValueError(
                f'names "{name}", which needs more than predictions; expected some of {", ".join(WITHOUT_GRADIENT)}'
            )
    return value


def _corruptions(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in CORRUPTIONS:
            raise ValueError(f'names "{name}", which is no corruption{suggest(name, list(CORRUPTIONS))}')
    if len(set(value)) != len(value):
        raise ValueError("repeats a corruption; name each once")
    return value


class ExplainabilitySettings(StageTable):
    """Settings of the stage.

    images: number of explained test images.
    methods: attribution methods for a model with a gradient.
    methods_without_gradient: the same for a model that only predicts, such as an ONNX file.
    probe_images: of the images, how many are explained again with shuffled weights, for another class, with noise and under corruptions.
    largest_similarity: rank correlation of the maps with those of shuffled weights, or of another class, from which on a method is
        not admissible, 0..1.
    levels: steps of the cascade of shuffled weights, from the last layer to all.
    corruptions: names; maps are compared with those of the corrupted images.
    steps: points of integrated gradients.
    draws: of gradient SHAP, for each image; Deep SHAP compares with so many backgrounds.
    backgrounds: images that SHAP compares with, drawn from the training images, or from the test images where there are none.
    copies: noisy copies of SmoothGrad.
    masks: of RISE.
    evaluations: most predictions of Partition SHAP for one image.
    window: side of the square of occlusion, as a share of the shorter side of the image.
    places: positions of that square along each side.
    curve_points: steps of the insertion and deletion curves.
    bootstrap: resamples for the intervals.
    batch: points in a gradient batch; it changes only speed.
    """

    images: int = Field(default=200, ge=1, le=100_000)
    methods: Annotated[tuple[str, ...], AfterValidator(_methods)] = Field(
        default=("integrated_gradients", "grad_cam", "gradient_shap"), min_length=1
    )
    methods_without_gradient: Annotated[tuple[str, ...], AfterValidator(_without_gradient)] = Field(
        default=("occlusion", "rise", "partition_shap"), min_length=1
    )
    probe_images: int = Field(default=32, ge=2, le=10_000)
    largest_similarity: float = Field(default=0.5, gt=0, lt=1)
    levels: int = Field(default=4, ge=1, le=50)
    corruptions: Annotated[tuple[str, ...], AfterValidator(_corruptions)] = FEW
    steps: int = Field(default=64, ge=2, le=1000)
    draws: int = Field(default=32, ge=1, le=10_000)
    backgrounds: int = Field(default=64, ge=1, le=1000)
    copies: int = Field(default=16, ge=1, le=1000)
    masks: int = Field(default=256, ge=16, le=10_000)
    evaluations: int = Field(default=128, ge=16, le=100_000)
    window: float = Field(default=0.25, gt=0, le=0.5)
    places: int = Field(default=8, ge=1, le=64)
    curve_points: int = Field(default=10, ge=2, le=100)
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    batch: int = Field(default=64, ge=1, le=8192)

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Return the methods of both lists, each once."""
        return tuple(dict.fromkeys((*self.methods, *self.methods_without_gradient)))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.probe_images > self.images:
            raise ValueError(
                f"probe_images is {self.probe_images}, more than images ({self.images}); expected a part of the images"
            )
        return self


LIFT = "saliency_lift has the same maps"
BY_ADMISSIBLE = "admissible_methods counts the methods that pass it"
SHOWN = "no standard says how large it should be; the report shows it beside its controls"


def _records(settings: ExplainabilitySettings) -> tuple[Declared, ...]:
    names = settings.all_methods
    against = tuple(f"{name}-{control}" for name in names for control in CONTROLS)
    changed = tuple(f"{name}-{form}" for name in names for form in (NOISE, *settings.corruptions))
    return (
        Declared("clean_accuracy_explainability_sample", context="clean_accuracy has all images"),
        Declared("admissible_methods", "up", 0.0, math.inf, counted=True, whole=True),
        Declared("weight_similarity", "down", -1.0, slices=names, plain=True, context=BY_ADMISSIBLE),
        Declared("class_similarity", "down", -1.0, slices=names, plain=True, context=BY_ADMISSIBLE),
        Declared(
            "method_preference", "down", 0.0, math.inf, slices=names, context="saliency_lift is divided by it"
        ),
        Declared("saliency_lift", "up", 0.0, math.inf, slices=("all", *names, CLASSES)),
        Declared("pointing_game", slices=names, context=LIFT),
        Declared("sign_iou", slices=names, context=LIFT),
        Declared("insertion_auc", slices=names, context=SHOWN),
        Declared("deletion_auc", "down", slices=names, context=SHOWN),
        Declared("faithfulness_gain", "up", -2.0, 2.0, slices=against, context=SHOWN),
        Declared("background_swap_loss", "down", -1.0),
        Declared("background_grey_loss", "down", -1.0, context="background_swap_loss has real surroundings"),
        Declared(
            "sign_removed_accuracy", "down", context="background_swap_loss has the surroundings with the sign"
        ),
        Declared("map_stability", "up", -1.0, slices=changed, plain=True, context=SHOWN),
        Declared(
            "completeness_error",
            "down",
            0.0,
            math.inf,
            context="it is about the number of steps, not the model",
        ),
    )


GATES = (
    Gate(
        id="saliency-lift",
        title="Attribution on the sign against its share of the image, worst admissible method",
        stage="explainability",
        metric="saliency_lift",
        op=">=",
        threshold=1.0,
        rationale="At 1 the attribution is spread as if the sign did not matter; a model must depend on the sign more than on its "
        f"surroundings. {NO_AUTHORITY}",
    ),
)

ALARMS = (
    Alarm(
        metric="admissible_methods",
        level=1,
        sentence="No attribution method is admissible, so nothing is known about what the predictions depend on.",
        accepted_with="saliency_lift",
        control=True,
    ),
    Alarm(
        metric="background_swap_loss",
        direction="down",
        level=0.1,
        sentence="With the surroundings of other images the model misclassifies signs that it classified correctly: it reads the surroundings.",
    ),
)

EXPLAINABILITY = Stage(
    name="explainability",
    title="Explainability",
    summary="attribution maps (SHAP, integrated gradients, Grad-CAM, occlusion, RISE): sanity checks, faithfulness, share on the sign, "
    "stability; accuracy with other surroundings",
    settings=ExplainabilitySettings,
    run="safeml.audits.explainability.run:run",
    records=_records,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    standard=lambda settings, gated: at_most(settings, images=100),
    quick=lambda settings, gated: _quick(settings),
    images=lambda settings: settings.images,
    perfect="safeml.audits.explainability.perfect:PERFECT",
)


def _quick(settings: ExplainabilitySettings) -> ExplainabilitySettings:
    """Reduce the settings to a few seconds. Methods of shap are left out where others remain: its import alone takes seconds."""
    fewer = at_most(
        settings,
        images=24,
        probe_images=8,
        levels=2,
        steps=16,
        draws=16,
        copies=4,
        masks=64,
        evaluations=48,
        places=5,
        curve_points=5,
        bootstrap=200,
    )
    without = {key: _without_shap(getattr(settings, key)) for key in ("methods", "methods_without_gradient")}
    return fewer.model_copy(update={"corruptions": settings.corruptions[:1], **without})


def _without_shap(methods: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in methods if name not in ("deep_shap", "partition_shap")) or methods
