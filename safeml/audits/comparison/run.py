"""Compare the model under test with a reference on the same images. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace

from safeml.audits.base import AuditInputs, Reference
from safeml.audits.comparison.figures import change_table, class_plot, flip_gallery
from safeml.audits.comparison.measure import attack_both, threat_of
from safeml.audits.comparison.metrics import ATTACKED, Pair, attacked_metrics, clean_metrics
from safeml.audits.explainability.agreement import map_agreement
from safeml.audits.measured import undefined_metrics
from safeml.audits.predictions import clustering_statement, predicted_logits
from safeml.audits.slices import Slices
from safeml.classifiers.base import is_differentiable
from safeml.classifiers.twin import ExportedClassifier
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.comparison import COMPARISON, ComparisonSettings
from safeml.statistics import signs_for_identical_models
from safeml.threats import threat_words
from safeml.wording import counted, interval, limit_percent, number, percent

SLICE = 1024
MARGIN = 0.01
# The float models of quantization.json.
FLOAT_MODELS = ("source", "float", "finetuned")
NO_REFERENCE = "no reference is set; set [stages.comparison.reference] path"


def run(inputs: AuditInputs, settings: ComparisonSettings) -> StageResult:
    """Predict with both models, attack both, and test the differences as paired data.

    Raises StageError when an output does not have the shape [N, K].
    """
    reference = inputs.reference
    if reference is None:
        return StageResult(
            stage=COMPARISON.name, title=COMPARISON.title, status="skipped", reason=NO_REFERENCE
        )
    test, other = inputs.test, replace(inputs, classifier=reference.classifier)
    slices = Slices(
        inputs.work, SLICE, {"images": inputs.predicting, "reference": reference.classifier.batch}
    )
    pair = Pair(
        test,
        predicted_logits(inputs, slices, test, "predictions", "predict test images"),
        predicted_logits(other, slices, test, "reference-predictions", "predict with the reference"),
    )
    metrics = [
        *clean_metrics(pair, settings, inputs.seed),
        *_explained(inputs, reference, settings),
        *_attacked(inputs, reference, settings),
    ]
    by_name = {metric.name: metric for metric in metrics if metric.slice == "all"}
    drop = by_name["accuracy_drop"]
    name = reference.classifier.name
    return StageResult(
        stage=COMPARISON.name,
        title=COMPARISON.title,
        tested=f"What the model lost, and where, against {name} on the same images.",
        on_what=f"{test.name}: {counted(len(test), 'image')}; "
        f"{min(settings.attacked_images, len(test))} of them attacked on both models.",
        facts=_facts(inputs, reference, pair, by_name),
        metrics=metrics,
        findings=[*_own_source(inputs, reference), *_not_of_the_record(inputs, reference), *slices.halved()],
        figures=[change_table(pair), class_plot(pair)],
        meaning=_meaning(drop, by_name, settings, name),
        worst_cases=flip_gallery(pair),
        limits=_limits(inputs, settings),
        not_tested=[
            Fact(label="Other inputs", value="the two may differ more on images unlike the test images"),
            Fact(label="Device", value="an engine on the device may round differently from this file"),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"reference {reference.classifier.fingerprint}",
            f"test images {test.fingerprint}",
            f"seed {inputs.seed}; PGD {settings.steps} × 1 at {threat_words(threat_of(settings))}",
        ],
        card=Card(
            headline=percent(drop.value, MARGIN),
            text=f"accuracy lost against the reference, {interval(drop.low, drop.high, MARGIN)}",
            figure_id="comparison-classes",
        ),
    )


def _own_source(inputs: AuditInputs, reference: Reference) -> list[Finding]:
    """Return a finding where the reference is the model that the file under test was exported from: both compute the same."""
    classifier = inputs.classifier
    if (
        not isinstance(classifier, ExportedClassifier)
        or classifier.gradients.fingerprint != reference.classifier.fingerprint
    ):
        return []
    return [
        Finding(
            code="reference-is-the-source",
            severity="serious",
            message=f"The reference, {reference.classifier.name}, is the model that the file was exported from, so the comparison measures "
            "the export alone, and not what quantization lost.",
            remedy='Set [stages.comparison.reference] to the float model, such as the "finetuned.keras" of the same folder.',
        )
    ]


def _not_of_the_record(inputs: AuditInputs, reference: Reference) -> list[Finding]:
    """Return a finding where quantization.json names float models and the reference is none of them, by the fingerprint."""
    record = inputs.quantization or {}
    files = record.get("files")
    models = {**(files if isinstance(files, dict) else {}), "source": record.get("source")}
    recorded = {
        name: models[name].get("fingerprint") for name in FLOAT_MODELS if isinstance(models.get(name), dict)
    }
    if not recorded or reference.classifier.fingerprint in recorded.values():
        return []
    return [
        Finding(
            code="reference-not-of-the-quantization",
            severity="warning",
            message=f"The reference, {reference.classifier.name}, is none of the float models that quantization.json names "
            f"({', '.join(recorded)}): the differences are not those of the quantization alone.",
            remedy="If that is not intended, quantize again, and set [stages.comparison.reference] to the float model of that folder.",
            evidence={"reference": reference.classifier.fingerprint},
        )
    ]


def _explained(inputs: AuditInputs, reference: Reference, settings: ComparisonSettings) -> list[Metric]:
    if not settings.explained_images:
        return []
    sample = inputs.test.sample(settings.explained_images, inputs.seed)
    return [map_agreement(inputs, reference, sample, inputs.seed, settings.resamples)]


def _attacked(inputs: AuditInputs, reference: Reference, settings: ComparisonSettings) -> list[Metric]:
    if not settings.attacked_images:
        return []
    sample = inputs.test.sample(settings.attacked_images, inputs.seed)
    blind = [
        model.name for model in (inputs.classifier, reference.classifier) if not is_differentiable(model)
    ]
    if blind:
        declared = [row for row in COMPARISON.records(settings) if row.name in ATTACKED]
        return undefined_metrics(declared, f"{blind[0]} gives no gradient", len(sample), ATTACKED)
    return attacked_metrics(sample, *attack_both(inputs, reference, settings, sample))


def _facts(inputs: AuditInputs, reference: Reference, pair: Pair, metrics: dict[str, Metric]) -> list[Fact]:
    own, flips = inputs.origin.scan.bytes if inputs.origin is not None else 0, int(pair.flips.sum())
    won = int((pair.right & ~pair.reference_right).sum())
    sizes = f"{number(own)} and {number(reference.bytes)} bytes" if own and reference.bytes else "not known"
    return [
        Fact(
            label="Reference",
            value=reference.classifier.name,
            detail=f"{counted(reference.classifier.parameters, 'parameter')}, {reference.classifier.fingerprint[:12]}",
        ),
        Fact(
            label="Accuracy",
            value=percent(float(pair.right.mean())),
            detail=f"reference {percent(float(pair.reference_right.mean()))}",
        ),
        Fact(
            label="Flips",
            value=f"{number(flips)} lost, {number(won)} won",
            detail=f"of {counted(len(pair.test), 'image')}",
        ),
        Fact(label="Same predicted class", value=percent(metrics["agreement"].value)),
        Fact(label="File sizes", value=sizes, detail="model and reference"),
    ]


def _meaning(drop: Metric, metrics: dict[str, Metric], settings: ComparisonSettings, name: str) -> list[str]:
    sentences = [
        f"The model loses {percent(drop.value, MARGIN)} of the accuracy of {name}, mean over sign tracks, "
        f"{interval(drop.low, drop.high, MARGIN)}; each end is one-sided at 95 %."
        if drop.value is not None
        else f"The accuracy lost is not measured: {drop.reason}.",
        "A negative flip is an image that the reference classifies correctly and the model does not, whatever it wins elsewhere.",
    ]
    maps = metrics.get("map_agreement")
    if maps is not None and maps.value is not None:
        sentences.append(
            f"Both models depend on the same pixels to a rank correlation of {number(maps.value)}, 95 % interval "
            f"{interval(maps.low, maps.high, unit='ratio')} (occlusion maps of {counted(maps.n, 'image')} of one predicted class; 1 is equal)."
        )
    robust = metrics.get("robust_accuracy_drop")
    if robust is not None and robust.value is not None:
        back, forth = metrics["transfer_to_reference"], metrics["transfer_from_reference"]
        sentences.append(
            f"Under the same PGD the model loses {percent(robust.value)} of the robust accuracy of the reference, "
            f"{interval(robust.low, robust.high)}. Of the adversarial examples of the reference, {percent(forth.value)} fool the model; "
            f"of those of the model, {percent(back.value)} fool the reference."
        )
    return sentences


def _limits(inputs: AuditInputs, settings: ComparisonSettings) -> list[str]:
    needed = signs_for_identical_models(MARGIN, settings.largest_loss)
    assumed = (
        "nothing is assumed about a sign track"
        if settings.largest_loss == 1
        else f"declared: no sign track loses more than {limit_percent(settings.largest_loss)} of its frames net"
    )
    return [
        f"A loss of at most {limit_percent(MARGIN)} takes at least {counted(needed, 'sign track')} to prove, even for two models that agree "
        f"everywhere ({assumed}).",
        clustering_statement(inputs.test),
        "The attack is one PGD; the stage adversarial has the worst case of all attacks.",
    ]
