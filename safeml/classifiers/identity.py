"""What a report says of the model under test: its name, its fingerprint and how it is fed."""

from __future__ import annotations

from safeml.classifiers.base import Classifier
from safeml.results import ModelIdentity


def model_identity(classifier: Classifier) -> ModelIdentity:
    return ModelIdentity(
        name=classifier.name,
        fingerprint=classifier.fingerprint,
        input=dict(vars(classifier.spec)),
        parameters=classifier.parameters,
        notes=list(classifier.notes),
    )
