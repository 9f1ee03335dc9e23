"""Class balance, and leakage of test images into training and validation.

Legend: N images, K classes. The splits are called test, train and valid.
"""

from __future__ import annotations

from safeml.audits.balance.counts import class_bars, counts_table, small_findings, split_metrics
from safeml.audits.balance.coverage import run_of_regression
from safeml.audits.balance.leakage import copies_table, leakage_findings, leakage_metrics
from safeml.audits.balance.recall import NAME, class_recall, quarters_plot, recall_table, size_metric
from safeml.audits.balance.split import splits_of
from safeml.audits.base import AuditInputs
from safeml.audits.predictions import predicted_logits
from safeml.audits.slices import Slices
from safeml.metrics.classification import right_answers
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.balance import BalanceSettings
from safeml.wording import counted, interval, number, quantity

SLICE = 1024
# How a recipe can balance the classes, in words.
BALANCING = {"none": "none", "class_weights": "class weights", "sampling": "balanced sampling"}


def run(inputs: AuditInputs, settings: BalanceSettings) -> StageResult:
    """Count the images of each class, compare the splits, and relate the recall of each class to its size in training."""
    splits = splits_of(inputs)
    if inputs.test.targets is not None:
        return run_of_regression(inputs, settings, splits)
    leaks = leakage_metrics(splits)
    slices = Slices(inputs.work, SLICE, {"images": inputs.predicting})
    logits = predicted_logits(inputs, slices, inputs.test, "predictions", "predict test images")
    recall = class_recall(inputs.test, inputs.train, right_answers(logits, inputs.test.labels))
    by_size = size_metric(recall, inputs.seed, settings.bootstrap)
    metrics = [
        *leaks,
        *(metric for split in splits for metric in split_metrics(split, settings)),
        by_size,
    ]
    measured = {metric.name: metric for metric in metrics if metric.slice in ("all", "split:test")}
    shared = measured["shared_duplicates"]
    roles = [split.role for split in splits]
    used = _balancing(inputs)
    return StageResult(
        stage="balance",
        title="Class balance",
        tested="How many images and signs each class has, whether small classes are recognised less often, and whether images or "
        "signs of the test set are also in the other splits.",
        on_what="; ".join(
            f"{split.role}: {split.data.name}, {counted(len(split.data), 'image')}" for split in splits
        )
        + ".",
        facts=_facts(inputs, measured, used),
        metrics=metrics,
        findings=[
            *leakage_findings(splits, leaks),
            *_size_finding(by_size, used),
            *small_findings(splits, settings),
            *slices.halved(),
        ],
        figures=[
            figure
            for figure in (
                class_bars(splits),
                quarters_plot(recall),
                recall_table(recall),
                counts_table(splits),
                copies_table(splits),
            )
            if figure is not None
        ],
        meaning=[
            "An image used to train or select the model is not evidence about new images; each copy in the test set "
            "inflates the accuracy.",
            f"A class with fewer than {settings.min_images} images, or of few signs, has a wide confidence interval, whatever the model.",
            "A rank correlation near 1 means that larger classes have the higher recall; near 0, that class size does not order the recall.",
        ],
        limits=[
            "Copies are byte-identical pixels at the size of the data; near duplicates are on the page of data quality.",
            "Tracks are compared by the track ids in the data.",
            *(
                f"No {role} split was configured, so its overlap with the test set is unknown."
                for role in ("train", "valid")
                if role not in roles
            ),
        ],
        reproduce=[
            *(f"{split.role} images {split.data.fingerprint}" for split in splits),
            f"model {inputs.classifier.fingerprint}",
        ],
        card=Card(
            headline=quantity(shared.value, "count"),
            text=shared.reason or "test images also in train or valid",
            figure_id="class-counts",
        ),
    )


def _balancing(inputs: AuditInputs) -> str:
    """Return how training balanced the classes, in words; "" where no manifest says it."""
    recipe = (inputs.manifest or {}).get("recipe")
    choice = recipe.get("balance") if isinstance(recipe, dict) else None
    return BALANCING.get(choice, "") if isinstance(choice, str) else ""


def _facts(inputs: AuditInputs, measured: dict[str, Metric], used: str) -> list[Fact]:
    by_size = measured[NAME]
    ends = interval(by_size.low, by_size.high, unit="ratio")
    return [
        *(
            Fact(
                label=label,
                value=quantity(measured[key].value, measured[key].unit),
                detail=measured[key].reason,
            )
            for key, label in (
                ("imbalance_ratio", "Largest to smallest class, test"),
                ("effective_classes", f"Effective classes of {inputs.test.classes}, test"),
                ("shared_duplicates", "Test images in other splits"),
                ("shared_tracks", "Test sign tracks in other splits"),
            )
        ),
        Fact(
            label="Recall against class size",
            value=number(by_size.value),
            detail=by_size.reason or f"rank correlation, {ends}",
        ),
        Fact(
            label="Balancing in training",
            value=used or "not known",
            detail="" if used else "no training.json of `safeml train` says it",
        ),
    ]


def _size_finding(by_size: Metric, used: str) -> list[Finding]:
    """Warn where small classes have the lower recall beyond chance."""
    if by_size.value is None or by_size.low is None or by_size.low <= 0:
        return []
    remedy = "Collect more signs of the small classes"
    if used in ("", "none"):
        remedy += ', or train with balance = "class_weights" or "sampling"'
    return [
        Finding(
            code="small-classes-recall",
            severity="warning",
            message=f"Classes with fewer training images have the lower recall: rank correlation {number(by_size.value)}, "
            f"interval {interval(by_size.low, by_size.high, unit='ratio')}.",
            remedy=f"{remedy}.",
            evidence={"correlation": round(by_size.value, 4)},
        )
    ]
