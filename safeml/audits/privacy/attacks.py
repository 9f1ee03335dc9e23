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

# Images of a class below which its median is that of all classes.
LEAST_CLASS_IMAGES = 20
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
    """

    logits: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Outputs:
        """Return the images in `rows` (bool [N] or int [M])."""
        return Outputs(self.logits[rows], self.labels[rows])


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
    calibration: the same for the calibration images; None if the attack was fitted on them.
    threshold: from the calibration images; an image is taken for a member if its score is at least this.
    advantage: TPR - FPR on the calibration images.
    """

    name: str
    title: str
    members: np.ndarray
    others: np.ndarray
    threshold: float
    calibration: tuple[np.ndarray, np.ndarray] | None = None
    advantage: float = 0.0


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

    Sources: S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, "Privacy risk in machine learning: analyzing the connection to
    overfitting", 2018 (threshold on the loss); L. Song, P. Mittal, "Systematic evaluation of privacy risks of machine learning
    models", 2021 (by class).
    """
    made = []
    for name, (title, score) in SCORES.items():
        sides = [
            score(side.logits, side.labels)
            for part in (calibration, evaluation)
            for side in (part.members, part.others)
        ]
        made.append(at_threshold(name, title, (sides[0], sides[1]), (sides[2], sides[3])))
        labels = [side.labels for part in (calibration, evaluation) for side in (part.members, part.others)]
        medians = class_medians(sides[1], labels[1], calibration.others.logits.shape[1], LEAST_CLASS_IMAGES)
        centred = [own - medians[label] for own, label in zip(sides, labels, strict=True)]
        made.append(
            at_threshold(
                f"{name}_by_class",
                f"{title}, calibrated by class",
                (centred[0], centred[1]),
                (centred[2], centred[3]),
            )
        )
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
    """Fit the black-box attack on at most `images` of each side of the calibration, in equal numbers, and score the evaluation.

    Raises StageError if ART fails.
    """
    count = min(images, len(calibration.members.labels), len(calibration.others.labels))
    rng = np.random.default_rng([seed, 0xA27])
    fitted = []
    for side in (calibration.members, calibration.others):
        some = side.take(np.sort(rng.choice(len(side.labels), count, replace=False)))
        fitted.append((some.logits, some.labels))
    attack = BlackBoxAttack(fitted[0], fitted[1], seed)
    members, others = (
        attack.scores(side.logits, side.labels) for side in (evaluation.members, evaluation.others)
    )
    # ART rounds the probability, and 0.5 to 0.
    return Attacked(ART, TITLES[ART], members, others, float(np.nextafter(0.5, 1)))


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
