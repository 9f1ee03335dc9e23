"""The surrogate model of transfer attacks: opened by the same scan and sandbox as the model under test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import DifferentiableClassifier, is_differentiable
from safeml.classifiers.identity import file_title, model_identity
from safeml.config.audit import Config
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused, MissingInput, StageError
from safeml.results import ModelIdentity
from safeml.scan.formats import ONNX
from safeml.scan.sources import find_model
from safeml.stages import settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.work import Phase, Progress

if TYPE_CHECKING:
    from safeml.classifiers.load import Opened

SURROGATE = "stages.adversarial.surrogate"


def open_surrogate(
    config: Config, place: Place, class_names: tuple[str, ...], progress: Progress
) -> tuple[Opened, DifferentiableClassifier] | None:
    """Open the surrogate like the model under test; None if no stage attacks it.

    Raises InputRefused if it cannot be opened, has other classes or gives no gradient, ConfigError for an invalid contract.
    """
    settings = settings_of(config.stages, ADVERSARIAL)
    if not settings.enabled or settings.surrogate is None:
        return None
    from safeml.classifiers.load import load_model

    progress(Phase("Opening the surrogate"), 0, 1)
    try:
        opened = load_model(place.base / settings.surrogate.path)
        file = opened.source.file
        classifier = opened.model.fed(settings.surrogate.input, class_names, file_title(file))
    except (InputRefused, ConfigError, StageError) as error:
        # The messages on contracts name the settings of the model under test.
        raise type(error)(
            f"{SURROGATE}: {str(error).replace('model.input', SURROGATE + '.input')}"
        ) from error
    if not is_differentiable(classifier):
        raise _no_gradient(file)
    return opened, classifier


def check_surrogate(config: Config, place: Place) -> None:
    """Check a surrogate without opening it. Raises InputRefused as the audit would."""
    settings = settings_of(config.stages, ADVERSARIAL)
    if not settings.enabled or settings.surrogate is None:
        return
    file = find_model(place.base / settings.surrogate.path).file
    if not file.exists():
        raise MissingInput(f"{SURROGATE}: {file}: does not exist; expected a model of the same task.")
    if file.suffix in ONNX.suffixes:
        raise _no_gradient(file)


def surrogate_identity(inputs: AuditInputs) -> ModelIdentity | None:
    """Return the identity of the surrogate and its input contract."""
    return None if inputs.surrogate is None else model_identity(inputs.surrogate)


def _no_gradient(file: Path) -> InputRefused:
    """Return the error of a surrogate without gradients."""
    return InputRefused(
        f"{SURROGATE}: {file} gives no gradient, which transfer attacks need; set the Keras model or SavedModel "
        "that it was exported from."
    )
