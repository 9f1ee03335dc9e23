"""The subject of a plan: the data, and the model if it exists and may be opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safeml import pipeline
from safeml.audits.base import AuditInputs
from safeml.classifiers.base import is_differentiable
from safeml.config.audit import Config
from safeml.config.quantization import load_quantize_settings
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import ConfigError, MissingInput
from safeml.export.artefact import (
    UNWRITTEN,
    artefact_folder,
    audit_settings,
    check_settings,
    is_made,
    planned_settings,
)
from safeml.planning.base import TrainingPlan
from safeml.planning.best_case import PlanData
from safeml.planning.probe import timed
from safeml.planning.training import plan_training
from safeml.quantization.inputs import QuantizationInputs, read_inputs
from safeml.recipes import Prepared, is_done, prepare, trained_folder
from safeml.scan.formats import ONNX
from safeml.scan.sources import find_model
from safeml.settings.data import DataSettings
from safeml.stages import STAGES, settings_of
from safeml.store.files import content_key
from safeml.store.journal import Journal
from safeml.store.run_folder import refuse_other_run
from safeml.subject import default_folder, open_subject, outside_images, records_beside, records_of
from safeml.surrogate import as_surrogate, check_others, open_surrogate
from safeml.wording import counted
from safeml.work import Progress, silent


@dataclass(frozen=True, eq=False)
class Planned:
    """The subject of a plan.

    known: the inputs that need no model.
    inputs: the inputs of the stages; the classifier is opened only for timing.
    opened: whether it is.
    keys: evidence and key of each stage, if the model is the one to audit.
    training: of the recipe that is trained first.
    first: what is done before the audit and is not timed, as a sentence; "" for nothing.
    opening: seconds to read model and data.
    """

    known: PlanData
    inputs: AuditInputs
    opened: bool = False
    folder: Path | None = None
    keys: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    training: TrainingPlan | None = None
    first: str = ""
    opening: float = 0.0

    @property
    def journal(self) -> Journal | None:
        """Return the journal of the run folder."""
        return Journal(self.folder) if self.folder is not None and self.folder.is_dir() else None


class KnownPlace(Place):
    """A place that reads each data set once: audit and recipe often share one."""

    def plain(self, settings: DataSettings, least_classes: int = 2) -> ImageDataset:
        """See `Place.plain`."""
        seen: dict[str, ImageDataset] = self.__dict__.setdefault("_seen", {})
        key = content_key([str(self.data_root), settings.model_dump(mode="json"), least_classes])
        if key not in seen:
            seen[key] = super().plain(settings, least_classes)
        return seen[key]


def planned(
    config: Config,
    place: Place,
    model: Path | None = None,
    out: Path | None = None,
    profile: str = "full",
    timing: bool = False,
    progress: Progress = silent,
) -> Planned:
    """Read the data and, where `timing`, open the model as the audit will.

    model: None for the model, the recipe or the quantization of the settings. Raises ConfigError and InputRefused as the audit would.
    """
    recipe_path = place.base / config.model.recipe
    if model is None and config.model.quantize:
        quantization = _quantization(config, place)
        folder = artefact_folder(place.base / config.run.reports, quantization)
        if not is_made(quantization, folder):
            return _of_quantization(config, place, quantization, folder)
        config = audit_settings(config, place.base, folder, quantization)
    if model is None and not config.model.recipe:
        model = place.base / config.model.path
    if model is None:
        prepared, reading = _prepared(recipe_path, place)
        trained = trained_folder(place.base / config.run.reports, prepared)
        if not is_done(prepared, trained):
            return _of_recipe(config, place, prepared, reading, timing, progress)
        model = trained
    source = find_model(model)
    if not source.file.exists():
        raise MissingInput(f"{source.file}: does not exist; expected the model under test.")
    if timing:
        return _opened(config, place, model, out, profile, progress)
    check_others(config, place)
    known = replace(
        _read(config, place, source.file.name),
        gradient=source.file.suffix not in ONNX.suffixes or bool(config.model.gradients),
        manifest=source.manifest,
        records=records_beside(source.file),
    )
    return Planned(known, _inputs(known))


def _opened(
    config: Config, place: Place, model: Path, out: Path | None, profile: str, progress: Progress
) -> Planned:
    opening, subject = timed(lambda: open_subject(config, place, model, progress))
    inputs = subject.inputs
    known = PlanData(
        config,
        inputs.test,
        inputs.train,
        inputs.valid,
        inputs.classifier.name,
        is_differentiable(inputs.classifier),
        inputs.manifest,
        records_of(inputs),
        ood=inputs.ood,
    )
    folder = out or default_folder(place.base / config.run.reports, subject, config, profile)
    if folder.exists():
        refuse_other_run(folder, subject.identity.fingerprint, inputs.test.fingerprint, profile)
    keys = {}
    for stage in STAGES:
        keys[stage.name] = pipeline.stage_key(stage, subject, settings_of(config.stages, stage))
    return Planned(known, inputs, True, folder, keys, opening=opening)


def _prepared(recipe_path: Path, place: Place) -> tuple[Prepared, float]:
    """Return the recipe with its data, and the seconds to read them."""
    seconds, prepared = timed(lambda: prepare(recipe_path, KnownPlace(recipe_path.parent, place.data_root)))
    return prepared, seconds


def _of_recipe(
    config: Config, place: Place, prepared: Prepared, reading: float, timing: bool, progress: Progress
) -> Planned:
    recipe, base = prepared.recipe, prepared.base
    again, known = timed(lambda: _read(config, place, recipe.name))
    known = replace(known, untrained=True)
    progress("timing the training" if timing else "counting the training", 0, 1)
    made = plan_training(recipe, prepared.training, prepared.choosing, base, timing, known.name)
    inputs = _inputs(known)
    if made.classifier is not None:
        surrogate = open_surrogate(config, place, known.test.class_names, progress)
        inputs = replace(
            inputs,
            classifier=made.classifier,
            predicting=made.classifier.batch,
            surrogate=as_surrogate(surrogate),
        )
    else:
        check_others(config, place)
    # `safeml run` reads the data twice, for training and audit, and the trial load starts the framework again.
    opening = 2 * (reading + again + made.starting)
    return Planned(known, inputs, made.classifier is not None, training=made.plan, opening=opening)


def _quantization(config: Config, place: Place) -> QuantizationInputs:
    """Return the inputs of the quantization that the settings name, with its data."""
    file = place.base / config.model.quantize
    known, trained = KnownPlace(file.parent, place.data_root), None
    if recipe := load_quantize_settings(file).model.recipe:
        prepared = prepare(file.parent / recipe, known)
        trained = trained_folder(place.base / config.run.reports, prepared)
        if not is_done(prepared, trained):
            raise ConfigError(
                f"{file}: its recipe is not trained yet, so the quantization cannot be planned; run `safeml train "
                f"{file.parent / recipe} --out {trained}` first, which `safeml run` reuses."
            )
    inputs = read_inputs(file, known, trained)
    check_settings(config, inputs)
    return inputs


def _of_quantization(config: Config, place: Place, inputs: QuantizationInputs, folder: Path) -> Planned:
    """Plan the audit of an INT8 file that is not made yet. Its stages are known, and their times are not."""
    config = planned_settings(config, place.base, inputs)
    check_others(config, place)
    settings = inputs.settings
    known = replace(_read(config, place, settings.name), records=UNWRITTEN, gradient=True)
    images = min(settings.calibration.images, len(inputs.training))
    steps = [f"prunes for {counted(settings.prune.epochs, 'epoch')}"] if settings.prune is not None else []
    steps.append(f"calibrates on {counted(images, 'image')}")
    if settings.epochs:
        steps.append(
            f"trains the INT8 and the float model for {counted(settings.epochs, 'epoch')} of {counted(len(inputs.training), 'image')} each"
        )
    first = (
        f"`safeml run` first quantizes {inputs.source} into {folder}: it {', '.join(steps)} and exports the INT8 file. This and the audit are "
        "not timed before that file exists."
    )
    return Planned(known, _inputs(known), first=first)


def _read(config: Config, place: Place, name: str) -> PlanData:
    """Read the data of the settings, without a model."""
    test = place.test(config.data, config.hazard)
    train, valid = (
        place.targeted(data, config.data.targets) if data else None
        for data in (config.data.train, config.data.valid)
    )
    for other in (train, valid):
        if other is not None and other.pixels_fingerprint == test.pixels_fingerprint:
            raise ConfigError(
                f"data.test and the training data are the same images ({test.name}); set data.test to other images."
            )
    ood = outside_images(config, place)
    return PlanData(config, test, train, valid, config.model.name or name, ood=ood)


def _inputs(known: PlanData) -> AuditInputs:
    """Return the inputs of the stages with a placeholder for the model."""
    seed = known.config.run.seed
    return AuditInputs(
        known.no_model,
        known.test,
        known.train,
        known.valid,
        seed,
        manifest=known.manifest,
        surrogate=known.no_surrogate,
        reference=known.no_reference,
        ood=known.ood,
        **known.records,
    )
