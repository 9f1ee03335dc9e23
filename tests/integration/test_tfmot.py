"""The backend "tfmot": one small network through the child process, and what it refuses.

The network has what TFMOT refuses by itself: an addition written with `+`, a Rescaling, and a batch normalization after it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from safeml.config.quantization import QuantizeSettings
from safeml.data.dataset import ImageDataset
from safeml.errors import InputRefused
from safeml.framework import start
from safeml.quantization.inputs import QuantizationInputs

pytestmark = pytest.mark.slow
SIDE, K = 8, 4
NAMES = ("red", "green", "blue", "grey")
SETTINGS = {
    "name": "tiny",
    "backend": "tfmot",
    "epochs": 2,
    "freeze_epochs": 1,
    "momentum": 0.5,
    "batch": 32,
    "learning_rate": 0.003,
    "worst_layers": 0,
    "calibration": {"observer": "max", "images": 64},
    "model": {"path": "float.keras"},
    "data": {"train": {"kind": "npz", "path": "train.npz"}, "valid": {"kind": "npz", "path": "valid.npz"}},
}


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start()


def images(count: int, seed: int) -> ImageDataset:
    """Noise, brighter in the colour of its class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, K, count)
    pixels = random.integers(0, 120, (count, SIDE, SIDE, 3))
    for channel in range(3):
        pixels[labels == channel, :, :, channel] += 130
    return ImageDataset("tiny", pixels.astype(np.uint8), labels, NAMES)


