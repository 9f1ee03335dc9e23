"""Rewriting a float Keras model into a fake-quantized one: the outputs stay the same up to the codes, and what cannot be rewritten is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.errors import ConfigError, InputRefused
from safeml.framework import start

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start()


@pytest.fixture(autouse=True)
def _same_kernels() -> None:
    """The kernels of a test do not depend on the tests before it."""
    import keras

    keras.utils.set_random_seed(0)


def randomise(model: Any, seed: int = 0) -> Any:
    """Random weights, and statistics of batch normalizations far from 0 and 1, with factors of both signs."""
    import keras

    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for name, low, high in (
                ("gamma", 0.5, 1.5),
                ("beta", -0.5, 0.5),
                ("moving_mean", -0.5, 0.5),
                ("moving_variance", 0.5, 2.0),
            ):
                variable = getattr(layer, name, None)
                if variable is not None:
                    sign = np.where(rng.random(variable.shape) < 0.3, -1, 1) if name == "gamma" else 1
                    variable.assign(sign * rng.uniform(low, high, variable.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


def norm(x: Any, **options: Any) -> Any:
    import keras

    return keras.layers.BatchNormalization(**options)(x)


def image(channels: int = 3, size: int = 8) -> Any:
    import keras

    return keras.Input((size, size, channels), name="image")


def head(x: Any) -> Any:
    import keras

    return keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(x))


def convolution() -> Any:
    import keras

    inputs = image()
    x = norm(keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs))
    return keras.Model(inputs, head(keras.layers.ReLU()(x)))


def dilated_and_strided() -> Any:
    import keras

    inputs = image()
    x = norm(keras.layers.Conv2D(4, 3, dilation_rate=2, padding="same")(inputs), scale=False)
    x = norm(keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="linear")(x), center=False)
    return keras.Model(inputs, head(x))


def grouped() -> Any:
    import keras

    inputs = image(4)
    x = norm(keras.layers.Conv2D(8, 3, groups=2)(inputs))
    return keras.Model(inputs, head(x))


def separable() -> Any:
    import keras

    inputs = image()
    x = norm(keras.layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2)(inputs))
    x = norm(keras.layers.DepthwiseConv2D(3, activation="linear")(keras.layers.ReLU(6.0)(x)))
    x = keras.layers.SeparableConv2D(4, 1, activation="relu", name="separable")(x)
    return keras.Model(inputs, head(x))


def transposed() -> Any:
    import keras

    inputs = image()
    x = norm(keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(inputs))
    return keras.Model(inputs, head(keras.layers.LeakyReLU()(x)))


def before() -> Any:
    """Normalizations before a layer: folded where nothing is padded, else left."""
    import keras

    inputs = image()
    x = keras.layers.Conv2D(4, 3, activation="relu")(norm(inputs))
    x = keras.layers.Conv2D(4, 1, padding="same", activation="relu")(norm(x))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(norm(x, name="free"))
    x = norm(keras.layers.Dense(6)(keras.layers.Flatten()(x)))
    return keras.Model(inputs, keras.layers.Dense(3)(norm(keras.layers.ReLU()(x))))


def tokens() -> Any:
    import keras

    inputs = image(4)
    x = keras.layers.Reshape((16, 16))(inputs)
    x = norm(keras.layers.EinsumDense("ntd,de->nte", (16, 8), bias_axes="te")(x))
    y = keras.layers.MultiHeadAttention(2, 4, value_dim=3, dropout=0.1, name="attention")(x, x)
    y = norm(keras.layers.EinsumDense("...d,de->...e", 8)(y + x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(y)))


def written_with_operations() -> Any:
    import keras

    inputs = image()
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs * 2.0 - 1.0)
    y = keras.ops.relu(norm(keras.layers.Conv2D(4, 3, padding="same", name="second")(keras.ops.relu(x))))
    x = keras.ops.concatenate([x + y, y], axis=-1)
    x = keras.layers.Conv2D(4, 1, name="third")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.ops.mean(x, axis=(1, 2))))


def nested_and_shared() -> Any:
    import keras

    block = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, padding="same"), norm_layer()]
    )
    inner_in = keras.Input((8, 8, 3))
    inner = keras.Model(inner_in, block(keras.layers.ReLU()(inner_in)), name="inner")
    inputs = image()
    x = inner(inner(inputs), training=False)
    return keras.Model(inputs, head(x))


def norm_layer() -> Any:
    import keras

    return keras.layers.BatchNormalization()


def sequential() -> Any:
    import keras

    layers = keras.layers
    body = [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(), layers.Activation("swish")]
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.RandomFlip(), layers.Rescaling(2.0, -1.0), keras.Sequential(body),
         layers.Dropout(0.5), layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )  # fmt: skip


ZOO = (
    convolution,
    dilated_and_strided,
    grouped,
    separable,
    transposed,
    before,
    tokens,
    written_with_operations,
    nested_and_shared,
    sequential,
)


def outputs(model: Any, seed: int = 3, count: int = 4) -> np.ndarray:
    shape = [size or 8 for size in model.inputs[0].shape[1:]]
    return np.asarray(model(np.random.default_rng(seed).random((count, *shape), np.float32), training=False))


def assert_same(first: np.ndarray, second: np.ndarray, share: float = 1e-5) -> None:
    np.testing.assert_allclose(first, second, rtol=0, atol=share * np.abs(first).max())


def calibrated(prepared: Any, keep_float: tuple[str, ...] = (), count: int = 16) -> Any:
    from safeml.quantization.rewrite import quantizers, set_bias_floors, set_observing, with_quantizers

    model = with_quantizers(prepared, keep_float)
    shape = [size or 8 for size in model.inputs[0].shape[1:]]
    for quantizer in quantizers(model):
        quantizer.momentum = 0.0
    set_observing(model, True)
    model(np.random.default_rng(0).random((count, *shape), np.float32), training=True)
    set_observing(model, False)
    set_bias_floors(model)
    return model


@pytest.mark.parametrize("build", ZOO, ids=lambda build: build.__name__)
def test_a_prepared_model_is_flat_and_gives_the_outputs_of_its_source(build: Callable[[], Any]) -> None:
    import keras

    from safeml.quantization.rewrite import prepare

    model = randomise(build())
    weights = [array.copy() for array in model.get_weights()]
    prepared = prepare(model, "m")
    assert_same(outputs(model), outputs(prepared))
    assert not any(isinstance(layer, keras.Model) for layer in prepared.layers)
    assert len({layer.name for layer in prepared.layers}) == len(prepared.layers)
    for array, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, after)  # the source is not touched


def test_which_batch_normalizations_remain() -> None:
    import keras

    from safeml.quantization.rewrite import prepare

    kind = keras.layers.BatchNormalization
    for build in ZOO:
        norms = [layer for layer in prepare(build(), "m").layers if isinstance(layer, kind)]
        # Behind an activation and before zero padding, and in a block that is called twice, folding is not exact.
        expected = {"before": 1, "nested_and_shared": 1}.get(build.__name__, 0)
        assert len(norms) == expected, build.__name__
        assert not any(norm.trainable for norm in norms)  # its statistics stay


@pytest.mark.parametrize("build", ZOO, ids=lambda build: build.__name__)
def test_a_quantized_model_is_near_its_source_and_loads_as_it_was_saved(
    build: Callable[[], Any], tmp_path: Path
) -> None:
    import keras

    from safeml.quantization.rewrite import prepare, quantizers

    model = randomise(build())
    quantized = calibrated(prepare(model, "m"))
    assert_same(outputs(model), outputs(quantized), 0.08)
    assert np.abs(outputs(model) - outputs(quantized)).max() > 0
    quantized.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(quantized))
    assert [each.name for each in quantizers(loaded)] == [each.name for each in quantizers(quantized)]


@pytest.mark.parametrize("name", ["lenet", "resnet", "mobilenet", "vit"])
def test_a_trained_model_with_random_statistics_is_prepared_exactly(name: str) -> None:
    import keras

    from safeml.quantization.rewrite import prepare

    (path,) = (ROOT / "models" / f"{name}-gtsrb").glob("*.keras")
    model = randomise(keras.models.load_model(path, compile=False))
    prepared = prepare(model, name)
    assert_same(outputs(model), outputs(prepared))
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in prepared.layers)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_a_published_architecture_is_prepared_exactly(name: str) -> None:
    import keras

    from safeml.quantization.graph import read
    from safeml.quantization.rewrite import prepare

    model = randomise(getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10))
    prepared = prepare(model, name)
    assert_same(outputs(model), outputs(prepared))
    kinds = {step.part.kind for step in read(prepared, name).steps}
    assert keras.layers.BatchNormalization not in kinds


def test_equalisation_changes_ranges_and_no_output() -> None:
    import keras

    from safeml.quantization.equalise import equalised, left_out
    from safeml.quantization.rewrite import prepare

    inputs = image()
    x = keras.layers.ReLU()(keras.layers.Conv2D(6, 1, name="expand")(inputs))
    x = keras.layers.ReLU()(keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = keras.layers.Activation("relu6", name="cap")(keras.layers.Conv2D(4, 1, name="project")(x))
    model = keras.Model(inputs, head(keras.layers.Conv2D(4, 3, name="last")(x)))
    spread = 10.0 ** np.linspace(-2, 2, 6)
    kernel, bias = model.get_layer("expand").get_weights()
    model.get_layer("expand").set_weights([kernel * spread, bias + 0.1 * spread])
    prepared = prepare(model, "m")
    result = equalised(prepared)
    assert_same(outputs(prepared), outputs(result))

    def ranges(layer: str, axis: tuple[int, ...]) -> np.ndarray:
        return np.abs(np.asarray(result.get_layer(layer).kernel)).max(axis=axis)

    expand, depthwise = ranges("expand", (0, 1, 2)), ranges("depthwise", (0, 1, 3))
    project = ranges("project", (0, 1, 3))
    np.testing.assert_allclose(expand, depthwise, rtol=0.01)
    np.testing.assert_allclose(depthwise, project, rtol=0.01)
    (sentence,) = left_out(prepared)
    assert '"project" and "last"' in sentence
    assert "cap" in sentence
    ratio = np.asarray(result.get_layer("last").kernel) / np.asarray(prepared.get_layer("last").kernel)
    np.testing.assert_allclose(
        ratio, np.broadcast_to(ratio[0, 0, 0], ratio.shape), rtol=1e-5
    )  # no factor came in


def test_equalisation_brings_a_depthwise_network_nearer_to_its_source() -> None:
    """The case of the paper: one scale for the tensor behind a layer whose channels differ by orders of magnitude."""
    import keras

    from safeml.quantization.equalise import equalised
    from safeml.quantization.rewrite import prepare

    inputs = image()
    x = keras.layers.ReLU()(keras.layers.Conv2D(8, 1, name="expand")(inputs))
    model = keras.Model(inputs, head(keras.layers.DepthwiseConv2D(3, name="depthwise")(x)))
    spread = 10.0 ** np.linspace(-2, 2, 8)
    kernel, bias = model.get_layer("expand").get_weights()
    model.get_layer("expand").set_weights([np.abs(kernel) * spread, bias])
    kernel, bias = model.get_layer("depthwise").get_weights()
    model.get_layer("depthwise").set_weights([kernel / spread[:, None], bias])
    prepared = prepare(model, "m")
    errors = [
        np.abs(outputs(calibrated(each)) - outputs(model)).max() for each in (prepared, equalised(prepared))
    ]
    assert errors[1] < errors[0] / 3


def test_a_dead_channel_keeps_its_bias_inside_int32() -> None:
    import keras

    from safeml.quantization.rewrite import prepare

    inputs = image()
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.EinsumDense("nhwc,cd->nhwd", (6, 6, 4), bias_axes="wd", name="mix")(x)
    model = randomise(keras.Model(inputs, head(x)))
    for name in ("conv", "mix"):
        kernel, bias = model.get_layer(name).get_weights()
        kernel[..., 1] = 0
        bias[..., 1] = 3.0
        model.get_layer(name).set_weights([kernel, bias])
    quantized = calibrated(prepare(model, "m"))
    for name in ("conv", "mix"):
        layer = quantized.get_layer(name)
        scale = float(layer.input._keras_history.operation.scale)
        units = np.abs(np.asarray(layer.bias, np.float64)) / (
            scale * np.asarray(layer.kernel_scale(), np.float64)
        )
        assert units.max() < 2**31
        assert units.max() > 2**28  # raised no further than needed
        assert np.asarray(layer.floor)[1] > 0
        assert np.count_nonzero(np.asarray(layer.floor) > np.abs(layer.kernel_matrix()).max(axis=(*range(len(layer.kernel_matrix().shape) - 1),))) == 1  # fmt: skip
    assert_same(outputs(model), outputs(quantized), 0.08)


def test_a_layer_kept_in_float_is_computed_in_float() -> None:
    from safeml.quantization.rewrite import float_layers, prepare, quantizers

    model = randomise(separable())
    prepared = prepare(model, "m")
    quantized = calibrated(prepared, ("separable", "logits"))
    kept = {"separable_depthwise", "separable_pointwise", "logits"}
    assert set(float_layers(quantized)) == kept
    assert (
        len(quantizers(calibrated(prepared))) == len(quantizers(quantized)) + 4
    )  # the pool's too: nothing follows
    with pytest.raises(
        ConfigError, match=r'keep_float: the model has no layer "logit"; did you mean "logits"\?'
    ):
        calibrated(prepared, ("logit",))


def test_the_scale_of_a_concatenation_follows_its_largest_input() -> None:
    import keras

    from safeml.int8.layers import ActivationQuantizer

    quantizer = ActivationQuantizer(momentum=0.5, sites=2)
    first, second = (np.full((1, 2), size, np.float32) for size in (1.27, 12.7))
    quantizer.build((None, 2))
    quantizer.set_scale(0.1)
    quantizer.observing.assign(1.0)
    for _ in range(12):
        for site, values in enumerate((first, second)):
            quantizer(values, site=site, training=True)
    # A moving average over both would end between 0.04 and 0.07, and cut the second input.
    np.testing.assert_allclose(float(quantizer.scale), 0.1, rtol=1e-3)
    np.testing.assert_allclose(np.asarray(quantizer.shares), [0.1, 1.0], rtol=0.01)
    assert keras.layers.deserialize(keras.layers.serialize(quantizer)).sites == 2


def test_training_moves_weights_and_scales_until_the_scales_are_frozen() -> None:
    import keras

    from safeml.int8.fake import representable
    from safeml.quantization.rewrite import prepare, quantizers, set_observing

    model = calibrated(prepare(randomise(convolution()), "m"))
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = np.random.default_rng(5).random((8, 8, 8, 3), np.float32) * 2, np.arange(8) % 3
    for quantizer in quantizers(model):
        quantizer.momentum = 0.9

    def step() -> tuple[list[float], np.ndarray]:
        model.fit(images, labels, verbose=0)
        kernel = np.asarray(model.get_layer("logits").kernel).copy()
        return [float(each.scale) for each in quantizers(model)], kernel

    scales, kernel = step()
    frozen, moved = step()
    assert frozen == scales
    assert np.abs(moved - kernel).max() > 0
    set_observing(model, True)
    changed, _ = step()
    assert all(new != old for new, old in zip(changed, frozen, strict=True))
    set_observing(model, False)
    after, _ = step()
    assert after == [float(representable(np.float32(scale))) for scale in changed]


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
