"""Measure what the predictions depend on: attribution maps with their sanity checks, and images with other surroundings. Legend: N images."""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.explainability.figures import (
    SURROUNDINGS,
    admissibility_table,
    class_table,
    map_gallery,
    method_table,
    outcome_table,
    stability_table,
    surroundings_plot,
    swap_gallery,
)
from safeml.audits.explainability.measure import measure
from safeml.audits.explainability.measured import Measured
from safeml.audits.explainability.metrics import all_metrics
from safeml.audits.explainability.next_steps import findings
from safeml.audits.explainability.sanity import Sanity
from safeml.classifiers.twin import ExportedClassifier
from safeml.explainers.rows import ROWS
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.explainability import EXPLAINABILITY, ExplainabilitySettings
from safeml.wording import counted, interval, number, percent


def run(inputs: AuditInputs, settings: ExplainabilitySettings) -> StageResult:
    """Explain the predictions on a sample of the test images, check the methods, and measure what the maps show.

    Raises StageError for a box of a sign that is empty or leaves its image.
    """
    measured = measure(inputs, settings)
    metrics, sanity = all_metrics(measured, settings, inputs.seed)
    by_place = {(metric.name, metric.slice): metric for metric in metrics}
    lift = by_place["saliency_lift", "all"]
    surroundings, swapped = surroundings_plot(measured), swap_gallery(measured, inputs.seed)
    sample = measured.sample
    return StageResult(
        stage=EXPLAINABILITY.name,
        title=EXPLAINABILITY.title,
        tested="Whether the predictions depend on the sign more than on its surroundings, by attribution methods that were checked first.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, {counted(len(measured.probe), 'of them')[:-1] if len(measured.probe) == 1 else str(len(measured.probe)) + ' of them'} explained again for the checks.",
        facts=_facts(measured, by_place, sanity),
        metrics=metrics,
        findings=[
            *findings(measured, by_place, sanity, settings),
            *_fewer(settings, measured),
            *measured.slices.halved(),
        ],
        figures=[
            admissibility_table(measured, sanity),
            method_table(measured, by_place),
            class_table(measured, metrics),
            *([] if surroundings is None else [surroundings]),
            outcome_table(measured),
            stability_table(measured, by_place),
            *([] if swapped is None or not swapped.items else [swapped]),
        ],
        meaning=_meaning(measured, by_place, sanity),
        worst_cases=map_gallery(inputs, settings, measured, sanity),
        limits=[
            "A map is an estimate of what a prediction depends on, not a proof: methods disagree, and a model can be made to fool them.",
            "The energy of a map is its absolute value summed over channels: evidence for and against the predicted class count alike.",
            "The box of a sign is a rectangle; its corners belong to the surroundings, and count as sign.",
            "Other surroundings are pasted along the box and look unreal; a loss may also come from the seam.",
            *([_TWIN] if isinstance(inputs.classifier, ExportedClassifier) else []),
        ],
        not_tested=_not_tested(measured, settings),
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}; " + ", ".join(ROWS[maps.name].title for maps in measured.methods),
        ],
        card=Card(
            headline="not measured" if lift.value is None else f"{lift.value:.2f}",
            text=lift.reason
            or f"attribution on the sign against its share of the image, worst of {counted(len([s for s in sanity.values() if not s.problem]), 'admissible method')}, 95 % interval {interval(lift.low, lift.high, unit='ratio')}",
            figure_id=SURROUNDINGS,
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )


_TWIN = "Maps by gradients are those of the Keras model that gives the gradients of this file; predictions are those of the file."


def _fewer(settings: ExplainabilitySettings, measured: Measured) -> list[Finding]:
    count = len(measured.sample)
    if settings.images <= count:
        return []
    return [
        Finding(
            code="fewer_images",
            severity="info",
            message=f"{counted(settings.images, 'image')} were requested; the test set has {count}, and all were measured.",
            evidence={"asked": settings.images, "measured": count},
        )
    ]


def _facts(
    measured: Measured, metrics: dict[tuple[str, str], Metric], sanity: dict[str, Sanity]
) -> list[Fact]:
    admissible = [maps.row.title for maps in measured.methods if not sanity[maps.name].problem]
    loss, lift = metrics["background_swap_loss", "all"], metrics["saliency_lift", "all"]
    area = measured.area
    return [
        Fact(
            label="Admissible methods",
            value=f"{len(admissible)} of {len(measured.methods)}",
            detail=", ".join(admissible),
        ),
        Fact(
            label="Lift on the sign",
            value="not measured" if lift.value is None else f"{lift.value:.2f}",
            detail=lift.reason or "worst admissible method; 1 is chance",
        ),
        Fact(
            label="Sign boxes",
            value="none" if area is None else percent(float(area.mean())),
            detail="" if area is None else "of the image, on average",
        ),
        Fact(
            label="Lost with other surroundings",
            value=percent(loss.value),
            detail=loss.reason or interval(loss.low, loss.high),
        ),
        Fact(
            label="Clean accuracy",
            value=percent(metrics["clean_accuracy_explainability_sample", "all"].value),
        ),
    ]


def _not_tested(measured: Measured, settings: ExplainabilitySettings) -> list[Fact]:
    facts = [
        Fact(label=maps.row.title, value="not tested", detail=maps.reason)
        for maps in measured.methods
        if maps.reason
    ]
    if not measured.levels:
        facts.append(
            Fact(
                label="Shuffled weights",
                value="not tested",
                detail="the weights of this file cannot be reached",
            )
        )
    left_out = [ROWS[name].title for name in ROWS if name not in {maps.name for maps in measured.methods}]
    if left_out:
        facts.append(
            Fact(
                label=", ".join(left_out),
                value="not tested",
                detail="not among the methods of the settings, or not possible for this model",
            )
        )
    missing = [name for name in settings.corruptions if name not in measured.corruptions]
    if missing:
        facts.append(
            Fact(
                label=", ".join(missing),
                value="not tested",
                detail="not defined for images of this size or colour",
            )
        )
    return facts


def _meaning(
    measured: Measured, metrics: dict[tuple[str, str], Metric], sanity: dict[str, Sanity]
) -> list[str]:
    lift, loss = metrics["saliency_lift", "all"], metrics["background_swap_loss", "all"]
    sentences = []
    if lift.value is None:
        sentences.append(f"How much of the attribution lies on the sign is not known: {lift.reason}.")
    elif measured.area is not None:
        worst = min(
            (maps for maps in measured.methods if not sanity[maps.name].problem),
            key=lambda maps: metrics["saliency_lift", maps.name].value or 0.0,
        )
        sentences.append(
            f"The sign's box covers {percent(float(measured.area.mean()))} of the image on average. Under {worst.row.title}, the worst admissible "
            f"method, {number(lift.value)} times that share of the attribution lies inside, 95 % interval {interval(lift.low, lift.high, unit='ratio')}."
        )
    if loss.value is None:
        sentences.append(f"The effect of other surroundings is not known: {loss.reason}.")
    else:
        sentences.append(
            f"With the surroundings of images of other classes the model loses {percent(loss.value)} of its accuracy, 95 % interval "
            f"{interval(loss.low, loss.high)}. This is an experiment on the model, and needs no attribution method."
        )
    sentences.append(
        "A method counts only if its maps change with the weights of the model and with the explained class."
    )
    return sentences
