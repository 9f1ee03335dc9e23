"""The membership attacks on recorded outputs. Each is calibrated on one part and evaluated on the other.

Legend: N images, K classes, M members, O non-members, S shadow models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.attacks.art.membership import BlackBoxAttack
from safeml.errors import StageError
from safeml.metrics.membership import (
    best_threshold,
    class_medians,
    confidence_score,
    margin_score,
    true_class_score,
)
from safeml.stages.privacy import ART, LIRA, THRESHOLD

# Sign tracks of a class below which its median is that of all classes: a median of few signs fits these signs and no others.
LEAST_CLASS_SIGNS = 12
PURPOSE = 0xA27
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
SCORES: dict[str, tuple[str, Score]] = {
    "loss": ("Loss of the true class", true_class_score),
    "confidence": ("Confidence of the predicted class", lambda logits, labels: confidence_score(logits)),
    "margin": ("Margin of the true class", margin_score),
}
TITLES = {
    THRESHOLD: "Threshold on the outputs",
    ART: "Black-box attack (ART, random forest)",
    LIRA: "Likelihood ratio (LiRA)",
}


@dataclass(frozen=True, eq=False)
class Outputs:
    """The recorded outputs on one side of one part.

    logits: float32 [N, K].
    labels: int64 [N].
    shares: float [N], the share of a sign track that each image is; they add up to the number of sign tracks.
    units: int [N], the number of its sign track, or of the image where tracks are not known.
    """

    logits: np.ndarray
    labels: np.ndarray
    shares: np.ndarray
    units: np.ndarray

    def take(self, rows: np.ndarray) -> Outputs:
        """Return the images in `rows` (bool [N] or int [M])."""
        return Outputs(self.logits[rows], self.labels[rows], self.shares[rows], self.units[rows])

    @property
    def features(self) -> np.ndarray:
        """Return every score of each image, float64 [N, 3]."""
        return np.stack([score(self.logits, self.labels) for _, score in SCORES.values()], axis=1)


@dataclass(frozen=True, eq=False)
class Part:
    """The outputs for the members and the non-members of one part."""

    members: Outputs
    others: Outputs


@dataclass(frozen=True, eq=False)
class Attacked:
    """The scores of one attack on the evaluation images.

    name: of the attack, or of one of its scores.
    members, others: float64 [M] and [O]; larger for an image that is taken for a member.
    calibration: the same for the calibration images; for ART for those that its threshold is chosen on.
    threshold: from the calibration images; an image is taken for a member if its score is at least this.
    advantage: TPR - FPR on the calibration images.
    """

    name: str
    title: str
    members: np.ndarray
    others: np.ndarray
    threshold: float
    calibration: tuple[np.ndarray, np.ndarray]
    advantage: float


def at_threshold(
    name: str,
    title: str,
    calibration: tuple[np.ndarray, np.ndarray],
    evaluation: tuple[np.ndarray, np.ndarray],
) -> Attacked:
    """Return the scores (members, non-members) of both parts with the best threshold of the calibration images."""
    threshold, advantage = best_threshold(*calibration)
    return Attacked(name, title, *evaluation, threshold, calibration, advantage)


def threshold_attacks(calibration: Part, evaluation: Part) -> list[Attacked]:
    """Return the attack on each score, as it is and less the median of the class, the best on the calibration images first.

    The median is that of the non-members of the calibration.

    Sources: S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, "Privacy risk in machine learning: analyzing the connection to
    overfitting", 2018 (threshold on the loss); L. Song, P. Mittal, "Systematic evaluation of privacy risks of machine learning
    models", 2021 (by class).
    """
    parts = [side for part in (calibration, evaluation) for side in (part.members, part.others)]
    others = calibration.others
    signs = np.bincount(others.labels, weights=others.shares, minlength=others.logits.shape[1])
    own = signs >= LEAST_CLASS_SIGNS
    made = []
    for name, (title, score) in SCORES.items():
        scores = [score(side.logits, side.labels) for side in parts]
        made.append(at_threshold(name, title, (scores[0], scores[1]), (scores[2], scores[3])))
        if own.any():
            medians = class_medians(scores[1], others.labels, own)
            less = [part - medians[side.labels] for part, side in zip(scores, parts, strict=True)]
            words = f"{title}, calibrated by class"
            made.append(at_threshold(f"{name}_by_class", words, (less[0], less[1]), (less[2], less[3])))
    return sorted(made, key=lambda one: -one.advantage)


def threshold_attack(calibration: Part, evaluation: Part) -> Attacked:
    """Return the attack on the score that is best on the calibration images."""
    best = threshold_attacks(calibration, evaluation)[0]
    return Attacked(
        THRESHOLD,
        f"{TITLES[THRESHOLD]}: {best.title[:1].lower()}{best.title[1:]}",
        best.members,
        best.others,
        best.threshold,
        best.calibration,
        best.advantage,
    )


def art_attack(calibration: Part, evaluation: Part, images: int, seed: int) -> Attacked:
    """Fit the black-box attack on half of the calibration, choose its threshold on the other half, and score the evaluation.

    images: most images of each side that it is fitted on; both sides have equal numbers. No sign track is in both halves.
    A forest knows the images that it was fitted on, and would choose a threshold that suits no others.
    Raises StageError if ART fails.
    """
    rng = np.random.default_rng([seed, PURPOSE])
    sides = (calibration.members, calibration.others)
    first = [_half_of_units(side.units, rng) for side in sides]
    count = min(images, *(int(half.sum()) for half in first))
    fitted, held = [], []
    for side, half in zip(sides, first, strict=True):
        some = side.take(np.sort(rng.choice(np.flatnonzero(half), count, replace=False)))
        fitted.append((some.features, some.labels))
        held.append(side.take(~half))
    attack = BlackBoxAttack(fitted[0], fitted[1], calibration.others.logits.shape[1], seed)
    chosen, asked = (
        [attack.scores(side.features, side.labels) for side in group]
        for group in (held, (evaluation.members, evaluation.others))
    )
    return at_threshold(ART, TITLES[ART], (chosen[0], chosen[1]), (asked[0], asked[1]))


def _half_of_units(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return bool [N], the images of a random half of the sign tracks."""
    numbers = np.unique(units)
    return np.isin(units, rng.permutation(numbers)[: len(numbers) // 2])


def finite(part: Part) -> int:
    """Return how many images of a part have a logit that is not finite."""
    return sum(int((~np.isfinite(side.logits).all(axis=1)).sum()) for side in (part.members, part.others))


def constant(part: Part) -> bool:
    """Return whether every image of a part has the same true-class score, so that no attack on it can tell any two apart."""
    scores = np.concatenate(
        [true_class_score(side.logits, side.labels) for side in (part.members, part.others)]
    )
    return bool(np.ptp(scores) == 0)


def or_reason(compute: Callable[[], Attacked]) -> Attacked | str:
    """Return the attack, or a clause that says why it could not run."""
    try:
        return compute()
    except StageError as error:
        return str(error).rstrip(".")
