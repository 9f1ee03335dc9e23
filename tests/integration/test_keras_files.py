"""Files of Keras 2 and 3 become Keras 3 models that answer as they did. The oracle is tf_keras, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from safeml.classifiers import keras_files
from safeml.errors import InputRefused
from safeml.scan.checkpoints import choose
from tests.integration.keras_cases import private

pytestmark = pytest.mark.slow


# Each model is written whole, as weights in both layouts, and as JSON, with its answers to random images beside it.
MAKER = """
import sys
import numpy as np
import tf_keras as k
from tf_keras.src.applications.densenet import DenseNet  # of fewer blocks than DenseNet121
L, folder = k.layers, sys.argv[1]
k.utils.set_random_seed(0)
INPUT = (16, 16, 3)

def block(name):
    x = i = k.Input(INPUT)
    for filters in (4, 4):
        x = L.ReLU()(L.BatchNormalization(axis=[3])(L.Conv2D(filters, 3, use_bias=False)(x)))
    return k.Model(i, x, name=name)

def ended(i, x):
    return k.Model(i, L.Dense(5, activation="softmax")(L.Flatten()(x)))

M = {}
M["plain"] = k.Sequential([L.Conv2D(4, 3, activation="relu", input_shape=INPUT), L.MaxPooling2D(), L.Dropout(0.2),
                           L.Flatten(), L.Dense(5, activation="softmax")])
M["with_input"] = k.Sequential([L.InputLayer(INPUT), L.Conv2D(4, 3), L.BatchNormalization(), L.LeakyReLU(0.2), L.ReLU(6.0),
                                L.DepthwiseConv2D(3), L.SeparableConv2D(6, 3, depth_multiplier=2),
                                L.GlobalAveragePooling2D(), L.Dense(5), L.Softmax()])
M["deferred"] = k.Sequential([L.Conv2D(4, 3), L.Flatten(), L.Dense(5, activation="softmax")])
M["deferred"](np.zeros((1, *INPUT), "float32"))
i = k.Input(INPUT)
a = L.Activation("relu")(L.BatchNormalization(axis=[3])(L.Conv2D(4, 3, padding="same", kernel_regularizer="l2")(i)))
x = L.Concatenate()([L.Add()([a, L.Conv2D(4, 1, kernel_initializer="he_normal")(i)]), i])
x = L.Cropping2D(1)(L.ZeroPadding2D(1)(L.UpSampling2D(interpolation="bilinear")(x)))
x = L.Conv2DTranspose(3, 3, 2, padding="same", output_padding=1)(x)
M["branches"] = ended(i, L.PReLU(shared_axes=[1, 2])(L.AveragePooling2D(3, 2, padding="same")(x)))
M["nested"] = k.Sequential([k.Sequential([L.Conv2D(4, 3, input_shape=INPUT), L.BatchNormalization()]),
                            k.Sequential([L.Flatten(), L.Dense(5, activation="softmax", use_bias=False)])])
M["nested_functional"] = k.Sequential([k.Sequential([block("base"), L.GlobalAveragePooling2D()]),
    k.Sequential([L.Dense(7, activation="relu", input_shape=(4,)), L.Dense(5, activation="softmax", use_bias=False)])])
i = k.Input(INPUT)
M["transfer"] = ended(i, block("base")(L.Rescaling(1 / 127.5, offset=-1)(i), training=False))
shared = block("shared")
i = k.Input(INPUT)
M["called_twice"] = ended(i, L.Add()([shared(i), shared(L.Rescaling(0.5)(i))]))
i = k.Input(INPUT)
x = k.Sequential([L.RandomFlip(), L.RandomRotation(0.1)], name="augmentation")(i)
x = block("base")(x)
M["nested_ends"] = k.Model(i, k.Sequential([L.Flatten(), L.Dense(5, activation="softmax")], name="head")(x))
frozen = block("frozen")
frozen.trainable = False
M["frozen"] = k.Sequential([frozen, L.Flatten(), L.Dense(5, activation="softmax")])
partly = block("partly")
for layer in partly.layers[:3]:
    layer.trainable = False
i = k.Input(INPUT)
M["partly_frozen"] = ended(i, partly(i))
i = k.Input(INPUT)
x = L.Concatenate(name="c/d")([L.Conv2D(4, 3, name="a/b")(i), L.Conv2D(4, 3, name="a_b")(i)])
M["slashes"] = ended(i, L.BatchNormalization(name="a/bn")(x))
scale = L.Normalization()
scale.adapt(np.random.default_rng(2).random((50, *INPUT)) * 9)
i = k.Input(INPUT)
M["normalized"] = ended(i, scale(i))
i = k.Input(INPUT)
x = L.Bidirectional(L.LSTM(4, return_sequences=True))(L.TimeDistributed(L.Dense(6))(L.Reshape((16, 48))(i)))
M["recurrent"] = ended(i, L.LayerNormalization()(L.GRU(5, reset_after=False)(x)))
i = x = k.Input(INPUT)
for name in ("elu", "selu", "gelu", "softplus", "softsign", "swish", "exponential", "tanh", "sigmoid", "relu6"):
    x = L.Activation(name)(x)
