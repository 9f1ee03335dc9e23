"""How the model came about, and what of it its author should doubt. Reads the manifest; trains and predicts nothing.

Legend: K classes, E epochs.
"""

from __future__ import annotations

import math

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.manifest import Manifest, parse_manifest
from safeml.config import TrainingSettings
from safeml.results import Card, Column, Curve, Fact, Finding, Metric, Provenance, Series, StageResult, Table
from safeml.wording import counted, number, percent

GAP = 0.05
ROUNDED = 4
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
        on_what=f"The manifest of {counted(E, 'epoch')}: trained on {made.train.name} ({counted(made.train.images, 'image')}), "
        f"chosen on {made.valid.name} ({counted(made.valid.images, 'image')}).",
        facts=[
            Fact(label="Recipe", value=made.recipe or "not named", detail=_versions(made)),
            Fact(label="Chosen epoch", value=f"{chosen.epoch} of {E}", detail=f"best {made.monitor}"),
            Fact(
                label="Validation accuracy",
                value=percent(chosen.val_accuracy),
                detail="no interval: see limits",
            ),
            Fact(
                label="Training accuracy",
                value=percent(chosen.accuracy),
                detail="same epoch, on augmented images",
            ),
            Fact(label="Parameters", value=number(inputs.classifier.parameters)),
        ],
        metrics=_metrics(made),
        findings=[*_identity_findings(inputs, made), *_choice_findings(made), *_fit_findings(inputs, made)],
        figures=[
            _curve(made, "accuracy", "Accuracy by epoch", percent_axis=True),
            _curve(made, "loss", "Loss by epoch", percent_axis=False),
            _epoch_table(made),
        ],
        meaning=[
            f"Epoch {chosen.epoch} was chosen for its {made.monitor} of {chosen.monitored(made.monitor):.6f} at full precision.",
            "Its validation accuracy was used to choose it and is no evidence for release; the other stages measure on the test set.",
        ],
        limits=[
            "Training accuracy and loss are means over an epoch while the weights still change, with augmentation and "
            "dropout on; validation has neither, so it can be the better of the two.",
            "The validation accuracy stands as it was written down; it has no interval, because the manifest does not say "
            "which images show the same sign.",
            "One training run: another seed gives another model.",
        ],
        not_tested=[Fact(label="Spread over seeds", value="not tested", detail="one run is on record")],
        reproduce=[
            f"training images {made.train.fingerprint}",
            f"validation images {made.valid.fingerprint}",
            f"model {made.fingerprint}",
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


def _versions(made: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))


def _metrics(made: Manifest) -> list[Metric]:
    note = "as recorded in training; no interval, the clustering of the validation images is not recorded"
    return [
        Metric(
            name="validation_accuracy_chosen",
            title="Validation accuracy of the chosen epoch",
            value=made.chosen.val_accuracy,
            n=made.valid.images,
            method=note,
        ),
        Metric(
            name="train_validation_gap",
            title="Training minus validation accuracy, chosen epoch",
            value=made.chosen.accuracy - made.chosen.val_accuracy,
            n=made.valid.images,
            direction="down",
            method=note,
        ),
    ]


