"""What an audit is about: a model that was scanned and opened, the data around it, and what every number depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safeml import provenance
from safeml.audits.base import AuditInputs, Progress
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.identity import model_identity
from safeml.config import Config
from safeml.data.dataset import ImageDataset
from safeml.data.identity import Role, data_identity
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.results import DataIdentity, ModelIdentity
from safeml.store.files import content_key
from safeml.version import __version__

if TYPE_CHECKING:
    from safeml.classifiers.load import Opened

SURROGATE = "stages.adversarial.surrogate"


@dataclass(frozen=True)
class Subject:
    """What is audited.

    evidence: JSON-able; what every number of the run depends on beside the settings of its stage.
    check_unchanged: raises where the file of the model, or of the surrogate, is not the one that was opened any more.
    file_sha256: of the model's file.
    """

    inputs: AuditInputs
    check_unchanged: Callable[[], None]
    file_sha256: str
    identity: ModelIdentity
    data: list[DataIdentity]
    evidence: dict[str, Any]


def open_subject(config: Config, place: Place, model_path: Path, progress: Progress) -> Subject:
    """Read the data and open the model at `model_path`. Raises ConfigError or InputRefused where they cannot be audited."""
    progress("Reading the data", 0, 1)
    test = place.data(config.data.test)
    train_data = place.data(config.data.train) if config.data.train else None
    valid = place.data(config.data.valid) if config.data.valid else None
    for other in (train_data, valid):
        if other is not None and other.pixels_fingerprint == test.pixels_fingerprint:
            raise ConfigError(
                f"data.test and the training data are the same images ({test.name}); a verdict needs its own."
            )
    from safeml.classifiers.load import load_model

    progress("Opening the model", 0, 1)
    opened = load_model(model_path)
    name = config.model.name or _model_name(opened.source.file)
    classifier = opened.model.fed(config.model.input, test.class_names, name)
    identity = model_identity(classifier)
    roles: tuple[tuple[Role, ImageDataset | None], ...] = (
        ("test", test),
        ("train", train_data),
        ("valid", valid),
    )
    data = [data_identity(role, dataset) for role, dataset in roles if dataset is not None]
    evidence = {
        "version": __version__,
        "code": provenance.measuring_code(),
        "packages": provenance.versions(),
        "model": identity.model_dump(mode="json"),
        "data": [entry.model_dump(mode="json") for entry in data],
        "seed": config.run.seed,
    }
    surrogate = open_surrogate(config, place, test.class_names, progress)
    if surrogate is not None and surrogate[1].fingerprint == classifier.fingerprint:
        raise InputRefused(
            f"{SURROGATE}: {surrogate[0].source.file} is the model under test itself, and that would be a white-box attack; "
            "name another model of the same task."
        )

    def check_unchanged() -> None:
        opened.check_unchanged()
        if surrogate is not None:
            surrogate[0].check_unchanged()

    inputs = AuditInputs(
        classifier,
        test,
        train_data,
        valid,
        config.run.seed,
        progress,
        contract=config.model.input,
        origin=opened.origin,
        manifest=opened.source.manifest,
        surrogate=surrogate[1] if surrogate is not None else None,
        predicting=classifier.batch,
    )
    return Subject(inputs, check_unchanged, opened.origin.scan.sha256, identity, data, evidence)


def open_surrogate(
    config: Config, place: Place, class_names: tuple[str, ...], progress: Progress
) -> tuple[Opened, DifferentiableClassifier] | None:
    """The model of the adversary's own, scanned and opened as the model under test is; None where none is attacked.

    Raises InputRefused where it cannot be opened, is about other classes or gives no gradient, and ConfigError where its
    contract contradicts itself.
    """
    settings = config.stages.adversarial
    if not settings.enabled or settings.surrogate is None:
        return None
    from safeml.classifiers.load import load_model

    progress("Opening the surrogate", 0, 1)
    try:
        opened = load_model(place.base / settings.surrogate.path)
        file = opened.source.file
        classifier = opened.model.fed(settings.surrogate.input, class_names, _model_name(file))
    except (InputRefused, ConfigError, StageError) as error:
        # The contract's sentences name the settings of the model under test.
        raise type(error)(
            f"{SURROGATE}: {str(error).replace('model.input', SURROGATE + '.input')}"
        ) from error
    if not callable(getattr(classifier, "logits", None)):
        raise no_surrogate_gradient(file)
    return opened, cast("DifferentiableClassifier", classifier)


def no_surrogate_gradient(file: Path) -> InputRefused:
    """The error of a surrogate that cannot be attacked by its gradient."""
    return InputRefused(
        f"{SURROGATE}: {file} gives no gradient, and transfer attacks follow one; name the Keras model or the SavedModel that "
        "it was exported from."
    )


def default_folder(reports: Path, subject: Subject, config: Config, profile: str) -> Path:
    """The folder of a run that names none: by its model and its content."""
    surrogate = surrogate_identity(subject.inputs)
    whole = {
        **subject.evidence,
        "surrogate": surrogate.model_dump(mode="json") if surrogate is not None else None,
        "configuration": config.model_dump(mode="json"),
        "profile": profile,
    }
    return reports / f"{_slug(subject.identity.name)}-{profile}-{content_key(whole)[:10]}"


def surrogate_identity(inputs: AuditInputs) -> ModelIdentity | None:
    """Which surrogate, and how it is fed."""
    return None if inputs.surrogate is None else model_identity(inputs.surrogate)


def _model_name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}" if file.parent.name else file.name


def _slug(name: str) -> str:
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)[:60].strip("-")
        or "model"
    )
