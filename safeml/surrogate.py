"""The model of the adversary's own: found, opened by the same scan and sandbox as the model under test, and told apart from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import DifferentiableClassifier, is_differentiable
from safeml.classifiers.identity import file_title, model_identity
from safeml.config.audit import Config
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.results import ModelIdentity
from safeml.scan.formats import ONNX
from safeml.scan.sources import find_model
from safeml.stages import settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.work import Progress

if TYPE_CHECKING:
    from safeml.classifiers.load import Opened

SURROGATE = "stages.adversarial.surrogate"


def open_surrogate(
    config: Config, place: Place, class_names: tuple[str, ...], progress: Progress
) -> tuple[Opened, DifferentiableClassifier] | None:
    """The model of the adversary's own, scanned and opened as the model under test is; None where none is attacked.

    Raises InputRefused where it cannot be opened, is about other classes or gives no gradient, and ConfigError where its
    contract contradicts itself.
    """
    settings = settings_of(config.stages, ADVERSARIAL)
    if not settings.enabled or settings.surrogate is None:
        return None
    from safeml.classifiers.load import load_model

    progress("Opening the surrogate", 0, 1)
    try:
        opened = load_model(place.base / settings.surrogate.path)
        file = opened.source.file
        classifier = opened.model.fed(settings.surrogate.input, class_names, file_title(file))
    except (InputRefused, ConfigError, StageError) as error:
        # The contract's sentences name the settings of the model under test.
        raise type(error)(
            f"{SURROGATE}: {str(error).replace('model.input', SURROGATE + '.input')}"
        ) from error
    if not is_differentiable(classifier):
        raise _no_gradient(file)
    return opened, classifier


def check_surrogate(config: Config, place: Place) -> None:
    """What can be said of a surrogate without opening it. Raises InputRefused as the audit would."""
    settings = settings_of(config.stages, ADVERSARIAL)
    if not settings.enabled or settings.surrogate is None:
        return
    file = find_model(place.base / settings.surrogate.path).file
    if not file.exists():
        raise InputRefused(f"{SURROGATE}: {file}: is not there; expected a model of the same task.")
    if file.suffix in ONNX.suffixes:
        raise _no_gradient(file)


def surrogate_identity(inputs: AuditInputs) -> ModelIdentity | None:
    """Which surrogate, and how it is fed."""
    return None if inputs.surrogate is None else model_identity(inputs.surrogate)


def _no_gradient(file: Path) -> InputRefused:
    """The error of a surrogate that cannot be attacked by its gradient."""
    return InputRefused(
        f"{SURROGATE}: {file} gives no gradient, and transfer attacks follow one; name the Keras model or the SavedModel that "
        "it was exported from."
    )
