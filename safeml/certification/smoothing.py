"""Certified robustness to L2 changes of the pixels, by randomised smoothing.

The certificate holds for the smoothed classifier, not for the deployed one. The smoothed classifier predicts the class that
the model predicts most often on the image plus Gaussian noise. The guarantee requires that this vote is deployed; it does not
hold for a single prediction. If a vote is too close, the classifier abstains, and an abstention never counts as robust.

Noisy pixels leave 0..1 and are not clipped: the theorem holds for any base classifier, and a network is defined on all real
inputs. Clipping would define another base classifier.

References:
    J. Cohen, E. Rosenfeld, Z. Kolter, "Certified adversarial robustness via randomized smoothing", 2019.
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934.

Legend: N images, M noisy copies, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from safeml.errors import StageError
from safeml.statistics.exact import clopper_pearson

ABSTAIN = -1
NOISE = 7  # the purpose of these random numbers, beside the seed and the image's id


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The predictions of the smoothed classifier.

    answers: int64 [N], a class, or ABSTAIN.
    right: bool [N], classified correctly; an abstention is not correct.
    radius: float64 [N], in pixel units; the prediction is correct in the open L2 ball of that radius around the
        image; 0 if it abstains or is incorrect. Each radius holds with probability 1 - alpha over the noise, image by image.
    votes: int64 [N, K], of the `samples` copies. A copy whose logits are not finite votes for no class.
    samples, alpha, sigma: as given.
    """

    answers: np.ndarray
    right: np.ndarray
    radius: np.ndarray
    votes: np.ndarray
    samples: int
    alpha: float
    sigma: float

    def certified(self, epsilon: float) -> np.ndarray:
        """Return bool [N]: correctly classified and certified for every L2 change of at most `epsilon` (pixel units)."""
        return self.right & (self.radius > epsilon)


def smooth(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    sigma: float,
    samples0: int,
    samples: int,
    alpha: float,
    seed: int,
    ids: np.ndarray | None = None,
    chunk: int = 256,
) -> Smoothed:
    """Predict and certify each image by the votes of `predict` on noisy copies of it (the CERTIFY of Cohen et al.).

    predict: float32 [M, H, W, C], 0..1 plus noise -> logits [M, K]. images: uint8, or float32 in 0..1, [N, H, W, C].
    labels: int [N]. sigma: > 0, standard deviation of the noise of each pixel, in pixel units (0..1).
    samples0: copies that choose the class. samples: further copies that bound its probability p from below, exactly and
    one-sided at 1 - alpha. The radius is sigma times the normal quantile of that bound; at most 1/2 means ABSTAIN.
    alpha: in 0..1/2 (exclusive), the chance that one image's certificate is false. ids: int [N] >= 0, default 0..N-1.
    chunk: copies predicted at a time; it determines the memory, N does not.

    The noise of an image depends on (seed, its id) alone. Raises StageError for arrays or numbers that do not fit.
    """
    ids = np.arange(len(images)) if ids is None else np.asarray(ids)
    labels = np.asarray(labels)
    _check(images, labels, sigma, samples0, samples, alpha, ids, chunk)
    answers = np.full(len(images), ABSTAIN, dtype=np.int64)
    radius = np.zeros(len(images))
    votes: list[np.ndarray] = []
    for row, image in enumerate(images):
        clean = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
        rng = np.random.default_rng([seed, NOISE, int(ids[row])])
        first = _votes(predict, clean, sigma, samples0, chunk, rng)
        further = _votes(predict, clean, sigma, samples, chunk, rng)
        votes.append(further)
        candidate = int(first.argmax())
        low, _ = clopper_pearson(float(further[candidate] / samples), samples, 1 - 2 * alpha)
        if low > 0.5:
            answers[row] = candidate
            radius[row] = sigma * float(ndtri(low))
    right = answers == labels
    return Smoothed(
        answers,
        right,
        np.where(right, radius, 0.0),
        np.stack(votes) if votes else np.zeros((0, 0), dtype=np.int64),
        samples,
        alpha,
        sigma,
    )


def _votes(
    predict: Callable[[np.ndarray], np.ndarray],
    clean: np.ndarray,
    sigma: float,
    count: int,
    chunk: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Count the votes of the next `count` noisy copies of one image: int64 [K].

    The random numbers do not depend on the size of the chunks.
    """
    votes: np.ndarray | None = None
    for start in range(0, count, chunk):
        noise = rng.standard_normal((min(chunk, count - start), *clean.shape), dtype=np.float32)
        logits = np.asarray(predict(clean + np.float32(sigma) * noise))
        if logits.ndim != 2 or len(logits) != len(noise):
            raise StageError(
                f"smoothing: predict gave {list(logits.shape)} for {len(noise)} images; expected one row of logits each."
            )
        valid = np.isfinite(logits).all(axis=1)
        counts = np.bincount(logits[valid].argmax(axis=1), minlength=logits.shape[1]).astype(np.int64)
        votes = counts if votes is None else votes + counts
    assert votes is not None  # `count` is at least 1
    return votes


def _check(
    images: np.ndarray,
    labels: np.ndarray,
    sigma: float,
    samples0: int,
    samples: int,
    alpha: float,
    ids: np.ndarray,
    chunk: int,
) -> None:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise StageError(
            f"smoothing: images are {images.dtype} {list(images.shape)}; expected uint8 or float32 [N, H, W, C]."
        )
    if labels.shape != (len(images),) or ids.shape != (len(images),):
        raise StageError(
            f"smoothing: labels are {list(labels.shape)} and ids {list(ids.shape)}; expected one for each of {len(images)} images."
        )
    if not (0 < sigma < np.inf and 0 < alpha < 0.5):
        raise StageError(
            f"smoothing: sigma is {sigma} and alpha {alpha}; expected sigma above 0 and alpha between 0 and 0.5."
        )
    if min(samples0, samples, chunk) < 1:
        raise StageError(
            f"smoothing: samples0, samples, chunk are {samples0}, {samples}, {chunk}; expected at least 1 each."
        )
