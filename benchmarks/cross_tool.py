"""The attacks against those of the Adversarial Robustness Toolbox, on the same models and real test images.

    python benchmarks/cross_tool.py [SHARED [COUNT]]      # default: ../shared, 1,000 images

SHARED holds data/gtsrb/test.npz and models_third_party/ (see `strangers.py`). On each model: PGD-20 at L-inf 2/255 and L2 0.25, one
random start, the same step size, by both; the accuracies may differ by half a percentage point. Both are measured again by the same
code: projected, clipped, predicted. ART hands back the last iterate, so ours is compared at its last iterate, too; as it is used,
it hands back the first that is answered wrong, which can only break more.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from strangers import EXPECTED

from safeml.attacks.art.pgd import art_pgd
from safeml.attacks.base import Budget
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.slots import attack
from safeml.classifiers.load import load_model
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import project
from safeml.settings.model import InputSettings
from safeml.threats import Threat

RESULT = Path(__file__).parent / "results" / "cross_tool.json"
MODELS = Path(__file__).parent.parent / "models"
OURS = ("lenet-gtsrb", "resnet-gtsrb")
STEPS, BATCH, SEED = 20, 64, 7
THREATS = (Threat(norm="linf", epsilon=2 / 255), Threat(norm="l2", epsilon=0.25))
MOST_DIFFERENCE = 0.005


def subjects(shared: Path) -> dict[str, Any]:
    """The classifiers by name, each under its input contract."""
    names = tuple(str(number) for number in range(43))
    found: dict[str, Any] = {}
    for name in OURS:
        found[name] = load_model(MODELS / name).model.fed(InputSettings(), names, name)
    for file, channels, ends, _ in EXPECTED:
        contract = InputSettings.model_validate({"channels": channels, "range": ends})
        folder = file.split("/")[0]
        found[folder] = load_model(shared / "models_third_party" / file).model.fed(contract, names, folder)
    return found


def compared(classifier: Any, images: np.ndarray, labels: np.ndarray, threat: Threat) -> dict[str, Any]:
    size = 2.5 * threat.epsilon / STEPS
    right = right_answers(classifier.predict_logits(images), labels)

    def accuracy(attacked: np.ndarray) -> np.ndarray:
        wrong = ~right_answers(classifier.predict_logits(project(images, attacked, threat)), labels)
        return right & ~wrong

    budget = Budget(STEPS, 1, SEED, BATCH)
    ids = np.arange(len(images))
    last = ProjectedGradient(step_size=size, leaves=False, kind="pgd to its last iterate")
    ours, used = (
        accuracy(attack(classifier, images, labels, threat, method, budget, ids).adversarial)
        for method in (last, ProjectedGradient(step_size=size))
    )
    theirs = accuracy(art_pgd(classifier, images, labels, threat, STEPS, size, SEED, BATCH))
    return {
        "threat": threat.label,
        "images": len(images),
        "clean": float(right.mean()),
        "safeml": float(ours.mean()),
        "safeml_first_wrong_iterate": float(used.mean()),
        "art": float(theirs.mean()),
        "difference": float(ours.mean() - theirs.mean()),
        "images_that_differ": int((ours != theirs).sum()),
    }


def main(shared: Path, count: int) -> int:
    with np.load(shared / "data" / "gtsrb" / "test.npz") as arrays:
        order = np.sort(np.random.default_rng(SEED).permutation(len(arrays["labels"]))[:count])
        images = arrays["images"][order].astype(np.float32) / np.float32(255)
        labels = arrays["labels"][order].astype(np.int64)
    rows = []
    for name, classifier in subjects(shared).items():
        for threat in THREATS:
            rows.append({"model": name, **compared(classifier, images, labels, threat)})
            print(json.dumps(rows[-1]), flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(abs(row["difference"]) <= MOST_DIFFERENCE + 1e-9 for row in rows) else 1


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent.parent / "shared"
    raise SystemExit(main(root, int(sys.argv[2]) if len(sys.argv) > 2 else 1000))
