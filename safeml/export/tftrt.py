"""A SavedModel made for TF-TRT, the script that converts it on the device, and golden images to check the result there.

FakeQuant rounds half up and its range has no code -128, so its outputs are not bit-equal with the ONNX file. The road has its
own accuracy gate.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from safeml.export import tftrt_lint
from safeml.export.checks import Check
from safeml.export.float_graphs import FAKE_QUANT, LOGITS, as_function, output_name, with_fake_quant
from safeml.export.frozen import freeze

NAME = "tftrt"
SAVED_MODEL, SCRIPT, GOLDEN = "saved_model", "convert_tftrt.py", "golden.npz"
GOLDEN_IMAGES = 64
# FakeQuant differs from the Keras model at rounding ties and at code -128 only.
LEAST_AGREEMENT = 0.99
LIMITS = (
    "It is not bit-equal with the ONNX file, and nothing was converted: TF-TRT needs TensorFlow 2.17 or older built with"
    " TensorRT, and a GPU. Run convert_tftrt.py on the device; its gates decide there."
)


def write(model: Any, folder: Path, images: np.ndarray, *, keep_float: tuple[str, ...] = ()) -> Check:
    """Write `folder` with the SavedModel, the conversion script and the golden images, and check the SavedModel.

    model: fake-quantized keras.Model. images: float32 [N, H, W, C] in the values that the model takes;
    the first become the golden images. keep_float: names of layers that stay float on purpose.
    """
    import tensorflow as tf

    if images.dtype != np.float32 or not len(images):
        raise ValueError(f"images are {images.dtype} {list(images.shape)}; expected float32, at least one")
    frozen = freeze(model, None, model.name)
    serve = as_function(with_fake_quant(frozen), frozen)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / SAVED_MODEL
    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(place), signatures={tftrt_lint.SIGNATURE: serve})
    shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)
    graph = tftrt_lint.read(place, keep_float)
    findings = tftrt_lint.lint(graph)
    expected = _batched(lambda batch: model(batch, training=False), images)
    got = _batched(lambda batch: serve(batch)[output_name(frozen)], images)
    np.savez(folder / GOLDEN, images=images[:GOLDEN_IMAGES], outputs=got[:GOLDEN_IMAGES])
    return _judged(findings, graph, expected, got)


def predict(folder: Path, images: np.ndarray) -> np.ndarray | None:
    """Return the logits of the SavedModel in a folder that `write` made, float32 [N, K]; None where it gives probabilities.

    images: float32 [N, H, W, C] in the values that the model takes.
    """
    import tensorflow as tf

    served = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures[tftrt_lint.SIGNATURE]
    if LOGITS not in served.structured_outputs:
        return None
    return _batched(lambda batch: served(image=tf.constant(batch))[LOGITS], images)


def _judged(
    findings: list[tftrt_lint.Finding], graph: tftrt_lint.Graph, expected: np.ndarray, got: np.ndarray
) -> Check:
    agreement = float((expected.argmax(1) == got.argmax(1)).mean())
    difference = float(np.abs(expected - got).max())
    facts = {
        "findings": [finding.message for finding in findings],
        "rules": [rule.id for rule in tftrt_lint.RULES],
        "fake_quant_nodes": len(list(graph.of(FAKE_QUANT))),
        "operations_with_kernel": len(list(graph.weighted())),
        "images": len(got),
        "agreement": agreement,
        "largest_difference": difference,
    }
    seen = (
        f"the SavedModel gives the class of the fake-quantized Keras model for {agreement:.1%} of {len(got)} images "
        f"(largest difference of an output {difference:.3g})"
    )
    if findings:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        return Check(
            NAME, "failed", f"The SavedModel breaks a rule for TF-TRT{more}: {findings[0].message}", facts
        )
    if not agreement >= LEAST_AGREEMENT or not np.isfinite(difference):
        return Check(
            NAME,
            "failed",
            f"{seen[0].upper()}{seen[1:]}; expected at least {LEAST_AGREEMENT:.0%}. Do not convert it.",
            facts,
        )
    return Check(NAME, "passed", f"All {len(tftrt_lint.RULES)} rules hold, and {seen}. {LIMITS}", facts)


def _batched(call: Any, images: np.ndarray, size: int = 64) -> np.ndarray:
    return np.concatenate([np.asarray(call(images[at : at + size])) for at in range(0, len(images), size)])
