"""Augmentation and order of the training images: closed forms, and independence of batch and resume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.config.recipe import AugmentSettings, Recipe
from safeml.data.dataset import ImageDataset

pytestmark = pytest.mark.slow

STILL = {"shift": 0, "rotation_degrees": 0, "zoom": 0, "brightness": 0, "contrast": 0}
SHIFT_X, SHIFT_Y, TURN, ZOOM, CONTRAST, BRIGHTNESS, BLUR = range(7)


def augmented(images: np.ndarray, draws: dict[int, float], **settings: float) -> np.ndarray:
    import tensorflow as tf

    from safeml.training.augment import DRAWS, augment

    values = np.zeros((len(images), DRAWS), np.float32)
    for column, value in draws.items():
        values[:, column] = value
    made = AugmentSettings.model_validate({**STILL, **settings})
    return np.asarray(augment(tf.constant(images, tf.float32), tf.constant(values), made))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(3).random((2, 8, 8, 3)).astype(np.float32)


def test_nothing_asked_nothing_changed(images: np.ndarray) -> None:
    np.testing.assert_allclose(augmented(images, dict.fromkeys(range(7), 0.7)), images, atol=1e-6)


def test_a_shift_moves_by_a_share_of_the_size_and_repeats_the_edge(images: np.ndarray) -> None:
    moved = augmented(images, {SHIFT_X: 1.0}, shift=0.25)  # 2 of 8 pixels to the right
    np.testing.assert_allclose(moved[:, :, 2:], images[:, :, :-2], atol=1e-5)
    np.testing.assert_allclose(moved[:, :, 0], images[:, :, 0], atol=1e-5)
    down = augmented(images, {SHIFT_Y: 1.0}, shift=0.25)
    np.testing.assert_allclose(down[:, 2:], images[:, :-2], atol=1e-5)


def test_a_zoom_of_two_magnifies_the_centre() -> None:
    """A ramp a x + b about the centre becomes a x / 2 + b."""
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 9, dtype=np.float32)[None, None, :, None], (1, 9, 9, 3))
    zoomed = augmented(ramp, {ZOOM: 1.0}, zoom=0.5)
    expected = 0.5 + (ramp - 0.5) / 1.5
    np.testing.assert_allclose(zoomed, expected, atol=1e-5)


def test_a_turn_keeps_the_centre_and_has_the_right_angle() -> None:
    """A linear image turned by t is the same ramp along a turned axis, wherever no edge is repeated."""
    y, x = np.mgrid[-4:5, -4:5].astype(np.float32)
    ramp = 0.5 + 0.05 * np.stack([x] * 3, axis=-1)[None]
    turned = augmented(ramp, {TURN: 1.0}, rotation_degrees=30)
    angle = np.deg2rad(30)
    expected = 0.5 + 0.05 * (np.cos(angle) * x - np.sin(angle) * y)
    inside = np.hypot(x, y) <= 4
    np.testing.assert_allclose(turned[0, ..., 0][inside], expected[inside], atol=1e-5)


def test_contrast_and_brightness_by_their_formulas(images: np.ndarray) -> None:
    grey = 0.4 + 0.2 * images  # far from 0 and 1, so that nothing is clipped
    mean = grey.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        augmented(grey, {CONTRAST: -0.5}, contrast=0.4), mean + 0.8 * (grey - mean), atol=1e-6
    )
    np.testing.assert_allclose(augmented(grey, {BRIGHTNESS: 0.5}, brightness=0.2), grey + 0.1, atol=1e-6)
    assert augmented(grey, {BRIGHTNESS: 1.0}, brightness=0.9).max() == 1.0


def test_blur_against_scipy(images: np.ndarray) -> None:
    from scipy.ndimage import gaussian_filter

    blurred = augmented(images, {BLUR: 0.5}, blur_sigma=2.0)
    expected = gaussian_filter(images, sigma=1.0, mode="reflect", radius=2, axes=(1, 2))
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    np.testing.assert_allclose(augmented(images, {BLUR: -0.5}, blur_sigma=2.0), images, atol=1e-6)


def data(count: int = 50, classes: int = 3) -> ImageDataset:
    rng = np.random.default_rng(0)
    labels = np.minimum(rng.integers(0, 10, count), classes - 1)  # the last class has most images
    labels[:classes] = np.arange(classes)
    images = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ImageDataset("made", images, labels, tuple("abcdefgh"[:classes]))


def recipe(**changes: Any) -> Recipe:
    values = {
        "name": "r",
        "architecture": "lenet",
        "epochs": 4,
        "batch": 16,
        "data": {
            "train": {"kind": "rendered", "images": 50, "seed": 1},
            "valid": {"kind": "rendered", "images": 50, "seed": 2},
        },
    }
    return Recipe.model_validate({**values, **changes})


def epochs(made: ImageDataset, asked: Recipe, first: int = 0) -> list[list[np.ndarray]]:
    """For each epoch from `first`: images, labels and weights as whole arrays."""
    from safeml.training.batches import steps_per_epoch, training_batches

    batches = list(training_batches(made, asked, first))
    steps = steps_per_epoch(made, asked)
    assert len(batches) == steps * (asked.epochs - first)
    return [
        [np.concatenate([np.asarray(batch[part]) for batch in batches[at : at + steps]]) for part in range(3)]
        for at in range(0, len(batches), steps)
    ]


def test_an_epoch_is_the_same_whenever_training_begins_with_it() -> None:
    made = data()
    whole, resumed = epochs(made, recipe()), epochs(made, recipe(), first=2)
    for kept, again in zip(whole[2:], resumed, strict=True):
        for a, b in zip(kept, again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_image_of_an_epoch_does_not_depend_on_the_batch_size() -> None:
    made = data()
    small, large = epochs(made, recipe(batch=7)), epochs(made, recipe(batch=50))
    for a, b in zip(small, large, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)
        np.testing.assert_array_equal(a[1], b[1])


def test_each_epoch_shows_every_image_once_in_another_order_and_another_form() -> None:
    made = data()
    first, second = epochs(made, recipe())[:2]
    for images, labels, weights in (first, second):
        assert np.array_equal(labels.sum(axis=0), np.bincount(made.labels))
        assert (weights == 1).all()
        assert len(images) == len(made)
    assert not np.array_equal(first[1], second[1])
    assert not np.isclose(
        np.sort(first[0].mean(axis=(1, 2, 3))), np.sort(second[0].mean(axis=(1, 2, 3)))
    ).all()
    other = epochs(made, recipe(seed=8))[0]
    assert not np.array_equal(first[1], other[1])


def test_class_weights_give_every_class_the_same_share_of_the_loss() -> None:
    made = data()
    _, labels, weights = epochs(made, recipe(balance="class_weights"))[0]
    shares = (labels * weights[:, None]).sum(axis=0)
    np.testing.assert_allclose(shares, len(made) / 3, rtol=1e-5)
    np.testing.assert_allclose(weights.mean(), 1.0, rtol=1e-5)


def test_balanced_sampling_draws_every_class_equally_often() -> None:
    made = data(count=900)
    drawn = np.sum([labels.sum(axis=0) for _, labels, _ in epochs(made, recipe(balance="sampling"))], axis=0)
    expected, spread = 1200, np.sqrt(3600 * (1 / 3) * (2 / 3))
    assert np.abs(drawn - expected).max() < 5 * spread  # natural shares would be 0.1, 0.1 and 0.8