def network() -> Any:
    """A classifier whose last layer is fitted by least squares; the depthwise kernels differ in size by 40."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Rescaling(2.0, -1.0)(image)
    first = layers.LeakyReLU(0.2)(layers.Conv2D(8, 3, padding="same", name="stem")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(first)
    x = layers.Conv2D(8, 1, name="pointwise")(layers.Activation("relu6")(x))
    x = layers.BatchNormalization(name="norm")(x + first)
    side = layers.Conv2D(
        4, 3, padding="same", kernel_constraint="max_norm", kernel_regularizer="l2", name="side"
    )
    x = layers.Concatenate(name="both")([x, side(first)])
    x = layers.SeparableConv2D(8, 3, name="separable")(layers.ReLU()(x))
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU()(x))
    x = layers.Dropout(0.1)(x)
    model = keras.Model(image, layers.Dense(K, name="logits")(x))
    random = np.random.default_rng(1)
    model.get_layer("norm").set_weights(
        [random.uniform(low, high, 8) for low, high in ((0.5, 1.5), (-0.5, 0.5), (-0.2, 0.2), (0.5, 2.0))]
    )
    sizes = np.geomspace(0.05, 2, 8)
    depthwise, pointwise = model.get_layer("depthwise"), model.get_layer("pointwise")
    depthwise.kernel.assign(depthwise.kernel * sizes[None, None, :, None])
    pointwise.kernel.assign(pointwise.kernel / sizes[None, None, :, None])
    data = images(256, 9)
    features = np.asarray(keras.Model(image, x)(data.images.astype(np.float32) / 255))
    features = np.column_stack([features, np.ones(len(features))])
    kernel = np.linalg.lstsq(features, 8 * np.eye(K)[data.labels], rcond=None)[0]
    model.get_layer("logits").set_weights([kernel[:-1], kernel[-1]])
    return model


@dataclass(frozen=True)
class Run:
    """A training by the backend: what it started from and what it returned, and the epochs that it reported."""

    start: Any
    trained: Any
    epochs: list[dict[str, Any]]


def calibrated(source: Any, folder: Path, epochs: list[dict[str, Any]]) -> Any:
    """Return what a backend starts from."""
    from safeml.quantization.backends import Calibrated
    from safeml.quantization.calibration import calibrate
    from safeml.quantization.rewrite import prepare, with_quantizers
    from safeml.quantization.validation import Validation, model_inputs

    settings, file = QuantizeSettings.model_validate(SETTINGS), folder / "source.keras"
    inputs = QuantizationInputs(settings, folder, file, "0" * 64, images(160, 0), images(96, 5))
    classifier = Validation(settings, inputs.choosing).classifier(source, "tiny")
    values = model_inputs(classifier, inputs.training.images[:64])
    prepared = prepare(source, "tiny")
    quantized = with_quantizers(prepared)
    calibrate(quantized, values, settings.calibration)
    return Calibrated(
        inputs, folder, file, prepared, quantized, classifier, values, epochs.append, lambda line: None
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from safeml.quantization.backends import BACKENDS

    folder = tmp_path_factory.mktemp("tfmot")
    (folder / ".tfmot-killed").mkdir()
    epochs: list[dict[str, Any]] = []
    start = calibrated(network(), folder, epochs)
    trained = BACKENDS["tfmot"](start)
    assert not list(folder.iterdir())  # nothing of this request, or of one whose run was killed
    return Run(start, trained, epochs)


def test_the_float_model_of_keras_2_gives_the_outputs_of_its_source(run: Run) -> None:
    """Batch normalization, Rescaling, LeakyReLU and an addition written with `+` among its layers."""
    assert run.trained.record["tfmot"]["float_difference"] < 1e-5


@pytest.mark.parametrize("name", ["ptq", "qat"])
def test_the_model_of_tfmot_and_that_of_keras_3_are_one(name: str, run: Run) -> None:
    agreement = run.trained.record["tfmot"]["agreement"]
    assert agreement["images"] == 96
    assert agreement[name]["decisions"] >= 0.99
    # The mean magnitude of an output is 8.2. One range for all channels of the depthwise kernel makes 0.11.
    assert agreement[name]["mean_difference"] < 0.02


def test_training_moves_weights_and_ranges_but_not_a_shared_range(run: Run) -> None:
    from safeml.int8.fake import representable
    from safeml.quantization.rewrite import quantizers

    before, after = run.start.quantized, run.trained.model
    for layer in ("stem", "depthwise", "pointwise", "side", "logits"):
        moved = [
            np.abs(first - second).max()
            for first, second in zip(
                before.get_layer(layer).get_weights()[:2],
                after.get_layer(layer).get_weights()[:2],
                strict=True,
            )
        ]
        assert min(moved) > 1e-3
    for first, second in zip(
        before.get_layer("norm").get_weights(), after.get_layer("norm").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)  # what is not folded keeps its statistics
    for first, second in zip(quantizers(before), quantizers(after), strict=True):
        scale = np.asarray(second.scale)
        assert scale == representable(scale)
        moved_scale = scale != np.asarray(first.scale)
        if first.sites > 1 or first.name.startswith("rescaling"):
            assert not moved_scale  # it is shared, or the range of the images
        elif first.name.startswith(("leaky", "activation", "dropout")):
            assert moved_scale
    (shared,) = [each.name for each in quantizers(before) if each.sites > 1]
    differences = run.trained.record["tfmot"]["differences"]
    assert (
        f"Ranges that several tensors share keep their calibrated value in training: {shared}." in differences
    )
    assert any(
        sentence.startswith("Weight constraints") and sentence.endswith(": side.") for sentence in differences
    )


def test_the_epochs_are_those_of_the_fit(run: Run) -> None:
    assert run.epochs == run.trained.fit.epochs
    assert [epoch["epoch"] for epoch in run.epochs] == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "file"} <= set(run.epochs[0])
    best = max(epoch["val_accuracy"] for epoch in run.epochs)
    images = run.start.inputs.choosing.images.astype(np.float32) / 255
    decisions = np.asarray(run.trained.model(images)).argmax(axis=1)
    assert np.mean(decisions == run.start.inputs.choosing.labels) == pytest.approx(best, abs=0.011)


def test_the_model_exports_without_a_finding(run: Run, tmp_path: Path) -> None:
    import onnx

    from safeml.export.linter import lint
    from safeml.export.onnx import export_onnx

    export_onnx(run.trained.model, tmp_path / "model.onnx")
    assert lint(onnx.load(tmp_path / "model.onnx")) == []


def test_no_package_of_keras_2_enters_this_process(run: Run) -> None:
    assert not {"tf_keras", "tensorflow_model_optimization"} & set(sys.modules)


def test_each_setting_has_an_implementation() -> None:
    from safeml.quantization.backends import BACKENDS

    assert set(BACKENDS) == set(get_args(QuantizeSettings.model_fields["backend"].annotation))


def test_a_layer_with_another_meaning_in_keras_2_is_refused(tmp_path: Path) -> None:
    """hard_sigmoid is relu6(x + 3) / 6 in Keras 3, and was clip(0.2 x + 0.5) before."""
    from safeml.quantization.backends import BACKENDS

    start = calibrated(_operation(_hard_sigmoid)(), tmp_path, [])
    with pytest.raises(
        InputRefused, match="rebuilt in Keras 2, the float model gives other outputs"
    ) as refused:
        BACKENDS["tfmot"](start)
    assert 'use backend = "keras"' in str(refused.value)
    assert not list(tmp_path.iterdir())


def _hard_sigmoid(x: Any) -> Any:
    import keras

    return keras.layers.Activation("hard_sigmoid")(x)


def _token() -> Any:
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Reshape((SIDE * SIDE, 3))(image)
    x = keras.layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), name="mix")(x)
    return keras.Model(image, keras.layers.Dense(K)(keras.layers.GlobalAveragePooling1D()(x)), name="tokens")


def _operation(change: Callable[[Any], Any]) -> Callable[[], Any]:
    def build() -> Any:
        import keras

        image = keras.Input((SIDE, SIDE, 3))
        x = change(keras.layers.Conv2D(4, 3, name="stem")(image))
        return keras.Model(
            image, keras.layers.Dense(K)(keras.layers.GlobalAveragePooling2D()(x)), name="operated"
        )

    return build


def _square(x: Any) -> Any:
    import keras

    return keras.ops.square(x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_token, r'tokens: the layer "mix" \(EinsumDense\) has no form in Keras 2'),
        (_operation(_square), r'operated: the operation "square" \(Square\) has no form in Keras 2'),
        (
            _operation(lambda x: x + 1.0),
            r'operated: the call of "add\w*" \(Add\) has arguments beside its tensors',
        ),
    ],
)
def test_what_has_no_form_in_keras_2_is_refused_by_name(build: Callable[[], Any], words: str) -> None:
    from safeml.quantization.rewrite import prepare, with_quantizers
    from safeml.quantization.tfmot.network import plan_of

    model = build()
    with pytest.raises(InputRefused, match=words + '.*use backend = "keras"'):
        plan_of(with_quantizers(prepare(model, model.name)), model.name)
