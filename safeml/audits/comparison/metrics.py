"""The metrics of a comparison on the same images. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.comparison.measure import Attacked
from safeml.data.dataset import ImageDataset
from safeml.metrics.calibration.smooth import smooth_error
from safeml.metrics.classification import right_answers, softmax
from safeml.results import Metric
from safeml.stages.comparison import ComparisonSettings
from safeml.statistics import (
    bootstrap_metric,
    paired_difference_metric,
    paired_noninferiority,
    proportion_metric,
)

DROP = "Accuracy lost against the reference, mean over signs"
ROBUST_DROP = "Robust accuracy lost against the reference (PGD), mean over signs"
FROM_REFERENCE = "Adversarial examples of the reference that fool the model"
TO_REFERENCE = "Adversarial examples of the model that fool the reference"
ATTACKED = {
    "robust_accuracy_drop": ROBUST_DROP,
    "transfer_from_reference": FROM_REFERENCE,
    "transfer_to_reference": TO_REFERENCE,
}


@dataclass(frozen=True, eq=False)
class Pair:
    """The predictions of both models on the test images.

    model, reference: float32 [N, K], logits.
    """

    test: ImageDataset
    model: np.ndarray
    reference: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Return bool [N]: the model classifies the image correctly."""
        return right_answers(self.model, self.test.labels)

    @property
    def reference_right(self) -> np.ndarray:
        """Return bool [N]: the reference classifies the image correctly."""
        return right_answers(self.reference, self.test.labels)

    @property
    def flips(self) -> np.ndarray:
        """Return bool [N]: only the reference classifies the image correctly (negative flips)."""
        flips: np.ndarray = self.reference_right & ~self.right
        return flips


def clean_metrics(pair: Pair, settings: ComparisonSettings, seed: int) -> list[Metric]:
    """Return every metric that needs no attack."""
    test, before, after = pair.test, pair.reference_right, pair.right
    same = pair.model.argmax(axis=1) == pair.reference.argmax(axis=1)
    return [
        paired_noninferiority(
            "accuracy_drop",
            DROP,
            before,
            after,
            clustering=test.clustering,
            largest_loss=settings.largest_loss,
        ),
        proportion_metric(
            "negative_flips",
            "Images that only the reference classifies correctly",
            pair.flips,
            clustering=test.clustering,
            direction="down",
        ),
        proportion_metric(
            "agreement", "Images of the same predicted class", same, clustering=test.clustering
        ),
        *_by_class(pair),
        _calibration_shift(pair, settings, seed),
    ]


def attacked_metrics(sample: ImageDataset, model: Attacked, reference: Attacked) -> list[Metric]:
    """Return the metrics of the attack on both models. No assumption is made about the largest loss of a sign track."""
    return [
        paired_noninferiority(
            "robust_accuracy_drop", ROBUST_DROP, reference.robust, model.robust, clustering=sample.clustering
        ),
        _transfer("transfer_from_reference", FROM_REFERENCE, sample, reference),
        _transfer("transfer_to_reference", TO_REFERENCE, sample, model),
    ]


def _transfer(name: str, title: str, sample: ImageDataset, attacked: Attacked) -> Metric:
    """Return the share that fools the other model, of the adversarial examples whose clean images it classifies correctly."""
    counted = attacked.right & ~attacked.robust & attacked.other_right
    return proportion_metric(
        name,
        title,
        attacked.fools_other[counted],
        clustering=sample.clustering.take(counted),
        direction="down",
    )


def _by_class(pair: Pair) -> list[Metric]:
    """Return negative flips and recall lost of each class that has images, and the class that loses most."""
    test, metrics, drops = pair.test, [], []
    for label, name in enumerate(test.class_names):
        member = test.labels == label
        if not member.any():
            continue
        clustering, where = test.clustering.take(member), f"class:{name}"
        metrics.append(
            proportion_metric(
                "negative_flips",
                f"Negative flips, {name}",
                pair.flips[member],
                clustering=clustering,
                slice=where,
                direction="down",
            )
        )
        drops.append(
            paired_difference_metric(
                "recall_drop",
                f"Recall lost, {name}",
                pair.reference_right[member],
                pair.right[member],
                clustering=clustering,
                slice=where,
            )
        )
    worst = max(drops, key=lambda metric: metric.value or 0.0)
    return [
        *metrics,
        *drops,
        worst.model_copy(
            update={
                "name": "recall_drop_worst_class",
                "title": f"Recall lost of the class that loses most ({worst.slice.removeprefix('class:')})",
                "slice": "all",
                "low": None,
                "high": None,
                "method": f"the largest of {len(drops)} differences, chosen by its result, so without an interval",
            }
        ),
    ]


def _calibration_shift(pair: Pair, settings: ComparisonSettings, seed: int) -> Metric:
    own, other = (softmax(logits).max(axis=1) for logits in (pair.model, pair.reference))
    hits, before = pair.right, pair.reference_right

    def shift(rows: np.ndarray) -> float:
        return smooth_error(own[rows], hits[rows]) - smooth_error(other[rows], before[rows])

    return bootstrap_metric(
        "smooth_ece_shift",
        "Smooth ECE, model minus reference",
        shift,
        len(hits),
        clustering=pair.test.clustering,
        direction="down",
        unit="proportion",
        seed=seed,
        resamples=settings.resamples,
        bounds=(-1.0, 1.0),
    )
