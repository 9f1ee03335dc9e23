"""Partition SHAP, by the PartitionExplainer of shap: Owen values of rectangles of the image. Legend: N images, H W C pixels.

Reference: S. Lundberg, S. Lee, "A unified approach to interpreting model predictions", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from safeml.explainers.base import Effort

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier


def partition_shap(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the Owen values of each image, summed over channels; see `Explainer`.

    Hidden pixels get the mean of the backgrounds, as float32 in 0..1 like the image. The maskers "inpaint" and "blur" of shap are
    not used: they need OpenCV, and inpainting casts pixels of 0..1 to whole numbers without a warning.
    """
    import shap

    mask = effort.backgrounds.mean(axis=0, dtype=np.float64).astype(np.float32)
    maps = np.empty(images.shape[:3], np.float32)
    masker = shap.maskers.Image(mask, images.shape[1:])
    for number, (image, label) in enumerate(zip(images, classes, strict=True)):

        def logit(values: np.ndarray, label: int = int(label)) -> np.ndarray:
            pixels = np.asarray(values, np.float32).reshape(-1, *images.shape[1:])
            answers: np.ndarray = classifier.predict_logits(pixels)[:, label].astype(np.float64)
            return answers

        explain = shap.PartitionExplainer(logit, masker)
        given = explain(
            image[None], max_evals=effort.evaluations, batch_size=classifier.batch.size, silent=True
        )
        maps[number] = np.asarray(given.values, np.float64).reshape(image.shape).sum(axis=2)
    return maps
