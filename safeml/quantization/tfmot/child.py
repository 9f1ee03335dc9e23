"""The child process: rebuild the model in Keras 2, quantize it with TFMOT, train it, and write weights, ranges and outputs.

Called with the folder of the request. It prints one JSON object a line: {"epoch": ...} for each epoch, and
{"refused": sentence}, {"failed": sentence} or {"done": facts} at the end.
TFMOT itself imports Keras 3 to look for a layer; `tf.keras` is Keras 2 here, and no model of Keras 3 is made.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from safeml.errors import InputRefused, StageError
from safeml.quantization.tfmot.plan import ARRAYS, REMEDY, REQUEST, RESULT, TRAIN, VALID, WEIGHTS, from_plain

# The largest difference of the float model in Keras 2, as a share of its largest output.
TOLERANCE = 1e-4
PACKAGES = ("tensorflow", "tf-keras", "tensorflow-model-optimization")


def main() -> None:
    """Answer the request in the folder of the first argument."""
    from safeml.sandbox_child import end_with_parent

    end_with_parent()
    # What a library prints goes to the errors.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, value: Any) -> None:
        reply.write(json.dumps({kind: value}) + "\n")
        reply.flush()

    try:
        say("done", _answer(Path(sys.argv[1]), lambda epoch: say("epoch", epoch)))
    except InputRefused as error:
        say("refused", str(error))
    except StageError as error:
        say("failed", str(error))


def _answer(folder: Path, on_epoch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    import tensorflow as tf
    import tf_keras

    from safeml.classifiers.base import InputSpec
    from safeml.config.quantization import QuantizeSettings

    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    settings = QuantizeSettings.model_validate(request["settings"])
    spec = InputSpec(**{name: _hashable(value) for name, value in request["input"].items()})
    plan = from_plain(request["network"])
    names = tuple(request["class_names"])
    with np.load(folder / WEIGHTS) as stored:
        arrays = dict(stored)
    tf.config.experimental.enable_op_determinism()
    tf_keras.utils.set_random_seed(settings.seed)
    difference = _difference(plan, arrays)

    # The import of TFMOT takes seconds, and a model may be refused without it.
    from safeml.quantization.tfmot.fit import train
    from safeml.quantization.tfmot.scheme import QuantizedNetwork

    network = QuantizedNetwork(plan, arrays)
    valid = _data(folder / VALID, names)
    result = {"calibrated": _outputs(network, valid, spec)}
    if settings.epochs:
        try:
            train(network, settings, spec, _data(folder / TRAIN, names), valid, folder, on_epoch)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise StageError(
                f"{settings.name}: out of memory with batch = {settings.batch}; set a smaller one, such as batch = "
                f"{max(1, settings.batch // 2)}."
            ) from error
        result["trained"] = _outputs(network, valid, spec)
    result.update({f"{ARRAYS}{name}": each for name, each in network.arrays().items()})
    np.savez(folder / RESULT, **result)  # type: ignore[arg-type]  # numpy's types take every name for its one option
    return {"float_difference": difference, "versions": {name: version(name) for name in PACKAGES}}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _data(path: Path, class_names: tuple[str, ...]) -> Any:
    from safeml.data.dataset import ImageDataset

    with np.load(path) as stored:
        return ImageDataset(path.stem, stored["images"], stored["labels"], class_names)


def _difference(plan: Any, arrays: dict[str, np.ndarray]) -> float:
    """Return the largest difference of the float model in Keras 2 from the source, as a share of the largest output.

    Raises InputRefused above `TOLERANCE`.
    """
    from safeml.quantization.tfmot.bridge import rebuilt

    expected = arrays["expected"]
    given = np.asarray(rebuilt(plan, arrays)(arrays["values"], training=False))
    difference = float(np.abs(given - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not difference <= TOLERANCE:
        raise InputRefused(
            f"{plan.name}: rebuilt in Keras 2, the float model gives other outputs (by {difference:.2g} of the largest; "
            f"expected at most {TOLERANCE:g}): a layer has another meaning there; {REMEDY}."
        )
    return difference


def _outputs(network: Any, data: Any, spec: Any) -> np.ndarray:
    """float32 [N, K]: the outputs of TFMOT's model for the images of `data`, in the order of the model."""
    from safeml.training.batches import as_written, validation_batches
    from safeml.training.feed import feed_of

    feed = feed_of(spec)
    batches = validation_batches(data, 256).map(as_written(lambda images, labels: feed.images(images)))
    return np.asarray(network.model.predict(batches, verbose=0), np.float32)


if __name__ == "__main__":
    main()
