"""Group measures against Pillow and scipy, and groups against images made to belong to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.ndimage
from PIL import Image

from safeml.data.dataset import ImageDataset
from safeml.data.groups import add_pixel_groups, luma, pixel_measures


def dataset(images: np.ndarray, names: tuple[str, ...] = ("a",), **columns: np.ndarray) -> ImageDataset:
    return ImageDataset("set", images, np.zeros(len(images), np.int64), names, **columns)  # type: ignore[arg-type]


def noise(count: int, side: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_luma_is_pillows():
    images = noise(3)
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert np.abs(luma(images) - pillow).max() <= 1  # Pillow rounds
    np.testing.assert_array_equal(luma(images[..., :1]), images[..., 0])


def test_measures_are_scipys_over_blocks_of_any_size(monkeypatch):
    images = noise(7)
    monkeypatch.setattr("safeml.data.groups._BLOCK_PIXELS", 2 * 12 * 12)
    measures = pixel_measures(images)
    for index, grey in enumerate(luma(images)):
        np.testing.assert_allclose(measures["brightness"][index], grey.mean())
        np.testing.assert_allclose(measures["contrast"][index], grey.std())
        np.testing.assert_allclose(measures["blur"][index], scipy.ndimage.laplace(grey)[1:-1, 1:-1].var())


def test_blurring_lowers_the_blur_measure():
    images = noise(5)
    blurred = scipy.ndimage.gaussian_filter(images.astype(float), (0, 1, 1, 0)).astype(np.uint8)
    assert (pixel_measures(blurred)["blur"] < pixel_measures(images)["blur"]).all()


def test_thirds_are_thirds_and_ordered():
    images = np.clip(noise(90) // 4 + np.arange(90, dtype=np.uint8)[:, None, None, None] * 2, 0, 255).astype(
        np.uint8
    )
    groups = add_pixel_groups(dataset(images)).groups
    brightness = pixel_measures(images)["brightness"]
    for column, order in (
        ("brightness", ("dark", "normal", "bright")),
        ("contrast", ("low", "normal", "high")),
    ):
        assert [int((groups[column] == value).sum()) for value in order] == [30, 30, 30]
    assert (
        brightness[groups["brightness"] == "dark"].max() < brightness[groups["brightness"] == "normal"].min()
    )
    assert (
        brightness[groups["brightness"] == "normal"].max()
        < brightness[groups["brightness"] == "bright"].min()
    )


def test_cuts_of_a_reference_are_kept():
    reference = dataset(noise(60))
    dark = dataset((noise(10, seed=1) // 8).astype(np.uint8))
    assert set(add_pixel_groups(dark, reference).groups["brightness"]) == {"dark"}
    assert set(add_pixel_groups(dark).groups["brightness"]) == {"dark", "normal", "bright"}


def test_a_value_at_a_cut_belongs_to_the_lower_group():
    flat = dataset(np.repeat(np.array([0, 1, 2, 3], np.uint8), 48).reshape(4, 4, 4, 3))  # tertiles 1 and 2
    assert add_pixel_groups(flat).groups["brightness"].tolist() == ["dark", "dark", "normal", "bright"]


def test_groups_do_not_depend_on_labels():
    one = dataset(noise(30), names=("a", "b"))
    other = replace(one, labels=1 - one.labels)
    for column in ("brightness", "contrast", "blur"):
        np.testing.assert_array_equal(
            add_pixel_groups(one).groups[column], add_pixel_groups(other).groups[column]
        )


def test_size_by_the_shorter_side_and_family_by_the_class():
    sizes = np.array([[31, 99], [99, 31], [32, 32], [64, 64], [65, 65], [65, 64]])
    images = noise(6)
    groups = add_pixel_groups(dataset(images, original_size=sizes)).groups
    assert groups["size"].tolist() == ["small", "small", "medium", "medium", "large", "medium"]
    assert "family" not in groups
    labels = np.array([0, 1, 0, 1, 0, 1])
    known = add_pixel_groups(ImageDataset("set", images, labels, ("Stop", "Road work")))
    assert known.groups["family"].tolist() == ["right of way", "danger"] * 3
    assert "size" not in known.groups


def test_columns_that_cannot_be_derived_are_absent_and_others_are_kept():
    flat = dataset(np.full((9, 5, 5, 3), 100, np.uint8))
    flat = replace(flat, groups={"weather": np.array(["rain"] * 9)})
    assert set(add_pixel_groups(flat).groups) == {"weather"}
    assert "blur" not in add_pixel_groups(dataset(noise(9, side=2))).groups
