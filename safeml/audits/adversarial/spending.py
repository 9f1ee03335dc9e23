"""Spend gradients and queries where a verdict can change, and bound what that saving can hide. Legend: N images.

With `spend = "where_it_counts"`, every survivor gets the first attempts of the expensive attacks (`AttackRow.short`). The full
bill (all target classes, all queries) goes to the survivors whose verdict can still change, and to a random sample of the
others. If it breaks an image of that sample, or if a query attack breaks any image, every survivor gets the full bill.

The bound: of F survivors that the rule would spare, the full bill would break h, and d of the F are drawn at random. The draw
holds none of the h with probability C(F - h, d) / C(F, d), whatever the model. So if the draw holds none, then with confidence
1 - tail at most the largest h for which this probability exceeds `tail` is hidden (the exact interval of Clopper and Pearson,
1934, for a draw without replacement). The low end of robust accuracy counts that many spared images as broken. Sampling error
and hidden images share the 2.5 % of the low end equally: by the union bound, a gate that reads it passes falsely with a
probability of at most 2.5 %, as with the full bill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

LEAST_DRAWN, DRAWN_SHARE = 100, 0.1  # of the survivors: images drawn at random for the full bill
# A verdict can change where an adversarial example is known within this factor of epsilon, ...
NEAR = 1.25
# ... or where the loss has not converged: it gained more than this share of its range in the last tenth of the steps.
MOVING = 0.05
DRAW = 0xD4  # purpose of random numbers, beside the starts of the attacks
TAIL = 0.0125  # of the error of the low end: this much for sampling, and this much for hidden images
SAMPLING_LEVEL = 1 - 2 * TAIL  # of the interval whose low end leaves room for hidden images

BROKE_DRAWN = "it broke images of the random sample"
BROKE_BY_QUERIES = "a query attack broke images that the gradient attacks left"
MASKED = "a gradient-masking check failed"


@dataclass(frozen=True, eq=False)
class Saving:
    """How the full bill of one threat was split.

    survivors: of the attempts that every survivor gets.
    near: number of these whose verdict can change; they get the full bill.
    drawn: number of the others that were drawn at random; they get the full bill.
    spared: bool [N], images that did not get the full bill.
    why_full: why all survivors got the full bill after the draw, or "".
    """

    survivors: int
    near: int
    drawn: int
    spared: np.ndarray
    why_full: str = ""

    @property
    def count(self) -> int:
        """Number of spared images."""
        return int(self.spared.sum())

    def paid(self, why: str) -> Saving:
        """Return the saving after all survivors got the full bill."""
        return replace(self, spared=np.zeros_like(self.spared), why_full=why)

    def most_hidden(self, tail: float) -> int:
        """Return the most images that the saving can hide, with confidence 1 - tail."""
        return most_hidden(self.count + self.drawn, self.drawn, tail) if self.count else 0


def verdict_can_change(distances: np.ndarray, epsilon: float, unconverged: np.ndarray) -> np.ndarray:
    """Return bool [M]: the survivors that get the full bill without a draw.

    distances: float [M], of the nearest known adversarial examples.
    unconverged: float [M], 0..1, as in `AttackOutcome`, of the last attempt.
    """
    near: np.ndarray = (distances <= NEAR * epsilon) | (unconverged > MOVING)
    return near


def sample_size(survivors: int) -> int:
    """Return how many images are drawn: 100 or a tenth of the survivors, whichever is more."""
    return max(LEAST_DRAWN, int(np.ceil(DRAWN_SHARE * survivors)))


def drawn_at_random(rows: np.ndarray, ids: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Return int [min(count, M)], sorted: a simple random sample of `rows` (int [M]).

    Each image has a random number of (seed, its id), and the smallest are drawn: order and shards change nothing.
    ids: int [N].
    """
    numbers = [np.random.default_rng([seed, DRAW, int(ids[row])]).random() for row in rows]
    return np.sort(rows[np.argsort(numbers, kind="stable")[:count]])


def most_hidden(population: int, drawn: int, tail: float) -> int:
    """Return the largest h with C(population - h, drawn) / C(population, drawn) > tail.

    If h or fewer of `population` images would break, a draw of `drawn` that holds none of them has a probability above `tail`.
    """
    probability, hidden = 1.0, 0
    while hidden < population - drawn:
        probability *= (population - drawn - hidden) / (population - hidden)
        if probability <= tail:
            break
        hidden += 1
    return hidden


def credit(survivors: np.ndarray, savings: Iterable[Saving], tail: float = TAIL) -> np.ndarray:
    """Return float64 [N], 0..1: 1 for a survivor, less what each of the `savings` can hide, spread over its spared survivors.

    survivors: bool [N].
    tail: of the error of all savings together; each gets an equal part.
    """
    all_of_them = list(savings)
    value = survivors.astype(float)
    for saving in all_of_them:
        rows = saving.spared & survivors
        if rows.any():
            value[rows] -= saving.most_hidden(tail / len(all_of_them)) / rows.sum()
    credits: np.ndarray = np.maximum(value, 0.0)
    return credits
