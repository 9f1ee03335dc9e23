"""Poor images: each kind is found on an image made for it, and a plain image is of none."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.data.rendered import render
from safeml.metrics.image_quality import KINDS, quality_outliers

SIZES = np.full((1, 2), 40)


@pytest.fixture(scope="module")
def sign() -> np.ndarray:
    images = render(20, seed=5, size=32, frames_per_sign=1).images
    best = int(images.std(axis=(1, 2, 3)).argmax())
    return images[best : best + 1]


def kinds(images: np.ndarray, sizes: np.ndarray | None = SIZES) -> set[str]:
    return {kind for kind, marked in quality_outliers(images, sizes).items() if marked[0]}


def test_each_kind_is_found(sign: np.ndarray) -> None:
    ramp = np.tile(np.linspace(60, 200, 32), (32, 1)).astype(np.uint8)[None, :, :, None]
    assert kinds(sign) == set()
    assert kinds((sign // 16).astype(np.uint8)) == {"dark"}
    assert kinds((215 + sign // 8).astype(np.uint8)) == {"bright"}
    assert kinds(np.full_like(sign, 130)) == {"flat"}
    assert kinds(ramp) == {"blurred"}
    assert kinds(sign, np.array([[20, 45]])) == {"odd"}
    assert kinds(sign, np.array([[12, 13]])) == {"small"}


def test_what_cannot_be_judged_is_absent_and_not_zero(sign: np.ndarray) -> None:
    assert {"odd", "small"} == set(KINDS) - set(quality_outliers(sign, None))
    assert "blurred" not in quality_outliers(np.zeros((1, 2, 2, 1), np.uint8), None)
