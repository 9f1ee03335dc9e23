"""The two ends of a model, as every loader checks them: one image in, one row of class scores out, and its meaning."""

from __future__ import annotations

from typing import Literal

import numpy as np

from safeml.classifiers.base import Gives
from safeml.classifiers.contract import are_probabilities
from safeml.errors import InputRefused
from safeml.metrics.classification import softmax

NO_INPUT_SHAPE = (
    "has no input shape; start the Sequential with keras.Input((height, width, channels)), or call it once on images "
    "before it is saved."
)
INTEGER_NOTE = "the input takes integers; it is audited through the same arithmetic on float32 values, so that gradients exist"
# Distance from 1 to the next number of the types that are less precise than float32.
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
Activation = Literal["softmax", "sigmoid"]
Shape = tuple[int | None, ...]
PROBE_SIDE = 64  # where the model leaves the size open
MESSAGE = 800  # characters of what a library says, in one of our sentences


def causes(error: BaseException) -> str:
    """Join the messages of an exception and of its causes in one printable line of at most `MESSAGE` characters.

    Each message is in it once. Where they are too long together, the first and the last cause are kept.
    """
    said: list[str] = []
    link: BaseException | None = error
    while link is not None and len(said) < 5:
        printable = "".join(character if character.isprintable() else " " for character in str(link))
        text = " ".join(printable.split()) or type(link).__name__
        text = _shortened(text, 600)
        if not any(text in earlier or earlier in text for earlier in said):
            said.append(text.removesuffix("."))
        link = link.__cause__ or link.__context__
    if sum(map(len, said)) > MESSAGE - 100:
        said = [_shortened(text, MESSAGE // 2 - 50) for text in (said[0], said[-1])]
    return "; because: ".join(said)


def _shortened(text: str, most: int) -> str:
    """Return at most `most` characters of `text`: its start, and a third of that from its end."""
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 5]} ... {text[-end:]}"


def check_ends(inputs: int, outputs: int, where: str) -> None:
    """Raise InputRefused unless there is one input and one output."""
    if inputs != 1 or outputs != 1:
        raise InputRefused(f"{where}: has {inputs} inputs and {outputs} outputs; expected one of each.")


def check_shapes(taken: Shape, given: Shape, where: str, *, one_sigmoid: bool = False) -> int:
    """K, or InputRefused unless `taken` is [N, height, width, 1 or 3] and `given` is [N, K].

    One output without a sigmoid is a value of a regression, which `input_spec` refuses for a classifier.

    one_sigmoid: the model ends in a sigmoid, so that one output is two classes.
    """
    if len(taken) != 4 or taken[3] not in (None, 1, 3):
        raise InputRefused(
            f"{where}: takes inputs of shape {list(taken)}; expected images [None, height, width, 1 or 3]."
        )
    if len(given) == 2 and given[1] == 1:
        return 2 if one_sigmoid else 1
    if len(given) != 2 or given[1] is None:
        raise InputRefused(
            f"{where}: gives outputs of shape {list(given)}; expected [None, classes] of at least 2 classes."
        )
    return given[1]


def judge_outputs(
    outputs: np.ndarray,
    without: np.ndarray | None,
    where: str,
    activation: Activation = "softmax",
    precision: float = 0.0,
) -> tuple[Gives, bool]:
    """What the file gives, and whether logits must be taken as the logarithm of it.

    outputs: float [N, K], the file's outputs on the probe.
    without: the same before the activation that was taken off, or None where there was none.
    precision: distance from 1 to the next number of the file's output type, where that is less precise than float32.
    Raises InputRefused where the activation of `without` is not `outputs`.
    """
    if without is None:
        return ("probabilities", True) if are_probabilities(outputs) else ("logits", False)
    expected = softmax(without) if activation == "softmax" else 0.5 * (1 + np.tanh(0.5 * without))
    tolerance = max(1e-5, precision * max(1.0, float(np.abs(without).max())))
    if not np.abs(expected - outputs).max() <= tolerance:
        raise InputRefused(
            f"{where}: its {activation} head could not be taken off exactly; give a model that ends in logits."
        )
    return ("probabilities" if activation == "softmax" or outputs.shape[1] == 1 else "sigmoids"), False


def probe_values(shape: tuple[int | None, ...]) -> np.ndarray:
    """Black, white and noise images of values 0..1, float32 [10, height, width, channels]."""
    sides = tuple(side or (3 if axis == 2 else PROBE_SIDE) for axis, side in enumerate(shape))
    noise = np.random.default_rng(0).random((8, *sides), np.float32)
    return np.concatenate([np.zeros((1, *sides), np.float32), np.ones((1, *sides), np.float32), noise])
