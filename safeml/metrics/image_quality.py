"""Images that are too dark, too bright, flat or blurred, or of an odd shape. Legend: N images.

The limits are absolute, so that a set in which every image is dark is reported as such. No standard sets them; on the 34,469 GTSRB
training images they mark 484 (benchmarks/data_quality.py).
"""

from __future__ import annotations

import numpy as np

from safeml.data.groups import luma

# Of 255: the brightest and the darkest twentieth of the pixels, and the standard deviation of the grey values.
DARK_BELOW, BRIGHT_ABOVE, FLAT_BELOW = 20.0, 200.0, 2.0
# Variance of the Laplacian by the variance of the grey values, which does not depend on contrast; white noise has 20.
BLURRED_BELOW = 0.05
# Longer by shorter side, and shorter side in pixels, of the original image.
ODD_ABOVE, SMALL_BELOW = 1.5, 16
_BLOCK_PIXELS = 1 << 20

KINDS: dict[str, str] = {
    "flat": "almost constant",
    "dark": "too dark",
    "bright": "too bright",
    "blurred": "blurred",
    "odd": "odd aspect ratio",
    "small": "very small original",
}


def quality_outliers(images: np.ndarray, original_size: np.ndarray | None) -> dict[str, np.ndarray]:
    """Mark the images of each kind of `KINDS` that can be judged, bool [N] by kind; a flat image is of no other kind of pixels.

    images: uint8 [N, H, W, 1 or 3]. Images with sides under 3 pixels are not judged as blurred.
    original_size: int [N, 2], height and width before resizing; None leaves out `odd` and `small`.
    """
    block = max(1, _BLOCK_PIXELS // (images.shape[1] * images.shape[2]))
    parts = [_pixels(images[start : start + block]) for start in range(0, len(images), block)]
    marked = {kind: np.concatenate([part[kind] for part in parts]) for kind in parts[0]}
    if original_size is not None:
        shorter, longer = original_size.min(axis=1), original_size.max(axis=1)
        marked["odd"] = longer > ODD_ABOVE * shorter
        marked["small"] = shorter < SMALL_BELOW
    return marked


def _pixels(images: np.ndarray) -> dict[str, np.ndarray]:
    grey = luma(images).astype(np.float32)
    low, high = np.percentile(grey.reshape(len(grey), -1), [5, 95], axis=1)
    variance = grey.var(axis=(1, 2))
    flat = variance < FLAT_BELOW**2
    marked = {"flat": flat, "dark": (high < DARK_BELOW) & ~flat, "bright": (low > BRIGHT_ABOVE) & ~flat}
    if min(grey.shape[1:]) >= 3:
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        edges = (around - 4 * grey[:, 1:-1, 1:-1]).var(axis=(1, 2))
        marked["blurred"] = (edges < BLURRED_BELOW * variance) & ~flat
    return marked
