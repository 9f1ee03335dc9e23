"""A fake-quantized Keras file is opened like any other: its own layers are allowed by name, and its gradient is that of the float model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.classifiers.base import has_quantized_activations
from safeml.classifiers.tensors import TensorClassifier
from safeml.classifiers.twin import with_gradients
from safeml.errors import InputRefused
from safeml.scan.base import Refused
from safeml.scan.keras_config import scan_config
from safeml.scan.keras_names import OWN_LAYERS, OWN_PACKAGE
from safeml.settings.model import InputSettings
from tests.opening import open_here

pytestmark = pytest.mark.slow
SIDE, K = 12, 4


def quantized_network(bits: bool = True) -> Any:
    """A convolution and a dense layer, fake-quantized or (bits = False) in float, with the same weights."""
    import keras

    from safeml.int8 import layers

    keras.utils.set_random_seed(0)
    convolution, dense = (
        (layers.QuantizedConv2D, layers.QuantizedDense) if bits else (keras.layers.Conv2D, keras.layers.Dense)
    )
    image = keras.Input((SIDE, SIDE, 1), name="image")
    steps = [
        convolution(6, 3, strides=2, activation="relu", name="conv"),
        keras.layers.Flatten(),
        dense(K, name="logits"),
    ]
    values = image
    for number, step in enumerate(steps):
        if bits and number != 1:
            values = layers.ActivationQuantizer(name=f"{step.name}_input")(values)
        values = step(values)
    model = keras.Model(image, values)
    for layer in model.layers:
        if isinstance(layer, layers.ActivationQuantizer):
            layer.scale.assign(4 / 127)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.keras"
    quantized_network().save(path)
    return path


def fed(path: Path) -> TensorClassifier:
    return open_here(path).fed(InputSettings(channels="grey"), tuple("abcd"), "tiny")


def test_it_opens_and_predicts_as_it_was_saved(saved: Path) -> None:
    images = np.random.default_rng(0).random((5, SIDE, SIDE, 1), np.float32)
    classifier = fed(saved)
    expected = np.asarray(quantized_network()(images, training=False))
    np.testing.assert_allclose(classifier.predict_logits(images), expected, atol=1e-5)
    facts = scan_config(configuration(saved), "config.json")
    assert facts["layer kinds"] == "ActivationQuantizer, Flatten, QuantizedConv2D, QuantizedDense"


def test_no_operation_stops_its_gradient_and_the_gradient_is_the_float_models(
    saved: Path, tmp_path: Path
) -> None:
    """Rounding has the gradient of the identity: inside the range only the rounded values make a difference."""
    import tensorflow as tf

    path = tmp_path / "float.keras"
    quantized_network(bits=False).save(path)
    images = tf.constant(np.random.default_rng(1).random((16, SIDE, SIDE, 1), np.float32))

    def gradient(classifier: TensorClassifier, name: str) -> np.ndarray:
        logits = getattr(classifier, name)

        @tf.function
        def slope() -> Any:
            return tf.gradients(logits(images)[:, 0] - logits(images)[:, 1], [images])[0]

        return np.asarray(slope()).reshape(16, -1)

    own, other = fed(saved), fed(path)
    assert own.gradient_stoppers == own.blocked_gradients == ()
    assert own.model.frozen is not None
    assert "QuantizeAndDequantizeV4" in {node.op for node in own.model.frozen.nodes.values()}
    first, second = gradient(own, "logits"), gradient(other, "logits")
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosine.min() > 0.99
    np.testing.assert_allclose(gradient(own, "logits_straight_through"), first, atol=1e-6)


def configuration(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        config: dict[str, Any] = json.loads(archive.read("config.json"))
    return config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layer: layer.update(registered_name="other>ActivationQuantizer"), "of the module"),
        (lambda layer: layer.update(registered_name=None), "of the module"),
        (lambda layer: layer.update(class_name="QuantizedKernel"), "of the module"),
        (lambda layer: layer.update(module="safeml.int8.fake"), "registered as"),
        (lambda layer: layer.update(module="safeml.classifiers.keras"), "registered as"),
        (lambda layer: layer["config"].update(function="name"), 'with the key "function"'),
        (lambda layer: layer.update(config=[]), "without a configuration"),
    ],
)
def test_nothing_else_of_the_package_is_allowed(
    change: Callable[[dict[str, Any]], None], words: str, saved: Path
) -> None:
    config = configuration(saved)
    change(next(layer for layer in config["config"]["layers"] if "Quantizer" in layer["class_name"]))
    with pytest.raises(Refused, match=words):
        scan_config(config, "config.json")


# Arguments without a default.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "QuantizedConv2D": {"filters": 2, "kernel_size": 3},
    "QuantizedConv2DTranspose": {"filters": 2, "kernel_size": 3},
    "QuantizedDepthwiseConv2D": {"kernel_size": 3},
    "QuantizedDense": {"units": 2},
    "QuantizedEinsumDense": {"equation": "ab,bc->ac", "output_shape": 2},
}


def test_the_allow_list_is_that_of_the_layers() -> None:
    """A layer that is added to `safeml.int8.layers` needs a row in `safeml.scan.keras_names`, with its arguments."""
    import keras

    from safeml.int8 import layers

    registered = {
        name.partition(">")[2]: cls
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith(f"{OWN_PACKAGE}>") and cls.__module__ == layers.__name__
    }
    assert set(registered) == set(OWN_LAYERS)
    for name, cls in registered.items():
        assert set(cls(**ARGUMENTS.get(name, {})).get_config()) == OWN_LAYERS[name], name


class FirstPixels:
    """An exported file without TensorFlow, whose logits are the first pixels."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images[:, 0, :4, 0], np.float32)


def test_rounded_activations_are_known_of_the_model_and_of_its_exported_file(
    saved: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    path = tmp_path / "float.keras"
    quantized_network(bits=False).save(path)
    rounded, smooth = fed(saved), fed(path)
    assert (has_quantized_activations(rounded), has_quantized_activations(smooth)) == (True, False)
    images = np.random.default_rng(2).integers(0, 256, (8, SIDE, SIDE, 1), dtype=np.uint8)
    exported = with_gradients(rounded, fed(saved), images, "int8.keras")
    assert has_quantized_activations(exported)
    assert (exported.checked.agreement, exported.checked.largest) == (1.0, 0.0)
    values = images.astype(np.float32) / np.float32(255)
    file = replace(exported, artefact=FirstPixels())
    shapes = []
    for count in (8, None):
        pixels = tf.TensorSpec([count, SIDE, SIDE, 1], tf.float32)
        graph = tf.function(file.deployed_logits, input_signature=[pixels]).get_concrete_function()
        shapes.append(graph.structured_outputs.shape.as_list())
        np.testing.assert_array_equal(graph(tf.constant(values)), values[:, 0, :4, 0])
    assert shapes == [[8, 4], [None, 4]]  # loops of attacks need the number of images


def test_another_model_gives_no_gradients_for_a_file(saved: Path) -> None:
    other = fed(saved)
    images = np.random.default_rng(2).integers(0, 256, (64, SIDE, SIDE, 1), dtype=np.uint8)
    logits = other.predict_logits

    # The classes of `other` are in another order.
    other.predict_logits = lambda images: np.roll(logits(images), 1, axis=1)  # type: ignore[method-assign]
    with pytest.raises(InputRefused, match="expected at least 99"):
        with_gradients(fed(saved), other, images, "int8.keras")
