"""From settings to a verdict: load, run each stage unless it is done, decide, record. One loop, one row a stage."""

from __future__ import annotations

import importlib
import importlib.metadata
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from safeml import framework, provenance
from safeml import gates as deciding
from safeml.audits.base import AuditInputs, Progress, silent
from safeml.classifiers.base import Classifier
from safeml.config import Config, DataSettings, InputSettings, TrainingSettings, load_recipe
from safeml.data.dataset import ImageDataset
from safeml.data.groups import add_pixel_groups
from safeml.data.identity import Role, data_identity
from safeml.data.load import load_dataset
from safeml.errors import ConfigError, ExitCode, SafemlError, first_line
from safeml.results import Finding, ModelIdentity, Run, RunTimes, StageResult, Verdict
from safeml.scan.sources import find_model, read_manifest
from safeml.store import atomic_write, content_key, load_stage, make_folder, save_stage, to_json
from safeml.version import __version__


@dataclass(frozen=True)
class Stage:
    """One row a stage: `module.run(inputs, settings)` measures it, `[stages.NAME]` configures it.

    reads: what it takes from its inputs beside model and data, so that its result is kept only as long as that is the same.
    """

    name: str
    title: str
    module: str
    reads: tuple[Literal["contract", "origin", "manifest"], ...] = ()


STAGES = (
    Stage("model", "Model file", "safeml.audits.model", reads=("origin", "contract")),
    Stage("training", "Training", "safeml.audits.training", reads=("manifest",)),
    Stage("performance", "Performance", "safeml.audits.performance"),
    Stage("balance", "Class balance", "safeml.audits.balance"),
    Stage("adversarial", "Adversarial robustness", "safeml.audits.adversarial"),
)
RENDERED_IMAGES = 4300
QUICK: dict[str, dict[str, Any]] = {
    "performance": {"bootstrap": 200},
    "adversarial": {
        "images": 256,
        "steps": 10,
        "threats": [{"norm": "linf", "epsilon": e} for e in ("1/255", "4/255")]
        + [{"norm": "l2", "epsilon": 0.5}],
    },
}


@dataclass(frozen=True)
class Place:
    """Where relative paths of the settings start: the settings' own folder, or the data folder given by hand."""

    base: Path
    data_root: Path

    def data(self, settings: DataSettings) -> ImageDataset:
        """The data that the settings name; what they declare about clustering stands where tracks are unknown."""
        by_kind: dict[str, dict[str, Any]] = {
            "npz": {},
            "gtsrb": {
                "split": settings.split,
                "size": settings.size,
                "valid_fraction": settings.valid_fraction,
            },
            "folder": {"size": settings.size},
            "rendered": {
                "images": settings.images or RENDERED_IMAGES,
                "seed": settings.seed,
                "size": settings.size,
            },
        }
        path = str(self.data_root / settings.path) if settings.path else ""
        data = load_dataset(settings.kind, path, **by_kind[settings.kind])
        if settings.frames_per_sign is not None and data.frames_per_sign is None:
            data = replace(data, frames_per_sign=settings.frames_per_sign)
        if settings.images is not None and settings.kind != "rendered":
            data = data.sample(settings.images, settings.seed)
        return add_pixel_groups(data)


def quick(config: Config) -> Config:
    """The quick profile: fewer images, steps and threats, the same stages and the same gates."""
    stages = {
        name: getattr(config.stages, name).model_validate(
            {**getattr(config.stages, name).model_dump(mode="json"), **changes}
        )
        for name, changes in QUICK.items()
    }
    return config.model_copy(update={"stages": config.stages.model_copy(update=stages)})


