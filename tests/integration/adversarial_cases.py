"""An oracle with a known minimal norm, audits of it, and attacks that break their contract."""

from __future__ import annotations

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.audits.adversarial.run import run
from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests import subjects
from tests.records import table_rows

K, N = 4, 40
LOW, HIGH = 64, 192  # grey levels: half the distance between them is a change of 64/255
EPSILON = 64 / 255
THREATS = tuple(Threat(norm="linf", epsilon=factor * EPSILON) for factor in (0.5, 0.97, 1.03))
QUICK = {"steps": 10, "apgd_steps": 10, "fmn_steps": 20, "queries": 60, "targets": 3, "certify": False}
CHEAP, EXPENSIVE = ("fgsm", "pgd"), ("apgd_pm", "apgd_ce", "apgd_t", "square")


def corner_dataset(labels=None, **changes):
    """Images that name their class by one bright pixel in the first row."""
    labels = np.arange(N, dtype=np.int64) % K if labels is None else labels
    images = np.rint(subjects.corner_images(labels, low=LOW / 255, high=HIGH / 255) * 255).astype(np.uint8)
    names = tuple(f"sign {number}" for number in range(K))
    return ImageDataset("corners", images, labels, names, **{"frames_per_sign": 1, **changes})


def settings(**changes):
    return AdversarialSettings(**{"images": N, "batch": 20, "threats": THREATS, **QUICK, **changes})


def audit(classifier, dataset=None, **changes) -> StageResult:
    return run(AuditInputs(classifier, corner_dataset() if dataset is None else dataset), settings(**changes))


def ledger(result) -> list[dict[str, object]]:
    """One dictionary an image."""
    return table_rows(result, "ledger")


def lying(change):
    """An attack that claims that everything survived and hands back `change` of the images."""

    def attack(classifier, images, labels, threat, budget, ids):
        nothing = np.zeros(len(images), dtype=np.int64)
        survived = nothing + SURVIVED
        return AttackOutcome(
            change(images), survived, nothing.astype(bool), nothing, nothing, nothing.astype(np.float32)
        )

    return attack


LIES = {
    "nan": (lambda images: images * np.float32("nan"), "NaN"),
    "outside the ball": (lambda images: images + np.float32(1.5), "left the bounds"),
    "shape": (lambda images: images[:, :4], "a shape or type other than"),
    "dtype": (lambda images: images.astype(np.float64), "a shape or type other than"),
    "fewer images": (lambda images: images[:3], "a shape or type other than"),
}
