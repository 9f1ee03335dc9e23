"""The rendered data set: signs and their frames as an ImageDataset. Legend: N images, K classes, S side."""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.data.rendered.catalogue import CLASS_NAMES
from safeml.data.rendered.scene import film
from safeml.errors import ConfigError

SIGNS_PER_CLASS = 20_000
TRACKS_PER_SEED = 1_000_000
# The quantity of each image that a regression model may predict; see `approach.tilt`.
TILT = "tilt"
LARGEST_SEED = 2**63 // TRACKS_PER_SEED - 1


def _check(images: int, seed: int, frames_per_sign: int, size: int, imbalance: float) -> None:
    limits = {
        "images": (images, 1, TRACKS_PER_SEED),
        "seed": (seed, 0, LARGEST_SEED),
        "frames_per_sign": (frames_per_sign, 1, 1000),
        "size": (size, 16, 128),
        "imbalance": (imbalance, 1.0, 1000.0),
    }
    for setting, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ConfigError(f"rendered signs: {setting} is {value}; give a number from {low} to {high}.")


def signs_of_each_class(signs: int, imbalance: float) -> np.ndarray:
    """Return the number of signs of each class, int64 [K], summing to `signs`.

    Shares fall geometrically from class 0 to the last, which has 1 / imbalance of the first; every class has one sign before
    any has two; the rest of the rounding goes to the largest remainders.
    """
    classes = len(CLASS_NAMES)
    first = np.zeros(classes, np.int64)
    first[: min(signs, classes)] = 1
    shares = imbalance ** (-np.arange(classes) / (classes - 1))
    wanted = shares / shares.sum() * signs
    # A class whose share is below one sign gets one; the others share the rest.
    extra = np.clip(wanted - 1, 0, None)
    if extra.sum() > 0:
        extra *= (signs - first.sum()) / extra.sum()
    counts: np.ndarray = np.floor(extra + 1e-9).astype(np.int64)
    left = int(signs - first.sum() - counts.sum())
    order = np.argsort(-(extra - counts), kind="stable")
    counts[order[:left]] += 1
    counts += first
    return counts


def render(
    images: int,
    seed: int = 0,
    frames_per_sign: int = 10,
    name: str = "rendered",
    size: int = 32,
    imbalance: float = 1.0,
) -> ImageDataset:
    """Draw traffic signs of the 43 GTSRB classes, each filmed in `frames_per_sign` consecutive frames.

    images: N; all 43 classes are present from 43 * frames_per_sign on. The last sign may have fewer frames.
    seed: another seed gives other signs: no track is shared between seeds, and track numbers do not collide.
    size: S, side of the images in pixels, 16..128. imbalance: images of the first class for one of the last, >= 1.

    Returns uint8 [N, S, S, 3] RGB with tracks, boxes, original sizes, the quantity `tilt` (degrees) and the groups `weather` and `background`. Signs are
    ordered with the first of every class before the second of any, so with imbalance 1 a shorter set begins a longer one.
    The same arguments give the same bytes on one installation; other versions of Pillow or numpy may round otherwise.
    Raises ConfigError for a setting out of range.
    """
    _check(images, seed, frames_per_sign, size, imbalance)
    counts = signs_of_each_class(-(-images // frames_per_sign), imbalance)
    if counts.max() > SIGNS_PER_CLASS:
        raise ConfigError(
            f"rendered signs: images is {images}, which needs {counts.max()} signs of one class; "
            f"request at most {SIGNS_PER_CLASS} signs per class, or set a larger frames_per_sign."
        )
    put_up = [
        (turn, label) for turn in range(int(counts.max())) for label in np.flatnonzero(counts > turn).tolist()
    ]
    filmed = [
        film(np.random.default_rng([seed, label, turn]), label, frames_per_sign, size)
        for turn, label in put_up
    ]
    numbers = [seed * TRACKS_PER_SEED + label * SIGNS_PER_CLASS + turn for turn, label in put_up]

    def per_image(values: list[int] | list[str]) -> np.ndarray:
        return np.repeat(np.array(values), frames_per_sign)[:images]

    original = np.concatenate([track.size for track in filmed])[:images]
    return ImageDataset(
        name=name,
        images=np.concatenate([track.images for track in filmed])[:images],
        labels=per_image([label for _, label in put_up]).astype(np.int64),
        class_names=CLASS_NAMES,
        tracks=per_image(numbers).astype(np.int64),
        boxes=np.concatenate([track.boxes for track in filmed])[:images],
        original_size=np.stack([original, original], axis=1),
        groups={
            "weather": per_image([track.weather for track in filmed]),
            "background": per_image([track.background for track in filmed]),
        },
        quantities={TILT: np.concatenate([track.tilt for track in filmed])[:images]},
    )
