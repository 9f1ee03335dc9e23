"""Groups of images by condition, from the pixels and the class alone. Legend: N images, H W C pixels, K classes.

Groups answer "is the model as accurate in the dark as in daylight?". Cuts are tertiles of the pixels of a reference set,
never derived from predictions, so they cannot hide a gap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.data.signs import families

# Names from the lowest to the highest third of each measure.
THIRDS: dict[str, tuple[str, str, str]] = {
    "brightness": ("dark", "normal", "bright"),
    "contrast": ("low", "normal", "high"),
    "blur": ("blurred", "normal", "sharp"),
}
# The columns that are derived from pixels and classes; all others are the user's.
DERIVED = (*THIRDS, "size", "family")
SMALL_BELOW = 32
LARGE_ABOVE = 64
_BLOCK_PIXELS = 1 << 22  # at a time, to bound memory


def add_pixel_groups(dataset: ImageDataset, reference: ImageDataset | None = None) -> ImageDataset:
    """Add group columns for brightness, contrast, blur, size and sign family, where each can be derived.

        brightness   dark, normal, bright      thirds of the mean luma
        contrast     low, normal, high         thirds of the standard deviation of luma
        blur         blurred, normal, sharp    thirds of the variance of the Laplacian of luma
        size         small, medium, large      shorter side of the original image < 32, 32-64, > 64 pixels
        family       sign family of the class  where all class names are GTSRB's

    Thirds are cut at the tertiles of `reference` (default: the set itself), without labels; a value at a cut belongs to
    the lower group. A column is absent if its measure varies too little for three groups, the images are smaller than
    3 x 3, the original size is unknown, or the class names are not GTSRB's. An empty group has no row.
    """
    columns = dict(dataset.groups)
    values = pixel_measures(dataset.images)
    anchors = values if reference is None else pixel_measures(reference.images)
    for measure, thirds in THIRDS.items():
        if measure in values and measure in anchors:
            low, high = np.quantile(anchors[measure], [1 / 3, 2 / 3])
            if low < high:
                columns[measure] = np.array(thirds)[np.digitize(values[measure], [low, high], right=True)]
    if dataset.original_size is not None:
        shorter = dataset.original_size.min(axis=1)
        columns["size"] = np.where(
            shorter < SMALL_BELOW, "small", np.where(shorter > LARGE_ABOVE, "large", "medium")
        )
    family_of_class = families(dataset.class_names)
    if family_of_class is not None:
        columns["family"] = np.array(family_of_class)[dataset.labels]
    return replace(dataset, groups=columns)


def pixel_measures(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measure brightness, contrast and sharpness of each image.

    Brightness and contrast are mean and standard deviation of luma, 0..255 (Rec. ITU-R BT.601: 0.299 R + 0.587 G +
    0.114 B). "blur" is the variance of the four-neighbour Laplacian over the inner pixels; lower is more blurred.

    Args:
        images: uint8 [N, H, W, 1 or 3].

    Returns:
        measure -> float64 [N]; "blur" only where H and W are at least 3.

    References:
        J. L. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez, J. Fernandez-Valdivia, "Diatom autofocusing in
        brightfield microscopy: a comparative study", ICPR 2000 (variance of the Laplacian).
    """
    block = max(1, _BLOCK_PIXELS // (images.shape[1] * images.shape[2]))
    parts = [_measure(images[start : start + block]) for start in range(0, len(images), block)]
    return {measure: np.concatenate([part[measure] for part in parts]) for measure in parts[0]}


def luma(images: np.ndarray) -> np.ndarray:
    """Convert uint8 [N, H, W, 1 or 3] to luma, float64 [N, H, W], 0..255 (Rec. ITU-R BT.601)."""
    if images.shape[3] == 1:
        return images[..., 0].astype(np.float64)
    weighted: np.ndarray = images @ np.array([0.299, 0.587, 0.114])
    return weighted


def _measure(images: np.ndarray) -> dict[str, np.ndarray]:
    grey = luma(images)
    measures = {"brightness": grey.mean(axis=(1, 2)), "contrast": grey.std(axis=(1, 2))}
    if min(grey.shape[1:]) >= 3:
        neighbours = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        measures["blur"] = (neighbours - 4 * grey[:, 1:-1, 1:-1]).var(axis=(1, 2))
    return measures
