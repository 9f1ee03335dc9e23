"""One small network as Keras, SavedModel and ONNX: the same logits, features and gradients; and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safeml.classifiers.onnx import load_onnx
from safeml.classifiers.saved_model import load_saved_model
from safeml.errors import InputRefused
from safeml.scan.base import Refused
from safeml.scan.onnx import scan_onnx
from safeml.scan.saved_model import operators, scan_saved_model
from safeml.settings.model import InputSettings
from tests.integration.graph_cases import NAMES, SIDE, images, network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network in every form."""
    import tensorflow as tf

    folder, model = tmp_path_factory.mktemp("models"), network()
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    model.export(folder / "export", verbose=False)
    tf.saved_model.save(model, str(folder / "saved"))
    model.export(folder / "m.onnx", format="onnx", verbose=False)
    return folder


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    """Keras's own, of the same weights under a linear head."""
    linear = network(None)
    linear.set_weights(network().get_weights())
    return np.asarray(linear(images().astype(np.float32) / 255))


@pytest.mark.parametrize("form", ["export", "saved", "m.onnx"])
def test_every_form_gives_the_logits_and_features_of_keras(made: Path, logits: np.ndarray, form: str) -> None:
    import keras

    path = made / form
    facts = scan_onnx(path) if path.suffix else scan_saved_model(path)
    load = load_onnx if path.suffix else load_saved_model
    model = load(path, form)  # type: ignore[operator]
    assert (model.input_shape, model.outputs, model.gives) == ((SIDE, SIDE, 3), 5, "probabilities")
    assert model.notes == ("the softmax was taken off; the logits are exact",)
    classifier = model.fed(InputSettings(), NAMES, "m")
    assert np.abs(classifier.predict_logits(images()) - logits).max() < 1e-4
    reference = network()
    penultimate = keras.Model(reference.inputs[0], reference.layers[-1].input)(images() / np.float32(255))
    assert np.abs(classifier.features(images()) - np.asarray(penultimate)).max() < 1e-4
    # tf2onnx folds constants, so that only the SavedModel still has every parameter of its own.
    assert model.parameters == (facts["parameters"] if path.suffix else reference.count_params())


def test_class_order_and_grey_levels_reach_every_form(made: Path) -> None:
    settings = InputSettings(class_order=(4, 3, 2, 1, 0), channels="bgr", range=(-1, 1))
    saved = load_saved_model(made / "saved", "m").fed(settings, NAMES, "m").predict_logits(images())
    other = load_onnx(made / "m.onnx", "m").fed(settings, NAMES, "m").predict_logits(images())
    plain = load_saved_model(made / "saved", "m").fed(
        InputSettings(channels="bgr", range=(-1, 1)), NAMES, "m"
    )
    assert np.abs(saved - other).max() < 1e-4
    assert np.allclose(saved[:, ::-1], plain.predict_logits(images()))


def test_the_gradient_of_a_saved_model_is_that_of_keras(made: Path) -> None:
    import tensorflow as tf

    linear = network(None)
    linear.set_weights(network().get_weights())
    pixels = tf.constant(images(6).astype(np.float32) / 255)
    classifier = load_saved_model(made / "export", "m").fed(InputSettings(), NAMES, "m")

    def gradient(function):
        @tf.function
        def run(values):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss = tf.reduce_sum(function(values)[:, 2] ** 2)
            return tape.gradient(loss, values)

        return run(pixels).numpy()

    expected = gradient(lambda values: linear(values, training=False))
    assert np.abs(expected).max() > 1e-3
    assert np.abs(gradient(classifier.logits) - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_gradient_that_the_file_brings_along_is_not_used(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.custom_gradient
    def masked(x):
        return x, lambda upstream: upstream * 0.0

    class Masked(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 3])])
        def __call__(self, x):
            return tf.matmul(masked(tf.reshape(x, [-1, 12])), self.w)

    module = Masked()
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__, options=options)
    scan_saved_model(tmp_path / "m")
    model = load_saved_model(tmp_path / "m", "m")
    values = tf.ones((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = model.forward(values)[:, 0]
    expected = module.w.numpy()[:, 0].reshape(1, 2, 2, 3)  # the closed form of a linear map
    assert np.allclose(tape.gradient(outputs, values), expected)


def test_a_fingerprint_is_of_the_computation_and_not_of_the_run(made: Path, tmp_path: Path) -> None:
    prints = {load_saved_model(made / form, "m").fingerprint for form in ("export", "saved", "export")}
    assert len(prints) == 1
    code = f"from safeml.classifiers.saved_model import load_saved_model as l; from pathlib import Path; print(l(Path({str(made / 'saved')!r}), 'm').fingerprint)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] in prints
    changed = network()
    weights = changed.get_weights()
    weights[0][0, 0, 0, 0] += 1e-3
    changed.set_weights(weights)
    changed.export(tmp_path / "changed", verbose=False)
    assert load_saved_model(tmp_path / "changed", "m").fingerprint not in prints


KERAS_2 = """
import numpy as np, tf_keras as keras
keras.utils.set_random_seed(1)
layers = keras.layers
inputs = keras.Input((16, 16, 3))
x = layers.Conv2D(8, 3, activation="relu")(inputs)
x = layers.BatchNormalization()(x)
x = layers.Dropout(0.5)(layers.MaxPooling2D()(x))
x = layers.Dense(5, activation="softmax")(layers.Flatten()(x))
model = keras.Model(inputs, x)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(np.zeros((8, 16, 16, 3)), np.zeros(8), verbose=0)
model.save(FOLDER + "/k2", save_format="tf")
pixels = np.load(FOLDER + "/x.npy")
np.save(FOLDER + "/y.npy", model.predict(pixels, verbose=0))
"""


def test_a_folder_of_keras_2_is_accepted_and_gives_its_outputs(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images() / np.float32(255))
    subprocess.run(
        [sys.executable, "-c", f"FOLDER = {str(tmp_path)!r}\n{KERAS_2}"],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
    )
    scan_saved_model(tmp_path / "k2")
    found = load_saved_model(tmp_path / "k2", "m").fed(InputSettings(), NAMES, "m").predict_logits(images())
    powers = np.exp(found - found.max(axis=1, keepdims=True))
    expected = np.load(tmp_path / "y.npy")
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - expected).max() < 1e-5


@pytest.mark.parametrize("form", ["export", "saved"])
def test_the_scan_sees_every_operator_that_tensorflow_sees(made: Path, form: str) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = made / form / "saved_model.pb"
    parsed = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = parsed.meta_graphs[0].graph_def
    expected = {node.op for node in graph.node}
    expected |= {node.op for function in graph.library.function for node in function.node_def}
    assert operators(path) == expected


@pytest.mark.parametrize("schema", ["onnx", "saved_model"])
def test_the_field_numbers_are_those_of_the_installed_libraries(schema: str) -> None:
    """Names that stand in both must stand under the same number; every message of ours is found by its fields."""
    import importlib

    import onnx
    from tensorflow.core.protobuf import saved_model_pb2

    ours = importlib.import_module(
        {"onnx": "safeml.scan.onnx", "saved_model": "safeml.scan.saved_model_schema"}[schema]
    )
    top = onnx.ModelProto.DESCRIPTOR if schema == "onnx" else saved_model_pb2.SavedModel.DESCRIPTOR
    checked = set()

    def check(message: str, descriptor) -> None:
        if message in checked:
            return
        checked.add(message)
        theirs = {field.number: field for field in descriptor.fields}
        for number, field in ours.SCHEMA[message].items():
            assert theirs[number].name == field.name, (message, number)
            assert theirs[number].is_repeated == field.many, (message, field.name)
            if field.message:
                check(field.message, theirs[number].message_type)
        assert set(theirs) == set(ours.SCHEMA[message]), message

    check(top.name, top)
    assert checked == set(ours.SCHEMA)


def save(folder: Path, function, shape=(None, 2, 2, 3), **parts: object) -> Path:
    """A SavedModel of one function of images, with a weight."""
    import tensorflow as tf

    module = tf.Module()
    module.w = tf.Variable(np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32))
    for name, part in parts.items():
        setattr(module, name, part)
    module.call = tf.function(
        lambda x: function(tf.matmul(tf.reshape(x, [-1, 12]), module.w)),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    )
    tf.saved_model.save(module, str(folder), signatures=module.call)
    return folder