M["activations"] = ended(i, L.Resizing(9, 9)(L.ReLU(2.0, 0.1, 0.05)(x)))
k.mixed_precision.set_global_policy("mixed_float16")
M["mixed"] = k.Sequential([L.Conv2D(4, 3, input_shape=INPUT), L.BatchNormalization(), L.Flatten(), L.Dense(5),
                           L.Activation("softmax", dtype="float32")])
k.mixed_precision.set_global_policy("float32")
M["mobilenet"] = k.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=5)
M["mobilenet_v2"] = k.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)
M["densenet"] = DenseNet([2, 2, 2, 2], weights=None, input_shape=(32, 32, 3), classes=5)
random = np.random.default_rng(1)
for name, model in M.items():
    size = 16 if name == "deferred" else model.inputs[0].shape[1]
    images = random.random((4, size, size, 3), dtype=np.float32)
    if name != "normalized":
        model.set_weights([w * (1 + 0.5 * random.random(w.shape)).astype(w.dtype) for w in model.get_weights()])
    if name == "densenet":  # so many layers, each a little louder, end in logits of thousands
        model.layers[-1].set_weights([0.02 * w for w in model.layers[-1].get_weights()])
    # Statistics of real activations keep deep networks from answering the same for every image.
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, L.BatchNormalization)]
    flags = [layer.trainable for layer in norms]
    for layer in norms:
        layer.momentum, layer.trainable = 0.5, True
    if norms and not flags.count(False):
        for _ in range(8):
            model(images, training=True)
    for layer, flag in zip(norms, flags):
        layer.momentum, layer.trainable = 0.99, flag
    np.savez(f"{folder}/{name}.npz", images=images, answers=model(images, training=False).numpy())
    model.save(f"{folder}/{name}.h5")
    model.save_weights(f"{folder}/{name}.legacy.h5")
    model.save_weights(f"{folder}/{name}.weights.h5")
    open(f"{folder}/{name}.json", "w").write(model.to_json())
