"""Arguments and results of every attack on a sign. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from safeml.attacks.signs.settings import SignSettings

# Reflectance of paint and paper: no print is as black as 0 or as white as 1.
DARKEST, LIGHTEST = 0.05, 0.95
# Steps that a compiled loop makes before it comes back: while it runs, no signal reaches Python.
STRIDE = 10
# Of float32 pixels in 0..1.
ROUNDING = 1e-6
# The first word of each random draw after the seed, so that no two purposes share their numbers.
PURPOSES = {"sticker": 0x571C, "shadow": 0x5AD0, "graffiti": 0x64AF, "transform": 0x72A5, "patch": 0x9A7C}
# The attack changed nothing, because the clean image is misclassified already.
UNCHANGED = -1


@dataclass(frozen=True, eq=False)
class SignOutcome:
    """The result of an attack, per image.

    adversarial: float32 [N, H, W, C], 0..1; the first misclassified candidate, or the worst one of a survivor.
    first_step: int64 [N]; number of changes tried when the image was first misclassified, 0 where the clean image
        is misclassified already, -1 where it survived.
    choice: int64 [N]; the number of the candidate (shape, place, grid point) that was taken, -1 where none was.
    zero_gradients: bool [N]; the gradient was exactly zero everywhere; False for an attack that uses none.
    """

    adversarial: np.ndarray
    first_step: np.ndarray
    choice: np.ndarray
    zero_gradients: np.ndarray


class SignAttack(Protocol):
    """Evasion of the true label by a change of the sign."""

    def __call__(
        self,
        classifier: Any,
        images: np.ndarray,
        labels: np.ndarray,
        boxes: np.ndarray,
        settings: SignSettings,
        seed: int,
        ids: np.ndarray,
        batch: int,
    ) -> SignOutcome:
        """images: float32 [N, H, W, C], 0..1. labels: int [N]. boxes: int64 [N, 4], see `box.pixel_boxes`.

        ids: int [N], >= 0: an image's random numbers depend on (seed, purpose, its id) alone. batch: images at a time.
        """
        ...


@dataclass(frozen=True, eq=False)
class Claim:
    """Attacked images with the claims of the attack, to check whether they keep the bounds of their threat; fields as in `SignOutcome`."""

    clean: np.ndarray
    attacked: np.ndarray
    boxes: np.ndarray
    choice: np.ndarray
    settings: SignSettings
    seed: int
    ids: np.ndarray


@dataclass(frozen=True)
class SignThreat:
    """One row of the registry.

    gradient: the attack needs the classifier's gradient. allowed: bool [N], which images keep the threat's bounds; computed
    from the images and the settings, not from the mask that the attack reports.
    budget: the bounds in words. atlas: technique of MITRE ATLAS. nist: id of NIST AI 100-2e2025. source: author and year.
    """

    title: str
    gradient: bool
    attack: SignAttack
    allowed: Callable[[Claim], np.ndarray]
    budget: Callable[[SignSettings], str]
    atlas: str
    nist: str
    source: str


def badness(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The largest other logit minus the label's, float64 [N]: above 0 exactly where the image is misclassified.

    logits: float [N, K]; a row that is not finite is infinitely bad. A tie counts as the answer that argmax gives.
    The margin does not fade where the softmax of a confident model does (N. Carlini, D. Wagner, "Towards evaluating the
    robustness of neural networks", 2017).
    """
    rows = np.arange(len(labels))
    finite = np.isfinite(logits).all(axis=1)
    usable = np.where(finite[:, None], logits, 0).astype(np.float64)
    own = usable[rows, labels]
    others = usable.copy()
    others[rows, labels] = -np.inf
    margin = others.max(axis=1) - own
    tied = (margin == 0) & (usable.argmax(axis=1) != labels)
    return np.where(finite, np.where(tied, np.finfo(np.float64).tiny, margin), np.inf)