def test_assets_and_tables_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "v.txt").write_text("a\nb\n")
    asset = tf.saved_model.Asset(str(tmp_path / "v.txt"))
    with pytest.raises(Refused, match="asset"):
        scan_saved_model(save(tmp_path / "asset", lambda x: x, asset=asset))
    initializer = tf.lookup.KeyValueTensorInitializer(["a"], [1])
    with pytest.raises(Refused, match="HashTable"):
        scan_saved_model(
            save(tmp_path / "table", lambda x: x, table=tf.lookup.StaticHashTable(initializer, 0))
        )


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: (x, x), (None, 2, 2, 3), "1 inputs and 2 outputs"),
        (lambda x: x, (1, 2, 2, 3), "exactly 1 images at a time"),
        (lambda x: x, (None, 12), r"inputs of shape \[None, 12\]"),
        (lambda x: x[:, :, None], (None, 2, 2, 3), r"outputs of shape \[None, 5, 1\]"),
    ],
)
def test_a_saved_model_that_is_no_classifier_is_refused(
    tmp_path: Path, function, shape: tuple, message: str
) -> None:
    with pytest.raises(InputRefused, match=message):
        load_saved_model(save(tmp_path / "m", function, shape), "m")


def test_one_output_without_a_sigmoid_is_no_classifier(tmp_path: Path) -> None:
    model = load_saved_model(save(tmp_path / "m", lambda x: x[:, :1], (None, 2, 2, 3)), "m")
    with pytest.raises(InputRefused, match=r"outputs of shape \[None, 1\] without a sigmoid"):
        model.fed(InputSettings(), NAMES, "m")


def test_broken_weights_and_damaged_variables_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    folder = save(tmp_path / "m", lambda x: x + tf.constant([0, 0, np.nan, 0, 0], tf.float32))
    with pytest.raises(InputRefused, match="not finite"):
        load_saved_model(folder, "m")
    damaged = save(tmp_path / "damaged", lambda x: x)
    (damaged / "variables" / "variables.data-00000-of-00001").write_bytes(b"x" * 5000)
    with pytest.raises(InputRefused, match="does not load it"):
        load_saved_model(damaged, "m")


@pytest.mark.parametrize("nested", [False, True])
def test_a_signature_that_serves_what_only_training_may_use_is_refused(nested: bool, tmp_path: Path) -> None:
    """The loader looks at what TensorFlow loaded, whatever function the object graph names as the signature."""
    import tensorflow as tf

    @tf.function
    def greyer(images: tf.Tensor) -> tf.Tensor:
        return tf.image.adjust_saturation(images, 0.5)

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(np.eye(12, 3, dtype=np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 3], tf.float32)])
        def serve(self, images: tf.Tensor) -> tf.Tensor:
            moved = greyer(images) if nested else tf.image.adjust_saturation(images, 0.5)
            return tf.reshape(moved, [-1, 12]) @ self.w

    module = Module()
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    with pytest.raises(InputRefused, match=r'reaches the operator "AdjustSaturation", .* for inference'):
        load_saved_model(tmp_path, "m")
