"""What every attribution method is given and gives. Legend: N images, H W C pixels, K classes, R backgrounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from safeml.classifiers.base import Classifier
from safeml.classifiers.batches import BatchSize
from safeml.errors import StageError

# Purposes of random numbers, beside the seed and the image's id.
SHAP_DRAWS, NOISY_COPIES, RISE_MASKS = 31, 32, 33


class NotApplicable(StageError):
    """The error of a method that a model cannot have, such as Grad-CAM without a convolution. The message is a clause."""


@dataclass(frozen=True, eq=False)
class Effort:
    """How much a method may spend, and what it compares an image with.

    backgrounds: float32 [R, H, W, C], 0..1, the images that SHAP compares with.
    seed: with an image's id, of all random numbers.
    steps: points of integrated gradients. draws: of gradient SHAP. copies: noisy copies of SmoothGrad. masks: of RISE.
    evaluations: most predictions of Partition SHAP for one image.
    window: side of the square of occlusion, as a share of the shorter side of the image, 0..1.
    places: positions of that square along each side.
    noise: standard deviation of SmoothGrad, in pixel units of 0..1.
    batch: points for each gradient; halved when memory runs out.
    """

    backgrounds: np.ndarray
    seed: int = 7
    steps: int = 32
    draws: int = 32
    copies: int = 16
    masks: int = 256
    evaluations: int = 128
    window: float = 0.25
    places: int = 8
    noise: float = 0.1
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))


class Explainer(Protocol):
    """An attribution method."""

    def __call__(
        self, classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
    ) -> np.ndarray:
        """Return one map for each image, float32 [N, H, W]: how much each pixel adds to the logit of a class.

        images: float32 [N, H, W, C], 0..1.
        classes: int64 [N], whose logit is explained.
        ids: int64 [N], the numbers of the images, from which the random numbers follow.

        A negative value is evidence against the class; a method without signs has none. The channels are summed. A map that
        is not finite, or the same everywhere, explains nothing; the caller checks for both.
        Raises NotApplicable where the model cannot have such maps.
        """
        ...


def draws_for(effort: Effort, purpose: int, identity: int) -> np.random.Generator:
    """Return the random numbers of one image: the same in every batch and in every order."""
    return np.random.default_rng([effort.seed, purpose, int(identity)])


def image_means(images: np.ndarray) -> np.ndarray:
    """Return the mean colour of each image, float32 [N, 1, 1, C]: what takes the place of a removed pixel."""
    means: np.ndarray = images.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return means
