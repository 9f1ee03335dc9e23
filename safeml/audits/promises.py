"""What small steps gain of what the gradient promises, measured in slices that are kept. Legend: M images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.sealed import Arrays

PROBED = 64  # images, for checks that need an attack of their own
# Of the promise. Of 128 validation signs each, no image of five honest networks kept less than half.
KEPT = 0.1
BREAKING = 0.05  # of the images may keep less; a mask may hide some classes alone
PURPOSE = 0x9B  # of the random numbers that choose


def probed(rows: np.ndarray, seed: int) -> np.ndarray:
    """At most `PROBED` of `rows` (int [M]), drawn at random and sorted: data often stand sorted by class."""
    return np.sort(np.random.default_rng([seed, PURPOSE]).permutation(rows)[:PROBED])


def broken(kept: np.ndarray) -> float:
    """The share of promises (float [M]) of which too little was kept; what is not a number was not kept."""
    return float((~(kept >= KEPT)).mean()) if len(kept) else 0.0


def promises(
    inputs: AuditInputs,
    slices: Slices,
    batch: BatchSize,
    columns: dict[str, np.ndarray],
    norm: str,
    step: float,
) -> np.ndarray:
    """float32 [M]: how much of what its gradient promises a small step gains; of a classifier that has a gradient.

    columns: images (float32 [M, H, W, C], 0..1, correctly classified when clean), labels and ids (int [M]). step: in pixel units.
    """
    images, labels = columns["images"], columns["labels"]

    def measured(chosen: slice) -> Arrays:
        from safeml.attacks.promise import promise_kept

        kept = until_it_fits(
            batch,
            lambda size: promise_kept(
                inputs.classifier,  # type: ignore[arg-type]  # that it has a gradient is the caller's to know
                images[chosen],
                labels[chosen],
                norm,
                step,
                size,
            ),
        )
        return {"promise": np.asarray(kept, np.float32)}

    parts = {"norm": norm, "step": step}
    return slices.measure("promise", columns, parts, {"promise": ("float32", ())}, measured)["promise"]
