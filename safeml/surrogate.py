"""The other models of an audit: surrogate, reference, and the model that gives the gradients of an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import Classifier, DifferentiableClassifier, is_differentiable
from safeml.classifiers.companion import Companion, Purpose, check_companion, open_companion
from safeml.classifiers.identity import model_identity
from safeml.config.audit import Config
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import InputRefused
from safeml.results import ModelIdentity
from safeml.settings.model import SurrogateSettings
from safeml.stages import settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.comparison import COMPARISON
from safeml.work import Phase, Progress

SURROGATE = "stages.adversarial.surrogate"
REFERENCE = "stages.comparison.reference"
GRADIENTS = "model.gradients"
EXPORTED_FROM = "set the Keras model or SavedModel that it was exported from"
OF_SURROGATE = Purpose(SURROGATE, "a model of the same task", "which transfer attacks need", EXPORTED_FROM)
OF_REFERENCE = Purpose(REFERENCE, "the model to compare with")
OF_GRADIENTS = Purpose(
    GRADIENTS, "the Keras model that the file was exported from", "which is all that it is for", EXPORTED_FROM
)


@dataclass(frozen=True)
class Others:
    """The other models of an audit, where they are configured and a stage uses them."""

    surrogate: Companion | None = None
    reference: Companion | None = None
    gradients: Companion | None = None

    def check_unchanged(self) -> None:
        """Raise if a file has changed since it was opened."""
        for companion in (self.surrogate, self.reference, self.gradients):
            if companion is not None:
                companion.opened.check_unchanged()


def open_surrogate(
    config: Config, place: Place, class_names: tuple[str, ...], progress: Progress
) -> Companion | None:
    """Open the surrogate like the model under test; None if no stage attacks it. Raises as `open_companion`."""
    settings = _surrogate(config)
    if settings is None:
        return None
    progress(Phase("Opening the surrogate"), 0, 1)
    return open_companion(OF_SURROGATE, place.base / settings.path, settings.input, class_names)


def open_reference(
    config: Config, place: Place, classifier: Classifier, class_names: tuple[str, ...], progress: Progress
) -> Companion | None:
    """Open the reference of the comparison; None if there is none.

    classifier: the model under test.
    Raises as `open_companion`, and InputRefused for the model under test itself: a comparison with it cannot fail.
    """
    settings = _reference(config)
    if settings is None:
        return None
    progress(Phase("Opening the reference"), 0, 1)
    companion = open_companion(OF_REFERENCE, place.base / settings.path, settings.input, class_names)
    if companion.classifier.fingerprint == classifier.fingerprint:
        raise InputRefused(
            f"{REFERENCE}: {companion.opened.source.file} is the model under test itself, against which nothing is lost; set the "
            "model that it replaces, such as the float model."
        )
    return companion


def open_gradients(
    config: Config, place: Place, classifier: Classifier, images: ImageDataset, progress: Progress
) -> tuple[Classifier, Companion | None]:
    """Return the model under test, with the gradients of `model.gradients` where that is set, and the model that gives them.

    Raises as `open_companion`, and InputRefused if the two do not predict the same, or the file has its own gradient.
    """
    if not config.model.gradients:
        return classifier, None
    if is_differentiable(classifier):
        raise InputRefused(f"{GRADIENTS}: {classifier.name} gives its own gradient; remove the setting.")
    from safeml.classifiers.twin import with_gradients

    progress(Phase("Opening the model that gives the gradients"), 0, 1)
    path = place.base / config.model.gradients
    companion = open_companion(OF_GRADIENTS, path, config.model.input, images.outputs)
    where = f"{GRADIENTS}: {companion.opened.source.file}"
    return with_gradients(classifier, companion.differentiable, images.images, where), companion


def check_others(config: Config, place: Place) -> None:
    """Check all other models without opening them. Raises InputRefused as the audit would."""
    surrogate, reference = _surrogate(config), _reference(config)
    if surrogate is not None:
        check_companion(OF_SURROGATE, place.base / surrogate.path)
    if reference is not None:
        check_companion(OF_REFERENCE, place.base / reference.path)
    if config.model.gradients:
        check_companion(OF_GRADIENTS, place.base / Path(config.model.gradients))


def surrogate_identity(inputs: AuditInputs) -> ModelIdentity | None:
    """Return the identity of the surrogate and its input contract."""
    return None if inputs.surrogate is None else model_identity(inputs.surrogate)


def reference_identity(inputs: AuditInputs) -> dict[str, Any] | None:
    """Return the identity of the reference, its input contract and the size of its file, JSON-able."""
    if inputs.reference is None:
        return None
    identity = model_identity(inputs.reference.classifier).model_dump(mode="json")
    return {**identity, "bytes": inputs.reference.bytes}


def as_surrogate(companion: Companion | None) -> DifferentiableClassifier | None:
    """Return the classifier of an opened surrogate."""
    return None if companion is None else companion.differentiable


def _surrogate(config: Config) -> SurrogateSettings | None:
    settings = settings_of(config.stages, ADVERSARIAL)
    return settings.surrogate if settings.enabled else None


def _reference(config: Config) -> SurrogateSettings | None:
    settings = settings_of(config.stages, COMPARISON)
    return settings.reference if settings.enabled else None
