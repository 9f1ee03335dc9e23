"""Cross-layer equalisation: neighbouring layers share their ranges so that one scale suits every channel of both.

M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-free quantization through weight equalization and bias
correction", 2019. The factor of a channel passes through what lies between two layers only where f(s x) = s f(x) for
s > 0: ReLU, but not ReLU6 or swish. Such pairs are left as they are, and named by `left_out`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import keras
import numpy as np

from safeml.quantization.folding import OUTPUT_AXES
from safeml.quantization.graph import Graph, Part, Step, read, to_model

LAYERS = keras.layers
# Layers of f(s x) = s f(x), each channel by itself.
HOMOGENEOUS = (
    LAYERS.MaxPooling2D,
    LAYERS.AveragePooling2D,
    LAYERS.GlobalAveragePooling2D,
    LAYERS.GlobalMaxPooling2D,
    LAYERS.ZeroPadding2D,
    LAYERS.Cropping2D,
    LAYERS.UpSampling2D,
    LAYERS.LeakyReLU,
    LAYERS.Dropout,
    LAYERS.SpatialDropout2D,
)
# The axis of the input channels in the kernel.
INPUT_AXES: dict[type, int] = {
    LAYERS.Conv2D: 2,
    LAYERS.DepthwiseConv2D: 2,
    LAYERS.Conv2DTranspose: 3,
    LAYERS.Dense: 0,
}
ROUNDS = 40
CONVERGED = 1e-3


class Pair(NamedTuple):
    """Two layers with a kernel, the second the only reader of the first. obstacle: what stops a factor between them, or ""."""

    first: Part
    second: Part
    obstacle: str


def equalised(prepared: keras.Model) -> keras.Model:
    """Return the prepared model with the ranges of its layers equalised; its outputs stay the same."""
    graph = read(prepared, prepared.name)
    pairs = [pair for pair in pairs_of(graph) if not pair.obstacle]
    weights = {
        part: [np.asarray(array, np.float64) for array in part.weights]
        for pair in pairs
        for part in (pair.first, pair.second)
    }
    for _ in range(ROUNDS):
        # Every pair is visited in every round: a layer in the middle of a chain belongs to two.
        moves = [_equalise(pair, weights[pair.first], weights[pair.second]) for pair in pairs]
        if max(moves, default=0.0) < CONVERGED:
            break
    parts = {
        part: replace(part, weights=tuple(array.astype(np.float32) for array in arrays))
        for part, arrays in weights.items()
    }
    return to_model(graph.replaced(parts))


def left_out(prepared: keras.Model) -> tuple[str, ...]:
    """Return one sentence for each pair of neighbouring layers that `equalised` leaves as it is, with the reason."""
    return tuple(
        f'"{pair.first.name}" and "{pair.second.name}" are not equalised: {pair.obstacle} is between them, which a '
        "factor does not pass through."
        for pair in pairs_of(read(prepared, prepared.name))
        if pair.obstacle
    )


def pairs_of(graph: Graph) -> list[Pair]:
    """Return the pairs of layers with a kernel, each the only reader of what the other gives, in the order of the graph."""
    readers, calls = graph.readers(), graph.calls()
    pairs = []
    for step in graph.steps:
        if not _takes_factor(step, OUTPUT_AXES) or calls[step.part] > 1:
            continue
        obstacle, after = "", step
        while len(readers[after.outputs[0]]) == 1 and after.outputs[0] is not graph.output:
            after = readers[after.outputs[0]][0]
            if after.part.kind in INPUT_AXES:
                if _takes_factor(after, INPUT_AXES) and calls[after.part] == 1:
                    pairs.append(Pair(step.part, after.part, obstacle))
                break
            if len(after.inputs) != 1 or len(after.outputs) != 1 or not _keeps_channels(after):
                break
            obstacle = obstacle or _obstacle(after.part)
    return pairs


def _takes_factor(step: Step, axes: dict[type, int]) -> bool:
    config = step.part.config
    return (
        step.part.kind in axes
        and config.get("groups", 1) == 1
        and config.get("depth_multiplier", 1) == 1
        and config.get("activation", "linear") == "linear"
    )


def _keeps_channels(step: Step) -> bool:
    return issubclass(step.part.kind, LAYERS.Layer) and step.inputs[0].shape[-1] == step.outputs[0].shape[-1]


def _obstacle(part: Part) -> str:
    """The part as it is named in a sentence, where f(s x) is not s f(x); else ""."""
    config = part.config
    if part.kind in HOMOGENEOUS:
        return ""
    if part.kind is LAYERS.Activation and config["activation"] in ("relu", "leaky_relu", "linear"):
        return ""
    if part.kind is LAYERS.ReLU and config.get("max_value") is None and not config.get("threshold"):
        return ""
    return f'"{part.name}" ({part.kind.__name__})'


def _largest(kernel: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(kernel).max(axis=tuple(other for other in range(kernel.ndim) if other != axis))


def _equalise(pair: Pair, first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Give both kernels the range sqrt(r1 r2) in each channel, in place. Returns the largest |log factor|."""
    out_axis, in_axis = OUTPUT_AXES[pair.first.kind], INPUT_AXES[pair.second.kind]
    before, after = _largest(first[0], out_axis), _largest(second[0], in_axis)
    live = (before > 0) & (after > 0)  # a channel without weights has no range to share
    factor = np.sqrt(np.where(live, after, 1.0) / np.where(live, before, 1.0))
    first[0] = first[0] * _along(factor, first[0].ndim, out_axis)
    if len(first) > 1:
        first[1] = first[1] * factor
    second[0] = second[0] / _along(factor, second[0].ndim, in_axis)
    return float(np.abs(np.log(factor)).max())


def _along(factor: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return factor.reshape([-1 if other == axis else 1 for other in range(rank)])
