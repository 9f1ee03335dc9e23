"""What is refused of a model's outputs before anything is measured: noise, overflow, and answers that depend on the neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import check_outputs
from safeml.errors import InputRefused
from tests.fakes import Answers

SPEC = InputSpec(height=8, width=8)


@dataclass(frozen=True, eq=False)
class Model(Answers):
    """Gives what `function` makes of the mean of each colour, float64 [N, 3]."""

    function: Callable[[np.ndarray], np.ndarray] = lambda means: means

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.function(images.mean(axis=(1, 2))), np.float32)


def model(function: Callable[[np.ndarray], np.ndarray]) -> Model:
    return Model(np.zeros((1, 3)), spec=SPEC, function=function)


def test_an_honest_model_is_not_refused() -> None:
    check_outputs(model(lambda means: means / 50), "m.keras")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda means: means - means.mean(axis=0, keepdims=True), "when other images stand beside it"),
        (lambda means: means / means.max(), "when other images stand beside it"),
        (lambda means: means + np.arange(len(means))[:, None] % 2, "when other images stand beside it"),
        (lambda means: np.where(means == 0, np.nan, means), "not finite"),
        (lambda means: means + np.random.default_rng().normal(size=means.shape), "each time"),
    ],
    ids=["batch mean", "batch maximum", "place in the batch", "not finite", "random"],
)
def test_a_model_that_cannot_be_audited_is_refused(
    function: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    with pytest.raises(InputRefused, match=reason):
        check_outputs(model(function), "m.keras")
