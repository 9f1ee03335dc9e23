"""The speed of predictions and attacks on this machine, from a few batches. Legend: N images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np

from safeml.attacks.base import Budget
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.judged import Judged
from safeml.errors import SafemlError
from safeml.planning.cost import Rates
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

# Too small to misclassify an image, so that every step runs.
TINY: dict[str, Threat] = {
    "linf": Threat(norm="linf", epsilon=1e-5),
    "l2": Threat(norm="l2", epsilon=1e-3),
}
REPEATS = 3
PATIENCE = 3.0  # seconds that a timed attack may take
MOST_STEPS = 10


def probe(
    classifier: Any,
    images: np.ndarray,
    settings: AdversarialSettings,
    norms: Collection[str],
) -> Rates:
    """Time `classifier` on batches of `images` (uint8 [N, H, W, C]), and attacks on it in these norms (none: no attack).

    Each is warmed up once; the extra time of the first call is compiling. A norm that cannot be attacked has no rate.
    """
    first, _ = timed(lambda: classifier.predict_logits(_batch(images, classifier.batch.size)))
    size = classifier.batch.size  # reduced if memory does not suffice
    batch = _batch(images, size)
    forward = statistics.median(timed(lambda: classifier.predict_logits(batch))[0] for _ in range(REPEATS))
    attacking = BatchSize(64 if settings.batch == "auto" else settings.batch)
    step: dict[str, float] = {}
    turn: dict[str, float] = {}
    compiling = {"forward": max(0.0, first - forward)}
    for norm in sorted(norms):
        try:
            step[norm], turn[norm], compiling[norm] = until_it_fits(
                attacking, partial(_attack, classifier, images, TINY[norm])
            )
        except SafemlError:
            raise
        except Exception:  # a third-party model whose gradient fails: the audit will report it
            continue
    return Rates(forward, size, attacking.size, step, turn, compiling)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds and the result of `run`."""
    began = time.perf_counter()
    found = run()
    return time.perf_counter() - began, found


def _batch(images: np.ndarray, size: int) -> np.ndarray:
    return images[np.resize(np.arange(len(images)), size)]


def _attack(classifier: Any, images: np.ndarray, threat: Threat, size: int) -> tuple[float, float, float]:
    """Return the seconds of one step, of a start beside its steps, and of compiling."""
    from safeml.attacks.registry import ATTACKS

    pixels = _batch(images, size).astype(np.float32) / np.float32(255)
    # Its predictions serve as labels, or as targets, so no image is misclassified at the start.
    predicted = classifier.predict_logits(pixels)
    labels = predicted if isinstance(classifier, Judged) else predicted.argmax(axis=1)

    def attack(steps: int) -> float:
        budget = Budget(steps, attempts=1, seed=0, batch=size)
        return timed(lambda: ATTACKS["pgd"](classifier, pixels, labels, threat, budget, np.arange(size)))[0]

    first, once = attack(1), min(attack(1), attack(1))
    steps = int(np.clip(PATIENCE / max(once, 1e-6), 2, MOST_STEPS))
    step = max((attack(steps) - once) / (steps - 1), 0.05 * once)
    return step, max(once - step, 0.0), max(first - once, 0.0)
