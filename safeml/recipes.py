"""Training of a recipe into a folder, and the report of the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from safeml import framework, provenance
from safeml.audits.base import AuditInputs
from safeml.classifiers.identity import model_identity
from safeml.config.recipe import Recipe, load_recipe
from safeml.data.dataset import ImageDataset
from safeml.data.identity import data_identity
from safeml.data.place import Place
from safeml.errors import ConfigError, ExitCode, InputRefused, MissingInput, StageError, first_line
from safeml.results import Run, RunTimes, Verdict
from safeml.scan.sources import MANIFEST, find_model, read_manifest
from safeml.settings.model import VALUES, InputSettings
from safeml.stages.training import TrainingSettings
from safeml.store.files import atomic_write, content_key, file_sha256, make_folder, to_json
from safeml.store.lock import folder_lock
from safeml.store.run_folder import refuse_audit
from safeml.training.data import recipe_data
from safeml.version import __version__

INFLATION = "inflation"
OnEpoch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe with its images, and the files of its backbone and its teacher (sha256 by role). base: folder of its relative paths."""

    recipe: Recipe
    base: Path
    training: ImageDataset
    choosing: ImageDataset
    taken_over: dict[str, str]


def prepare(recipe_path: Path, place: Place) -> Prepared:
    """Read the recipe at `recipe_path` and its data. Raises ConfigError or InputRefused for invalid ones."""
    recipe, base = load_recipe(recipe_path), recipe_path.parent
    training, choosing = recipe_data(recipe, place)
    return Prepared(recipe, base, training, choosing, _taken_over(recipe, base))


