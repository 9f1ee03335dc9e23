"""ART's black-box membership attack, on features of outputs that were computed before.

Legend: N images, D features, K classes, M members, O non-members.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.attacks.art.surroundings import home_elsewhere, quiet, seeded
from safeml.errors import StageError, first_line

# "nn" needs PyTorch.
ATTACK_MODEL = "rf"


class BlackBoxAttack:
    """`MembershipInferenceBlackBox` of ART with a random forest on features of the outputs and the label.

    The features take the place of the predictions. Raw logits are poor ones: a forest cannot see from the label which of K columns
    is the true class, and misses a planted leak.

    Source: R. Shokri, M. Stronati, C. Song, V. Shmatikov, "Membership inference attacks against machine learning models", 2017;
    M.-I. Nicolae et al., "Adversarial Robustness Toolbox", 2018.
    """

    def __init__(
        self,
        members: tuple[np.ndarray, np.ndarray],
        others: tuple[np.ndarray, np.ndarray],
        classes: int,
        seed: int,
    ) -> None:
        """Fit the attack on images whose membership is known.

        members, others: features, float [M or O, D], and labels, int [M or O], 0..K-1.
        classes: K.
        seed: of the forest, 0..2**32-1.
        Raises StageError if ART fails.
        """
        with home_elsewhere(), quiet():  # importing ART warns about absent PyTorch
            from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
            from art.estimators.classification import BlackBoxClassifier
        estimator = BlackBoxClassifier(_never, (1,), classes)
        try:
            with quiet(), seeded(seed):
                self.attack: Any = MembershipInferenceBlackBox(estimator, attack_model_type=ATTACK_MODEL)
                self.attack.fit(
                    y=members[1],
                    test_y=others[1],
                    pred=members[0].astype(np.float32),
                    test_pred=others[0].astype(np.float32),
                )
        except Exception as error:
            raise StageError(f"the membership attack of ART failed: {first_line(error)}.") from error

    def scores(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the probability of membership that the attack states, float64 [N].

        features: float [N, D]. labels: int [N], 0..K-1.
        Raises StageError if ART fails or answers in another shape.
        """
        try:
            with quiet():
                answer = self.attack.infer(None, labels, pred=features.astype(np.float32), probabilities=True)
        except Exception as error:
            raise StageError(f"the membership attack of ART failed: {first_line(error)}.") from error
        return column(answer, len(features))


def column(answer: Any, count: int) -> np.ndarray:
    """Return the answer of ART for `count` images as a vector, float64 [N].

    ART answers [N, 1]. Compared with a vector [N], NumPy makes [N, N] of it, and the mean of the comparison is near one half
    whatever the attack found. Raises StageError for another shape, and for values that are not in 0..1.
    """
    values = np.asarray(answer, np.float64)
    if values.shape not in ((count, 1), (count,)):
        raise StageError(
            f"the membership attack of ART returned {list(values.shape)}; expected [{count}, 1], one value per image."
        )
    flat = values.reshape(count)
    if not (np.isfinite(flat) & (flat >= 0) & (flat <= 1)).all():
        raise StageError("the membership attack of ART returned values that are not probabilities.")
    return flat


def _never(images: np.ndarray) -> np.ndarray:
    raise StageError("the membership attack of ART asked the model, although it was given the outputs.")
