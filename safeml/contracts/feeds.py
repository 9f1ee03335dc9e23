"""Predictions of a model under each contract; each batch of preprocessed images is cached. Legend: N images, K classes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from safeml.classifiers.base import Classifier, Model
from safeml.contracts.candidates import Candidate
from safeml.contracts.measure import NO_ANSWER
from safeml.data.dataset import ImageDataset
from safeml.errors import InputRefused


class Answers(Protocol):
    """A function that predicts images under a contract."""

    def __call__(self, candidate: Candidate, data: ImageDataset) -> np.ndarray:
        """Return the index of the largest output, int [N]; NO_ANSWER where outputs are not finite.

        Raises InputRefused if the model does not accept the contract.
        """
        ...


class Feeds:
    """`Answers` of a model for these classes."""

    def __init__(self, model: Model, class_names: tuple[str, ...]) -> None:
        self.model = model
        self.class_names = class_names
        self._built: dict[str, Classifier] = {}

    def __call__(self, candidate: Candidate, data: ImageDataset) -> np.ndarray:
        """See `Answers`."""
        if candidate.feed not in self._built:
            settings = candidate.settings.model_copy(update={"class_order": None})
            self._built[candidate.feed] = self.model.fed(settings, self.class_names, candidate.feed)
        logits = self._built[candidate.feed].predict_logits(data.images)
        if logits.shape != (len(data), len(self.class_names)):
            raise InputRefused(
                f"{self.model.where}: the output has shape {list(logits.shape)}; "
                f"expected {[len(data), len(self.class_names)]}."
            )
        return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), NO_ANSWER)
