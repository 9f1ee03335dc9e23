"""Data quality: near duplicates, generated images, labels, poor images, and sign tracks from pixels."""

from __future__ import annotations

from safeml.audits.balance.split import Split, splits_of
from safeml.audits.base import AuditInputs
from safeml.audits.data_quality.generated import Generated, generated_images
from safeml.audits.data_quality.labels import (
    IN_SAMPLE,
    SLICE,
    Labels,
    compared_labels,
    label_findings,
    label_gallery,
    label_metrics,
    label_table,
)
from safeml.audits.data_quality.near import (
    Near,
    Search,
    all_pairs,
    near_findings,
    near_gallery,
    near_metrics,
    near_table,
)
from safeml.audits.data_quality.quality import (
    judged,
    quality_findings,
    quality_gallery,
    quality_metrics,
    quality_table,
)
from safeml.audits.data_quality.tracks import recovery, recovery_findings, recovery_table
from safeml.audits.slices import Slices
from safeml.metrics.near_duplicates import SIMILAR
from safeml.results import Card, Fact, Figure, Metric, StageResult
from safeml.stages.data_quality import DATA_QUALITY, DataQualitySettings
from safeml.wording import counted, number, percent, quantity


def run(inputs: AuditInputs, settings: DataQualitySettings) -> StageResult:
    """Search for near duplicates, compare labels with predictions, judge the images, and propose sign tracks."""
    splits = splits_of(inputs)
    search = Search(inputs, settings.most_images)
    pairs = all_pairs(search, splits)
    generated = generated_images(splits, search)
    slices = Slices(inputs.work, SLICE, {"images": inputs.predicting})
    labels = compared_labels(inputs, settings, slices)
    quality = judged(splits)
    tracks = recovery(inputs, settings)
    near = near_metrics(pairs, splits[0])
    metrics = [
        *near,
        *generated.metrics,
        *label_metrics(labels),
        *quality_metrics(quality),
        *tracks.metrics,
    ]
    figures: list[Figure | None] = [
        near_table(pairs),
        _generated_gallery(generated),
        label_gallery(labels),
        label_table(labels),
        quality_table(quality),
        quality_gallery(quality),
        recovery_table(tracks, inputs.test),
    ]
    return StageResult(
        stage=DATA_QUALITY.name,
        title=DATA_QUALITY.title,
        tested="Whether images of one split are near duplicates of another, generated images judge the model, labels may be incorrect, and images "
        "are too poor to show a sign.",
        on_what="; ".join(
            f"{split.role}: {split.data.name}, {counted(len(split.data), 'image')}" for split in splits
        )
        + ".",
        facts=_facts(metrics),
        metrics=metrics,
        findings=[
            *generated.findings,
            *near_findings(pairs, near),
            *label_findings(labels),
            *quality_findings(quality),
            *recovery_findings(tracks, inputs.test),
            *slices.halved(),
        ],
        figures=[figure for figure in figures if figure is not None],
        worst_cases=near_gallery(pairs),
        meaning=[
            "A near duplicate of a training image is recognised from memory, like an identical one: shifted by a pixel, noisy, compressed again "
            "or brighter.",
            "A label that may be incorrect is a reason to look, not an error: the model may be wrong.",
        ],
        limits=_limits(splits, labels),
        not_tested=_not_tested(splits, pairs, labels),
        reproduce=[
            *(f"{split.role} images {split.data.fingerprint}" for split in splits),
            f"model {inputs.classifier.fingerprint}",
            f"seed {inputs.seed}",
        ],
        card=_card(near),
    )


def _generated_gallery(generated: Generated) -> Figure | None:
    gallery = None if generated.near is None else near_gallery([generated.near])
    if gallery is None:
        return None
    return gallery.model_copy(
        update={"id": "generated-copies", "title": "Test images beside generated images that they resemble"}
    )


def _facts(metrics: list[Metric]) -> list[Fact]:
    by_key = {(metric.name, metric.slice): metric for metric in metrics}
    wanted = (
        ("near_duplicates", "split:train", "Test images near training images"),
        ("near_duplicates", "split:valid", "Test images near validation images"),
        ("generated_images", "split:test", "Generated test images"),
        ("label_error_candidates", "split:test", "Test labels that may be incorrect"),
        ("quality_outliers", "split:test", "Poor test images"),
    )
    return [
        Fact(label=label, value=quantity(metric.value, metric.unit), detail=metric.reason)
        for name, where, label in wanted
        if (metric := by_key.get((name, where))) is not None
    ]


def _limits(splits: list[Split], labels: list[Labels]) -> list[str]:
    sizes = sorted({split.data.images.shape[1:3] for split in splits})
    return [
        f"A near duplicate has a correlation of at least {SIMILAR:g} at 32 x 32 grey pixels and light of the same colour. Copies that are turned, mirrored, "
        "cropped or shifted by more than one pixel in 32 are not found, nor are most frames of one sign that are not next to each other.",
        "Recall and false pairs were measured on GTSRB: `benchmarks/near_duplicates.py`.",
        *(
            [f"The splits have images of {len(sizes)} sizes; they were compared after resampling to 32 x 32."]
            if len(sizes) > 1
            else []
        ),
        *(
            f"Predictions on {split.role}: {IN_SAMPLE[split.role]}."
            for split in labels
            if split.candidates is not None and split.role != "test"
        ),
        "Generated images are known only from the tables of the settings; none is recognised by its pixels.",
    ]


def _not_tested(splits: list[Split], pairs: list[Near], labels: list[Labels]) -> list[Fact]:
    roles = {split.role for split in splits}
    facts = [
        Fact(
            label=f"Near duplicates in {role}",
            value="not tested",
            detail=f"no [data.{role}] is configured",
        )
        for role in ("train", "valid")
        if role not in roles
    ]
    facts += [
        Fact(
            label=f"Near duplicates of {near.one.role} in {near.two.role}",
            value="not tested",
            detail=near.reason,
        )
        for near in pairs
        if near.copies is None
    ]
    facts += [
        Fact(label=f"Labels of {split.role}", value="not tested", detail=split.reason)
        for split in labels
        if split.candidates is None
    ]
    return facts


def _card(near: list[Metric]) -> Card:
    train = near[0]
    if train.value is None:
        return Card(headline="not measured", text=f"near duplicates in train: {train.reason}")
    return Card(
        headline=percent(train.value),
        text=f"of {number(train.n)} test images have a near or identical copy in train",
    )
