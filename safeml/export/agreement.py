"""The codes of the integer emulator beside those of ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from safeml.export.checks import Check
from safeml.export.emulator import emulate, quantize_nodes
from safeml.export.parity import TIE, tie_distance
from safeml.export.sessions import outputs, session, with_taps


def codes(model: Any, images: np.ndarray) -> Check:
    """Return whether both give the same codes for each image, up to the first tie; what follows a tie may differ.

    model: onnx.ModelProto. images: float32 [N, H, W, C].
    """
    nodes = quantize_nodes(model)
    taps = tuple(dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0])))
    mine = emulate(model, images, taps)
    theirs = dict(zip(taps, outputs(session(with_taps(model, taps)), images, taps), strict=True))
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    equal, compared, ties = np.ones(len(images), bool), 0, 0
    for node in nodes:
        rows = (len(images), -1)
        steps_apart = np.abs(mine[node.output[0]].astype(np.int32) - theirs[node.output[0]]).reshape(rows)
        differ = steps_apart > 0
        steps = (theirs[node.input[0]] / scales[node.input[1]]).reshape(rows)
        first = differ & equal[:, None]
        distance = float(tie_distance(steps[first]).max(initial=0))
        compared += int(equal.sum()) * differ.shape[1]
        ties += int(first.sum())
        apart = int(steps_apart[first].max(initial=0))
        if apart > 1 or not distance <= TIE:  # not a number is no tie
            return Check(
                "emulator",
                "failed",
                f"A code of {node.name} differs by {apart}, {distance:.3g} steps from a tie.",
                {"codes": compared, "quantizer": node.name, "difference": apart, "tie_distance": distance},
            )
        equal &= ~differ.any(1)
    facts = {"images": len(images), "quantizers": len(nodes), "codes": compared, "ties": ties}
    return Check(
        "emulator",
        "passed",
        f"Integer arithmetic in NumPy gives the {compared:,} codes of ONNX Runtime on {len(images)} images, but for {ties} at a tie.",
        facts,
    )
