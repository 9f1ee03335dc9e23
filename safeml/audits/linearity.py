"""How linear the model is over a small step, measured in slices that are stored. Legend: M images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices
from safeml.classifiers.base import Classifier, differentiable, has_quantized_activations
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.sealed import Arrays

# Images of a check that runs its own attack.
PROBE_SIZE = 64
# Share of the predicted gain. Of 128 validation signs each, no image of five honest networks gained less than half.
LEAST_GAIN = 0.1
# Share of the images that may gain less. It is small because a defence may mask the gradient of some classes only.
MOST_NONLINEAR = 0.05
# One code of INT8 pixels, symmetric in 0..1.
CODE = 1 / 127
# Purpose of the random numbers that choose the images.
PURPOSE = 0x9B


def probe(rows: np.ndarray, seed: int, size: int = PROBE_SIZE) -> np.ndarray:
    """Draw at most `size` of `rows` (int [M]) at random, sorted. The first rows will not do: data are often sorted by class."""
    return np.sort(np.random.default_rng([seed, PURPOSE]).permutation(rows)[:size])


def probe_step(
    classifier: Classifier, norm: str, shape: tuple[int, ...], step: float, epsilon: float
) -> float:
    """Return the length of the probed step: `step`, and for rounded activations one code of each pixel, at most half of epsilon.

    shape: [H, W, C] of an image. Below one code an INT8 model moves by rounding alone, which is no masking: of three undefended INT8
    models, 5 to 16 % of the validation images gained too little over 0.2/255, up to 3 % over 0.4/255, and none over 1/255 and 2/255,
    as of their float models (benchmarks/int8_linearity.py). A model that rounds to few codes gains too little over half of epsilon too.
    """
    if not has_quantized_activations(classifier):
        return step
    code = CODE if norm == "linf" else CODE * float(np.sqrt(np.prod(shape)))
    return max(step, min(code, epsilon / 2))


def nonlinear_share(gains: np.ndarray) -> float:
    """Return the share of images whose gain is below `LEAST_GAIN`. gains: float [M]; NaN counts as too small."""
    return float((~(gains >= LEAST_GAIN)).mean()) if len(gains) else 0.0


def measure_linearity(
    inputs: AuditInputs,
    slices: Slices,
    batch: BatchSize,
    columns: dict[str, np.ndarray],
    norm: str,
    step: float,
) -> np.ndarray:
    """Return the gain of a small step as a share of the gain that the gradient predicts: float32 [M].

    columns: images (float32 [M, H, W, C], 0..1, classified correctly when clean); labels and ids (int [M]); the labels of a judged
        regression model are its targets, float32 [M, T].
    step: in pixel units.
    Raises StageError where the classifier gives no gradient.
    """
    images, labels, classifier = columns["images"], columns["labels"], differentiable(inputs.classifier)

    def measured(rows: slice) -> Arrays:
        from safeml.attacks.linearity import linearity

        gains = until_it_fits(
            batch, lambda size: linearity(classifier, images[rows], labels[rows], norm, step, size)
        )
        return {"linearity": np.asarray(gains, np.float32)}

    parts = {"norm": norm, "step": step}
    return slices.measure("linearity", columns, parts, {"linearity": ("float32", ())}, measured)["linearity"]
