"""Near duplicates on rendered signs: shifted, noisy, compressed and brighter copies are found, and other signs are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from safeml.data.rendered import render
from safeml.metrics.duplicates import NO_COPY
from safeml.metrics.near_duplicates import (
    NEAREST,
    _nearest_embeddings,
    averaged,
    correlation,
    difference_hash,
    nearest_copies,
    prints,
)

pytestmark = pytest.mark.slow

COUNT = 120
EVERY = slice(0, COUNT)


@pytest.fixture(scope="module")
def signs() -> np.ndarray:
    """Another sign in each image, uint8 [N, 32, 32, 3]."""
    return render(COUNT, seed=5, size=32, frames_per_sign=1).images


def shifted(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")[:, 2:, :-2]


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 4, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def compressed(images: np.ndarray) -> np.ndarray:
    def again(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        return np.asarray(Image.open(file))

    return np.stack([again(image) for image in images])


def brighter(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images * 0.8 + 20), 0, 255).astype(np.uint8)


def larger(images: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)


@pytest.mark.parametrize(
    ("change", "least"), [(shifted, 0.95), (noisy, 0.8), (compressed, 0.8), (brighter, 0.9), (larger, 1.0)]
)
def test_a_changed_copy_is_found(signs: np.ndarray, change, least: float) -> None:
    """Noise and compression hide a few very dark signs; benchmarks/near_duplicates.py measures how many on real ones."""
    copies, similar = nearest_copies(prints(change(signs[:40])), prints(signs), slice(0, 40))
    compared = ~prints(signs[:40]).flat
    assert compared.sum() >= 36
    assert (copies == np.arange(40))[compared].mean() >= least
    assert set(copies.tolist()) <= {*range(40), NO_COPY}  # never another sign
    assert (similar[copies != NO_COPY] >= 0.99).all()


def test_other_signs_are_no_copies(signs: np.ndarray) -> None:
    found, _ = nearest_copies(prints(signs), prints(signs), EVERY, same_set=True)
    assert (found == NO_COPY).all()
    other = render(COUNT, seed=6, size=32, frames_per_sign=1).images
    assert (nearest_copies(prints(other), prints(signs), EVERY)[0] == NO_COPY).all()


def test_an_image_is_no_copy_of_itself_but_of_its_twin(signs: np.ndarray) -> None:
    both = np.concatenate([signs[:20], shifted(signs[:3])])
    found, _ = nearest_copies(prints(both), prints(both), slice(0, 23), same_set=True)
    assert found[:3].tolist() == [20, 21, 22]
    assert found[20:].tolist() == [0, 1, 2]
    assert (found[3:20] == NO_COPY).all()


def test_the_rows_of_a_slice_are_those_of_the_whole(signs: np.ndarray) -> None:
    ones, others = prints(shifted(signs)), prints(signs)
    whole = nearest_copies(ones, others, EVERY)
    parts = [nearest_copies(ones, others, slice(start, start + 50)) for start in (0, 50, 100)]
    for k in (0, 1):
        np.testing.assert_array_equal(whole[k], np.concatenate([part[k] for part in parts]))


def test_the_correlation_is_that_of_numpy(signs: np.ndarray) -> None:
    ones, others = prints(signs[:6]), prints(signs[6:12])
    left = right = np.arange(6)
    for k, value in enumerate(correlation(ones, others, left, right)):
        centre = ones.grey[k, 1:-1, 1:-1].astype(float).ravel()
        windows = [
            others.grey[k, i : i + 30, j : j + 30].astype(float).ravel() for i in range(3) for j in range(3)
        ]
        best = max(np.corrcoef(centre, window)[0, 1] for window in windows)
        assert value == pytest.approx(best, abs=2e-3)


def test_a_flat_image_is_compared_with_nothing() -> None:
    flat = np.full((3, 32, 32, 3), 90, np.uint8)
    flat[1] += 1
    made = prints(flat)
    assert made.flat.all()
    assert (nearest_copies(made, made, slice(0, 3), same_set=True)[0] == NO_COPY).all()


def test_light_of_another_colour_is_another_picture(signs: np.ndarray) -> None:
    blue = (signs * np.array([0.6, 0.8, 1.0])).astype(np.uint8)
    assert (nearest_copies(prints(blue), prints(signs), EVERY)[0] == NO_COPY).all()


@pytest.mark.parametrize("others", [5, 40, 700])
def test_the_nearest_embeddings_are_those_of_a_full_sort(others: int) -> None:
    rng = np.random.default_rng(others)
    ones, base = (
        rng.normal(size=(30, 16)).astype(np.float32),
        rng.normal(size=(others, 16)).astype(np.float32),
    )
    near = _nearest_embeddings(ones, base, None)
    count = min(NEAREST, others)
    for row, products in enumerate(ones @ base.T):
        assert set(near[row]) == set(np.argsort(products)[-count:])
    own = np.arange(5)
    itself = _nearest_embeddings(base[:5], base, own)
    if others > NEAREST:
        assert not (itself == own[:, None]).any()


def test_averaging_by_area_keeps_the_mean_and_halves_by_pairs() -> None:
    rng = np.random.default_rng(0)
    grey = rng.random((2, 12, 20))
    for height, width in ((5, 7), (12, 20), (32, 32)):
        np.testing.assert_allclose(averaged(grey, height, width).mean(axis=(1, 2)), grey.mean(axis=(1, 2)))
    halves = grey.reshape(2, 6, 2, 10, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(averaged(grey, 6, 10), halves)


def test_the_difference_hash_does_not_see_brightness_but_a_mirror() -> None:
    ramp = np.tile(np.arange(9.0), (1, 8, 1))
    assert difference_hash(ramp)[0] == np.uint64(2**64 - 1)
    assert difference_hash(ramp * 2 + 40)[0] == difference_hash(ramp)[0]
    assert difference_hash(ramp[:, :, ::-1])[0] == np.uint64(0)


@pytest.mark.parametrize("side", [9, 16, 48])
def test_images_of_any_size_are_compared_at_one_size(signs: np.ndarray, side: int) -> None:
    """A detector that is silent for the layout of Keras finds nothing; here height, width and channels are in any size."""
    small = np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in signs[:30]])
    grey = small.mean(axis=3, keepdims=True).astype(np.uint8)
    for images in (small, grey):
        found, _ = nearest_copies(prints(images), prints(images.copy()), slice(0, 30))
        assert (found == np.arange(30)).all()
