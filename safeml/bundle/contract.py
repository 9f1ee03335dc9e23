"""What a device does with a frame and a class number: the input contract, a golden frame for it, and the labels.

Legend: H W C pixels, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import model_arrays
from safeml.errors import InputRefused
from safeml.results import Run

LABELS, PREPROCESSING, RAW = "labels.json", "preprocessing.json", "golden/raw.npz"
# Of the golden frame; a frame of a camera is larger than the input, and not square.
RENDERED_SIDE = 128
LONGEST_LABEL = 200
RAW_SEED = 990_001
# Of the largest value of the golden tensor: float32 sums in another order.
RAW_TOLERANCE = 1e-4


def spec_of(run: Run) -> InputSpec:
    """Return the input contract that the run records. Raises InputRefused where a part of it is missing or no device can follow it."""
    recorded = run.model.input
    try:
        spec = InputSpec(
            height=int(recorded["height"]),
            width=int(recorded["width"]),
            channels=recorded["channels"],
            low=float(recorded["low"]),
            high=float(recorded["high"]),
            outputs=recorded["outputs"],
            class_order=tuple(recorded["class_order"]) if recorded["class_order"] is not None else None,
            mean=tuple(map(float, recorded["mean"])),
            std=tuple(map(float, recorded["std"])),
            standardise=bool(recorded["standardise"]),
        )
    except (KeyError, TypeError, ValueError):
        raise InputRefused(
            "results.json: model.input is no input contract; audit again with this version of safeml."
        ) from None
    if spec.class_order is not None and spec.class_order != tuple(range(len(spec.class_order))):
        raise InputRefused(
            "results.json: model.input.class_order sorts the outputs of the model, and the monitor was fitted on sorted ones, which a device does "
            "not do; export a model whose outputs are in the order of the classes."
        )
    return spec


def input_table(spec: InputSpec) -> dict[str, Any]:
    """Return the table `input` of a manifest, JSON-able."""
    return {
        "height": spec.height,
        "width": spec.width,
        "depth": spec.depth,
        "channels": spec.channels,
        "low": spec.low,
        "high": spec.high,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "standardise": spec.standardise,
    }


def preprocessing(spec: InputSpec, golden: np.ndarray) -> dict[str, Any]:
    """Return the content of preprocessing.json: the contract in numbers and in words, and the golden frame.

    golden: float32 [H, W, C], what the model is fed for the golden frame.
    """
    return {
        "format": 1,
        "input": input_table(spec),
        "frame": "uint8 [height, width, 3], RGB, 0..255",
        "steps": [
            "divide by 255",
            "resize to the height and width of the input: bilinear with antialiasing, centres of pixels at half numbers",
            "grey: weights 0.2989, 0.587, 0.114 of red, green, blue; bgr: reverse the channels",
            "low + value * (high - low)",
            "standardise: subtract the mean of the image and divide by its standard deviation",
            "mean and std: subtract mean, divide by std, channel by channel",
        ],
        "golden": {"file": RAW, "frame": "frame", "values": "values", "max_abs": RAW_TOLERANCE * float(np.abs(golden).max())},
    }  # fmt: skip


def labels(names: tuple[str, ...], classes: int) -> dict[str, Any]:
    """Return the content of labels.json: the name of each output of the model, in order.

    names: of the classes, in the order of the data; K of them. Raises InputRefused for another number.
    """
    if len(names) != classes:
        known = f"{len(names)} class names" if names else "no class names"
        raise InputRefused(
            f"results.json: records {known}, and the model has {classes} classes; give a JSON list of the names with --labels."
        )
    if any(not name or len(name) > LONGEST_LABEL for name in names) or len(set(names)) != len(names):
        raise InputRefused(
            f"the class names are not {classes} different texts of 1 to {LONGEST_LABEL} characters; give a JSON list of them with --labels."
        )
    return {"format": 1, "labels": list(names)}


def golden_frame(spec: InputSpec) -> np.ndarray:
    """Return a rendered sign as a camera would deliver it, uint8 [h, w, 3] RGB: larger than the input, and wider than high."""
    from safeml.data.rendered.tracks import render

    image = render(1, seed=RAW_SEED, frames_per_sign=1, size=RENDERED_SIDE).images[0]
    image = image[RENDERED_SIDE // 8 : -(RENDERED_SIDE // 8)]
    times = max(1, -(-(spec.height + 1) // image.shape[0]), -(-(spec.width + 1) // image.shape[1]))
    return np.ascontiguousarray(image.repeat(times, axis=0).repeat(times, axis=1))


def raw_arrays(spec: InputSpec) -> dict[str, np.ndarray]:
    """Return the arrays of the golden frame: `frame`, and the `values` that the code of the audit feeds the model for it."""
    frame = golden_frame(spec)
    return {"frame": frame, "values": model_arrays(frame[None], spec)[0]}
