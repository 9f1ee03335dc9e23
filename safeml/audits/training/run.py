"""The training stage: how the model was trained, from its manifest. Trains and predicts nothing.

Legend: K classes, E epochs.
"""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.training.distillation import (
    distillation_meaning,
    distillation_table,
    distillation_untested,
)
from safeml.audits.training.doubts import course_findings, fit_findings, recipe_findings
from safeml.audits.training.errors import is_of_regression, run_of_regression
from safeml.audits.training.figures import curve, epoch_table, phase_table
from safeml.audits.training.findings import choice_findings, identity_findings, one_sign, validation_findings
from safeml.audits.training.inflation import (
    inflation_fact,
    inflation_findings,
    inflation_meaning,
    inflation_table,
    inflation_untested,
    points,
)
from safeml.audits.training.manifest import Manifest, parse_manifest
from safeml.audits.training.recipe import recipe_table
from safeml.results import Card, Fact, Figure, Finding, Metric, StageResult
from safeml.stages.training import TrainingSettings
from safeml.wording import counted, number, percent

NO_MANIFEST = "there is no training.json beside the model, so its training is not known"


def run(inputs: AuditInputs, settings: TrainingSettings) -> StageResult:
    """Report on the manifest of the training; without one the stage is skipped.

    Raises InputRefused for an invalid manifest.
    """
    if inputs.manifest is None:
        return StageResult(stage="training", title="Training", status="skipped", reason=NO_MANIFEST)
    if is_of_regression(inputs.manifest):
        return run_of_regression(inputs, settings, inputs.manifest)
    manifest = parse_manifest(inputs.manifest)
    chosen, E = manifest.chosen, len(manifest.epochs)
    return StageResult(
        stage="training",
        title="Training",
        tested="The learning curves, the selection of the checkpoint, and whether this model is that checkpoint.",
        on_what=f"The manifest of {counted(E, 'epoch')}: trained on {manifest.train.name} "
        f"({_amount(manifest.train.images, manifest.train.signs)}), "
        f"selected on {manifest.valid.name} ({_amount(manifest.valid.images, manifest.valid.signs)}).",
        facts=_facts(inputs, manifest),
        metrics=_metrics(manifest),
        findings=_findings(inputs, manifest),
        figures=_figures(inputs, manifest),
        meaning=[
            f"Epoch {chosen.epoch} was selected for its {manifest.monitor} of "
            f"{chosen.monitored(manifest.monitor):.6f} at full precision.",
            "Its validation accuracy selected it, so it is no evidence for release; the other stages measure on the test set.",
            *(inflation_meaning(manifest, manifest.inflation) if manifest.inflation else []),
            *(distillation_meaning(manifest.distillation) if manifest.distillation else []),
        ],
        limits=_limits(manifest),
        not_tested=_not_tested(manifest),
        reproduce=[
            f"safeml train recipe.toml --data-root DATA --out FOLDER    # {_which_recipe(manifest)}",
            f"training images {manifest.train.fingerprint}",
            f"validation images {manifest.valid.fingerprint}",
            f"model {manifest.fingerprint}",
            "tensorboard --logdir FOLDER/logs    # FOLDER: where the model was trained; one point per epoch",
        ],
        card=Card(
            headline=percent(chosen.val_accuracy),
            text=f"validation accuracy of epoch {chosen.epoch} of {E}",
            figure_id="training-accuracy",
        ),
        provenance=inputs.provenance(settings, manifest.valid.fingerprint),
    )


def _amount(images: int, signs: int | None) -> str:
    return counted(images, "image") + (f" of {counted(signs, 'sign')}" if signs is not None else "")


def _which_recipe(manifest: Manifest) -> str:
    return f"the recipe of {manifest.recipe}" if manifest.recipe else "its recipe is not named"


