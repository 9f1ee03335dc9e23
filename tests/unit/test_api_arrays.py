"""What a caller passes is checked: every misfit is one sentence with a remedy, and no pixel changes silently."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.api.arrays import checked_labels, dataset, declared, eight_bits, unit_pixels
from safeml.errors import ConfigError, InputRefused

GREYS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_of_eight_bits_come_back_to_the_bit(kind: str) -> None:
    if kind == "float16":  # is too coarse to tell 254/255 from its neighbours
        with pytest.raises(InputRefused, match="no multiple of 1/255"):
            eight_bits(GREYS.astype(kind) / np.float16(255))
    else:
        np.testing.assert_array_equal(eight_bits(GREYS.astype(kind) / np.array(255, kind)), GREYS)


def test_integers_of_another_type_are_the_same_pixels() -> None:
    assert eight_bits(GREYS.astype(np.int64)).dtype == np.uint8
    np.testing.assert_array_equal(eight_bits(GREYS.astype(np.int64)), GREYS)
    np.testing.assert_array_equal(unit_pixels(GREYS), GREYS.astype(np.float32) / np.float32(255))


def _float_images(value: float) -> np.ndarray:
    images = np.zeros((3, 4, 4, 3), np.float32)
    images[2, 1, 1, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"which is one image; expected \[N, H, W, C\]: images\[None\]"),
        (np.zeros((5, 4, 4), np.uint8), r"of grey images: images\[\.\.\., None\]"),
        (np.zeros((5, 3, 8, 8), np.uint8), r"channels first.*np\.transpose\(images, \(0, 2, 3, 1\)\)"),
        (np.zeros((5, 8, 8, 4), np.uint8), r"expected \[N, H, W, 1 or 3\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), "there are no images"),
        (np.full((2, 4, 4, 1), 256, np.int32), "int32 from 256 to 256; expected 0 to 255"),
        (np.zeros((2, 4, 4, 1), bool), "images are bool"),
        (_float_images(np.nan), "image 2 of 3 has NaN or infinite pixels"),
        (_float_images(np.inf), "image 2 of 3 has NaN or infinite pixels"),
        (_float_images(200.0), r"from 0 to 200; expected 0 to 1.*input=\{'range': \[0, 255\]\}"),
        (_float_images(-0.5), r"from -0\.5 to 0; expected 0 to 1"),
        (
            _float_images(0.4999),
            r"image 2 has values that are no multiple of 1/255.*np\.rint\(images \* 255\)",
        ),
        ([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], "different sizes"),
    ],
)
def test_images_of_a_caller_are_refused_in_one_sentence(images: Any, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as error:
        eight_bits(images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.eye(3), r"as if one-hot; expected one class id per image, such as labels\.argmax\(axis=1\)"),
        (np.zeros((3, 1), int), r"such as labels\[:, 0\]"),
        (np.zeros(3), r"labels are float64; expected whole numbers, such as labels\.astype\('int64'\)"),
        (np.array(["a", "b", "c"]), "labels are text"),
        (np.zeros(2, int), r"shape \[2\]; expected one for each of the 3 images"),
        (np.array([0, 1, 4]), "image 2 has class id 4; with 4 classes, ids are 0-3"),
        (np.array([0, -1, 1]), "image 1 has class id -1"),
        (np.array([True, False, True]), "labels are bool"),
    ],
)
def test_labels_of_a_caller_are_refused_in_one_sentence(labels: np.ndarray, words: str) -> None:
    with pytest.raises(InputRefused, match=words):
        checked_labels(labels, 3, 4)


def test_a_data_set_of_arrays_declares_only_what_the_caller_declared() -> None:
    images = np.zeros((4, 16, 16, 3), np.uint8)
    data = dataset(images, [0, 1, 1, 2])
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert (data.tracks, data.frames_per_sign) == (None, None)
    known = dataset(images, [0, 1, 1, 2], ["a", "b", "c", "d"], tracks=[5, 6, 6, 7], frames_per_sign=2)
    assert (known.classes, known.tracks.tolist(), known.frames_per_sign) == (4, [5, 6, 6, 7], 2)  # type: ignore[union-attr]
    with pytest.raises(InputRefused, match="tracks are float64"):
        dataset(images, [0, 1, 1, 2], tracks=[0.5, 1, 1, 2])


def test_a_second_declaration_of_frames_is_refused() -> None:
    data = dataset(np.zeros((2, 16, 16, 3), np.uint8), [0, 1])
    assert declared(data, 15.0).frames_per_sign == 15.0
    assert declared(data, None) is data
    with pytest.raises(ConfigError, match="frames_per_sign is 10, and the data set arrays declares 15"):
        declared(declared(data, 15.0), 10.0)
