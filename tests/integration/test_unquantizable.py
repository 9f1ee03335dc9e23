"""Models that cannot be quantized, and layers kept in float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from safeml.errors import InputRefused
from safeml.framework import start
from tests.quantized_zoo import assert_same, calibrated, convolution, head, image, outputs, randomise

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _same_kernels() -> None:
    """The kernels of a test do not depend on the tests before it."""
    start()
    import keras

    keras.utils.set_random_seed(0)


class Subclassed:
    """Made in a function: Keras is imported when a test starts."""

    @staticmethod
    def model() -> Any:
        import keras

        class Own(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.dense = keras.layers.Dense(3)

            def call(self, inputs: Any) -> Any:
                return self.dense(keras.ops.mean(inputs, axis=(1, 2)))

        return Own()

    @classmethod
    def nested(cls) -> Any:
        import keras

        inputs = image()
        return keras.Model(inputs, cls.model()(inputs))

    @staticmethod
    def functional() -> Any:
        import keras

        class Own(keras.Model):
            def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
                return 2 * super().call(inputs, training=training)

        inputs = image()
        return Own(inputs, head(inputs))


def _two_inputs() -> Any:
    import keras

    first, second = image(), keras.Input((8, 8, 3))
    return keras.Model([first, second], head(first + second))


def _two_outputs() -> Any:
    import keras

    inputs = image()
    x = head(inputs)
    return keras.Model(inputs, [x, keras.ops.softmax(x)])


def _quantized_by_keras() -> Any:
    import warnings

    model = convolution()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    return model


def _half() -> Any:
    import keras

    inputs = image()
    return keras.Model(inputs, keras.layers.Dense(3, dtype="mixed_float16", name="half")(inputs[:, 0, 0]))


def _unbuilt() -> Any:
    import keras

    return keras.Sequential([keras.layers.Dense(3)])


def _lambda() -> Any:
    import keras

    inputs = image()
    return keras.Model(inputs, head(keras.layers.Lambda(lambda x: x * 2, name="double")(inputs)))


def _not_finite() -> Any:
    model = convolution()
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel * np.nan, bias])
    return model


def _with_line() -> Any:
    import keras

    inputs = image()
    x = keras.layers.Conv1D(2, 3, name="line")(keras.layers.Reshape((64, 3))(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def _other_equation() -> Any:
    import keras

    inputs = image()
    x = keras.layers.EinsumDense("nhwc,hd->nwcd", (8, 3, 2), name="mix")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (Subclassed.model, "m: Own is a subclassed model.*keras.Model"),
        (Subclassed.nested, 'nested model "own.*Own is a subclassed model'),
        (Subclassed.functional, "Own is a subclassed model"),
        (_two_inputs, "m: the model has 2 inputs"),
        (_two_outputs, "m: the model has 2 outputs"),
        (_quantized_by_keras, 'm: the layer "logits" was quantized by Keras already .policy int8'),
        (_half, 'm: the layer "half" computes in float16'),
        (_unbuilt, "m: the model has no input shape yet"),
        (_lambda, 'm: the layer "double" is a Lambda'),
        (_not_finite, 'm: the layer "logits" has weights that are NaN or infinite'),
    ],
)
def test_a_model_that_cannot_be_rewritten_is_refused_by_name(build: Callable[[], Any], sentence: str) -> None:
    from safeml.quantization.rewrite import prepare

    with pytest.raises(InputRefused, match=sentence):
        prepare(build(), "m")


@pytest.mark.parametrize(
    ("build", "name", "sentence"),
    [
        (
            _with_line,
            "line",
            r'"line" \(Conv1D\) has no INT8 form; leave it in float with keep_float = \["line"\]',
        ),
        (_other_equation, "mix", '"mix" .* has the equation nhwc,hd->nwcd, which is not one matrix product'),
    ],
)
def test_a_layer_without_an_int8_form_is_refused_until_it_is_kept_in_float(
    build: Callable[[], Any], name: str, sentence: str
) -> None:
    from safeml.quantization.rewrite import prepare

    model = randomise(build())
    prepared = prepare(model, "m")
    with pytest.raises(InputRefused, match=sentence):
        calibrated(prepared)
    assert_same(outputs(model), outputs(calibrated(prepared, (name,))), 0.08)


def test_a_fake_quantized_model_is_not_quantized_twice() -> None:
    from safeml.quantization.rewrite import prepare, with_quantizers

    quantized = calibrated(prepare(convolution(), "m"))
    with pytest.raises(InputRefused, match="is fake-quantized already; start from the float model"):
        with_quantizers(quantized)


def test_the_gain_of_a_layer_in_float_is_measured_where_a_concatenation_loses_its_common_scale() -> None:
    """With the last layer in float nothing reads the concatenation through a quantizer, so another tensor names the scale."""
    import keras

    from safeml.quantization.rewrite import prepare, quantizers, with_quantizers
    from safeml.quantization.sensitivity import float_twin, layer_errors

    layers = keras.layers
    inputs = image()
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    second = layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(inputs)
    third = layers.Conv2D(4, 3, padding="same", name="third")(second)
    joined = layers.Flatten(name="flat")(layers.Concatenate(name="joined")([first, second, third]))
    model = randomise(keras.Model(inputs, layers.Dense(3, name="logits")(joined)))
    prepared = prepare(model, "m")
    quantized = calibrated(prepared)
    names = {each.name for each in quantizers(quantized)}
    alone = {each.name for each in quantizers(with_quantizers(prepared, ("logits",)))}
    assert alone - names  # the case
    twin = float_twin(quantized, prepared)
    images = np.random.default_rng(3).random((4, 8, 8, 3), np.float32)
    result = layer_errors(quantized, twin, images, worst=4)
    assert {row.layer for row in result.kept_float} == {"first", "second", "third", "logits"}
    gain = {row.layer: row.logit_error for row in result.kept_float}
    assert min(gain.values()) < result.logit_error
    # By hand: with logits in float, only the two tensors that convolutions read are rounded, by the scales of `quantized`.
    mixed = with_quantizers(twin, ("logits",))
    by_name = {each.name: each.scale for each in quantizers(quantized)}
    scales = {"image_quantizer": by_name["image_quantizer"]}
    shared = next(each for each in quantizers(quantized) if each.sites > 1)
    for each in quantizers(mixed):
        each.scale.assign(scales.get(each.name, shared.scale))
    error = np.asarray(mixed(images, training=False)) - np.asarray(twin(images, training=False))
    assert gain["logits"] == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-5)