M["with_input"].compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
M["with_input"].fit(np.random.rand(8, *INPUT), np.arange(8) % 5, verbose=0)
M["with_input"].save(f"{folder}/archive.keras")
images = random.random((4, *INPUT), dtype=np.float32)
np.savez(f"{folder}/archive.npz", images=images, answers=M["with_input"](images, training=False).numpy())
M["with_input"].save_weights(f"{folder}/trained.weights.h5")
hard = k.Sequential([L.Flatten(input_shape=INPUT), L.Dense(5, activation="hard_sigmoid")])
hard.save(f"{folder}/hard.h5")
hard.save(f"{folder}/hard.keras")
"""


NAMES = [
    "plain",
    "with_input",
    "deferred",
    "branches",
    "nested",
    "nested_functional",
    "transfer",
    "called_twice",
    "nested_ends",
    "frozen",
    "partly_frozen",
    "slashes",
    "normalized",
    "recurrent",
    "activations",
    "mixed",
    "mobilenet",
    "mobilenet_v2",
    "densenet",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras2")
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", MAKER, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def check_answers(model: Any, made: Path, name: str) -> None:
    with np.load(made / f"{name}.npz") as kept:
        images, answers = kept["images"], kept["answers"]
    assert answers.std(axis=0).max() > 1e-4, "the oracle answers the same for every image"
    assert len(model.inputs) == len(model.outputs) == 1
    found = np.asarray(model(images, training=False), np.float32)
    assert np.abs(found - answers).max() < (1e-3 if name == "mixed" else 1e-5)


def aged(value: Any, bare: bool) -> Any:
    """A configuration as Keras 2.3 wrote it, without modules and input layers of Sequentials; `bare`: as Keras 2.1."""
    if isinstance(value, list):
        return [aged(inner, bare) for inner in value]
    if not isinstance(value, dict):
        return value
    dropped = ("module", "registered_name", "build_config", "shared_object_id", "optional")
    value = {key: aged(inner, bare) for key, inner in value.items() if key not in dropped}
    if value.get("class_name") == "Functional":
        value["class_name"] = "Model"
    if value.get("class_name") == "Sequential":
        layers = value["config"]["layers"]
        if layers[0]["class_name"] == "InputLayer":
            first = layers.pop(0)
            if layers[0]["class_name"] not in ("Model", "Sequential"):
                layers[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
        if bare:
            value["config"] = layers
    return value


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_model_of_keras_2_answers_as_it_did(made: Path, tmp_path: Path, name: str) -> None:
    path = private(tmp_path, made / f"{name}.h5")
    before = path.read_bytes()
    model, _ = keras_files.load_h5(path, "m.h5")
    check_answers(model, made, name)
    keras_files.check_weights(model, path, "m.h5")
    assert path.read_bytes() == before


@pytest.mark.parametrize("bare", [False, True], ids=["keras 2.3", "keras 2.1"])
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("densenet", "mobilenet", "deferred")]
)
def test_older_shapes_of_the_same_configuration_load_too(
    made: Path, tmp_path: Path, name: str, bare: bool
) -> None:
    path = private(tmp_path, made / f"{name}.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(aged(json.loads(file.attrs["model_config"]), bare))
        file.attrs["keras_version"] = "2.1.6" if bare else "2.3.1"
    model, _ = keras_files.load_h5(path, "m.h5")
    check_answers(model, made, name)
    keras_files.check_weights(model, path, "m.h5")


@pytest.mark.parametrize("layout", ["legacy", "weights"])
@pytest.mark.parametrize(
    "name", ["plain", "branches", "nested_ends", "normalized", "slashes", "mobilenet_v2"]
)
def test_weights_of_keras_2_beside_their_architecture(
    made: Path, tmp_path: Path, name: str, layout: str
) -> None:
    path = private(tmp_path, made / f"{name}.{layout}.h5")
    kind = keras_files.kind_by_content(path)
    assert kind == ("weights" if layout == "weights" else "weights-legacy")
    model, _ = keras_files.load_weights(made / f"{name}.json", path, "m.h5")
    check_answers(model, made, name)
    keras_files.check_weights(model, path, "m.h5")


def test_metrics_and_optimizers_beside_the_weights_are_no_part_of_the_model(
    made: Path, tmp_path: Path
) -> None:
    path = private(tmp_path, made / "trained.weights.h5")
    model, _ = keras_files.load_weights(made / "with_input.json", path, "m.h5")
    keras_files.check_weights(model, path, "m.h5")
    check_answers(model, made, "archive")


def test_an_archive_of_keras_2_answers_as_it_did(made: Path, tmp_path: Path) -> None:
    model, notes = keras_files.open_archive(
        private(tmp_path, made / "archive.keras", "model.keras"), "m.keras"
    )
    check_answers(model, made, "archive")
    assert any("groups" in note for note in notes)


def test_a_layer_that_would_compute_something_else_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"m\.h5: the Dense dense\w* uses hard_sigmoid"):
        keras_files.load_h5(private(tmp_path, made / "hard.h5"), "m.h5")
    with pytest.raises(InputRefused, match="uses hard_sigmoid"):
        keras_files.open_archive(private(tmp_path, made / "hard.keras", "model.keras"), "m.keras")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("backend", "theano", "Theano"), ("keras_version", "1.2.2", "was saved by Keras 1.2.2")],
)
def test_other_arithmetic_of_the_same_arrays_is_refused(
    made: Path, tmp_path: Path, attribute: str, value: str, message: str
) -> None:
    path = private(tmp_path, made / "plain.h5")
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(InputRefused, match=message):
        keras_files.load_h5(path, "m.h5")


@pytest.mark.parametrize(
    ("metrics", "name"),
    [(["accuracy"], "{epoch:02d}-{val_accuracy:.1f}.keras"), ([], "{epoch:02d}-{val_loss:.1f}.keras")],
)
def test_the_best_checkpoint_of_a_real_training_is_found_where_names_tie(
    tmp_path: Path, metrics: list[str], name: str
) -> None:
    import keras

    keras.utils.set_random_seed(3)
    random = np.random.default_rng(3)
    features = random.random((120, 8)).astype(np.float32)
    labels = (features[:, 0] + 0.3 * random.random(120) > 0.65).astype(int)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(2)])
    model.compile(
        keras.optimizers.SGD(0.3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
    )
    history = model.fit(
        features[:40],
        labels[:40],
        validation_data=(features[40:], labels[40:]),
        epochs=12,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / name),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    ).history
    metric = "val_accuracy" if metrics else "val_loss"
    values = history[metric]
    epoch = 1 + int(np.argmax(values) if metrics else np.argmin(values))
    found = choose(tmp_path)
    assert found.path.name.startswith(f"{epoch:02d}-")
    assert len(list(tmp_path.glob(f"*-{found.path.stem.split('-')[1]}.keras"))) > 1, "no names tie"
    assert found.reason.startswith(
        f"epoch {epoch} of 12, {metric} {values[epoch - 1]:.10g} as recorded in log.csv"
    )
    # The file of that epoch is what is loaded: it has the metric that was recorded for it.
    again = keras.models.load_model(found.path)
    measured = again.evaluate(features[40:], labels[40:], verbose=0, return_dict=True)
    assert measured[metric.removeprefix("val_")] == pytest.approx(values[epoch - 1], abs=1e-6)
