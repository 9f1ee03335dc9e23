"""The record of a regression's training, and its report. Legend: E epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeml.audits.base import AuditInputs
from safeml.audits.training.findings import identity_findings
from safeml.audits.training.manifest import (
    LONGEST_NAME,
    DataUsed,
    count_of,
    data_used,
    number_of,
    value_of,
)
from safeml.audits.training.recipe import Setting, recipe_table, recorded_settings
from safeml.errors import InputRefused
from safeml.results import Card, Column, Curve, Fact, Finding, Scalar, Series, StageResult, Table
from safeml.stages.training import TRAINING, TrainingSettings
from safeml.wording import counted, number

MEASURES = ("loss", "mae", "rmse")
MONITORS = ("val_mae", "val_rmse", "val_loss")
# A validation error above so many times the training error indicates overfitting.
OVERFIT = 1.5


@dataclass(frozen=True)
class ErrorRecord:
    """The record of one training of a regression.

    epochs: loss, mae and rmse of each epoch, each also as val_ of the validation images.
    chosen: row of the epoch whose checkpoint is the model, from 0. value: its recorded monitor.
    """

    epochs: tuple[dict[str, float], ...]
    chosen: int
    value: float
    monitor: str
    fingerprint: str
    train: DataUsed
    valid: DataUsed
    recipe: str
    settings: dict[str, Setting]


def is_of_regression(values: dict[str, Any]) -> bool:
    """Tell whether a decoded `training.json` records a recipe with a regression head."""
    recipe = values.get("recipe")
    return isinstance(recipe, dict) and recipe.get("head") == "regression"


def parse_errors(values: dict[str, Any]) -> ErrorRecord:
    """Parse decoded JSON. Raises InputRefused for the first invalid field."""
    entries = value_of(values, "epochs", list, "")
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputRefused("training.json: epochs are not objects, one for each epoch. Train again.")
    names = [*MEASURES, *(f"val_{name}" for name in MEASURES)]
    epochs = tuple(
        {name: number_of(entry, name, f"epochs[{row}].") for name in names}
        for row, entry in enumerate(entries)
    )
    chosen = value_of(values, "chosen", dict, "")
    monitor = value_of(chosen, "monitor", str, "chosen.")
    if monitor not in MONITORS:
        raise InputRefused(f"training.json: chosen.monitor is not one of {', '.join(MONITORS)}.")
    settings = recorded_settings(value_of(values, "recipe", dict, ""))
    return ErrorRecord(
        epochs=epochs,
        chosen=count_of(chosen, "epoch", "chosen.", 1, len(epochs)) - 1,
        value=number_of(chosen, "value", "chosen."),
        monitor=monitor,
        fingerprint=value_of(values, "model_fingerprint", str, "")[:LONGEST_NAME],
        train=data_used(values, "train"),
        valid=data_used(values, "valid"),
        recipe=str(settings.get("name", ""))[:80],
        settings=settings,
    )


def run_of_regression(inputs: AuditInputs, settings: TrainingSettings, values: dict[str, Any]) -> StageResult:
    """Report on the record of the training of a regression. Raises InputRefused for an invalid one."""
    record = parse_errors(values)
    chosen, E = record.epochs[record.chosen], len(record.epochs)
    return StageResult(
        stage=TRAINING.name,
        title=TRAINING.title,
        tested="The learning curves, the selection of the checkpoint, and whether this model is that checkpoint.",
        on_what=f"The manifest of {counted(E, 'epoch')}: trained on {record.train.name} ({counted(record.train.images, 'image')}), "
        f"selected on {record.valid.name} ({counted(record.valid.images, 'image')}).",
        facts=[
            Fact(label="Recipe", value=record.recipe or "not named"),
            Fact(
                label="Selected epoch", value=f"{record.chosen + 1} of {E}", detail=f"best {record.monitor}"
            ),
            Fact(
                label="Validation MAE",
                value=number(chosen["val_mae"]),
                detail="the smallest of all epochs selects the model",
            ),
            Fact(label="Training MAE", value=number(chosen["mae"]), detail="same epoch, on augmented images"),
            Fact(label="Parameters", value=number(inputs.classifier.parameters)),
        ],
        findings=[*identity_findings(inputs, record), *_findings(record)],
        figures=[
            *(_curve(record, name) for name in ("mae", "loss")),
            recipe_table(record.settings),
            _table(record),
        ],
        meaning=[
            f"Epoch {record.chosen + 1} was selected for its {record.monitor} of {record.value:.6f}.",
            "Its validation error selected it, so it is no evidence for release; the other stages measure on the test set.",
        ],
        limits=[
            "Training errors are means over an epoch while the weights change, with augmentation and dropout; validation has neither.",
            "With one target, MAE and RMSE are in its unit; with several, in units of the spread of each.",
            "One training run: another seed gives another model, whose results may differ.",
        ],
        not_tested=[Fact(label="Spread over seeds", value="not tested", detail="one run is recorded")],
        reproduce=[
            f"training images {record.train.fingerprint}",
            f"validation images {record.valid.fingerprint}",
            f"model {record.fingerprint}",
        ],
        card=Card(
            headline=number(chosen["val_mae"]),
            text=f"validation MAE of epoch {record.chosen + 1} of {E}",
            figure_id="training-mae",
        ),
        provenance=inputs.provenance(settings, record.valid.fingerprint),
    )


def _findings(record: ErrorRecord) -> list[Finding]:
    findings = []
    chosen = record.epochs[record.chosen]
    best = min(range(len(record.epochs)), key=lambda row: record.epochs[row][record.monitor])
    if record.epochs[best][record.monitor] < chosen[record.monitor] or record.value != chosen[record.monitor]:
        findings.append(
            Finding(
                code="not-the-best-epoch",
                severity="serious",
                message=f"Epoch {record.chosen + 1} is recorded as the best, but by {record.monitor} the best is epoch {best + 1}, or the "
                "recorded value differs from that of the epoch.",
                remedy="Train again; the manifest contradicts itself.",
                evidence={"chosen": record.chosen + 1, "best": best + 1},
            )
        )
    if chosen["val_mae"] > OVERFIT * chosen["mae"]:
        findings.append(
            Finding(
                code="overfitting",
                severity="warning",
                message=f"The validation error is {number(chosen['val_mae'] / chosen['mae'])} times the training error, which indicates overfitting.",
                remedy="Train on more sign tracks, add augmentation, or use a smaller network.",
                evidence={"train": chosen["mae"], "valid": chosen["val_mae"]},
            )
        )
    return findings


def _curve(record: ErrorRecord, name: str) -> Curve:
    x = [float(row + 1) for row in range(len(record.epochs))]
    return Curve(
        id=f"training-{name}",
        title=f"{name.upper() if name != 'loss' else 'Loss'} by epoch",
        x_label="epoch",
        y_label=name,
        series=[
            Series(name="validation", x=x, y=[epoch[f"val_{name}"] for epoch in record.epochs], role="main"),
            Series(name="training", x=x, y=[epoch[name] for epoch in record.epochs]),
        ],
        caption=f"Validation (bold) and training, by epoch. Epoch {record.chosen + 1} is the model.",
    )


def _table(record: ErrorRecord) -> Table:
    names = [f"{prefix}{name}" for name in MEASURES for prefix in ("", "val_")]
    rows: list[list[Scalar]] = [
        [row + 1, *(round(epoch[name], 6) for name in names)] for row, epoch in enumerate(record.epochs)
    ]
    return Table(
        id="training-epochs",
        title="Epochs",
        columns=[
            Column(key="epoch", label="Epoch", kind="number"),
            *(Column(key=name, label=name, kind="number") for name in names),
        ],
        rows=rows,
        fold=True,
    )
