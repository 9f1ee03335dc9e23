"""What a report says of the model under test: its name, its fingerprint and how it is fed."""

from __future__ import annotations

from pathlib import Path

from safeml.classifiers.base import Classifier
from safeml.results import ModelIdentity


def model_identity(classifier: Classifier) -> ModelIdentity:
    return ModelIdentity(
        name=classifier.name,
        fingerprint=classifier.fingerprint,
        input=dict(vars(classifier.spec)),
        parameters=classifier.parameters,
        notes=list(classifier.notes),
        gradients=getattr(classifier, "checked", None),
    )


def file_title(file: Path) -> str:
    """The name of a model that was given none: that of its file, in its folder."""
    return f"{file.parent.name}/{file.name}" if file.parent.name else file.name
