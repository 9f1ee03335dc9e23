"""Pictures as records: the PNG holds the very pixels, and a change is drawn on a known scale."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from safeml.audits.gallery import change_panel, panel
from safeml.errors import StageError


def decoded(record):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(record.png))))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_panel_holds_the_very_pixels(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    record = panel("clean", image)
    assert (record.width, record.height, record.kind) == (7, 5, "image")
    np.testing.assert_array_equal(decoded(record).reshape(image.shape), image)
    assert panel("clean", image) == record


def test_a_change_is_grey_at_zero_and_full_at_epsilon():
    clean = np.full((1, 5, 1), 0.5, dtype=np.float32)
    attacked = clean + np.array([0, 0.1, -0.1, 0.05, 0.5], dtype=np.float32).reshape(1, 5, 1)
    record = change_panel("change", clean, attacked, epsilon=0.1)
    assert record.kind == "change"
    np.testing.assert_allclose(decoded(record), [[128, 255, 1, 191.5, 255]], atol=0.51)


def test_other_arrays_are_refused_without_being_shown():
    with pytest.raises(StageError, match=r"the image is float64 \[2, 2, 3\]; expected uint8"):
        panel("clean", np.zeros((2, 2, 3)))
    with pytest.raises(StageError, match="epsilon is 0"):
        change_panel("change", np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), 0)
    with pytest.raises(StageError, match="expected one shape"):
        change_panel("change", np.zeros((2, 2, 3)), np.zeros((2, 3, 3)), 0.1)