def train(
    prepared: Prepared,
    out: Path,
    on_epoch: OnEpoch,
    force: bool = False,
    command: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train the recipe into `out` and return the folder; a finished result of the same recipe is reused.

    say: receives lines of progress.
    Raises ConfigError if `out` holds an audit, or another training without `force`; StageError if training cannot continue.
    """
    recipe, base = prepared.recipe, prepared.base
    training, choosing = prepared.training, prepared.choosing
    refuse_audit(out)
    if not force and is_done(prepared, out):
        say(f"{out} holds this training already; it is reused.")
        return out
    say(f"Training {recipe.name} into {out}.")
    started = datetime.now(UTC)
    framework.start()
    from safeml.training.distillation import measured, open_teacher
    from safeml.training.fit import fit, forget
    from safeml.training.inflation import measure_inflation
    from safeml.training.publish import best_model, publish
    from safeml.training.state import discard, finished_epochs

    with folder_lock(make_folder(out), command):
        if force:
            _remove_result(out)
            forget(out)
            forget(out / INFLATION)
        elif done := finished_epochs(out):
            say(f"Resuming after epoch {done} of {recipe.epochs}.")
        try:
            teacher = None
            if recipe.distill is not None:
                teacher = open_teacher(recipe, recipe.distill, base, choosing)
                _check_unchanged(prepared, teacher.identity["sha256"])
            taught = teacher.classifier if teacher is not None else None
            fitted = fit(recipe, training, choosing, out, on_epoch, base, prepared.taken_over, taught)
            extra: dict[str, Any] = {"phases": fitted.phases} if fitted.phases else {}
            if recipe.backbone is not None or prepared.taken_over:
                extra["taken_over"] = prepared.taken_over
            if recipe.distill is not None and teacher is not None:
                student = best_model(out, fitted.epochs, recipe.monitor)
                extra["distillation"] = measured(recipe, recipe.distill, teacher, student, choosing)
            if recipe.inflation:
                say(
                    "Training again on a random split, to measure the inflation of the accuracy by such a split."
                )
                extra["inflation"] = measure_inflation(
                    recipe, training, choosing, make_folder(out / INFLATION), on_epoch, base, taught
                )
            publish(recipe, training, choosing, out, fitted.epochs, extra)
            discard(out)
            discard(out / INFLATION)
        except OSError as error:
            raise StageError(
                f"{out}: cannot be written ({error.strerror or first_line(error)}); finished work is stored, and the same "
                "command resumes from it."
            ) from error
        finished = datetime.now(UTC)
        notes = [f"Training started again: {fitted.note}."] if fitted.note else []
        if fitted.resumed_after:
            notes.append(f"Training was resumed after epoch {fitted.resumed_after} of {len(fitted.epochs)}.")
        times = RunTimes(
            started=started.isoformat(timespec="seconds"),
            finished=finished.isoformat(timespec="seconds"),
            seconds={"training": round((finished - started).total_seconds(), 3)},
            hardware=provenance.hardware(),
            code_commit=provenance.commit(base),
            notes=notes,
        )
        atomic_write(out / "run.json", to_json(times))
    return out


def _taken_over(recipe: Recipe, base: Path) -> dict[str, str]:
    """Return the sha256 of each file of a backbone, source and weights, and of the teacher. Empty without files.

    Raises MissingInput if there is no file of the teacher.
    """
    files = {}
    if recipe.backbone is not None and (base / recipe.backbone.source).exists():
        files["source"] = find_model(base / recipe.backbone.source).file
    if recipe.backbone is not None and (base / recipe.backbone.weights).is_file():
        files["weights"] = base / recipe.backbone.weights
    if recipe.distill is not None:
        files["teacher"] = find_model(base / recipe.distill.teacher).file
        if not files["teacher"].is_file():
            raise MissingInput(
                f"{recipe.name}: distill.teacher is {files['teacher']}, which does not exist; expected a Keras model file or the "
                "folder of `safeml train`."
            )
    return {role: file_sha256(file) for role, file in files.items() if file.is_file()}


def _check_unchanged(prepared: Prepared, teacher: str) -> None:
    """Raise InputRefused if the opened teacher has another sha256 than the file that was read before."""
    if prepared.taken_over.get("teacher") != teacher:
        raise InputRefused(
            f"{prepared.recipe.name}: distill.teacher changed while it was read; run the command again."
        )


def _remove_result(folder: Path) -> None:
    """Remove the result of an earlier training from `folder`: its manifest and the checkpoint in it."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        chosen = find_model(folder).file
        manifest.unlink()
        if chosen.parent == folder:
            chosen.unlink(missing_ok=True)


def trained_folder(reports: Path, prepared: Prepared) -> Path:
    """Return the training folder of a recipe for `safeml run`, named by the recipe and all inputs of its result."""
    whole = {"recipe": prepared.recipe.model_dump(mode="json"), **_identity(prepared)}
    return reports / "trained" / f"{prepared.recipe.name}-{content_key(whole)[:10]}"


def is_done(prepared: Prepared, out: Path) -> bool:
    """Return whether `out` holds the result of this recipe on these images. Raises ConfigError for another result."""
    manifest = read_manifest(out)
    if manifest is None:
        return False
    made = {role: manifest.get(role, {}).get("fingerprint") for role in ("train", "valid")}
    made["taken_over"] = manifest.get("taken_over", {})
    try:
        same = Recipe.model_validate(manifest.get("recipe")) == prepared.recipe
    except ValueError:
        same = False
    if not same or made != _identity(prepared):
        raise ConfigError(
            f"{out}: holds the training of another recipe, on other images, or of another backbone or teacher; set another folder with "
            "--out, or start again with --force."
        )
    return find_model(out).file.is_file()


def _identity(prepared: Prepared) -> dict[str, Any]:
    """Return the inputs of the result of a recipe beside the recipe."""
    return {
        "train": prepared.training.fingerprint,
        "valid": prepared.choosing.fingerprint,
        "taken_over": prepared.taken_over,
    }


def training_run(prepared: Prepared, folder: Path) -> Run:
    """Return the training in `folder` as a run of the training stage alone, without gates.

    Raises InputRefused if the model or the manifest in the folder is invalid.
    """
    recipe, training, choosing = prepared.recipe, prepared.training, prepared.choosing
    from safeml.audits.training import run as stage
    from safeml.classifiers.load import load_model

    opened = load_model(folder)
    contract = InputSettings(outputs=VALUES if recipe.head == "regression" else None)
    classifier = opened.model.fed(contract, choosing.outputs, recipe.name)
    # No test image is read here; one validation image supplies the names of the classes.
    shown = choosing.take(np.arange(1))
    inputs = AuditInputs(classifier, shown, training, choosing, recipe.seed, manifest=opened.source.manifest)
    result = stage.run(inputs, TrainingSettings())
    verdict = Verdict(
        status="incomplete",
        exit_code=int(ExitCode.INCOMPLETE),
        sentence="No gate depends on the training.",
        gates=[],
    )
    return Run(
        safeml_version=__version__,
        title=f"Training of {recipe.name}",
        model=model_identity(classifier),
        data=[data_identity("train", training), data_identity("valid", choosing)],
        stages=[result],
        gates=[],
        verdict=verdict,
        versions=provenance.versions(),
        configuration=recipe.model_dump(mode="json"),
    )
