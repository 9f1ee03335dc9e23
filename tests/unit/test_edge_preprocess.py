"""Preprocessing in NumPy against TensorFlow's code of the audit, and against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from safeml.edge.errors import EdgeError
from safeml.edge.manifest import Input
from safeml.edge.preprocess import KEPT, Preprocessor, as_bytes, resize_matrix, rgb

pytestmark = pytest.mark.slow

SIZES = [(32, 32), (31, 47), (8, 8), (100, 20), (1, 1), (240, 320), (33, 31), (480, 640), (15, 300), (9, 9)]


def contract(height: int = 32, width: int = 32, channels: str = "rgb", **changes: object) -> Input:
    depth = 1 if channels == "grey" else 3
    return Input(height, width, depth, channels, 0.0, 1.0, (), (), False)._replace(**changes)  # type: ignore[arg-type]


def frame(height: int, width: int, depth: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, depth), dtype=np.uint8)


def by_audit(image: np.ndarray, spec: Input) -> np.ndarray:
    """Return what the code of the audit feeds the model, float32 [1, h, w, c]."""
    import tensorflow as tf

    from safeml.classifiers.base import InputSpec
    from safeml.classifiers.contract import as_pixels, model_values

    fields = dict(spec._asdict())
    fields.pop("depth")
    return np.asarray(model_values(tf.constant(as_pixels(image[None])), InputSpec(**fields)))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_that_of_the_audit(size: tuple[int, int]) -> None:
    image = frame(*size)
    for height, width in ((32, 32), (48, 40), (8, 9), (224, 200)):
        spec = contract(height, width)
        assert np.abs(Preprocessor(spec).values(image) - by_audit(image, spec)).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize(
    "scale",
    [{}, {"low": -1.0}, {"standardise": True}, {"mean": 0.5, "std": 0.2}, {"low": 0.0, "high": 255.0}],
    ids=["unit", "signed", "standardised", "mean", "bytes"],
)
def test_every_contract_is_that_of_the_audit(depth: int, channels: str, scale: dict) -> None:
    spec = contract(channels=channels)
    changes = {
        key: (value,) * spec.depth if key in ("mean", "std") else value for key, value in scale.items()
    }
    spec = spec._replace(**changes)
    image = frame(41, 50, depth)
    difference = np.abs(Preprocessor(spec).values(image) - by_audit(image, spec)).max()
    assert difference < 1e-5 * (spec.high - spec.low) / min([1.0, *spec.std])
    flat = np.full((40, 40, depth), 7, np.uint8)
    np.testing.assert_allclose(Preprocessor(spec).values(flat), by_audit(flat, spec), atol=1e-3)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_resizing_is_that_of_pillow(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    """Pillow's bilinear filter is antialiased too; it computes floats in mode F."""
    image = frame(height, width, 1, seed)
    expected = Image.fromarray(image[..., 0].astype(np.float32)).resize(
        (columns, rows), Image.Resampling.BILINEAR
    )
    result = Preprocessor(contract()).resized(image, rows, columns)[..., 0]
    np.testing.assert_allclose(result, np.asarray(expected), atol=2e-2)


@given(st.integers(1, 300), st.integers(1, 300))
def test_weights_are_averages(size: int, wanted: int) -> None:
    matrix = resize_matrix(size, wanted)
    assert matrix.shape == (wanted, size)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
    # A ramp stays a ramp inside, because the kernel is symmetric.
    if size == wanted:
        np.testing.assert_array_equal(matrix, np.eye(size, dtype=np.float32))


def test_float_frames_are_pixels_from_0_to_1() -> None:
    image = frame(40, 40)
    preprocessor = Preprocessor(contract())
    np.testing.assert_allclose(
        preprocessor.values(image), preprocessor.values(image / np.float32(255)), atol=1e-6
    )


def test_the_kept_matrices_are_bounded() -> None:
    preprocessor = Preprocessor(contract())
    for side in range(40, 40 + 3 * KEPT):
        preprocessor.values(frame(side, side))
    assert len(preprocessor.matrices) <= KEPT


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), int),
    ],
)
def test_another_array_is_an_error(bad: np.ndarray) -> None:
    with pytest.raises(EdgeError, match="expected"):
        Preprocessor(contract()).values(bad)


def test_orders_and_bytes() -> None:
    image = frame(3, 4)
    assert (rgb(image[..., ::-1], "bgr") == image).all()
    assert rgb(image[..., 0]).shape == (3, 4, 1)
    assert rgb(np.dstack([image, image[..., 0]])).shape == (3, 4, 3)
    assert (as_bytes(image / np.float32(255)) == image).all()
    assert (as_bytes(np.array([-1.0, 2.0], np.float32)) == [0, 255]).all()