def _facts(inputs: AuditInputs, manifest: Manifest) -> list[Fact]:
    """Return at most five facts; a second training replaces the number of parameters."""
    worth = one_sign(manifest)
    coarse = f"{counted(manifest.valid.signs or 0, 'sign track')}, {points(worth)} each" if worth else ""
    return [
        Fact(label="Recipe", value=manifest.recipe or "not named", detail=_versions(manifest)),
        Fact(
            label="Selected epoch",
            value=f"{manifest.chosen.epoch} of {len(manifest.epochs)}",
            detail=f"best {manifest.monitor}",
        ),
        Fact(
            label="Validation accuracy",
            value=percent(manifest.chosen.val_accuracy),
            detail=coarse or "sign tracks not counted",
        ),
        Fact(
            label="Training accuracy",
            value=percent(manifest.chosen.accuracy),
            detail="same epoch, on augmented images",
        ),
        inflation_fact(manifest, manifest.inflation)
        if manifest.inflation
        else Fact(label="Parameters", value=number(inputs.classifier.parameters)),
    ]


def _versions(manifest: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))


def _metrics(manifest: Manifest) -> list[Metric]:
    # The limits say why there is no interval.
    note = "as recorded in training"
    return [
        Metric(
            name="validation_accuracy_chosen",
            title="Validation accuracy of the selected epoch",
            value=manifest.chosen.val_accuracy,
            n=manifest.valid.images,
            signs=manifest.valid.signs,
            method=note,
        ),
        Metric(
            name="train_validation_gap",
            title="Training minus validation accuracy of the selected epoch, in points",
            value=manifest.chosen.accuracy - manifest.chosen.val_accuracy,
            n=manifest.valid.images,
            signs=manifest.valid.signs,
            direction="down",
            method=note,
        ),
    ]


def _findings(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    return [
        *identity_findings(inputs, manifest),
        *inflation_findings(manifest),
        *choice_findings(manifest),
        *fit_findings(inputs, manifest),
        *course_findings(manifest),
        *validation_findings(inputs, manifest),
        *recipe_findings(inputs, manifest),
    ]


def _figures(inputs: AuditInputs, manifest: Manifest) -> list[Figure]:
    return [
        curve(manifest, "accuracy", "Accuracy by epoch", percent_axis=True),
        curve(manifest, "loss", "Loss by epoch", percent_axis=False),
        *([inflation_table(inputs, manifest, manifest.inflation)] if manifest.inflation else []),
        *([distillation_table(manifest.distillation)] if manifest.distillation else []),
        *([phase_table(manifest)] if any(phase.note for phase in manifest.phases) else []),
        recipe_table(manifest.settings),
        epoch_table(manifest),
    ]


def _limits(manifest: Manifest) -> list[str]:
    signs, E = manifest.valid.signs, len(manifest.epochs)
    if signs is None:
        interval = (
            "The validation accuracy is the recorded value without a confidence interval: "
            "the manifest does not record which images show the same sign."
        )
    else:
        interval = (
            "The validation accuracy has no confidence interval: the manifest does not record which images are misclassified. "
            f"If frames of one sign are classified alike, {counted(manifest.valid.images, 'image')} are only "
            f"{counted(signs, 'independent observation')}; the accuracy is also the best of {counted(E, 'epoch')}."
        )
    return [
        "Training accuracy and loss are means over an epoch while the weights change, with augmentation and dropout; "
        "validation has neither, so it can be the better of the two.",
        interval,
        "The same recipe, images, libraries and number of processor threads on the same machine give the same weights, "
        "interrupted or not; on another machine they may differ.",
        "One training run: another seed gives another model, whose results may differ.",
    ]


def _not_tested(manifest: Manifest) -> list[Fact]:
    facts = [Fact(label="Spread over seeds", value="not tested", detail="one run is recorded")]
    random = inflation_untested(manifest)
    if random is not None:
        facts.append(random)
    if manifest.distillation is not None:
        facts.append(distillation_untested())
    if "backbone.source" in manifest.settings:
        facts.append(
            Fact(
                label="The transferred network",
                value="not tested",
                detail="its training data are not recorded here",
            )
        )
    return facts
