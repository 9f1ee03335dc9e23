"""What a run records of each image, read from the ledgers of its stages. Legend: N images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.results import Metric, StageResult, Table
from safeml.statistics.clusters import Clustering
from safeml.threats import Threat

CLEAN = ("clean_accuracy", "clean_accuracy_attacked_sample")
CORRECT = "right"  # the cell of a correctly classified image
# Of the distances in a ledger, in its unit: rounding to five decimals, and of float32 pixels.
SLACK = {"linf": 3e-4, "l2": 2e-4}
SCALE = {"linf": 255.0, "l2": 1.0}
MASKED = "a gradient-masking check failed or could not run, so robust accuracy is only an upper bound"
# Settings that change neither an attack nor its images.
NO_EFFORT = frozenset(
    {"enabled", "images", "full_ensemble", "batch", "certify", "smoothed_images", "smoothing_sigma",
     "smoothing_samples", "breadth_seconds"}
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ImageRecords:
    """The images of one stage.

    ids: int64 [N], the numbers of the images.
    classes: object [N], the names of their classes.
    clustering: of the images.
    correct: bool [N] by metric: correctly classified, or robust.
    missing: by metric, why there is no `correct`.
    """

    ids: np.ndarray
    classes: np.ndarray
    clustering: Clustering
    correct: dict[str, np.ndarray]
    missing: dict[str, str]


def image_records(stage: StageResult) -> ImageRecords | None:
    """Read the ledger of a stage; None where it has none.

    A column is used only if its mean is the recorded metric: a ledger that says something else is no evidence.
    """
    ledger = stage.ledger
    if stage.status != "ok" or ledger is None or not ledger.rows:
        return None
    columns = _columns(ledger)
    if not {"image", "class", "clean"} <= columns.keys():
        return None
    metrics = {metric.name: metric for metric in stage.metrics if metric.slice == "all"}
    ids = np.array(columns["image"], np.int64)
    right = np.array([cell == CORRECT for cell in columns["clean"]])
    clean = next((name for name in CLEAN if name in metrics), "")
    correct, missing = {}, {}
    masked = _is_masked(metrics)
    hits = {clean: right} if clean else {}
    for threat in _threats(stage):
        if f"{threat.norm}_size" in columns:
            hits[f"robust_accuracy.{threat.label}"] = right & ~_broken(columns, threat)
    for name, values in hits.items():
        metric = metrics.get(name)
        if metric is None or metric.value is None:
            missing[name] = metric.reason if metric is not None else "it was not measured"
        elif masked and name != clean:
            missing[name] = MASKED
        elif len(np.unique(ids)) != len(ids):
            missing[name] = "the ledger names an image twice"
        elif len(ids) != metric.n or abs(float(values.mean()) - metric.value) > 0.5 / len(ids):
            missing[name] = "the ledger of the stage contradicts the metric"
        else:
            correct[name] = values
    return ImageRecords(
        ids, np.array(columns["class"], object), _clustering(columns, metrics.get(clean)), correct, missing
    )


def effort(stage: StageResult) -> dict[str, Any]:
    """Return the settings of a stage that decide how hard it attacks an image."""
    settings = {} if stage.provenance is None else stage.provenance.settings
    return {key: value for key, value in settings.items() if key not in NO_EFFORT}


def is_full(stage: StageResult, name: str) -> bool:
    """Return whether the whole ensemble ran at the threat of a robust accuracy."""
    settings = {} if stage.provenance is None else stage.provenance.settings
    full = settings.get("full_ensemble") or []
    return not full or name.removeprefix("robust_accuracy.") in full


def _columns(ledger: Table) -> dict[str, list[Any]]:
    return {column.key: [row[place] for row in ledger.rows] for place, column in enumerate(ledger.columns)}


def _threats(stage: StageResult) -> list[Threat]:
    settings = {} if stage.provenance is None else stage.provenance.settings
    return [Threat.model_validate(threat) for threat in settings.get("threats", [])]


def _broken(columns: Mapping[str, list[Any]], threat: Threat) -> np.ndarray:
    """Return bool [N]: an adversarial example inside the ball is known. Distances of L-inf are in 1/255."""
    sizes = np.array([np.inf if size is None else float(size) for size in columns[f"{threat.norm}_size"]])
    within: np.ndarray = sizes <= threat.epsilon * SCALE[threat.norm] + SLACK[threat.norm]
    return within


def _is_masked(metrics: Mapping[str, Metric]) -> bool:
    flags = metrics.get("masking_flags")
    return flags is not None and flags.value != 0


def _clustering(columns: Mapping[str, list[Any]], metric: Metric | None) -> Clustering:
    """Return what the run knew about frames of one sign; nothing where the ledger does not hold its tracks."""
    if metric is None:
        return Clustering()
    if metric.clustering == "tracks":
        tracks = columns.get("track")
        return Clustering(None if tracks is None else np.array(tracks, np.int64))
    if metric.clustering == "independent":
        return Clustering(frames_per_sign=1.0)
    if metric.clustering == "declared" and metric.signs:
        return Clustering(frames_per_sign=max(1.0, metric.n / metric.signs))
    return Clustering()
