"""The outcomes of two runs on the same images, image by image. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.comparison.images import effort, image_records, is_full
from safeml.errors import InputRefused
from safeml.results import StageResult
from safeml.statistics.clusters import UNKNOWN, Clustering


@dataclass(frozen=True, eq=False)
class Pairs:
    """A stage of two runs on the N images that both measured.

    outcomes: by metric, bool [N] of the first and of the second run: correctly classified, or robust.
    reasons: by metric, why there are no outcomes.
    clustering: of the images.
    same_images: no run measured an image that the other did not.
    """

    outcomes: dict[str, tuple[np.ndarray, np.ndarray]]
    reasons: dict[str, str]
    clustering: Clustering = UNKNOWN
    same_images: bool = True


def paired_outcomes(first: StageResult, second: StageResult) -> Pairs:
    """Match the ledgers of a stage by image. Raises InputRefused where an image has another class in each run."""
    before, after = image_records(first), image_records(second)
    if before is None or after is None:
        return Pairs({}, {})
    reasons = {**before.missing, **after.missing}
    shared, rows, others = np.intersect1d(before.ids, after.ids, return_indices=True)
    if not len(shared):
        return Pairs({}, dict.fromkeys(before.correct, "the runs measured no image in common"))
    differing = np.flatnonzero(before.classes[rows] != after.classes[others])
    if len(differing):
        raise InputRefused(
            f"image {shared[differing[0]]} has another class in each run ({second.stage}); the runs are not on the same labels."
        )
    outcomes = {}
    for name, correct in before.correct.items():
        if name not in after.correct:
            reasons.setdefault(name, "only one run measured it")
            continue
        why = _other_attacks(first, second, name)
        if why:
            reasons[name] = why
            continue
        outcomes[name] = correct[rows], after.correct[name][others]
    same = len(shared) == len(before.ids) == len(after.ids)
    return Pairs(outcomes, reasons, before.clustering.take(rows), same)


def _other_attacks(first: StageResult, second: StageResult, name: str) -> str:
    """Say why two robust accuracies were measured by attacks of different strength, or ""."""
    if not name.startswith("robust_accuracy."):
        return ""
    before, after = effort(first), effort(second)
    if "where_it_counts" in (before.get("spend"), after.get("spend")):
        return 'a run spared images a part of the attacks; compare runs with spend = "full" in [stages.adversarial]'
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if keys:
        return f"the attacks differ between the runs: {', '.join(keys)}"
    return (
        ""
        if is_full(first, name) == is_full(second, name)
        else "only one run attacked with the full ensemble"
    )
