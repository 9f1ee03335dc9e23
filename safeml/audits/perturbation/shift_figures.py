"""The figures of calibration under shift. Legend: N images, A corruptions, S severities."""

from __future__ import annotations

import numpy as np

from safeml.audits.gallery import panel
from safeml.audits.performance.mistakes import why
from safeml.audits.perturbation.measure import Measured
from safeml.audits.perturbation.shift import overconfident
from safeml.corruptions.engine import corrupt
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.metrics.hazard import cost_matrix
from safeml.results import Gallery, GalleryItem
from safeml.stages.perturbation import CONFIDENT
from safeml.wording import counted, limit_percent

MOST_ERRORS = 12


def overconfident_errors(measured: Measured, seed: int) -> Gallery:
    """Show the overconfident errors, most hazardous first, then most confident; each image once, and at most MOST_ERRORS."""
    sample = measured.sample
    rows, images, columns = np.nonzero(overconfident(measured))
    answers, confidence = (
        values[rows, images, columns] for values in (measured.answers, measured.confidence)
    )
    each = cost_matrix(sample.class_names, sample.costs)[sample.labels[images], answers]
    assert sample.ids is not None
    order = np.lexsort((columns, rows, images, -confidence, -each))
    _, first = np.unique(images[order], return_index=True)
    items = []
    for place in order[np.sort(first)[:MOST_ERRORS]].tolist():
        image, name, severity = (
            int(images[place]),
            measured.names[rows[place]],
            SEVERITIES[int(columns[place])],
        )
        part = slice(image, image + 1)
        after = corrupt(sample.images[part], name, severity, seed, sample.ids[part])[0]
        label, answer = int(sample.labels[image]), int(answers[place])
        reason = why(sample.class_names, label, answer, sample.costs is not None)
        items.append(
            GalleryItem(
                panels=[panel("clean", sample.images[image]), panel("corrupted", after)],
                true_name=sample.class_names[label],
                predicted_name=sample.class_names[answer],
                predicted_confidence=float(confidence[place]),
                index=int(sample.ids[image]),
                note=f"{CORRUPTIONS[name].title}, severity {severity}; cost {each[place]:g}: {reason}",
            )
        )
    of = measured.answers.size
    return Gallery(
        id="overconfident-errors",
        title=f"Errors with a confidence of at least {limit_percent(CONFIDENT)}, most hazardous first",
        items=items,
        caption=f"{len(items)} of {counted(len(first), 'image')} with such an error; {counted(len(rows), 'prediction')} of {of:,} are "
        "one. Each image is shown once, under its most hazardous and most confident error.",
    )
