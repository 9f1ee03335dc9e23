"""What every loader asks of a model's two ends: one image in, one row of class scores out, and what the row means."""

from __future__ import annotations

from typing import Literal

import numpy as np

from safeml.classifiers.contract import are_probabilities
from safeml.errors import InputRefused
from safeml.metrics.classification import softmax

LOG_NOTE = "the outputs are probabilities without a softmax layer; logits are their logarithms"
Shape = tuple[int | None, ...]
PROBE_SIDE = 64  # where the model leaves the size open


def check_ends(inputs: int, outputs: int, where: str) -> None:
    """Raise InputRefused unless there is one input and one output."""
    if inputs != 1 or outputs != 1:
        raise InputRefused(f"{where}: has {inputs} inputs and {outputs} outputs; expected one of each.")


def check_shapes(taken: Shape, given: Shape, where: str) -> int:
    """K, or InputRefused unless `taken` is [N, height, width, 1 or 3] and `given` is [N, K]."""
    if len(taken) != 4 or taken[3] not in (None, 1, 3):
        raise InputRefused(
            f"{where}: takes inputs of shape {list(taken)}; expected images [None, height, width, 1 or 3]."
        )
    if len(given) != 2 or given[1] is None or given[1] < 2:
        raise InputRefused(
            f"{where}: gives outputs of shape {list(given)}; expected [None, classes] of at least 2 classes."
        )
    return given[1]


def judge_outputs(
    found: np.ndarray, without: np.ndarray | None, where: str
) -> tuple[Literal["logits", "probabilities"], bool]:
    """What the file gives, and whether logits must be taken as the logarithm of it.

    found: float [N, K], the file's outputs on the probe. without: the same before the softmax that was taken off, or None
    where there was none. Raises InputRefused where the softmax of `without` is not `found`.
    """
    if without is not None and np.abs(softmax(without) - found).max() > 1e-5:
        raise InputRefused(
            f"{where}: its softmax head could not be taken off exactly; give a model that ends in logits."
        )
    if without is not None:
        return "probabilities", False
    return ("probabilities", True) if are_probabilities(found) else ("logits", False)


def probe_values(shape: tuple[int | None, ...]) -> np.ndarray:
    """Black, white and noise images of values 0..1, float32 [10, height, width, channels]."""
    sides = tuple(side or (3 if axis == 2 else PROBE_SIDE) for axis, side in enumerate(shape))
    noise = np.random.default_rng(0).random((8, *sides), np.float32)
    return np.concatenate([np.zeros((1, *sides), np.float32), np.ones((1, *sides), np.float32), noise])
