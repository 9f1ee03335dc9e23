"""Other models of an audit beside the model under test: opened by the same scan and sandbox, with the setting in every message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeml.classifiers.base import Classifier, DifferentiableClassifier, is_differentiable
from safeml.classifiers.identity import file_title
from safeml.errors import ConfigError, InputRefused, MissingInput, StageError
from safeml.scan.formats import ONNX
from safeml.scan.sources import find_model
from safeml.settings.model import InputSettings

if TYPE_CHECKING:
    from safeml.classifiers.load import Opened


@dataclass(frozen=True)
class Purpose:
    """The purpose of another model.

    setting: its table or key in `safeml.toml`, without `.path` and `.input`.
    expected: what it should be, in words.
    gradient: why it must give a gradient, as a clause that begins with "which"; "" where it need not.
    remedy: what to set instead of a model without a gradient.
    """

    setting: str
    expected: str
    gradient: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Companion:
    """Another model, and how its file was opened."""

    opened: Opened
    classifier: Classifier

    @property
    def differentiable(self) -> DifferentiableClassifier:
        """Return the classifier of a purpose that needs a gradient."""
        assert is_differentiable(self.classifier)
        return self.classifier


def open_companion(
    purpose: Purpose, path: Path, contract: InputSettings, class_names: tuple[str, ...]
) -> Companion:
    """Open the model at `path`.

    Raises InputRefused if it cannot be opened, has other classes or gives no gradient where that is needed, ConfigError for an
    invalid contract.
    """
    from safeml.classifiers.load import load_model

    try:
        opened = load_model(path)
        file = opened.source.file
        classifier = opened.model.fed(contract, class_names, file_title(file))
    except (InputRefused, ConfigError, StageError) as error:
        # The messages on contracts name the settings of the model under test.
        told = str(error).replace("model.input", f"{purpose.setting}.input")
        raise type(error)(f"{purpose.setting}: {told}") from error
    if purpose.gradient and not is_differentiable(classifier):
        raise _no_gradient(purpose, file)
    return Companion(opened, classifier)


def check_companion(purpose: Purpose, path: Path) -> None:
    """Check another model without opening it. Raises InputRefused as the audit would."""
    file = find_model(path).file
    if not file.exists():
        raise MissingInput(f"{purpose.setting}: {file}: does not exist; expected {purpose.expected}.")
    if purpose.gradient and file.suffix in ONNX.suffixes:
        raise _no_gradient(purpose, file)


def _no_gradient(purpose: Purpose, file: Path) -> InputRefused:
    return InputRefused(f"{purpose.setting}: {file} gives no gradient, {purpose.gradient}; {purpose.remedy}.")
