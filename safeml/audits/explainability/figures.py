"""The figures of the explainability stage. Legend: N images, H W pixels."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.explainability.explained import Explained, explained_classes
from safeml.audits.explainability.lift import plain_lift
from safeml.audits.explainability.measured import Measured
from safeml.audits.explainability.sanity import Sanity
from safeml.audits.explainability.swap import changed_surroundings, donors
from safeml.audits.gallery import map_panel, panel
from safeml.audits.slices import numbers
from safeml.corruptions.rows import CORRUPTIONS
from safeml.metrics.classification import NO_ANSWER
from safeml.results import Column, Dot, DotPlot, Gallery, GalleryItem, Metric, Scalar, Table
from safeml.stages.explainability import NOISE, SEVERITY, ExplainabilitySettings
from safeml.statistics import proportion_metric

# An incorrect prediction of at least this confidence is an overconfident error.
CONFIDENT = 0.9
MOST_CASES = 4  # of each kind
SURROUNDINGS = "accuracy-by-surroundings"


def admissibility_table(measured: Measured, sanity: dict[str, Sanity]) -> Table:
    """List the sanity checks of each method, level by level, and whether it is admissible."""
    levels = measured.levels
    columns = [
        Column(key="method", label="Method"),
        Column(key="admissible", label="Admissible"),
        *(
            Column(key=f"level-{count}", label=f"{count} of {measured.layers} layers shuffled", kind="number")
            for count in levels
        ),
        Column(key="other_class", label="Another class", kind="number"),
        Column(key="reason", label="Why not"),
    ]
    rows: list[list[Scalar]] = []
    for maps in measured.methods:
        judged = sanity[maps.name]
        shuffled = (
            [_mean(maps.weights[:, column]) for column in range(len(levels))]
            if not maps.reason
            else [None] * len(levels)
        )
        rows.append(
            [
                maps.row.title,
                "no" if judged.problem else "yes",
                *shuffled,
                judged.other_class.value,
                judged.problem,
            ]
        )
    return Table(
        id="admissibility",
        title="Sanity of the methods: similarity of their maps",
        columns=columns,
        rows=rows,
        caption="Rank correlation (Spearman), mean over the probe images. Shuffled: the size of the map against that of a model whose last layers "
        "have shuffled weights. Another class: the map, with its signs, against the map of another class. A map that "
        "vanishes counts as 0. A method whose maps stay similar shows the image and not the model. "
        + (
            "" if levels else "The weights of this model cannot be reached, so that no weights were shuffled."
        ),
    )


def method_table(measured: Measured, metrics: dict[tuple[str, str], Metric]) -> Table:
    """List what each method measured on the sign, with the intervals of the lift."""
    rows: list[list[Scalar]] = []
    for maps in measured.methods:
        own = {
            name: metrics.get((name, maps.name))
            for name in (
                "saliency_lift",
                "method_preference",
                "pointing_game",
                "sign_iou",
                "insertion_auc",
                "deletion_auc",
            )
        }
        gains = [
            metrics.get(("faithfulness_gain", f"{maps.name}-{control}")) for control in ("random", "centre")
        ]
        lift = own["saliency_lift"]
        rows.append(
            [
                maps.row.title,
                _value(lift),
                ""
                if lift is None or lift.low is None or lift.high is None
                else f"{lift.low:.2f} to {lift.high:.2f}",
                _value(own["method_preference"]),
                _value(own["pointing_game"]),
                _value(own["sign_iou"]),
                _value(own["insertion_auc"]),
                _value(own["deletion_auc"]),
                *(_value(gain) for gain in gains),
            ]
        )
    return Table(
        id="lift-by-method",
        title="What the maps show",
        columns=[
            Column(key="method", label="Method"),
            Column(key="lift", label="Lift on the sign", kind="number"),
            Column(key="interval", label="95 % interval"),
            Column(key="preference", label="Lift with shuffled weights", kind="number"),
            Column(key="pointing", label="Pointing game", kind="percent"),
            Column(key="iou", label="IoU", kind="percent"),
            Column(key="insertion", label="Insertion AUC", kind="percent"),
            Column(key="deletion", label="Deletion AUC", kind="percent"),
            Column(key="random", label="Gain over random", kind="number"),
            Column(key="centre", label="Gain over centre", kind="number"),
        ],
        rows=rows,
        caption="Lift: share of the map's energy inside the sign's box, divided by the box's share of the image; 1 is chance. "
        "Where the method has a lift above 1 on models with shuffled weights, its lift is divided by that. Gain: insertion minus "
        "deletion AUC, minus that of a random map and of a map that prefers the centre. An empty cell was not measured.",
    )


def class_table(measured: Measured, metrics: list[Metric]) -> Table:
    """List the lift of each class under the worst admissible method, smallest first."""
    own = [
        metric for metric in metrics if metric.name == "saliency_lift" and metric.slice.startswith("class:")
    ]
    own.sort(key=lambda metric: (metric.value is None, metric.value or 0.0))
    return Table(
        id="lift-by-class",
        title="Lift on the sign by class, worst admissible method",
        columns=[
            Column(key="class", label="Class"),
            Column(key="lift", label="Lift", kind="number"),
            Column(key="low", label="Low", kind="number"),
            Column(key="high", label="High", kind="number"),
            Column(key="images", label="Images", kind="number"),
        ],
        rows=[[m.slice.removeprefix("class:"), m.value, m.low, m.high, m.n] for m in own],
        caption="Smallest first. Classes of few images vary by chance; a class without an interval has fewer than two signs.",
        fold=True,
    )


def outcome_table(measured: Measured) -> Table:
    """List the lift of correctly and incorrectly classified images, which may say why the model errs."""
    methods = [maps for maps in measured.methods if not maps.reason]
    rows: list[list[Scalar]] = [
        [kind, int(member.sum()), *(plain_lift(measured, maps, member) for maps in methods)]
        for kind, member in _kinds(measured).items()
    ]
    return Table(
        id="lift-by-outcome",
        title="Lift on the sign of correct and incorrect predictions",
        columns=[
            Column(key="prediction", label="Images"),
            Column(key="images", label="Number", kind="number"),
            *(Column(key=maps.name, label=maps.row.title, kind="number") for maps in methods),
        ],
        rows=rows,
        caption="As measured, without intervals, and not divided by the lift with shuffled weights. A smaller lift of the incorrect predictions is "
        "a hint that the surroundings misled the model; few images vary by chance.",
        fold=True,
    )


def stability_table(measured: Measured, metrics: dict[tuple[str, str], Metric]) -> Table:
    """List how similar the maps stay under noise and corruptions."""
    methods = [maps for maps in measured.methods if not maps.reason]
    rows: list[list[Scalar]] = []
    for column, form in enumerate((NOISE, *measured.corruptions)):
        title = "Noise of 2/255" if form == NOISE else CORRUPTIONS[form].title
        unchanged = int(np.isfinite(methods[0].changed[:, column]).sum()) if methods else 0
        rows.append(
            [
                title,
                unchanged,
                *(_value(metrics.get(("map_stability", f"{maps.name}-{form}"))) for maps in methods),
            ]
        )
    return Table(
        id="map-stability",
        title="Similarity of the maps of changed images",
        columns=[
            Column(key="change", label="Change"),
            Column(key="images", label="Images with the same prediction", kind="number"),
            *(Column(key=maps.name, label=maps.row.title, kind="number") for maps in methods),
        ],
        rows=rows,
        caption=f"Rank correlation with the map of the unchanged image, mean over the probe images whose predicted class stays. Corruptions at severity {SEVERITY}.",
    )


def surroundings_plot(measured: Measured) -> DotPlot | None:
    """Draw the accuracy with the surroundings of the image, of another image, on grey, and without the sign."""
    if measured.surroundings is None or measured.donated is None:
        return None
    clustering, everywhere = measured.sample.clustering, np.ones(len(measured.sample), bool)
    forms = [
        ("unchanged image", measured.correct, everywhere),
        ("other surroundings", measured.surroundings["swapped"], measured.donated),
        ("grey surroundings", measured.surroundings["grey"], everywhere),
        ("sign removed", measured.surroundings["removed"], everywhere),
    ]
    dots = []
    for title, hits, member in forms:
        metric = proportion_metric("accuracy", title, hits[member], clustering=clustering.take(member))
        dots.append(Dot(label=title, value=metric.value, low=metric.low, high=metric.high, n=metric.n))
    return DotPlot(
        id=SURROUNDINGS,
        title="Accuracy with other surroundings",
        dots=dots,
        overall=float(measured.correct.mean()),
        caption="Everything outside the sign's box is replaced. The other image has another class. Line: accuracy on the unchanged images. A "
        "model that reads the sign keeps its accuracy in the second and third row, and loses it in the last.",
    )


def map_gallery(
    inputs: AuditInputs, settings: ExplainabilitySettings, measured: Measured, sanity: dict[str, Sanity]
) -> Gallery:
    """Show images with their maps: classified correctly, incorrectly, and incorrectly with much confidence."""
    run = Explained.of(inputs, settings)
    rows, kinds = _cases(measured)
    methods = [maps for maps in measured.methods if not maps.reason]
    sample, ids = measured.sample, numbers(measured.sample)
    classes = explained_classes(measured.answers)
    drawn = (
        {
            maps.name: run.maps(inputs.classifier, maps.name, sample.images[rows], classes[rows], ids[rows])
            for maps in methods
        }
        if len(rows)
        else {}
    )
    titles = {
        maps.name: f"{maps.row.title} (not admissible)" if sanity[maps.name].problem else maps.row.title
        for maps in methods
    }
    items = []
    for place, (row, kind) in enumerate(zip(rows.tolist(), kinds, strict=True)):
        label, answer = int(sample.labels[row]), int(measured.answers[row])
        confidence = float(measured.confidence[row])
        items.append(
            GalleryItem(
                panels=[
                    panel("image", sample.images[row]),
                    *(
                        map_panel(titles[maps.name], sample.images[row], np.abs(drawn[maps.name][place]))
                        for maps in methods
                    ),
                ],
                true_name=sample.class_names[label],
                true_confidence=confidence if answer == label else None,
                predicted_name=sample.class_names[answer],
                predicted_confidence=confidence,
                index=int(ids[row]),
                note=kind,
            )
        )
    return Gallery(
        id="maps",
        title="Maps of single images",
        items=items,
        caption="Colours: energy of the map of the predicted class, light is most; the image is grey behind it. Each map has its own scale.",
    )


def swap_gallery(measured: Measured, seed: int) -> Gallery | None:
    """Show correctly classified images that are misclassified with the surroundings of another image."""
    sample = measured.sample
    if measured.surroundings is None or measured.donated is None or sample.boxes is None:
        return None
    from safeml.attacks.signs.box import inside, pixel_boxes

    height, width = sample.images.shape[1:3]
    box = inside(pixel_boxes(sample.boxes, len(sample), height, width), height, width)
    lost = np.flatnonzero(measured.correct & measured.donated & ~measured.surroundings["swapped"])
    ids = numbers(sample)
    others = donors(sample, ids, box, seed) if len(lost) else np.zeros(0, np.int64)
    items = []
    for row in lost[: 2 * MOST_CASES].tolist():
        part = slice(row, row + 1)
        swapped = changed_surroundings(sample.images[part], box[part], sample.images[others[part]], "swapped")
        items.append(
            GalleryItem(
                panels=[panel("image", sample.images[row]), panel("other surroundings", swapped[0])],
                true_name=sample.class_names[int(sample.labels[row])],
                true_confidence=float(measured.confidence[row]),
                index=int(ids[row]),
                note=f"surroundings of image {int(ids[others[row]])}",
            )
        )
    return Gallery(
        id="surroundings",
        title="Misclassified with other surroundings",
        items=items,
        caption=f"{len(items)} of {len(lost)} images that are classified correctly, and incorrectly with the surroundings of another image.",
    )


def _kinds(measured: Measured) -> dict[str, np.ndarray]:
    """Return the images of each kind of prediction, bool [N]; images without an answer are of none."""
    confident = np.nan_to_num(measured.confidence) >= CONFIDENT
    wrong = (measured.answers != NO_ANSWER) & ~measured.correct
    return {
        "classified correctly": measured.correct,
        "overconfident error": wrong & confident,
        "classified incorrectly": wrong & ~confident,
    }


def _cases(measured: Measured) -> tuple[np.ndarray, list[str]]:
    """Return the rows of the gallery and the kind of each: the most confident of each kind, one of each class."""
    rows: list[int] = []
    notes: list[str] = []
    for kind, member in _kinds(measured).items():
        seen: set[int] = set()
        order = np.flatnonzero(member)[np.argsort(-np.nan_to_num(measured.confidence[member]), kind="stable")]
        for row in order.tolist():
            label = int(measured.sample.labels[row])
            if label not in seen and len(seen) < MOST_CASES:
                seen.add(label)
                rows.append(row)
                notes.append(kind)
    return np.array(rows, np.int64), notes


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _value(metric: Metric | None) -> float | None:
    return None if metric is None else metric.value