def _identity_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Whether the manifest speaks of this model and of these data."""
    findings = []
    if made.fingerprint != inputs.classifier.fingerprint:
        findings.append(
            Finding(
                code="another-model",
                severity="serious",
                message="The manifest belongs to another model: its fingerprint differs from that of the model under test.",
                remedy="Audit the checkpoint that the manifest names, or train again.",
                evidence={"manifest": made.fingerprint, "model": inputs.classifier.fingerprint},
            )
        )
    for role, used in (("trained", made.train), ("chosen", made.valid)):
        if used.fingerprint == inputs.test.fingerprint:
            findings.append(
                Finding(
                    code=f"{role}-on-test",
                    severity="serious",
                    message=f"The model was {role} on the very test set that the verdict is spoken on.",
                    remedy="Test on images that neither training nor the choice of a checkpoint has seen.",
                    evidence={"fingerprint": used.fingerprint},
                )
            )
    for role, used, given in (("train", made.train, inputs.train), ("valid", made.valid, inputs.valid)):
        if given is not None and given.fingerprint != used.fingerprint:
            findings.append(
                Finding(
                    code=f"another-{role}-set",
                    severity="warning",
                    message=f"The {role} data of the configuration are not those of the manifest, so leakage is checked against other images.",
                    remedy=f"Name in [data.{role}] the data that the model was made with.",
                    evidence={"manifest": used.fingerprint, "configuration": given.fingerprint},
                )
            )
    return findings


def _choice_findings(made: Manifest) -> list[Finding]:
    """Whether the chosen epoch is the best one, and how much the choice flatters it."""
    findings = []
    chosen, E = made.chosen, len(made.epochs)
    if made.best.better_than(chosen, made.monitor) or made.chosen_value != chosen.monitored(made.monitor):
        findings.append(
            Finding(
                code="not-the-best-epoch",
                severity="serious",
                message=f"Epoch {chosen.epoch} is recorded as the best, but by {made.monitor} of the epochs it is epoch {made.best.epoch}, or the recorded value is another one.",
                remedy="Train again; the manifest contradicts itself.",
                evidence={"recorded": made.chosen_value, "chosen": chosen.epoch, "best": made.best.epoch},
            )
        )
    if E > 1:
        findings.append(
            Finding(
                code="choice-flatters",
                severity="info",
                message=f"The checkpoint is the best of {counted(E, 'epoch')} on the validation images, so its validation accuracy is optimistic.",
                remedy="Read the clean accuracy on the test set instead.",
                evidence={
                    "epochs": E,
                    "chosen": chosen.val_accuracy,
                    "median": float(np.median([epoch.val_accuracy for epoch in made.epochs])),
                },
            )
        )
    value = round(chosen.monitored(made.monitor), ROUNDED)
    ties = [
        e.epoch for e in made.epochs if e != chosen and round(e.monitored(made.monitor), ROUNDED) == value
    ]
    if ties:
        findings.append(
            Finding(
                code="rounded-names-tie",
                severity="info",
                message=f"Epochs {', '.join(map(str, [chosen.epoch, *ties][:5]))} have the same {made.monitor} in {ROUNDED} decimals; the choice is by full precision, not by file name.",
                evidence={"chosen": chosen.epoch, "tied": len(ties)},
            )
        )
    return findings


def _fit_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Trained too short, learnt by heart, or not learnt at all."""
    findings = []
    chosen = made.chosen
    if chosen.epoch == len(made.epochs):
        findings.append(
            Finding(
                code="best-epoch-is-last",
                severity="warning",
                message=f"The best epoch is the last one ({chosen.epoch}), so training may have stopped too early.",
                remedy="Train for more epochs and see whether validation still gains.",
                evidence={"epoch": chosen.epoch},
            )
        )
    gap = chosen.accuracy - chosen.val_accuracy
    if gap > GAP:
        findings.append(
            Finding(
                code="train-validation-gap",
                severity="warning",
                message=f"Training accuracy is {100 * gap:.1f} points above validation accuracy, a sign of overfitting.",
                remedy="Use more data, augmentation or weight decay.",
                evidence={"train": chosen.accuracy, "valid": chosen.val_accuracy},
            )
        )
    chance, luck = _chance(inputs, made)
    if chosen.val_accuracy <= chance + luck:
        findings.append(
            Finding(
                code="chance-level",
                severity="serious",
                message=f"A validation accuracy of {percent(chosen.val_accuracy)} is no better than chance ({percent(chance)}).",
                remedy="Check labels, input range and learning rate; this model has learnt nothing.",
                evidence={"valid": chosen.val_accuracy, "chance": chance},
            )
        )
    return findings


def _chance(inputs: AuditInputs, made: Manifest) -> tuple[float, float]:
    """Accuracy of always naming the most frequent validation class (1/K where that is unknown), and three of its standard errors."""
    chance = 1 / inputs.test.classes
    if inputs.valid is not None and inputs.valid.fingerprint == made.valid.fingerprint:
        chance = float(np.bincount(inputs.valid.labels).max() / len(inputs.valid))
    return chance, 3 * math.sqrt(chance * (1 - chance) / made.valid.images)


def _curve(made: Manifest, key: str, title: str, percent_axis: bool) -> Curve:
    x = [float(epoch.epoch) for epoch in made.epochs]
    valid = [getattr(epoch, f"val_{key}") for epoch in made.epochs]
    train = [getattr(epoch, key) for epoch in made.epochs]
    return Curve(
        id=f"training-{key}",
        title=title,
        x_label="epoch",
        y_label=key,
        percent=percent_axis,
        series=[Series(name="validation", x=x, y=valid, role="main"), Series(name="training", x=x, y=train)],
        caption=f"Validation (bold) and training, by epoch. Epoch {made.chosen.epoch} is the model.",
        reading=["Training is measured with augmentation and dropout on, validation without."],
    )


def _epoch_table(made: Manifest) -> Table:
    return Table(
        id="epochs",
        title="Epochs",
        columns=[
            Column(key="epoch", label="Epoch", kind="number"),
            Column(key="loss", label="Training loss", kind="number"),
            Column(key="accuracy", label="Training accuracy", kind="percent"),
            Column(key="val_loss", label="Validation loss", kind="number"),
            Column(key="val_accuracy", label="Validation accuracy", kind="percent"),
            Column(key="file", label="Checkpoint", kind="id"),
            Column(key="chosen", label="Chosen"),
        ],
        rows=[
            [
                e.epoch,
                e.loss,
                e.accuracy,
                e.val_loss,
                e.val_accuracy,
                e.file,
                "chosen" if e is made.chosen else "",
            ]
            for e in made.epochs
        ],
        caption="Full precision; a checkpoint's file name carries the rounded value, and epochs that did not improve left no file.",
        fold=True,
    )
