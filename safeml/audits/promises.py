"""Compare the gain of a small step with the gain that the gradient predicts. Legend: M images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.sealed import Arrays

PROBED = 64  # images, for checks that run a separate attack
# Share of the predicted gain. On 128 validation images each, no image of five unmasked networks gained less than half.
KEPT = 0.1
BREAKING = 0.05  # largest share of images below KEPT; a mask may hide only some classes
PURPOSE = 0x9B  # of the random numbers that select images


def probed(rows: np.ndarray, seed: int) -> np.ndarray:
    """Draw at most `PROBED` of `rows` (int [M]) at random and sort them; data are often sorted by class."""
    return np.sort(np.random.default_rng([seed, PURPOSE]).permutation(rows)[:PROBED])


def broken(kept: np.ndarray) -> float:
    """Return the share of `kept` (float [M], gain divided by predicted gain) below `KEPT`; NaN counts as below."""
    return float((~(kept >= KEPT)).mean()) if len(kept) else 0.0


def promises(
    inputs: AuditInputs,
    slices: Slices,
    batch: BatchSize,
    columns: dict[str, np.ndarray],
    norm: str,
    step: float,
) -> np.ndarray:
    """Return float32 [M]: the gain of a small step divided by the gain that the gradient predicts.

    inputs: their classifier has a gradient.
    columns: images (float32 [M, H, W, C], 0..1, classified correctly when clean), labels and ids (int [M]).
    step: pixel units.
    """
    images, labels = columns["images"], columns["labels"]

    def measured(chosen: slice) -> Arrays:
        from safeml.attacks.promise import promise_kept

        kept = until_it_fits(
            batch,
            lambda size: promise_kept(
                inputs.classifier,  # type: ignore[arg-type]  # the caller checks that it has a gradient
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
