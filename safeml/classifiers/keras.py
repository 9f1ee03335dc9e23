"""A Keras 3 model as the classifier under test: loaded in safe mode, fed by its input contract, seen through its logits."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.fingerprint import model_fingerprint
from safeml.config import InputSettings
from safeml.errors import ConfigError, InputRefused
from safeml.metrics.classification import softmax

KERAS_FLOOR = (3, 15, 1)  # the first release without the known ways around safe mode
BATCH = 256
MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}


@dataclass(eq=False)
class KerasClassifier:
    """A loaded model; see `Classifier` for the meaning of the fields. Build it with `load_keras` or `wrap`."""

    name: str
    spec: InputSpec
    classes: int
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    model: Any
    takes_log: bool = False
    _functions: dict[str, Any] = field(default_factory=dict, repr=False)

    def logits(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> tf.Tensor float32 [N, K]; differentiable, inference mode."""
        import tensorflow as tf

        outputs = tf.cast(self.model(self._inputs(pixels), training=False), tf.float32)
        if self.takes_log:
            outputs = tf.math.log(tf.maximum(outputs, np.finfo(np.float32).tiny))
        if self.spec.class_order is not None:
            outputs = tf.gather(outputs, np.argsort(self.spec.class_order), axis=1)
        return outputs

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8, or float32 in 0..1 -> float32 [N, K]. Not checked for finiteness: audits count that."""
        return self._in_batches("logits", self.logits, images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> float32 [N, F], the input of the last layer that has weights."""
        import keras

        if "feature_model" not in self._functions:
            last = [layer for layer in self.model.layers if layer.weights][-1]
            self._functions["feature_model"] = keras.Model(self.model.inputs[0], last.input)
        model = self._functions["feature_model"]
        found = self._in_batches(
            "features", lambda pixels: model(self._inputs(pixels), training=False), images
        )
        return found.reshape(len(images), -1)

    def _inputs(self, pixels: Any) -> Any:
        """The input contract as a differentiable map of pixels in 0..1."""
        import tensorflow as tf

        spec = self.spec
        if pixels.shape[1:3] != (spec.height, spec.width):
            pixels = tf.image.resize(pixels, (spec.height, spec.width), method="bilinear", antialias=True)
        if spec.channels == "grey" and pixels.shape[3] == 3:
            pixels = tf.image.rgb_to_grayscale(pixels)
        elif spec.channels != "grey" and pixels.shape[3] == 1:
            pixels = tf.repeat(pixels, 3, axis=3)
        elif spec.channels == "bgr":
            pixels = tf.reverse(pixels, axis=[3])
        return spec.low + pixels * (spec.high - spec.low)

    def _in_batches(self, name: str, function: Any, images: np.ndarray) -> np.ndarray:
        """Every batch is padded to one shape: it compiles once, and other shapes would round differently."""
        import tensorflow as tf

        key = f"{name}{images.shape[1:]}"
        if key not in self._functions:
            signature = [tf.TensorSpec([BATCH, *images.shape[1:]], tf.float32)]
            self._functions[key] = tf.function(function, input_signature=signature)
        results = []
        for start in range(0, len(images), BATCH):
            batch = as_pixels(images[start : start + BATCH])
            padded = np.concatenate([batch, np.zeros((BATCH - len(batch), *batch.shape[1:]), np.float32)])
            results.append(self._functions[key](padded).numpy()[: len(batch)])
        return np.concatenate(results).astype(np.float32)


def as_pixels(images: np.ndarray) -> np.ndarray:
    """uint8 images as float32 in 0..1; float images unchanged but for their type."""
    return (
        images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    )


def load_keras(
    path: Path, settings: InputSettings, class_names: tuple[str, ...], name: str = ""
) -> KerasClassifier:
    """Load a `.keras` file in safe mode and check that it is a usable classifier of these classes.

    Raises InputRefused where the file is damaged or is not a `.keras` archive, where it needs code or custom objects, where
    its input or outputs do not fit the contract, or where its outputs are not finite or not deterministic.
    """
    _check_archive(path)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    version = tuple(int(part) for part in keras.__version__.split(".")[:3])
    if version < KERAS_FLOOR:
        floor = ".".join(map(str, KERAS_FLOOR))
        raise ConfigError(
            f"keras {keras.__version__} is installed; loading model files needs {floor} or later."
        )
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # any failure of the loader is a property of the file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputRefused(f"{path}: Keras does not load it in safe mode: {lines[0][:300]}") from error
    return wrap(model, settings, class_names, name or path.name, str(path))


