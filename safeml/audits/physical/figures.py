"""The figures of the physical audit. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import numpy as np

from safeml.attacks.signs.registry import SIGN_THREATS
from safeml.attacks.signs.transform import grid, words
from safeml.audits.gallery import change_panel, panel, to_uint8
from safeml.audits.measured import CleanSample
from safeml.audits.physical.measure import SignMeasured
from safeml.audits.physical.patch import PatchMeasured
from safeml.audits.weakest import group_recall
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import softmax
from safeml.results import Column, Dot, DotPlot, Gallery, GalleryItem, Metric, Scalar, Table
from safeml.stages.physical import PhysicalSettings
from safeml.wording import limit_percent

CASES_A_THREAT = 5
THREAT_PLOT = "accuracy-by-threat"


def threat_plot(metrics: dict[str, Metric]) -> DotPlot:
    """Draw the accuracy under each threat and under their worst case, weakest first, unmeasured threats last."""
    titles = {name: threat.title for name, threat in SIGN_THREATS.items()} | {
        "worst": "Worst case over all threats, per image"
    }
    clean = metrics["clean_accuracy_physical_sample"]
    dots = []
    for name, title in titles.items():
        found = metrics[f"physical_accuracy.{name}"]
        dots.append(
            Dot(
                label=title,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                compare=clean.value,
            )
        )
    dots.sort(key=lambda dot: (dot.value is None, dot.value if dot.value is not None else 0.0))
    return DotPlot(
        id=THREAT_PLOT,
        title="Accuracy under each threat to the sign",
        dots=dots,
        overall=clean.value,
        caption="Weakest first, with 95 % intervals; line and outline are the clean accuracy of the same images.",
    )


def threat_table(settings: PhysicalSettings, metrics: dict[str, Metric]) -> Table:
    """List for each threat the needed knowledge, the bounds and the accuracy."""
    rows: list[list[Scalar]] = [
        [
            threat.title,
            "white box" if threat.gradient else "black box",
            threat.budget(settings),
            threat.atlas,
            threat.nist,
            threat.source,
            metrics[f"physical_accuracy.{name}"].value,
        ]
        for name, threat in SIGN_THREATS.items()
    ]
    return Table(
        id="sign-threats",
        title="Threats to the sign",
        columns=[
            Column(key="threat", label="Threat"),
            Column(key="knowledge", label="Knowledge"),
            Column(key="budget", label="Bounds"),
            Column(key="atlas", label="MITRE ATLAS", kind="id"),
            Column(key="nist", label="NIST AI 100-2e2025", kind="id"),
            Column(key="source", label="Source"),
            Column(key="accuracy", label="Accuracy", kind="percent"),
        ],
        rows=rows,
        caption="AML.T0043.000 and .001: adversarial data crafted with the model's gradient, or by queries; AML.T0041: physical "
        "environment access. NISTAML.022: evasion; .025: black-box evasion. safeml assigned these ids.",
    )


def patch_table(settings: PhysicalSettings, metrics: dict[str, Metric]) -> Table:
    source, target = settings.patch_pair
    area = f"{limit_percent(settings.patch_area)} of the box"
    return Table(
        id="universal-patch",
        title=f"One patch for every sign: {source} classified as {target}",
        columns=[
            Column(key="patch", label="Patch"),
            Column(key="knowledge", label="Knowledge"),
            Column(key="budget", label="Bounds"),
            Column(key="success", label="Success", kind="percent"),
            Column(key="n", label="Held-out images", kind="number"),
        ],
        rows=[
            [label, knowledge, area, metrics[name].value, metrics[name].n]
            for label, knowledge, name in (
                ("trained", "white box (AML.T0043.000, AML.T0041; NISTAML.022)", "universal_patch_success"),
                ("random colours", "none", "universal_patch_success.random"),
            )
        ],
        caption=metrics["universal_patch_success"].reason
        or "Success: a held-out image that is classified correctly when clean is classified as the target. Random colours show the effect of any patch of that size.",
    )


def sticker_class_plot(sample: ImageDataset, clean: CleanSample, found: SignMeasured | None) -> DotPlot:
    """Draw the recall of each class under the sticker, weakest first; classes without an image come last, unmeasured."""
    dots = []
    for label, name in enumerate(sample.class_names if found is not None else ()):
        assert found is not None
        member = sample.labels == label
        left = group_recall(sample, found.robust, member, name, f"class:{name}")
        compare = float(clean.right[member].mean()) if member.any() else None
        dots.append(
            Dot(
                label=name,
                value=left.value,
                low=left.low,
                high=left.high,
                n=int(member.sum()),
                compare=compare,
            )
        )
    dots.sort(key=lambda dot: (dot.value is None, dot.value if dot.value is not None else 0.0))
    return DotPlot(
        id="sticker-recall-by-class",
        title="Recall by class under the sticker",
        dots=dots,
        overall=None if found is None else float(found.robust.mean()),
        caption="Weakest first; the outline is the recall of the same images without a sticker."
        if found is not None
        else "Not measured: the model gives no gradient.",
    )


def sign_cases(
    sample: ImageDataset,
    clean: CleanSample,
    measured: dict[str, SignMeasured],
    patch: PatchMeasured | None,
    settings: PhysicalSettings,
) -> Gallery:
    """Show the most confident misclassifications under each threat, at most one per class; the clean image is classified correctly."""
    items: list[GalleryItem] = []
    points = grid(settings)
    for name, found in measured.items():
        broken = clean.right & (found.faults == 0)
        for row in _most_confident(sample.labels, found.logits, broken):
            moved = name == "transform" and 0 <= found.choice[row] < len(points)
            note = SIGN_THREATS[name].title + (f": {words(points[found.choice[row]])}" if moved else "")
            items.append(_case(sample, row, found.attacked[row], found.logits[row], clean.logits[row], note))
    if patch is not None and not patch.problem:
        for row in _most_confident(patch.data.labels, patch.logits, patch.fooled)[:1]:
            attacked = to_uint8(patch.attacked[row])
            items.append(_case(patch.data, row, attacked, patch.logits[row], None, "Universal patch"))
    return Gallery(
        id="worst-signs",
        title="Most confident misclassifications under each threat",
        items=items,
        caption="Clean image, attacked image, and the change (grey: none; black and white: ±1 of the pixel range 0..1).",
    )


def _most_confident(labels: np.ndarray, logits: np.ndarray, candidates: np.ndarray) -> list[int]:
    """Rows of misclassified images with finite logits, the most confident first, each class once."""
    finite = np.isfinite(logits).all(axis=1)
    usable = np.where(finite[:, None], logits, 0)
    wrong = candidates & finite & (usable.argmax(axis=1) != labels)
    confidence = softmax(usable).max(axis=1)
    chosen: list[int] = []
    for row in sorted(np.flatnonzero(wrong).tolist(), key=lambda row: -confidence[row]):
        if len(chosen) < CASES_A_THREAT and labels[row] not in labels[chosen]:
            chosen.append(row)
    return chosen


def _case(
    data: ImageDataset,
    row: int,
    attacked: np.ndarray,
    logits: np.ndarray,
    clean: np.ndarray | None,
    note: str,
) -> GalleryItem:
    label, answer = int(data.labels[row]), int(logits.argmax())
    before, after = (image.astype(np.float32) / 255 for image in (data.images[row], attacked))
    return GalleryItem(
        panels=[
            panel("clean", data.images[row]),
            panel("attacked", attacked),
            change_panel("change", before, after, 1.0),
        ],
        true_name=data.class_names[label],
        true_confidence=None if clean is None else float(softmax(clean[None])[0, label]),
        predicted_name=data.class_names[answer],
        predicted_confidence=float(softmax(logits[None]).max()),
        index=None if data.ids is None else int(data.ids[row]),
        note=note,
    )
