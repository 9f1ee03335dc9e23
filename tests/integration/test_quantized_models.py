"""Rewriting a float Keras model into a fake-quantized one: the outputs stay the same up to the codes, and what cannot be rewritten is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.errors import ConfigError
from safeml.framework import start
from tests.quantized_zoo import assert_same, calibrated, convolution, head, image, norm, outputs, randomise

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _same_kernels() -> None:
    """The kernels of a test do not depend on the tests before it."""
    start()
    import keras

    keras.utils.set_random_seed(0)


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
