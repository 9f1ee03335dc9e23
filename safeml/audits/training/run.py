"""How the model came about, and what of it its author should doubt. Reads the manifest; trains and predicts nothing.

Legend: K classes, E epochs.
"""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.training.doubts import course_findings, fit_findings, recipe_findings
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
from safeml.results import Card, Fact, Figure, Finding, Metric, Provenance, StageResult
from safeml.stages.training import TrainingSettings
from safeml.wording import counted, number, percent

NO_MANIFEST = "there is no training.json beside the model, so how it was trained is not known"


def run(inputs: AuditInputs, settings: TrainingSettings) -> StageResult:
    """Report on the manifest of the training; without one the stage is skipped.

    Raises InputRefused for a manifest that is not one.
    """
    if inputs.manifest is None:
        return StageResult(stage="training", title="Training", status="skipped", reason=NO_MANIFEST)
    made = parse_manifest(inputs.manifest)
    chosen, E = made.chosen, len(made.epochs)
    return StageResult(
        stage="training",
        title="Training",
        tested="How training went, which checkpoint was chosen and why, and whether this model is that checkpoint.",
        on_what=f"The manifest of {counted(E, 'epoch')}: trained on {made.train.name} ({_amount(made.train.images, made.train.signs)}), "
        f"chosen on {made.valid.name} ({_amount(made.valid.images, made.valid.signs)}).",
        facts=_facts(inputs, made),
        metrics=_metrics(made),
        findings=_findings(inputs, made),
        figures=_figures(inputs, made),
        meaning=[
            f"Epoch {chosen.epoch} was chosen for its {made.monitor} of {chosen.monitored(made.monitor):.6f} at full precision.",
            "Its validation accuracy was used to choose it and is no evidence for release; the other stages measure on the test set.",
            *(inflation_meaning(made, made.inflation) if made.inflation else []),
        ],
        limits=_limits(made),
        not_tested=_not_tested(made),
        reproduce=[
            f"safeml train recipe.toml --data-root DATA --out FOLDER    # {_which_recipe(made)}",
            f"training images {made.train.fingerprint}",
            f"validation images {made.valid.fingerprint}",
            f"model {made.fingerprint}",
            "tensorboard --logdir FOLDER/logs    # FOLDER: where the model was trained; a point an epoch",
        ],
        card=Card(
            headline=percent(chosen.val_accuracy),
            text=f"validation accuracy of epoch {chosen.epoch} of {E}",
            figure_id="training-accuracy",
        ),
        provenance=Provenance(
            model=inputs.classifier.fingerprint,
            data=made.valid.fingerprint,
            settings=settings.model_dump(mode="json"),
            seed=inputs.seed,
        ),
    )


def _amount(images: int, signs: int | None) -> str:
    return counted(images, "image") + (f" of {counted(signs, 'sign')}" if signs is not None else "")


def _which_recipe(made: Manifest) -> str:
    return f"the recipe of {made.recipe}" if made.recipe else "its recipe is not named"


def _facts(inputs: AuditInputs, made: Manifest) -> list[Fact]:
    """Five at most: the second training, where there was one, stands in the place of the number of parameters."""
    worth = one_sign(made)
    coarse = f"{counted(made.valid.signs or 0, 'sign')}; one is worth {points(worth)}" if worth else ""
    return [
        Fact(label="Recipe", value=made.recipe or "not named", detail=_versions(made)),
        Fact(
            label="Chosen epoch",
            value=f"{made.chosen.epoch} of {len(made.epochs)}",
            detail=f"best {made.monitor}",
        ),
        Fact(
            label="Validation accuracy",
            value=percent(made.chosen.val_accuracy),
            detail=coarse or "signs not counted",
        ),
        Fact(
            label="Training accuracy",
            value=percent(made.chosen.accuracy),
            detail="same epoch, on augmented images",
        ),
        inflation_fact(made, made.inflation)
        if made.inflation
        else Fact(label="Parameters", value=number(inputs.classifier.parameters)),
    ]


def _versions(made: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))


def _metrics(made: Manifest) -> list[Metric]:
    # Why there is no interval stands once, among the limits.
    note = "as recorded in training"
    return [
        Metric(
            name="validation_accuracy_chosen",
            title="Validation accuracy of the chosen epoch",
            value=made.chosen.val_accuracy,
            n=made.valid.images,
            signs=made.valid.signs,
            method=note,
        ),
        Metric(
            name="train_validation_gap",
            title="Training minus validation accuracy of the chosen epoch, in points",
            value=made.chosen.accuracy - made.chosen.val_accuracy,
            n=made.valid.images,
            signs=made.valid.signs,
            direction="down",
            method=note,
        ),
    ]


def _findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    return [
        *identity_findings(inputs, made),
        *inflation_findings(made),
        *choice_findings(made),
        *fit_findings(inputs, made),
        *course_findings(made),
        *validation_findings(inputs, made),
        *recipe_findings(inputs, made),
    ]


def _figures(inputs: AuditInputs, made: Manifest) -> list[Figure]:
    return [
        curve(made, "accuracy", "Accuracy by epoch", percent_axis=True),
        curve(made, "loss", "Loss by epoch", percent_axis=False),
        *([inflation_table(inputs, made, made.inflation)] if made.inflation else []),
        *([phase_table(made)] if any(phase.note for phase in made.phases) else []),
        recipe_table(made.settings),
        epoch_table(made),
    ]


def _limits(made: Manifest) -> list[str]:
    signs, E = made.valid.signs, len(made.epochs)
    if signs is None:
        interval = "The validation accuracy stands as it was written down; it has no interval, because the manifest does not say which images show the same sign."
    else:
        interval = (
            f"The validation accuracy has no interval: the manifest does not say which images are wrong. If the images of a sign "
            f"are right or wrong together, {counted(made.valid.images, 'image')} say no more than {counted(signs, 'sign')}, "
            f"and the accuracy is the best of {counted(E, 'epoch')} besides."
        )
    return [
        "Training accuracy and loss are means over an epoch while the weights still change, with augmentation and "
        "dropout on; validation has neither, so it can be the better of the two.",
        interval,
        "The same recipe, images, libraries and number of processor threads on the same machine give the same weights, "
        "interrupted or not; another machine does not promise them.",
        "One training run: another seed gives another model.",
    ]


def _not_tested(made: Manifest) -> list[Fact]:
    facts = [Fact(label="Spread over seeds", value="not tested", detail="one run is on record")]
    random = inflation_untested(made)
    if random is not None:
        facts.append(random)
    if "backbone.source" in made.settings:
        facts.append(
            Fact(
                label="The transferred network",
                value="not tested",
                detail="what it was trained on is not on record here",
            )
        )
    return facts
