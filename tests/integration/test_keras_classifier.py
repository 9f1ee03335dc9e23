"""The model under test: what is fed, what comes out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.classifiers.base import InputSpec
from safeml.classifiers.keras import wrap
from safeml.classifiers.tensors import TensorClassifier
from safeml.errors import ConfigError, InputRefused
from safeml.settings.model import InputSettings

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")


def dense_model(
    activation: str | None = None,
    outputs: int = 3,
    size: int = 8,
    channels: int = 3,
    softmax_layer: bool = False,
):
    import keras

    keras.utils.set_random_seed(3)
    inputs = keras.Input((size, size, channels))
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(5, activation="relu")(x)
    x = keras.layers.Dense(outputs, activation=activation)(x)
    if softmax_layer:
        x = keras.layers.Softmax()(x)
    return keras.Model(inputs, x)


def images(count: int = 20, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("head", [{"activation": "softmax"}, {"softmax_layer": True}])
def test_a_softmax_head_becomes_exact_logits_and_is_recorded(head: dict) -> None:
    model = dense_model(**head)
    expected = np.asarray(model(images().astype(np.float32) / 255))
    classifier = wrap(model, InputSettings(), NAMES, "m")
    assert classifier.spec.outputs == "probabilities"
    assert "taken off" in classifier.notes[0]
    found = classifier.predict_logits(images())
    assert np.abs(softmax(found) - expected).max() < 1e-6
    assert np.abs(found.sum(axis=1)).max() > 1e-3  # the logits themselves, not log-probabilities


def test_a_large_logit_survives_where_its_softmax_is_exactly_one() -> None:
    import keras

    model = dense_model("softmax")
    model.layers[-1].set_weights([w * 1e4 for w in model.layers[-1].get_weights()])
    linear = keras.Model(model.inputs[0], model.layers[-2].output)
    kernel, bias = model.layers[-1].get_weights()
    expected = np.asarray(linear(images().astype(np.float32) / 255)) @ kernel + bias
    found = wrap(model, InputSettings(), NAMES, "m").predict_logits(images())
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        (InputSettings(), lambda x: x / 255),
        (InputSettings(range=(0, 255)), lambda x: x),
        (InputSettings(range=(-1, 1)), lambda x: x / 127.5 - 1),
        (InputSettings(channels="bgr"), lambda x: x[..., ::-1] / 255),
        (
            InputSettings(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        (
            InputSettings(channels="bgr", range=(0, 255), mean=(103.939, 116.779, 123.68)),
            lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
        ),
        (
            InputSettings(standardise=True),
            lambda x: (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True),
        ),
        (InputSettings(channels="bgr", range=(-1, 1)), lambda x: x[..., ::-1] / 127.5 - 1),
    ],
)
def test_the_contract_feeds_the_model_what_its_author_fed_it(
    settings: InputSettings, by_hand: object
) -> None:
    model = dense_model()
    expected = np.asarray(model(by_hand(images().astype(np.float32)).astype(np.float32)))  # type: ignore[operator]
    assert np.allclose(
        wrap(model, settings, NAMES, "m").predict_logits(images()), expected, rtol=1e-4, atol=1e-4
    )


def test_grey_uses_luma_and_class_order_moves_columns() -> None:
    grey = dense_model(channels=1)
    luma = (images() @ np.array([0.2989, 0.587, 0.114]))[..., None] / 255
    expected = np.asarray(grey(luma.astype(np.float32)))
    assert np.allclose(
        wrap(grey, InputSettings(channels="grey"), NAMES, "m").predict_logits(images()), expected, atol=1e-4
    )
    model = dense_model()
    plain = wrap(model, InputSettings(), NAMES, "m").predict_logits(images())
    moved = wrap(model, InputSettings(class_order=(2, 0, 1)), NAMES, "m").predict_logits(images())
    assert np.allclose(moved[:, [2, 0, 1]], plain)


def test_another_image_size_is_resized_as_pillow_does() -> None:
    from PIL import Image

    model = dense_model(size=8)
    large = images(size=16)
    resized = np.stack(
        [np.asarray(Image.fromarray(x).resize((8, 8), Image.Resampling.BILINEAR)) for x in large]
    )
    classifier = wrap(model, InputSettings(), NAMES, "m")
    assert np.allclose(classifier.predict_logits(large), classifier.predict_logits(resized), atol=0.02)


def test_batches_and_dtypes_give_the_same_rows() -> None:
    classifier = wrap(dense_model(), InputSettings(), NAMES, "m")
    many = images(300)
    whole = classifier.predict_logits(many)
    assert np.array_equal(whole[:7], classifier.predict_logits(many[:7]))
    assert np.array_equal(whole, classifier.predict_logits((many / np.float32(255)).astype(np.float32)))
    assert classifier.features(many).shape == (300, 5)


def computed(classifier: TensorClassifier, count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the model is given for `count` images."""
    import tensorflow as tf

    sizes: list[int] = []
    forward = classifier.model.forward

    def counted(values: Any) -> Any:
        tf.py_function(lambda rows: sizes.append(len(rows)), [values], [])
        return forward(values)

    monkeypatch.setattr(classifier.model, "forward", counted)
    classifier._functions.clear()
    assert classifier.predict_logits(images(count)).shape == (count, 3)
    return sizes


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [16]), (16, [16]), (17, [32]), (64, [64]), (256, [256]), (300, [256, 64])]
)
def test_a_batch_is_padded_to_the_next_power_of_two(
    count: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = wrap(dense_model(), InputSettings(), NAMES, "m")
    assert computed(classifier, count, monkeypatch) == sizes


@pytest.mark.parametrize("size", [1, 3, 24])
def test_a_batch_that_was_halved_is_never_exceeded(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = wrap(dense_model(), InputSettings(), NAMES, "m")
    classifier.batch.size = size
    assert set(computed(classifier, 25, monkeypatch)) <= {size, 16}
    assert max(computed(classifier, 25, monkeypatch)) <= size


def test_batches_of_many_sizes_print_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow advises on repeated tracing, on the standard error of whoever audits a model."""
    classifier = wrap(dense_model(), InputSettings(), NAMES, "m")
    for count in (1, 17, 33, 65, 129):
        assert classifier.features(images(count)).shape == (count, 5)
    assert caplog.records == []


def test_padding_changes_no_logit_beyond_rounding() -> None:
    classifier = wrap(dense_model(), InputSettings(), NAMES, "m")
    many = images(256)
    whole = classifier.predict_logits(many)
    for count in (1, 5, 40, 100, 255):
        np.testing.assert_allclose(
            classifier.predict_logits(many[:count]), whole[:count], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        ({"outputs": 4}, {}, "gives 4 outputs; the data have 3 classes"),
        ({}, {"height": 32}, "takes images of height 8"),
        ({}, {"channels": "grey"}, "takes 3 channels"),
        ({"activation": "softmax"}, {"outputs": "logits"}, "gives probabilities"),
        ({}, {"outputs": "probabilities"}, "gives logits"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(build: dict, settings: dict, message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        wrap(dense_model(**build), InputSettings(**settings), NAMES, "m")


def test_a_class_order_that_is_no_permutation_is_a_setting_error() -> None:
    with pytest.raises(ConfigError, match="class_order"):
        wrap(dense_model(), InputSettings(class_order=(0, 0, 1)), NAMES, "m")


def test_broken_and_random_outputs_are_refused() -> None:
    import keras

    broken = dense_model()
    weights = broken.get_weights()
    weights[0][0, 0] = np.nan
    broken.set_weights(weights)
    with pytest.raises(InputRefused, match="not finite"):
        wrap(broken, InputSettings(), NAMES, "m")

    @keras.saving.register_keras_serializable("test")
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x))

    base = dense_model()
    noisy = keras.Model(base.inputs[0], Noise()(base.outputs[0]))
    with pytest.raises(InputRefused, match="other outputs for the same images"):
        wrap(noisy, InputSettings(), NAMES, "m")


def test_the_spec_states_the_contract() -> None:
    spec = wrap(dense_model(), InputSettings(channels="bgr", range=(-1, 1)), NAMES, "m").spec
    assert spec == InputSpec(8, 8, "bgr", -1.0, 1.0, "logits", None)
