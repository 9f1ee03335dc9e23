"""The backend "tfmot": write the request, run the child, and build the trained model again in Keras 3.

The model in `int8.keras` is that of Keras 3, with TFMOT's weights and ranges, so export and audits take it like any other. How
far TFMOT's own model agrees with it on the validation images is in `quantization.json`. Legend: N images, K outputs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from safeml import interruption
from safeml.data.dataset import ImageDataset
from safeml.int8.layers import QuantizedKernel
from safeml.quantization.backends import Calibrated, Trained
from safeml.quantization.tfmot.network import plan_of, with_trained
from safeml.quantization.tfmot.plan import (
    ARRAYS,
    REGULARIZERS,
    REQUEST,
    RESULT,
    TRAIN,
    VALID,
    WEIGHTS,
    NetworkPlan,
)
from safeml.quantization.tfmot.process import check_installed, run
from safeml.quantization.validation import model_inputs
from safeml.training.fit import Fit
from safeml.wording import counted

# Begins the name of the folder that both processes share, in the folder of the result.
FOLDER = ".tfmot-"
# Images on which the float model of Keras 2 is compared with its source.
COMPARED = 64
BATCH = 256
# Below it, the run has a note: the two models are no longer one model up to ties of rounding.
AGREEMENT = 0.99
DIFFERENCES = (
    "TFMOT clips activations at 127 codes on each side; the model in the file also has the code -128.",
    "TFMOT rounds halves up; the model in the file rounds them to even, as ONNX and TensorRT do.",
    "Scales are rounded to 16 bits after the training, so that ONNX gives the same codes; TFMOT uses float32 ranges.",
)
SHARED = "Ranges that several tensors share keep their calibrated value in training: {names}."
FLOORS = "Channels with a large bias get a larger weight scale than in TFMOT, so that the bias fits into int32: {names}."
LOST = "Weight constraints, and regularizers other than L1 and L2, have no effect in training: {names}."


def trained(start: Calibrated) -> Trained:
    """Return the model that TFMOT trained from a calibrated one, built in Keras 3, and the record of both.

    Raises ConfigError if TFMOT is not installed, InputRefused for a model that it does not take, StageError if it fails.
    """
    check_installed()
    settings = start.inputs.settings
    work = (
        f"training, {counted(settings.epochs, 'epoch')}"
        if settings.epochs
        else "its own fake-quantized model"
    )
    start.say(f"TFMOT (child process): {work}.")
    plan, arrays = plan_of(start.quantized, str(start.inputs.source))
    for left_over in start.out.glob(f"{FOLDER}*"):  # of a run that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir=start.out))
    epochs: list[dict[str, Any]] = []

    def on_epoch(epoch: dict[str, Any]) -> None:
        epochs.append(epoch)
        start.on_epoch(epoch)

    try:
        _write(start, plan, arrays, folder)
        facts = run(folder, on_epoch)
        with np.load(folder / RESULT, allow_pickle=False) as stored:
            result = dict(stored)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    agreements = {"ptq": _agreement(start, start.quantized, result["calibrated"])}
    model = None
    if settings.epochs:
        weights = {
            name.removeprefix(ARRAYS): each for name, each in result.items() if name.startswith(ARRAYS)
        }
        model = with_trained(start.quantized, plan, weights)
        agreements["qat"] = _agreement(start, model, result["trained"])
    lowest = min(each["decisions"] for each in agreements.values())
    images = counted(len(start.inputs.choosing), "validation image")
    sentence = f"TFMOT's own model and the model in the file agree on {lowest:.1%} of {images}."
    start.say(sentence)
    record = {
        **facts,
        "agreement": {"images": len(start.inputs.choosing), **agreements},
        "differences": _differences(plan, model or start.quantized),
    }
    fit = Fit(epochs) if settings.epochs else None
    return Trained(fit, model, {"tfmot": record}, (sentence,) if lowest < AGREEMENT else ())


def _write(start: Calibrated, plan: NetworkPlan, arrays: dict[str, np.ndarray], folder: Path) -> None:
    inputs = start.inputs
    request = {
        "network": plan.plain(),
        "settings": inputs.settings.model_dump(mode="json"),
        "input": asdict(start.classifier.spec),
        "class_names": list(inputs.choosing.class_names),
    }
    (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
    values = start.values[:COMPARED]
    expected = np.asarray(start.prepared(values, training=False))
    np.savez(folder / WEIGHTS, values=values, expected=expected, **arrays)  # type: ignore[arg-type]
    _write_data(inputs.choosing, folder / VALID)
    if inputs.settings.epochs:
        _write_data(inputs.training, folder / TRAIN)


def _write_data(data: ImageDataset, path: Path) -> None:
    np.savez(path, images=data.images, labels=data.labels)


def _agreement(start: Calibrated, model: keras.Model, expected: np.ndarray) -> dict[str, float]:
    """Compare a model with the outputs of TFMOT's, float32 [N, K], on the validation images.

    decisions: share of the images with the same largest output. largest_difference, mean_difference: of an output.
    """
    images = start.inputs.choosing.images
    same, largest, total = 0, 0.0, 0.0
    for first in range(0, len(images), BATCH):
        interruption.check()
        values = model_inputs(start.classifier, images[first : first + BATCH])
        outputs = np.asarray(model(values, training=False))
        others = expected[first : first + BATCH]
        same += int((outputs.argmax(axis=1) == others.argmax(axis=1)).sum())
        differences = np.abs(outputs - others)
        largest = max(largest, float(differences.max()))
        total += float(differences.sum())
    return {
        "decisions": same / len(images),
        "largest_difference": largest,
        "mean_difference": total / expected.size,
    }


def _differences(plan: NetworkPlan, model: keras.Model) -> list[str]:
    """Return a sentence for each point in which TFMOT's model or training is another than that of the backend "keras"."""
    kernels: list[Any] = [layer for layer in model.layers if isinstance(layer, QuantizedKernel)]
    rows = {
        SHARED: [layer.name for layer in plan.layers if layer.sites > 1],
        FLOORS: [layer.name for layer in kernels if _raised(layer)],
        LOST: [
            layer.name
            for layer in plan.layers
            if any(_is_lost(key, value) for key, value in layer.config.items())
        ],
    }
    return [
        *DIFFERENCES,
        *(sentence.format(names=", ".join(names)) for sentence, names in rows.items() if names),
    ]


def _raised(layer: Any) -> bool:
    """Return whether a channel of the kernel has a larger scale than its weights need."""
    kernel = np.abs(np.asarray(layer.kernel_matrix()))
    channels = np.moveaxis(kernel, layer.kernel_axis, 0).reshape(layer.floor.shape[0], -1)
    return bool((np.asarray(layer.floor) > channels.max(axis=1)).any())


def _is_lost(key: str, value: Any) -> bool:
    """Return whether an option of a layer acts on training in Keras 3 and is not sent to Keras 2."""
    if key.endswith("_regularizer"):
        return value is not None and value.get("class_name") not in REGULARIZERS
    return key.endswith("_constraint") and value is not None