def train(
    recipe_path: Path, data_root: Path | None, out: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> Path:
    """Train the recipe into `out` and return the folder; a folder that already holds its result is kept."""
    recipe = load_recipe(recipe_path)
    place = Place(recipe_path.parent, data_root or recipe_path.parent)
    manifest = read_manifest(out)
    same = manifest is not None and manifest.get("recipe") == recipe.model_dump(mode="json")
    if same and find_model(out).file.is_file():
        return out
    training, choosing = place.data(recipe.data.train), place.data(recipe.data.valid)
    framework.start()
    from safeml.training.fit import fit

    make_folder(out)
    fit(recipe, training, choosing, out, on_epoch)
    return out


def training_run(recipe_path: Path, data_root: Path | None, folder: Path) -> Run:
    """What training left in `folder`, as a run of the training stage alone: it has no gates, and decides nothing."""
    recipe = load_recipe(recipe_path)
    place = Place(recipe_path.parent, data_root or recipe_path.parent)
    training, choosing = place.data(recipe.data.train), place.data(recipe.data.valid)
    from safeml.audits import training as stage
    from safeml.classifiers.load import load_model

    opened = load_model(folder)
    classifier = opened.model.fed(InputSettings(), choosing.class_names, recipe.name)
    # No test image is read here; one validation image stands in, for the names of the classes.
    shown = choosing.take(np.arange(1))
    inputs = AuditInputs(classifier, shown, training, choosing, recipe.seed, manifest=opened.source.manifest)
    result = stage.run(inputs, TrainingSettings())
    verdict = Verdict(
        status="incomplete",
        exit_code=int(ExitCode.INCOMPLETE),
        sentence="Training decides no gate.",
        gates=[],
    )
    return Run(
        safeml_version=__version__,
        title=f"Training of {recipe.name}",
        model=_model_identity(classifier),
        data=[data_identity("train", training), data_identity("valid", choosing)],
        stages=[result],
        gates=[],
        verdict=verdict,
        versions=provenance.versions(),
        configuration=recipe.model_dump(mode="json"),
    )


def audit(
    config: Config,
    place: Place,
    model_path: Path,
    folder: Path | None,
    profile: str = "full",
    command: tuple[str, ...] = (),
    progress: Progress = silent,
) -> tuple[Run, RunTimes, Path]:
    """Run every enabled stage on the model at `model_path`, decide the gates and write `results.json` and `run.json`.

    Returns the run, its times and its folder. Finished stages of the same model, data and settings are not run again.
    """
    started = datetime.now(UTC)
    if profile == "quick":
        config = quick(config)
    test = place.data(config.data.test)
    train_data = place.data(config.data.train) if config.data.train else None
    valid = place.data(config.data.valid) if config.data.valid else None
    for other in (train_data, valid):
        if other is not None and other.fingerprint == test.fingerprint:
            raise ConfigError(
                f"data.test and the training data are the same images ({test.name}); a verdict needs its own."
            )
    from safeml.classifiers.load import load_model

    progress("Opening the model", 0, len(STAGES))
    opened = load_model(model_path)
    name = config.model.name or _model_name(opened.source.file)
    classifier = opened.model.fed(config.model.input, test.class_names, name)
    identity = _model_identity(classifier)
    roles: tuple[tuple[Role, ImageDataset | None], ...] = (
        ("test", test),
        ("train", train_data),
        ("valid", valid),
    )
    data = [data_identity(role, dataset) for role, dataset in roles if dataset is not None]
    evidence = {
        "version": __version__,
        "code": provenance.measuring_code(),
        "model": identity.model_dump(mode="json"),
        "data": [entry.model_dump(mode="json") for entry in data],
        "seed": config.run.seed,
    }
    if folder is None:
        whole = content_key({**evidence, "configuration": config.model_dump(mode="json"), "profile": profile})
        folder = place.base / config.run.reports / f"{_slug(classifier.name)}-{profile}-{whole[:10]}"
    make_folder(folder)
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
    )
    stages, seconds = [], {}
    for number, stage in enumerate(STAGES):
        progress(stage.title, number, len(STAGES))
        began = time.monotonic()
        stages.append(_run_stage(stage, inputs, config, evidence, folder))
        seconds[stage.name] = round(time.monotonic() - began, 3)
    progress("Verdict", len(STAGES), len(STAGES))
    opened.check_unchanged()
    verdict = deciding.decide(stages, config.gates, today=started.date().isoformat())
    run = Run(
        safeml_version=__version__,
        title=config.title,
        responsible=config.run.responsible,
        profile=profile,
        model=identity,
        data=data,
        stages=stages,
        gates=list(config.gates),
        verdict=verdict,
        versions=provenance.versions(),
        configuration=_without_folders(config.model_dump(mode="json")),
        command=list(command),
    )
    times = RunTimes(
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        hardware=provenance.hardware(),
        model_file_sha256=opened.origin.scan.sha256,
        code_commit=provenance.commit(place.base),
    )
    atomic_write(folder / "results.json", to_json(run))
    atomic_write(folder / "run.json", to_json(times))
    return run, times, folder


def _run_stage(
    stage: Stage,
    inputs: AuditInputs,
    config: Config,
    evidence: dict[str, Any],
    folder: Path,
) -> StageResult:
    settings = getattr(config.stages, stage.name)
    if not settings.enabled:
        reason = f"[stages.{stage.name}] enabled = false in the configuration"
        return StageResult(stage=stage.name, title=stage.title, status="skipped", reason=reason)
    parts = {**evidence, "stage": stage.name, "settings": settings.model_dump(mode="json")}
    parts |= {name: _plain(getattr(inputs, name)) for name in stage.reads}
    key = content_key(parts)
    done = load_stage(folder, stage.name, key)
    if done is not None:
        return done
    try:
        result: StageResult = importlib.import_module(stage.module).run(inputs, settings)
    except Exception as error:
        reason = first_line(error, 300)
        code, remedy = "not-measured", ""
        if not isinstance(error, SafemlError):  # a defect of safeml, whose place a reader may want to send
            code, remedy = "stage-crashed", f"See {stage.name}.log."
            reason = f"{type(error).__name__}: {reason}"
            (folder / f"{stage.name}.log").write_text(traceback.format_exc(), encoding="utf-8")
        finding = Finding(code=code, severity="serious", message=reason, remedy=remedy)
        return StageResult(
            stage=stage.name, title=stage.title, status="error", reason=reason, findings=[finding]
        )
    if result.provenance is not None:
        result = result.model_copy(update={"provenance": result.provenance.model_copy(update={"key": key})})
    save_stage(folder, result, key)
    return result


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _without_folders(values: Any) -> Any:
    """Settings as they are recorded: of absolute paths the last part, because their folders say who ran it and where."""
    if isinstance(values, dict):
        return {key: _without_folders(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_folders(value) for value in values]
    return Path(values).name if isinstance(values, str) and Path(values).is_absolute() else values


def _model_identity(classifier: Classifier) -> ModelIdentity:
    return ModelIdentity(
        name=classifier.name,
        fingerprint=classifier.fingerprint,
        input=dict(vars(classifier.spec)),
        parameters=classifier.parameters,
        notes=list(classifier.notes),
    )


def _model_name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}" if file.parent.name else file.name


def _slug(name: str) -> str:
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)[:60].strip("-")
        or "model"
    )
