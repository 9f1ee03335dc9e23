"""The input contract: what a model's file fixes, joined with what the settings say, and checked. Legend: N images, K classes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from safeml.classifiers.base import Classifier, InputSpec, Model
from safeml.errors import ConfigError, InputRefused
from safeml.settings.model import VALUES, InputSettings

LOG_NOTE = "the outputs are probabilities without a softmax layer; logits are their logarithms"


def input_spec(model: Model, settings: InputSettings, classes: int) -> InputSpec:
    """The contract of `model` under `settings` for data of `classes` classes.

    Raises InputRefused where the model does not fit, and ConfigError where the settings contradict themselves.
    """
    where = model.where
    if settings.outputs == VALUES:
        _check_values(model, classes)
    elif model.outputs == 1:
        raise InputRefused(
            f"{where}: gives outputs of shape [None, 1] without a sigmoid; expected one sigmoid for two classes, or one output "
            "for each class. For a regression, declare [[data.targets]]."
        )
    elif model.outputs != classes:
        remedy = (
            "If the model was trained on some of these classes, list them in data.test.classes in the order of its outputs."
            if model.outputs < classes
            else "If the data lack some of its classes, list all of them in data.test.class_names or class_table."
        )
        raise InputRefused(
            f"{where}: gives {model.outputs} outputs; the data have {classes} classes. {remedy}"
        )
    height, width, depth = model.input_shape
    wanted = 1 if settings.channels == "grey" else 3
    if depth not in (None, wanted):
        raise InputRefused(
            f'{where}: takes {depth} channels; model.input.channels = "{settings.channels}" gives {wanted}.'
        )
    gives = VALUES if settings.outputs == VALUES else model.gives
    if settings.outputs not in (None, gives, "probabilities" if model.gives == "sigmoids" else None):
        raise InputRefused(f'{where}: gives {model.gives}; model.input.outputs says "{settings.outputs}".')
    order = settings.class_order
    if order is not None and sorted(order) != list(range(len(order))):
        raise ConfigError(
            f"model.input.class_order names {len(order)} classes, but not each of 0-{len(order) - 1} once."
        )
    if order is not None and len(order) != model.outputs:
        raise ConfigError(
            f"model.input.class_order has {len(order)} entries; the model has {model.outputs} outputs."
        )
    return InputSpec(
        height=_side(where, "height", height, settings.height),
        width=_side(where, "width", width, settings.width),
        channels=settings.channels,
        low=settings.range[0],
        high=settings.range[1],
        outputs=gives,
        class_order=order,
        mean=settings.mean,
        std=settings.std,
        standardise=settings.standardise,
    )


def _check_values(model: Model, targets: int) -> None:
    """Raise InputRefused unless the outputs of `model` can be the values of so many targets."""
    if model.gives in ("probabilities", "sigmoids") and not model.takes_log:
        raise InputRefused(
            f"{model.where}: ends in a softmax or a sigmoid, so it is a classifier; [[data.targets]] declares a regression, whose model ends in "
            "a linear layer. Remove [[data.targets]], or give the regression model."
        )
    if model.outputs != targets:
        raise InputRefused(
            f"{model.where}: gives {model.outputs} values; [[data.targets]] declares {targets}. Declare one target for each output, "
            "in their order."
        )


def raw_values(model: Model) -> dict[str, Any]:
    """Return the fields of a regression model that differ from those of a classifier: no logarithm is taken of its outputs."""
    return {"takes_log": False, "notes": tuple(note for note in model.notes if note != LOG_NOTE)}


def check_integer_contract(spec: InputSpec, where: str) -> None:
    """Raise InputRefused unless a model of integers is fed 0..255 and nothing else."""
    if (spec.low, spec.high) != (0, 255) or spec.mean or spec.std or spec.standardise:
        raise InputRefused(
            f"{where}: takes integers; expected model.input.range = [0, 255] without mean, std or standardise."
        )


def contract_key(contract: InputSettings, pixels: str, model: str) -> str:
    """sha256 that ties a measured contract to the images (their pixels' fingerprint) and the model that it was measured on."""
    settings = contract.model_dump(mode="json", exclude={"chosen_on"})
    return hashlib.sha256(json.dumps([settings, pixels, model], sort_keys=True).encode()).hexdigest()


def _side(where: str, name: str, fixed: int | None, wanted: int | None) -> int:
    if fixed is None and wanted is None:
        raise InputRefused(
            f"{where}: leaves the input {name} open; set model.input.{name} in the configuration."
        )
    if fixed is not None and wanted is not None and fixed != wanted:
        raise InputRefused(f"{where}: takes images of {name} {fixed}; model.input.{name} says {wanted}.")
    return int(fixed if fixed is not None else wanted or 0)


def model_values(pixels: Any, spec: InputSpec) -> Any:
    """tf.Tensor float32 [N, H, W, C] of pixels in 0..1 -> what the model wants, float32 [N, height, width, channels].

    A differentiable map, so that attacks work on the pixels that a camera would deliver. Resizing is bilinear with
    antialiasing, as Pillow's.
    """
    import tensorflow as tf

    if pixels.shape[1:3] != (spec.height, spec.width):
        pixels = tf.image.resize(pixels, (spec.height, spec.width), method="bilinear", antialias=True)
    if spec.channels == "grey" and pixels.shape[3] == 3:
        pixels = tf.image.rgb_to_grayscale(pixels)
    elif spec.channels != "grey" and pixels.shape[3] == 1:
        pixels = tf.repeat(pixels, 3, axis=3)
    elif spec.channels == "bgr":
        pixels = tf.reverse(pixels, axis=[3])
    values = spec.low + pixels * (spec.high - spec.low)
    if spec.standardise:
        return tf.image.per_image_standardization(values)
    if spec.mean:
        values = values - tf.constant(spec.mean, tf.float32)
    if spec.std:
        values = values / tf.constant(spec.std, tf.float32)
    return values


def model_arrays(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return what the model is fed for images, float32 [N, height, width, channels].

    images: uint8 [N, H, W, C], or float32 in 0..1.
    """
    import tensorflow as tf

    return np.asarray(model_values(tf.constant(as_pixels(images)), spec), np.float32)


def as_pixels(images: np.ndarray) -> np.ndarray:
    """uint8 images as float32 in 0..1; float images unchanged but for their type."""
    return (
        images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    )


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether every row of float [N, K] is a distribution; judged on black, white and noise images."""
    return bool((outputs >= 0).all() and np.abs(outputs.sum(axis=1) - 1).max() < 1e-3)


# Of the largest output: what rounding may change when an image stands in other company. Honest networks differ by nothing.
ALONE = 1e-3


def check_outputs(classifier: Classifier, where: str) -> None:
    """Raise InputRefused where the outputs on black, white and noise images are not finite, or differ from call to call or
    with the other images of the batch."""
    spec = classifier.spec
    images = np.random.default_rng(1).integers(
        0, 256, (16, spec.height, spec.width, spec.depth), dtype=np.uint8
    )
    images[0], images[1] = 0, 255
    first, second = classifier.predict_logits(images), classifier.predict_logits(images)
    if not np.isfinite(first).all():
        raise InputRefused(
            f"{where}: gives outputs that are not finite on black, white or noise images; its arithmetic overflows."
        )
    if not np.array_equal(first, second):
        raise InputRefused(
            f"{where}: gives other outputs for the same images each time; a model under test is deterministic at inference."
        )
    # Black, white and noise, each among its own copies.
    for image, outputs in zip(images[:3], first[:3], strict=True):
        among = classifier.predict_logits(np.repeat(image[None], len(images), axis=0))
        if not np.abs(among - outputs).max() <= ALONE * max(1.0, float(np.abs(outputs).max())):
            raise InputRefused(
                f"{where}: gives an image other outputs when other images stand beside it in the batch, and is deployed with "
                "other neighbours than it is audited with; export it in inference mode, without operations across the batch."
            )