def wrap(
    model: Any, settings: InputSettings, class_names: tuple[str, ...], name: str, where: str = "model"
) -> KerasClassifier:
    """A Keras model in memory as a checked classifier. The model's softmax head, if it has one, is taken off."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputRefused(
            f"{where}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected one of each."
        )
    spec = _contract(model, settings, where)
    shape = model.outputs[0].shape
    if len(shape) != 2 or shape[1] != len(class_names):
        raise InputRefused(
            f"{where}: gives outputs of shape {list(shape)}; with {len(class_names)} classes, expected [None, {len(class_names)}]."
        )
    # Looking at outputs is not enough: a ReLU turns NaN into 0 on this backend, and the model looks merely weak.
    broken = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise InputRefused(
            f"{where}: the weights of {broken[0]} are not finite; the file is damaged or its training diverged."
        )
    fingerprint, parameters = model_fingerprint(model), int(model.count_params())
    probe = _probe(spec)
    found = np.asarray(model(probe, training=False), np.float32)
    logits_model, notes = _without_softmax(model)
    if (
        notes
        and np.abs(softmax(np.asarray(logits_model(probe, training=False), np.float32)) - found).max() > 1e-5
    ):
        raise InputRefused(
            f"{where}: its softmax head could not be taken off exactly; give a model that ends in logits."
        )
    outputs: Literal["logits", "probabilities"] = (
        "probabilities" if notes or _are_probabilities(found) else "logits"
    )
    if settings.outputs not in (None, outputs):
        raise InputRefused(f'{where}: gives {outputs}; model.input.outputs says "{settings.outputs}".')
    takes_log = outputs == "probabilities" and not notes
    if takes_log:
        notes = ("the outputs are probabilities without a softmax layer; logits are their logarithms",)
    spec = replace(spec, outputs=outputs)
    classifier = KerasClassifier(
        name, spec, len(class_names), parameters, fingerprint, notes, logits_model, takes_log
    )
    _check_outputs(classifier, where)
    return classifier


def _check_archive(path: Path) -> None:
    if not path.exists():
        raise InputRefused(f"{path}: there is no such file; expected a Keras model (.keras).")
    if not path.is_file():
        raise InputRefused(f"{path}: is not a regular file; expected a Keras model (.keras).")
    if not zipfile.is_zipfile(path):
        raise InputRefused(
            f"{path}: is damaged or is not a .keras archive; expected what `model.save('x.keras')` writes."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputRefused(
            f"{path}: is a damaged archive ({error}); save or copy the model again."
        ) from error
    if damaged:
        raise InputRefused(
            f"{path}: is damaged: the member {damaged} does not match its checksum; copy the model again."
        )
    if set(names) != MEMBERS or len(names) != len(MEMBERS):
        raise InputRefused(
            f"{path}: holds {len(names)} members; a .keras archive holds exactly {', '.join(sorted(MEMBERS))}."
        )


def _contract(model: Any, settings: InputSettings, where: str) -> InputSpec:
    shape = model.inputs[0].shape
    if len(shape) != 4:
        raise InputRefused(
            f"{where}: takes inputs of shape {list(shape)}; expected images [None, height, width, channels]."
        )
    channels = 1 if settings.channels == "grey" else 3
    if shape[3] not in (None, channels):
        raise InputRefused(
            f'{where}: takes {shape[3]} channels; model.input.channels = "{settings.channels}" gives {channels}.'
        )
    sizes = []
    for side, fixed, wanted in (("height", shape[1], settings.height), ("width", shape[2], settings.width)):
        if fixed is None and wanted is None:
            raise InputRefused(
                f"{where}: leaves the input {side} open; set model.input.{side} in the configuration."
            )
        if fixed is not None and wanted is not None and fixed != wanted:
            raise InputRefused(f"{where}: takes images of {side} {fixed}; model.input.{side} says {wanted}.")
        sizes.append(int(fixed if fixed is not None else wanted or 0))
    order = settings.class_order
    if order is not None and sorted(order) != list(range(len(order))):
        raise ConfigError(
            f"model.input.class_order names {len(order)} classes, but not each of 0-{len(order) - 1} once."
        )
    if order is not None and len(order) != model.outputs[0].shape[-1]:
        raise ConfigError(
            f"model.input.class_order has {len(order)} entries; the model has {model.outputs[0].shape[-1]} outputs."
        )
    low, high = settings.range
    return InputSpec(sizes[0], sizes[1], settings.channels, low, high, settings.outputs or "logits", order)


def _without_softmax(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model up to its logits, and a note where a softmax head was taken off."""
    import keras

    last = model.layers[-1]
    is_softmax = getattr(last, "activation", None) is keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and is_softmax):
        return keras.Model(model.inputs[0], last.input), (
            f'the softmax layer "{last.name}" was taken off; the logits are exact',
        )
    if isinstance(last, keras.layers.Dense) and is_softmax:
        linear = keras.layers.Dense.from_config({**last.get_config(), "activation": "linear"})
        outputs = linear(last.input)
        linear.set_weights(last.get_weights())
        note = f'the softmax of the layer "{last.name}" was taken off; the logits are exact'
        return keras.Model(model.inputs[0], outputs), (note,)
    return model, ()


def _probe(spec: InputSpec) -> np.ndarray:
    """Black, white and noise images in the model's own values, float32 [10, height, width, channels]."""
    shape = (spec.height, spec.width, 1 if spec.channels == "grey" else 3)
    noise = np.random.default_rng(0).random((8, *shape), np.float32)
    pixels = np.concatenate([np.zeros((1, *shape), np.float32), np.ones((1, *shape), np.float32), noise])
    return (spec.low + pixels * (spec.high - spec.low)).astype(np.float32)


def _are_probabilities(outputs: np.ndarray) -> bool:
    return bool((outputs >= 0).all() and np.abs(outputs.sum(axis=1) - 1).max() < 1e-3)


def _check_outputs(classifier: KerasClassifier, where: str) -> None:
    shape = (classifier.spec.height, classifier.spec.width, 1 if classifier.spec.channels == "grey" else 3)
    images = np.random.default_rng(1).integers(0, 256, (16, *shape), dtype=np.uint8)
    images[0], images[1] = 0, 255
    first, second = classifier.predict_logits(images), classifier.predict_logits(images)
    if not np.isfinite(first).all():
        raise InputRefused(
            f"{where}: gives outputs that are not finite on black, white or noise images; its arithmetic overflows."
        )
    if not np.array_equal(first, second):
        raise InputRefused(
            f"{where}: gives other outputs for the same images each time; a model under test is deterministic at inference."
        )
