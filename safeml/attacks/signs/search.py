"""The worst of many candidates by queries only: no gradient, so it works on every classifier. Legend: N images, H W C pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs.base import UNCHANGED, SignOutcome, badness

# (rows int [P] of the images, numbers int [P] of the candidates) -> float32 [P, H, W, C]
Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Search:
    """outcome: what was found. bad: float64 [N, M], `badness` of each candidate, -inf where it was not looked at."""

    outcome: SignOutcome
    bad: np.ndarray


def worst_of(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    candidates: int,
    draw: Draw,
    batch: int,
) -> Search:
    """Try candidate after candidate on each image until one is misclassified; for a survivor, take the one with the largest margin towards misclassification.

    predict: float32 [P, H, W, C] -> logits [P, K]. candidates: M, numbered 0..M-1 in the order in which they are tried.
    batch: images asked for at a time; when few images are left, several candidates of each are asked for at once. What is
    found does not depend on it: the candidate that counts is the first one that is misclassified.
    """
    bad = np.full((len(images), candidates), -np.inf)
    first = np.full(len(images), SURVIVED, np.int64)
    for start in range(0, len(images), batch):
        rows = np.arange(start, min(start + batch, len(images)))
        wrong = badness(predict(images[rows]), labels[rows]) > 0
        first[rows[wrong]] = 0
        left, number = rows[~wrong], 0
        while number < candidates and len(left):
            many = min(max(1, batch // len(left)), candidates - number)
            pairs = np.repeat(left, many)
            numbers = np.tile(np.arange(number, number + many), len(left))
            found = badness(predict(draw(pairs, numbers)), labels[pairs]).reshape(len(left), many)
            bad[left, number : number + many] = found
            number += many
            left = left[~(found > 0).any(axis=1)]
    broken = bad > 0
    choice = np.where(broken.any(axis=1), broken.argmax(axis=1), bad.argmax(axis=1))
    choice = np.where(first == 0, UNCHANGED, choice).astype(np.int64)
    first = np.where(broken.any(axis=1), choice + 1, first)
    adversarial = images.copy()
    for start in range(0, len(images), batch):
        rows = np.flatnonzero(choice[start : start + batch] != UNCHANGED) + start
        if len(rows):
            adversarial[rows] = draw(rows, choice[rows])
    return Search(SignOutcome(adversarial, first, choice, np.zeros(len(images), dtype=bool)), bad)
