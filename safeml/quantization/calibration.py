"""Calibration: the scale of every activation quantizer, from images.

Two passes over the images: the first measures the largest magnitude of each tensor, the second counts the magnitudes in
bins up to it. The activations are those of the model with quantized kernels and float activations. Legend: N images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml import framework, interruption
from safeml.config.quantization import CalibrationSettings
from safeml.errors import InputRefused
from safeml.int8.fake import SMALLEST_SCALE
from safeml.int8.layers import ActivationQuantizer
from safeml.quantization.observers import BINS, CODES, ZERO_SCALE, Histogram, observed
from safeml.quantization.rewrite import quantizers, set_bias_floors

BATCH = 32
# The tensors of each quantizer, by the place of its call: those that share a scale have one quantizer.
Taps = dict[str, dict[int, Any]]


@dataclass(frozen=True)
class Calibration:
    """The result of a calibration.

    scales: value of one code, by the name of the quantizer.
    largest: magnitude of the tensor on the calibration images, by the name of the quantizer.
    notes: one sentence each.
    """

    scales: dict[str, float]
    largest: dict[str, float]
    notes: tuple[str, ...] = ()


def calibrate(
    quantized: keras.Model, images: np.ndarray, settings: CalibrationSettings | str = "mse"
) -> Calibration:
    """Set the scale of every activation quantizer of `quantized`, and the floors of the kernels that follow from it.

    images: float32 [N, ...], the values that the model takes.
    settings: those of the observer, or its name.

    Raises InputRefused for no images, images of another shape, or values or activations that are not finite.
    """
    if isinstance(settings, str):
        settings = CalibrationSettings.model_validate({"observer": settings})
    _check(quantized, images)
    tap = _tapped(quantized)
    # The order of the images within a batch cannot matter, but their company may, in the last bit of a product.
    sites = _largest(tap, images)
    largest = {name: float(values.max()) for name, values in sites.items()}
    counts = {name: np.zeros(BINS, np.int64) for name in largest}
    if settings.observer != "max":
        counted = tf.function(lambda values, count, tops: _counts(tap(values), count, tops), autograph=False)
        tops = {name: tf.constant(value or 1.0, tf.float32) for name, value in largest.items()}
        for values, count in batches(images):
            for name, found in counted(values, count, tops).items():
                counts[name] += found.numpy()
    scales, notes = {}, []
    for quantizer in quantizers(quantized):
        name = quantizer.name
        threshold = observed(Histogram(counts[name], largest[name]), settings)
        quantizer.set_scale(max(threshold / CODES, SMALLEST_SCALE) if threshold else ZERO_SCALE)
        scales[name] = float(quantizer.scale.numpy())
        if quantizer.sites > 1 and largest[name]:
            quantizer.shares.assign(sites[name] / largest[name])
        if not threshold:
            notes.append(
                f"{name}: the tensor is zero on all calibration images, so its scale is set to {ZERO_SCALE:g}."
            )
    set_bias_floors(quantized)
    return Calibration(scales, largest, tuple(notes))


def _check(quantized: keras.Model, images: np.ndarray) -> None:
    expected = tuple(quantized.inputs[0].shape)[1:]
    if len(images) == 0:
        raise InputRefused("The calibration data have no images; expected at least one, better a thousand.")
    fits = images.ndim == len(expected) + 1 and all(
        size in (None, given) for size, given in zip(expected, images.shape[1:], strict=True)
    )
    if not fits:
        raise InputRefused(
            f"The calibration images have the shape {list(images.shape[1:])}; {quantized.name} takes "
            f"{['any' if size is None else size for size in expected]}. Resize them as for the model."
        )
    finite = np.isfinite(images.reshape(len(images), -1)).all(axis=1)
    if not finite.all():
        raise InputRefused(
            f"Calibration image {int(np.argmin(finite))} has values that are not finite; remove it, or repair what "
            "prepared it."
        )


def _tapped(quantized: keras.Model) -> Callable[[Any], Taps]:
    """Return a function values -> the inputs of each quantizer, with activations in float. It adds no nodes to the model."""

    names = [quantizer.name for quantizer in quantizers(quantized)]

    def run(values: Any) -> Taps:
        taps: Taps = {name: {} for name in names}

        def operation(layer: Any) -> Any:
            if not isinstance(layer, ActivationQuantizer):
                return layer

            def record(tensor: Any, site: int = 0, **options: Any) -> Any:
                taps[layer.name][site] = tensor
                return tensor

            return record

        quantized._run_through_graph([values], operation_fn=operation)
        return taps

    return run


def _largest(tap: Callable[[Any], Taps], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the largest magnitude of each tensor, float32 [sites]. Raises InputRefused for an image with activations that are not finite."""

    def each(values: Any) -> dict[str, Any]:
        """float32 [sites, N]: the largest magnitude of each image; infinite for one that is not finite."""

        def of(tensor: Any) -> Any:
            flat = tf.abs(tf.reshape(tensor, [tf.shape(tensor)[0], -1]))
            # A maximum may drop NaN.
            return tf.reduce_max(tf.where(tf.math.is_finite(flat), flat, np.inf), axis=1)

        return {
            name: tf.stack([of(tensors[site]) for site in sorted(tensors)])
            for name, tensors in tap(values).items()
        }

    function = tf.function(each, autograph=False)
    largest: dict[str, np.ndarray] = {}
    for number, (values, count) in enumerate(batches(images)):
        for name, found in function(values).items():
            magnitudes = found.numpy()[:, : int(count)]
            finite = np.isfinite(magnitudes).all(axis=0)
            if not finite.all():
                image = number * BATCH + int(np.argmin(finite))
                raise InputRefused(
                    f"Calibration image {image} gives activations at {name} that are not finite; remove the image, or "
                    "check the input contract of the model."
                )
            largest[name] = np.maximum(largest.get(name, 0), magnitudes.max(axis=1))
    return largest


def _counts(taps: Taps, count: Any, tops: dict[str, Any]) -> dict[str, Any]:
    """int32 [BINS] of each tensor: the magnitudes of its first `count` images in bins up to `tops`."""
    return {
        name: tf.add_n(
            [
                tf.histogram_fixed_width(tf.abs(tensor[:count]), [0.0, tops[name]], BINS)
                for tensor in tensors.values()
            ]
        )
        for name, tensors in taps.items()
    }


def batches(images: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Yield batches of one shape, the last filled up with zeros, and the number of their images."""
    for start in range(0, len(images), BATCH):
        interruption.check()
        batch = images[start : start + BATCH].astype(np.float32)
        count = len(batch)
        if count < BATCH:
            batch = np.concatenate([batch, np.zeros((BATCH - count, *batch.shape[1:]), np.float32)])
        with framework.memory_errors():
            yield tf.constant(batch), tf.constant(count)
