"""Permutations of the class order, fitted on one half of the images and measured on the other.

Legend: N images, K classes.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from safeml.contracts.measure import NO_ANSWER, accuracy, drop, halves, named, one_sided_level, part
from safeml.contracts.records import Permutation
from safeml.data.dataset import ImageDataset

THIN = 3


def best_assignment(raw: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of each output that maximises accuracy, and its correctly classified images. Both: int [K].

    raw: int [N], largest output. Each class is assigned once.

    References: H. W. Kuhn, "The Hungarian method for the assignment problem", Naval Research Logistics Quarterly, 1955.
    """
    answered = raw != NO_ANSWER
    table = np.bincount(raw[answered] * classes + labels[answered], minlength=classes * classes)
    table = table.reshape(classes, classes)
    # A tiny bonus for the diagonal: outputs without images keep their number where that does not lower accuracy.
    weight = table + np.eye(classes) / (2 * classes)
    _, class_of_output = linear_sum_assignment(weight, maximize=True)
    return class_of_output, table[np.arange(classes), class_of_output]


def held_out(
    contract: str, raw: np.ndarray, given: tuple[int, ...] | None, data: ImageDataset, seed: int, tests: int
) -> Permutation | None:
    """Compare the best permutation of the outputs `raw` (int [N]) of one feed with the class order `given`.

    tests: number of such permutations; the intervals hold for all of them together.
    Returns None if all images show one sign, which cannot be halved.
    """
    fit, check = halves(data, seed)
    if not len(fit) or not len(check):
        return None
    class_of_output, support = best_assignment(raw[fit], data.labels[fit], data.classes)
    rest = part(data, check)
    order = tuple(int(k) for k in class_of_output)
    as_given = named(raw[check], given) == rest.labels
    permuted = named(raw[check], order) == rest.labels
    level = one_sided_level(tests)
    return Permutation(
        contract=contract,
        as_given=accuracy(as_given, rest, level),
        permuted=accuracy(permuted, rest, level),
        gain=drop(permuted, as_given, rest, level),
        class_of_output=order,
        support=tuple(int(count) for count in support),
        thin=int((support < THIN).sum()),
        thin_classes=tuple(sorted(int(class_of_output[k]) for k in np.flatnonzero(support < THIN))),
    )


def with_runner_up(
    best: Permutation,
    other: Permutation,
    raws: tuple[np.ndarray, np.ndarray],
    data: ImageDataset,
    seed: int,
    tests: int,
) -> Permutation:
    """Return `best` with its comparison to `other` on the half of `data` on which both were measured.

    raws: int [N] each, largest outputs under `best` and under `other`.
    """
    _, check = halves(data, seed)
    rest = part(data, check)
    hits = [
        named(raw[check], found.class_of_output) == rest.labels
        for raw, found in zip(raws, (best, other), strict=True)
    ]
    return best.model_copy(
        update={
            "runner_up": other.contract,
            "runner_up_permuted": other.permuted,
            "runner_up_loss": drop(hits[0], hits[1], rest, one_sided_level(tests)),
        }
    )
