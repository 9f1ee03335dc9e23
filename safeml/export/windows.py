"""Convolution and pooling windows in NumPy, as ONNX defines them. Legend: N images, C channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from safeml.export.graph import attribute

Pads = list[tuple[int, int]]


def pads(node: Any, shape: tuple[int, ...], kernel: tuple[int, ...]) -> Pads:
    """Return what a node pads before and after each spatial axis. shape: of its input; kernel: sides of its window."""
    spatial = len(kernel)
    mode = attribute(node, "auto_pad", b"NOTSET").decode()
    if mode in ("NOTSET", "VALID"):
        flat = attribute(node, "pads", [0] * 2 * spatial) if mode == "NOTSET" else [0] * 2 * spatial
        return list(zip(flat[:spatial], flat[spatial:], strict=True))
    strides = attribute(node, "strides", [1] * spatial)
    dilations = attribute(node, "dilations", [1] * spatial)
    found = []
    for side, window, stride, dilation in zip(shape[-spatial:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-side // stride) - 1) * stride + (window - 1) * dilation + 1 - side)
        less, more = total // 2, total - total // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def windows(
    values: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    around: Pads,
    fill: float,
    node: Any = None,
) -> np.ndarray:
    """Return the windows over the last axes: [N, C, *positions, *kernel]. fill: the value of the padding."""
    spatial = len(kernel)
    around = list(around)
    if node is not None and attribute(node, "ceil_mode", 0):
        for place, (side, window) in enumerate(zip(values.shape[-spatial:], kernel, strict=True)):
            before, after = around[place]
            over = (side + before + after - (window - 1) * dilations[place] - 1) % strides[place]
            around[place] = (before, after + (strides[place] - over if over else 0))
    padded = np.pad(values, [(0, 0)] * (values.ndim - spatial) + around, constant_values=fill)
    reach = tuple((side - 1) * dilation + 1 for side, dilation in zip(kernel, dilations, strict=True))
    view = sliding_window_view(padded, reach, tuple(range(-spatial, 0)))
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    every = [slice(None)] * (view.ndim - len(steps))
    return np.asarray(view[(*every, *steps)])


def convolved(
    values: np.ndarray,
    kernel: np.ndarray,
    strides: Sequence[int],
    dilations: Sequence[int],
    around: Pads,
    groups: int,
) -> np.ndarray:
    """Return the convolution of [N, C, ...] with a kernel [outputs, C / groups, ...]."""
    outputs, inputs, *sides = kernel.shape
    patches = windows(values, sides, strides, dilations, around, 0)
    positions = patches.shape[2 : 2 + len(sides)]
    rows = np.moveaxis(patches, 1, 1 + len(sides))  # [N, *positions, C, *sides]
    rows = rows.reshape(len(values) * int(np.prod(positions)), groups, inputs * int(np.prod(sides)))
    weights = kernel.reshape(groups, outputs // groups, -1)
    result = np.einsum("pgk,gok->pgo", rows, weights, optimize=True)
    return np.moveaxis(result.reshape(len(values), *positions, outputs), -1, 1)


def spread(node: Any, values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the transposed convolution of [N, C, H, W] with a kernel [C, outputs / groups, H, W]."""
    groups = attribute(node, "group", 1)
    sides = kernel.shape[2:]
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    extra = attribute(node, "output_padding", [0, 0])
    full = [
        (side - 1) * stride + (window - 1) * dilation + 1 + more
        for side, stride, window, dilation, more in zip(
            values.shape[2:], strides, sides, dilations, extra, strict=True
        )
    ]
    wanted = attribute(node, "output_shape")
    if wanted:
        total = [have - want for have, want in zip(full, wanted[-2:], strict=True)]
        upper = attribute(node, "auto_pad", b"NOTSET") == b"SAME_UPPER"
        before = [side // 2 if upper else side - side // 2 for side in total]
    else:
        flat = attribute(node, "pads", [0] * 4)
        before = flat[:2]
        wanted = [have - low - high for have, low, high in zip(full, flat[:2], flat[2:], strict=True)]
    channels, outputs = kernel.shape[:2]
    result = np.zeros((len(values), groups, outputs, *full), values.dtype)
    grouped = values.reshape(len(values), groups, channels // groups, *values.shape[2:])
    weights = kernel.reshape(groups, channels // groups, outputs, *sides)
    for row in range(sides[0]):
        for column in range(sides[1]):
            part = np.einsum("ngchw,gco->ngohw", grouped, weights[..., row, column], optimize=True)
            top, left = row * dilations[0], column * dilations[1]
            stop = top + strides[0] * values.shape[2], left + strides[1] * values.shape[3]
            result[..., top : stop[0] : strides[0], left : stop[1] : strides[1]] += part
    joined = result.reshape(len(values), groups * outputs, *full)
    top, left = before
    return joined[..., top : top + wanted[-2], left : left + wanted[-1]]


def averaged(node: Any, values: np.ndarray) -> np.ndarray:
    """Return the average pooling of [N, C, ...]; padding counts where the node says so."""
    kernel = attribute(node, "kernel_shape")
    strides = attribute(node, "strides", [1] * len(kernel))
    ones = [1] * len(kernel)
    around = pads(node, values.shape, tuple(kernel))
    axes = tuple(range(-len(kernel), 0))
    sums = windows(values, kernel, strides, ones, around, 0, node).sum(axes, dtype=np.float32)
    counted = float(bool(attribute(node, "count_include_pad", 0)))
    inside = windows(np.ones_like(values), kernel, strides, ones, around, counted, node)
    return np.asarray(sums / inside.sum(axes), np.float32)
