"""The subject of an audit: the opened model, its data, and the inputs of every number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml import framework, provenance
from safeml.audits.base import AuditInputs, Reference
from safeml.classifiers.identity import model_identity
from safeml.classifiers.memory import InMemory
from safeml.config.audit import Config
from safeml.data.dataset import ImageDataset
from safeml.data.identity import Role, data_identity
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused
from safeml.results import DataIdentity, ModelIdentity
from safeml.scan.sources import EXPORT, QUANTIZATION, read_record
from safeml.stages import settings_of
from safeml.stages.monitors import MONITORS
from safeml.store.files import content_key
from safeml.surrogate import (
    SURROGATE,
    Others,
    as_surrogate,
    open_gradients,
    open_reference,
    open_surrogate,
    surrogate_identity,
)
from safeml.version import __version__
from safeml.work import Phase, Progress


@dataclass(frozen=True)
class Subject:
    """The subject of an audit.

    evidence: JSON-able; the inputs of every number beside the settings of its stage.
    check_unchanged: raises if the file of the model or of another model has changed since it was opened.
    file_sha256: of the model file; "" for a model in memory.
    """

    inputs: AuditInputs
    check_unchanged: Callable[[], None]
    file_sha256: str
    identity: ModelIdentity
    data: list[DataIdentity]
    evidence: dict[str, Any]


def open_subject(config: Config, place: Place, model: Path | InMemory, progress: Progress) -> Subject:
    """Read the data and open the model. Raises ConfigError or InputRefused for invalid ones."""
    if config.run.threads:
        framework.fix_threads(config.run.threads)
    progress(Phase("Reading the data"), 0, 1)
    test = place.test(config.data, config.hazard)
    train_data = place.data(config.data.train, config.data.targets) if config.data.train else None
    valid = place.data(config.data.valid, config.data.targets) if config.data.valid else None
    for other in (train_data, valid):
        if other is not None and other.pixels_fingerprint == test.pixels_fingerprint:
            raise ConfigError(
                f"data.test and the training data are the same images ({test.name}); set data.test to other images."
            )
    ood = outside_images(config, place)
    from safeml.classifiers.load import Opened, load_model

    progress(Phase("Opening the model"), 0, 1)
    opened = load_model(model) if isinstance(model, Path) else model
    name = config.model.name or opened.title
    fed = opened.model.fed(config.model.input, test.outputs, name)
    classifier, gradients = open_gradients(config, place, fed, test, progress)
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
        **({"threads": config.run.threads} if config.run.threads else {}),
        **({} if test.frames is None else {"frames": hashlib.sha256(test.frames.tobytes()).hexdigest()}),
    }
    surrogate = open_surrogate(config, place, test.outputs, progress)
    if surrogate is not None and surrogate.classifier.fingerprint == classifier.fingerprint:
        raise InputRefused(
            f"{SURROGATE}: {surrogate.opened.source.file} is the model under test itself, which would be a white-box attack; "
            "set another model of the same task."
        )

    others = Others(surrogate, open_reference(config, place, classifier, test.outputs, progress), gradients)

    def check_unchanged() -> None:
        opened.check_unchanged()
        others.check_unchanged()

    file = opened.source.file if isinstance(opened, Opened) else None
    reference = others.reference

    inputs = AuditInputs(
        classifier,
        test,
        train_data,
        valid,
        config.run.seed,
        progress,
        contract=config.model.input,
        origin=opened.origin,
        manifest=dict(opened.manifest) if opened.manifest is not None else None,
        surrogate=as_surrogate(surrogate),
        reference=None
        if reference is None
        else Reference(reference.classifier, reference.opened.origin.scan.bytes),
        **records_beside(file),
        ood=ood,
        predicting=classifier.batch,
    )
    return Subject(inputs, check_unchanged, opened.file_sha256, identity, data, evidence)


def outside_images(config: Config, place: Place) -> ImageDataset | None:
    """Read the images from outside the classes, if they are configured and a stage uses them."""
    settings = settings_of(config.stages, MONITORS)
    return (
        place.plain(settings.ood, least_classes=1) if settings.enabled and settings.ood is not None else None
    )


def records_beside(file: Path | None) -> dict[str, Any]:
    """Return the records of `safeml quantize` and `safeml export` beside a model file, by their names in `AuditInputs`.

    Raises InputRefused for one that is no JSON object.
    """
    if file is None:
        return {}
    return {
        "quantization": read_record(file.with_name(QUANTIZATION), "record of `safeml quantize`"),
        "export": read_record(file.with_name(EXPORT), "record of `safeml export`"),
    }


def records_of(inputs: AuditInputs) -> dict[str, Any]:
    """Return the records of `records_beside` that an audit has."""
    return {"quantization": inputs.quantization, "export": inputs.export}


def default_folder(reports: Path, subject: Subject, config: Config, profile: str) -> Path:
    """Return the default folder of a run, named by its model and content.

    Limits are not part of the name: another limit finds the run of the earlier one, so that a looser one is reported.
    """
    surrogate = surrogate_identity(subject.inputs)
    whole = {
        **subject.evidence,
        "surrogate": surrogate.model_dump(mode="json") if surrogate is not None else None,
        "configuration": config.model_dump(mode="json", exclude={"gates", "accepted"}),
        "profile": profile,
    }
    return reports / f"{_slug(subject.identity.name)}-{profile}-{content_key(whole)[:10]}"


def _slug(name: str) -> str:
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)[:60].strip("-")
        or "model"
    )
