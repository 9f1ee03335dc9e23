"""Clean accuracy, the weakest groups, and the cost of mistakes.

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.performance.class_figures import (
    class_table,
    confusion_figure,
    group_plot,
    ledger_table,
    recall_plot,
)
from safeml.audits.performance.mistakes import confusion_table, image_costs, worst_mistakes
from safeml.audits.predictions import clustering_statement, predicted_logits
from safeml.audits.slices import Slices
from safeml.audits.weakest import group_recall, members, untested_groups, user_groups, weakest_recall
from safeml.data.dataset import ImageDataset
from safeml.data.signs import families
from safeml.metrics.classification import (
    ClassScores,
    Predictions,
    class_scores,
    confusion_matrix,
    macro_f1_score,
    macro_recall_score,
    predictions,
)
from safeml.metrics.hazard import cost_matrix, has_rules
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.base import FAMILIES, GROUPS
from safeml.stages.performance import LEAST_FAMILY_SIGNS, PerformanceSettings
from safeml.statistics import (
    bootstrap_metric,
    mean_metric,
    proportion_by_sign_metric,
    proportion_metric,
    unequal_tracks,
)
from safeml.wording import counted, interval, number, percent, quantity

SLICE = 1024


def run(inputs: AuditInputs, settings: PerformanceSettings) -> StageResult:
    """Measure clean performance on the test images.

    A mistake costs what the test data say, else what the project's rules for GTSRB classes say, else 1.

    Raises StageError when the output does not have the shape [N, K], ConfigError for an invalid cost matrix.
    """
    test = inputs.test
    slices = Slices(inputs.work, SLICE, {"clean images": inputs.predicting})
    answers = predictions(predicted_logits(inputs, slices, test, "predictions", "predict test images"))
    hits = answers.classes == test.labels
    confusion = confusion_matrix(test.labels, answers.classes, test.classes)
    scores = class_scores(confusion)
    price, own_costs = cost_matrix(test.class_names, test.costs), test.costs is not None
    metrics = _metrics(inputs, settings, answers, hits, price)
    by_class = [metric for metric in metrics if metric.slice.startswith("class:")]
    by_group = [metric for metric in metrics if metric.slice.startswith(GROUPS)]
    measured = {metric.name: metric for metric in metrics if metric.slice == "all"}
    clean = measured["clean_accuracy"]
    return StageResult(
        stage="performance",
        title="Performance",
        tested="Whether the class with the largest logit is the true class, on unmodified images.",
        on_what=f"{test.name}: {counted(len(test), 'image')} of {counted(test.classes, 'class', 'classes')}.",
        facts=_facts(test, measured, metrics),
        metrics=metrics,
        findings=[
            *_findings(test, answers, scores, own_costs),
            *_sign_findings(test, hits),
            *slices.halved(),
        ],
        figures=[
            recall_plot(by_class, clean),
            *([group_plot(by_group, clean)] if by_group else []),
            confusion_table(test, answers.classes, price, own_costs),
            class_table(by_class, scores),
            confusion_figure(test.class_names, confusion),
        ],
        meaning=_meaning(test, measured, own_costs),
        worst_cases=worst_mistakes(test, answers, price, own_costs),
        ledger=ledger_table(test, answers.classes, hits),
        limits=[
            "One test set: its results may not transfer to other countries, cameras, weather or seasons.",
            "Each image is a crop around one sign; detecting signs in a camera image is not tested.",
            clustering_statement(test),
        ],
        not_tested=[
            Fact(label="Detection", value="not tested", detail="locating a sign in a camera image"),
            Fact(label="No sign at all", value="not tested", detail="images that show none of the classes"),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"test images {test.fingerprint}",
            f"seed {inputs.seed}, {counted(settings.bootstrap, 'bootstrap resample')}",
        ],
        card=Card(
            headline=percent(clean.value),
            text=f"clean accuracy, {_interval_phrase(clean)}",
            figure_id="recall-by-class",
        ),
    )


def _metrics(
    inputs: AuditInputs,
    settings: PerformanceSettings,
    answers: Predictions,
    hits: np.ndarray,
    price: np.ndarray,
) -> list[Metric]:
    test = inputs.test
    each = image_costs(test.labels, answers.classes, price)

    def macro_metric(name: str, title: str, score: Callable[[np.ndarray], float]) -> Metric:
        def statistic(rows: np.ndarray) -> float:
            return score(confusion_matrix(test.labels[rows], answers.classes[rows], test.classes))

        return bootstrap_metric(
            name,
            title,
            statistic,
            len(test),
            direction="up",
            unit="proportion",
            seed=inputs.seed,
            resamples=settings.bootstrap,
            bounds=(0.0, 1.0),
            clustering=test.clustering,
        )

    empty = [name for k, name in enumerate(test.class_names) if not (test.labels == k).any()]
    metrics = [
        proportion_metric("clean_accuracy", "Clean accuracy", hits, clustering=test.clustering),
        proportion_by_sign_metric("accuracy_by_sign", "Accuracy by sign", hits, clustering=test.clustering),
        proportion_metric("clean_error", "Clean error", ~hits, direction="down", clustering=test.clustering),
        mean_metric(
            "hazard_weighted_error",
            _hazard_title(test),
            each,
            upper=1.0,
            direction="down",
            unit="cost",
            clustering=test.clustering,
        ),
    ]
    for name, title, score in (
        ("macro_recall", "Macro recall (balanced accuracy)", macro_recall_score),
        ("macro_f1", "Macro F1", macro_f1_score),
    ):
        metrics.append(
            Metric.undefined(name, title, f"the test set has no image of {empty[0]}")
            if empty
            else macro_metric(name, title, score)
        )
    of_class = {f"class:{name}": test.labels == k for k, name in enumerate(test.class_names)}
    of_family = _family_members(test)
    metrics.append(weakest_recall("recall_worst_class", "Recall of the weakest class", test, hits, of_class))
    if of_family:
        title = "Recall of the weakest sign family"
        metrics.append(
            weakest_recall("recall_worst_family", title, test, hits, of_family, LEAST_FAMILY_SIGNS)
        )
    else:
        reason = "the classes have no known families; set [data] families"
        metrics.append(Metric.undefined("recall_worst_family", "Recall of the weakest sign family", reason))
    of_group = user_groups(test)
    if of_group:
        title = "Accuracy of the weakest of your groups"
        metrics.append(
            weakest_recall("accuracy_worst_group", title, test, hits, of_group, LEAST_FAMILY_SIGNS)
        )
    for where, member in of_group.items():
        title = f"Accuracy, {where.partition(':')[2]}"
        metrics.append(group_recall(test, hits, member, title, where, name="accuracy"))
    for where, member in {**of_family, **of_class}.items():
        metrics.append(group_recall(test, hits, member, f"Recall, {where.partition(':')[2]}", where))
    return metrics


def _hazard_title(test: ImageDataset) -> str:
    """Say in the title, which the verdict repeats, where no costs are known and the metric is the error rate."""
    known = test.costs is not None or has_rules(test.class_names)
    return (
        "Hazard-weighted error"
        if known
        else "Hazard-weighted error (no costs are known: every mistake costs 1)"
    )


def _family_members(test: ImageDataset) -> dict[str, np.ndarray]:
    """Return the images (bool [N]) of each sign family: the data column `family`, else the GTSRB families, else none."""
    if "family" in test.groups:
        return members(FAMILIES, test.groups["family"])
    known = families(test.class_names)
    return {} if known is None else members(FAMILIES, np.array(known)[test.labels])


def _facts(test: ImageDataset, measured: dict[str, Metric], metrics: list[Metric]) -> list[Fact]:
    clean, hazard = measured["clean_accuracy"], measured["hazard_weighted_error"]
    facts = [
        Fact(label="Images", value=number(len(test)), detail=_signs(clean)),
        Fact(label="Clean accuracy", value=percent(clean.value), detail=interval(clean.low, clean.high)),
    ]
    for group in ("family", "class"):
        metric, label = measured[f"recall_worst_{group}"], f"Weakest {group}"
        detail = metric.reason or f"{_weakest(metrics, group)}, {interval(metric.low, metric.high)}"
        facts.append(Fact(label=label, value=percent(metric.value), detail=detail))
    cost = quantity(hazard.value, "cost")
    facts.append(
        Fact(
            label="Mean cost per prediction",
            value=cost,
            detail=interval(hazard.low, hazard.high, unit="cost"),
        )
    )
    return facts


def _signs(metric: Metric) -> str:
    return "sign tracks unknown" if metric.signs is None else f"{number(round(metric.signs))} sign tracks"


def _interval_phrase(metric: Metric) -> str:
    ends = interval(metric.low, metric.high)
    return ends if metric.low is None else f"95 % interval {ends}"


def _weakest(metrics: list[Metric], prefix: str) -> str:
    """Return the group `prefix:...` with the smallest recall."""
    known = [
        (metric.value, metric.slice)
        for metric in metrics
        if metric.value is not None and metric.slice.startswith(prefix)
    ]
    return min(known)[1].partition(":")[2]


def _findings(
    test: ImageDataset, answers: Predictions, scores: ClassScores, own_costs: bool
) -> list[Finding]:
    findings = []
    void, ties = int((~answers.answered).sum()), int(answers.ties.sum())
    if void:
        findings.append(
            Finding(
                code="non-finite-logits",
                severity="serious",
                message=f"The logits of {counted(void, 'image')} are not finite; each counts as a mistake of the highest cost.",
                remedy="Fix the layer that overflows or divides by zero before you use any other result.",
                evidence={"images": void, "of": len(test)},
            )
        )
    if ties:
        findings.append(
            Finding(
                code="tied-logits",
                severity="warning",
                message=f"Two or more classes share the largest logit in {counted(ties, 'image')}; the lowest "
                "class id counts as the prediction.",
                remedy="Check the output layer: it may be constant, saturated or coarsely quantised.",
                evidence={"images": ties, "of": len(test)},
            )
        )
    empty = [name for name, images in zip(test.class_names, scores.support, strict=True) if images == 0]
    if empty:
        findings.append(
            Finding(
                code="class-without-images",
                severity="warning",
                message=f"The test set has no image of {counted(len(empty), 'class', 'classes')}, first "
                f"{empty[0]}; metrics that need their recall are undefined.",
                remedy="Add test images of every class that the model can predict.",
                evidence={"classes": len(empty), "first": empty[0]},
            )
        )
    given = np.unique(answers.classes[answers.answered])
    if len(given) == 1 and test.classes > 1:
        findings.append(
            Finding(
                code="constant-answer",
                severity="serious",
                message=f"The model predicts {test.class_names[given[0]]} for every image.",
                remedy="Check the model file, its input range and its channel order.",
                evidence={"class": test.class_names[given[0]]},
            )
        )
    if test.tracks is None and test.frames_per_sign is None:
        findings.append(
            Finding(
                code="clustering-undeclared",
                severity="warning",
                message=clustering_statement(test),
                remedy="Set frames_per_sign in [data.test] (1 if all images are independent), or supply track ids with the data.",
            )
        )
    if not own_costs and not has_rules(test.class_names):
        findings.append(
            Finding(
                code="equal-costs",
                severity="info",
                message="No cost rules are defined for these classes: every mistake costs 1, and the mean "
                "cost equals the error rate.",
                remedy="Set [hazard] costs to a CSV file with the cost of each confusion; `safeml list costs --csv` prints that of GTSRB.",
            )
        )
    return findings


def _sign_findings(test: ImageDataset, hits: np.ndarray) -> list[Finding]:
    """Report how the images were read, sign families that no gate tests, and sign tracks of very unequal length."""
    findings = [Finding(code="data-read", severity="warning", message=note) for note in test.notes]
    findings += _untested(test, hits, _family_members(test), "family", "families")
    findings += _untested(test, hits, user_groups(test), "group", "groups")
    unequal = unequal_tracks(test.clustering)
    if unequal is not None:
        findings.append(
            Finding(
                code="unequal-tracks",
                severity="warning",
                message=f"The largest sign track has {counted(unequal.largest, 'image')}, the typical one {number(unequal.typical)}: "
                "one long track weighs much in every accuracy of frames, and the intervals are wide because they allow for it.",
                remedy="Add a gate on accuracy_by_sign, in which each sign track counts once.",
                evidence={"largest": unequal.largest, "typical": unequal.typical},
            )
        )
    return findings


def _untested(
    test: ImageDataset, hits: np.ndarray, groups: dict[str, np.ndarray], one: str, several: str
) -> list[Finding]:
    """Name the groups that the metric of the weakest one leaves out."""
    untested = untested_groups(test, hits, groups, LEAST_FAMILY_SIGNS) if groups else {}
    if not untested:
        return []
    what = "recall of the weakest sign family" if one == "family" else "accuracy of the weakest group"
    names = [
        f"{group.partition(':')[2]} ({counted(round(signs), 'sign track')})"
        for group, signs in untested.items()
    ]
    return [
        Finding(
            code=f"{one}-untested",
            severity="warning",
            message=f"Untested: {'; '.join(names)}. The {what} leaves out {several} of fewer than {LEAST_FAMILY_SIGNS} sign "
            "tracks, because even a perfect model could not prove 90 % on them.",
            remedy=f"Add test images of these {several} until each has {LEAST_FAMILY_SIGNS} sign tracks.",
            evidence={several: len(untested), "least_signs": LEAST_FAMILY_SIGNS},
        )
    ]


def _meaning(test: ImageDataset, measured: dict[str, Metric], own_costs: bool) -> list[str]:
    clean, hazard = measured["clean_accuracy"], measured["hazard_weighted_error"]
    meaning = [
        f"The model classifies {percent(clean.value)} of the clean images correctly, {_interval_phrase(clean)}.",
        "The weakest group matters more than the mean: a rare class that is always misclassified barely lowers the accuracy.",
    ]
    if own_costs:
        meaning.append("The costs of mistakes come from the configured cost matrix.")
    elif has_rules(test.class_names):
        meaning.append(
            f"The mean cost per prediction is {quantity(hazard.value, 'cost')} on a scale where 1 is the worst mistake. "
            "The costs are this project's judgement, not an external standard."
        )
    return meaning
